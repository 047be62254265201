"""What labels annotation files hold, how often and for how long, whatever they mean.

The readers of `io` give times of labels that mean something. So each file is read twice: first for
the labels alone, then with each label asked for as an event of its own name. Codes and the stages
of XML files are counted here, where a label that means nothing refuses nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from somnoflow.config.annotation import Annotation
from somnoflow.io.annotation_text import read_text
from somnoflow.io.annotation_xml import parse_xml
from somnoflow.io.annotations import read_scoring
from somnoflow.io.scoring import LONGEST_SECONDS, shorten
from somnoflow.stages import EPOCH_SECONDS


@dataclass(frozen=True)
class Total:
    """How often a label occurs, and its duration in all, in seconds."""

    count: int
    seconds: float


def count_labels(path: Path, annotation: Annotation) -> dict[str, Total]:
    """Count the labels of an annotation file, and add up their durations.

    Raises
    ------
    Rejection
        When the file cannot be read.
    """
    if annotation.format == "codes":
        return _count_codes(path, annotation)
    if annotation.format in ("nsrr-xml", "profusion-xml"):
        return _count_xml(path)
    asked = annotation.model_copy(update={"stages": {}, "events": {}, "marks": {}})
    unused = read_scoring(path, asked).unused
    itself = {label: label for label in unused}
    found = read_scoring(path, asked.model_copy(update={"events": itself})).events
    seconds = dict.fromkeys(unused, 0.0)
    for _, duration, label in found:
        seconds[label] += duration
    return {label: Total(count, seconds[label]) for label, count in unused.items()}


def add_up(totals: Iterable[Mapping[str, Total]]) -> dict[str, Total]:
    """Add up the labels of several files, the most frequent first."""
    sums: dict[str, Total] = {}
    for file in totals:
        for label, total in file.items():
            before = sums.get(label, Total(0, 0.0))
            sums[label] = Total(before.count + total.count, before.seconds + total.seconds)
    return dict(sorted(sums.items(), key=lambda item: (-item[1].count, item[0])))


def _count_codes(path: Path, annotation: Annotation) -> dict[str, Total]:
    text = read_text(path, encoding=annotation.encoding or "utf-8")
    page = annotation.page_seconds or EPOCH_SECONDS
    codes = Counter(line.strip() for line in text.rstrip().split("\n"))
    return {code: Total(count, float(count * page)) for code, count in codes.items()}


def _count_xml(path: Path) -> dict[str, Total]:
    """Count the events of NSRR and Profusion XML, and Profusion's stages."""
    root = parse_xml(path)
    page = _seconds(root.findtext("{*}EpochLength")) or EPOCH_SECONDS
    stages = root.iterfind("{*}SleepStages/{*}SleepStage")
    found = [{shorten(stage.text or ""): Total(1, page)} for stage in stages]
    for event in root.iterfind("{*}ScoredEvents/{*}ScoredEvent"):
        label = event.findtext("{*}EventConcept") or event.findtext("{*}Name") or ""
        if label != "Recording Start Time":
            found.append({shorten(label): Total(1, _seconds(event.findtext("{*}Duration")))})
    return add_up(found)


def _seconds(text: str | None) -> float:
    """Give a number of seconds; what is none adds nothing to a total."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if 0 <= value < LONGEST_SECONDS else 0.0
