"""What an annotation file says, and the rules that hold for every format.

- A label is compared without regard to case and to the number of blanks around and within it.
- An onset is any time within 115 days of the start of the recording, before it too; what lies
  outside the signal is cut off where stages are laid over epochs. Anything else is no time, and the
  file is refused: it is damaged, or in another unit.
- A stage lasts more than no time. An event may be an instant, also where its duration is missing.
- Stages may overlap, and an epoch may be scored twice: both are kept, and where they disagree the
  epoch is unscored (`data.labels`).
- A stage label that is not known refuses the file, since guessing would corrupt the labels. Any
  other label that is not known is counted in `unused`, and its times do not matter.
- A scoring of one night has a few thousand annotations: a file with more than 200,000 or of more
  than 32 MiB is refused before it fills the memory.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from math import isfinite
from pathlib import Path
from typing import TypeVar

from somnoflow.config.annotation import Annotation
from somnoflow.config.vocabularies import EventName, MarkName, StageName, fold
from somnoflow.io.rejection import Rejection
from somnoflow.stages import Stage

M = TypeVar("M")

LARGEST_FILE = 32 * 2**20
MOST_ANNOTATIONS = 200_000
LONGEST_SECONDS = 1e7
MOST_LABELS = 50
_LONGEST_LABEL = 80
_EXPORT_AGAIN = "Correct the annotation, or export the scoring again"
_LIKE_A_STAGE = re.compile(
    r"(sleep[ _-]?)?stage\b.*|W|wake|R|REM|(N|S|NREM)[ _-]?[1-4]", flags=re.IGNORECASE
)


@dataclass
class Scoring:
    """What an annotation file says.

    `stages` and `events` are lists of (onset in s, duration in s, Stage or event name); `marks`
    are (onset in s, mark name). `unused` counts the labels that mean neither; `notes` are remarks
    for the cohort table.

    Onsets count from the start of the recording where `has_clock` is False. Where it is True they
    count from `start`, or where that is None from the time of day `clock`, on whichever day the
    recording is; where both are None the file has a clock that does not tell (an anonymised
    EDF+). A `clock` without `has_clock` only says when the scorer's program saw the recording
    begin.
    """

    stages: list[tuple[float, float, Stage]] = field(default_factory=list)
    events: list[tuple[float, float, str]] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    unused: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    start: datetime | None = None
    clock: time | None = None
    has_clock: bool = False


class ScoringBuilder:
    """Sorts labels with their times into a `Scoring`, and refuses what cannot be trusted."""

    def __init__(self, annotation: Annotation, *, file: str) -> None:
        """Look labels up in `annotation`; `file` is named in rejections."""
        self.scoring = Scoring()
        self._file = file
        self._annotations = 0
        self._page_seconds = annotation.page_seconds
        self._known = tuple(annotation.stages)
        self._stages: dict[str, StageName] = _folded(annotation.stages)
        self._events: dict[str, EventName] = _folded(annotation.events)
        self._marks: dict[str, MarkName] = _folded(annotation.marks)
        self._numbers = any(_is_number(label) for label in annotation.stages)

    def add(self, onset: float, duration: float | None, label: str) -> None:
        """Add a stage, an event or a mark; `duration` is None where the file does not tell it."""
        if fold(label) in self._stages:
            self.add_stage(onset, duration, label)
        elif self.knows(label) or not self._looks_like_a_stage(label):
            self.add_other(onset, duration, label)
        else:
            raise self._unknown_stage(label)

    def add_stage(
        self, onset: float, duration: float | None, label: str, *, where: str = ""
    ) -> None:
        """Add what can only be a stage; `where` names its place in the file."""
        self._count_annotation()
        name = self._stages.get(fold(label))
        if name is None:
            raise self._unknown_stage(label, where=where)
        lasting = self._page_seconds if duration is None else duration
        if not lasting:
            raise Rejection(
                problem="stage without a duration",
                found=f"'{shorten(label)}' at {onset:g} s in {self._file}",
                wanted="how long the stage lasts",
                advice="Export the scoring with durations, one annotation for each epoch or run; "
                "or give `page_seconds` where all stages last a page",
            )
        self._require_times(onset, lasting, label=label)
        stage = Stage.UNSCORED if name == "unscored" else Stage[name]
        self.scoring.stages.append((onset, float(lasting), stage))

    def add_other(self, onset: float, duration: float | None, label: str) -> None:
        """Add what can only be an event or a mark, or count it as unused."""
        self._count_annotation()
        folded = fold(label)
        lasting = 0.0 if duration is None else duration
        if folded in self._events:
            self._require_times(onset, lasting, label=label)
            self.scoring.events.append((onset, lasting, self._events[folded]))
        elif folded in self._marks:
            self._require_times(onset, lasting, label=label)
            self.scoring.marks.append((onset, self._marks[folded]))
        else:
            self._count_unused(label)

    def knows(self, label: str) -> bool:
        """Say whether a label means anything, so that its times matter."""
        folded = fold(label)
        return folded in self._stages or folded in self._events or folded in self._marks

    def _count_annotation(self) -> None:
        self._annotations += 1
        if self._annotations > MOST_ANNOTATIONS:
            raise too_large(f"{MOST_ANNOTATIONS} annotations", file=self._file)

    def _looks_like_a_stage(self, label: str) -> bool:
        if not self._stages:
            return False
        plain = " ".join(label.split())
        return bool(_LIKE_A_STAGE.fullmatch(plain)) or (self._numbers and _is_number(plain))

    def _count_unused(self, label: str) -> None:
        """Count a label that is not used, without keeping a million different ones."""
        counted = self.scoring.unused
        short = shorten(label)
        if short not in counted and len(counted) >= MOST_LABELS:
            short = "(other labels)"
        counted[short] += 1

    def _require_times(self, onset: float, duration: float, *, label: str) -> None:
        right = isfinite(onset) and isfinite(duration) and duration >= 0
        if not right or max(abs(onset), duration) > LONGEST_SECONDS:
            raise Rejection(
                problem="not a time in the annotation file",
                found=f"'{shorten(label)}' at {onset} s for {duration} s in {self._file}",
                wanted="an onset in seconds from the start, and a duration of 0 s or more",
                advice=_EXPORT_AGAIN,
            )

    def _unknown_stage(self, label: str, *, where: str = "") -> Rejection:
        place = f"{where} of {self._file}" if where else self._file
        return Rejection(
            problem="unknown stage label",
            found=f"'{shorten(label)}' in {place}",
            wanted=", ".join(f"'{known}'" for known in self._known) or "a file without stages",
            advice="Say what it means under `stages` in the dataset's dataset.yaml",
        )


def read_file(path: Path) -> bytes:
    """Read a whole annotation file.

    Raises
    ------
    Rejection
        When it is not there, may not be read, is empty or is far too large for a scoring.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise Rejection(
            problem="the annotation file cannot be read",
            found=f"{path.name}: {error.strerror or type(error).__name__}",
            wanted="a readable file",
            advice="Check that the file exists and may be read",
        ) from error
    if len(content) > LARGEST_FILE:
        raise too_large(f"{LARGEST_FILE // 2**20} MiB", file=path.name)
    if not content.strip():
        raise Rejection(
            problem="empty annotation file",
            found=f"{len(content)} bytes in {path.name}",
            wanted="the annotations of one recording",
            advice="Copy or export the scoring again",
        )
    return content


def too_large(limit: str, *, file: str) -> Rejection:
    """Give the rejection of a file that holds more than `limit`."""
    return Rejection(
        problem="annotation file too large",
        found=f"more than {limit} in {file}",
        wanted="the annotations of one recording",
        advice="Check that this is the scoring of one recording, and not the recording itself",
    )


def shorten(label: str) -> str:
    """Give a label as it may be shown in a table: one line, not too long, no control characters."""
    plain = "".join(sign if sign.isprintable() else " " for sign in label[: 4 * _LONGEST_LABEL])
    plain = " ".join(plain.split())
    return plain if len(plain) <= _LONGEST_LABEL else plain[: _LONGEST_LABEL - 3] + "..."


def _folded(labels: Mapping[str, M]) -> dict[str, M]:
    return {fold(label): meaning for label, meaning in labels.items()}


def _is_number(label: str) -> bool:
    return bool(re.fullmatch(r"-?[0-9]+", label))
