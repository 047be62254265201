"""Read scorings: stages per 30-s epoch and events in seconds.

A dataset's `dataset.yaml` says which format its files have and what their labels mean. A stage
label that it does not know rejects the recording, since guessing would corrupt the labels. So do
times that are no times, and a stage that lasts no time, which would label nothing.
"""

import csv
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from pathlib import Path

from somnoflow.config.annotation import Annotation
from somnoflow.io.edf import read_annotations
from somnoflow.io.rejection import Rejection
from somnoflow.stages import EPOCH_SECONDS, Stage

_LIKE_A_STAGE = re.compile(
    r"(sleep[ _-]?)?stage\b.*|W|wake|R|REM|(N|S|NREM)[ _-]?[1-4]", flags=re.IGNORECASE
)


@dataclass
class Scoring:
    """What an annotation file says.

    `stages` and `events` are lists of (onset in s, duration in s, Stage or event name), relative
    to `start` where the file has a clock of its own, else to the start of the recording; `marks`
    are (onset in s, mark name). `notes` are remarks for the cohort table.
    `unused` counts the labels that mean neither. `has_clock` says whether the format tells a start
    (EDF+), even where `start` is None because it is anonymised or no date.
    """

    stages: list[tuple[float, float, Stage]] = field(default_factory=list)
    events: list[tuple[float, float, str]] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    unused: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    start: datetime | None = None
    has_clock: bool = False


def read_scoring(path: Path, annotation: Annotation) -> Scoring:
    """Read one annotation file.

    Raises
    ------
    Rejection
        When the file cannot be read, or holds a stage label that `annotation` does not map.
    """
    if annotation.format == "codes":
        return _read_codes(path, annotation)
    if annotation.format == "edf+":
        start, found = read_annotations(path)
    else:
        start, found = None, _read_bids_tsv(path)
    scoring = Scoring(start=start, has_clock=annotation.format == "edf+")
    for onset, duration, label in found:
        _require_times(onset, duration, label=label, path=path)
        if label in annotation.stages:
            if not duration:
                raise _no_duration(label, onset=onset, path=path)
            scoring.stages.append((onset, duration, _stage(annotation.stages[label])))
        elif label in annotation.events:
            scoring.events.append((onset, duration, annotation.events[label]))
        elif label in annotation.marks:
            scoring.marks.append((onset, annotation.marks[label]))
        elif annotation.stages and _LIKE_A_STAGE.fullmatch(label):
            raise _unknown_stage(label, annotation)
        else:
            scoring.unused[label] += 1
    return scoring


def _stage(name: str) -> Stage:
    return Stage.UNSCORED if name == "unscored" else Stage[name]


def _read_codes(path: Path, annotation: Annotation) -> Scoring:
    lines = [line.strip() for line in _text(path).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    scoring = Scoring()
    for number, code in enumerate(lines):
        if code not in annotation.stages:
            raise _unknown_stage(code, annotation, where=f"line {number + 1} of {path.name}")
        stage = _stage(annotation.stages[code])
        scoring.stages.append((float(number * EPOCH_SECONDS), float(EPOCH_SECONDS), stage))
    return scoring


def _read_bids_tsv(path: Path) -> list[tuple[float, float, str]]:
    wanted = ("onset", "duration", "trial_type")
    # A quotation mark is a character like others: else an unpaired one would swallow lines.
    reader = csv.DictReader(_text(path).splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    if not set(wanted) <= set(reader.fieldnames or ()):
        raise Rejection(
            problem="columns missing in the annotation file",
            found=f"{', '.join(reader.fieldnames or ['(none)'])} in {path.name}",
            wanted=", ".join(wanted),
            advice="Check that the file is a tab-separated BIDS events file",
        )
    found = []
    for number, row in enumerate(reader, 2):
        try:
            onset, duration = float(row["onset"]), float(row["duration"])
        except (TypeError, ValueError) as error:
            raise Rejection(
                problem="not a number in the annotation file",
                found=f"onset {row['onset']!r}, duration {row['duration']!r}",
                wanted="seconds",
                advice=f"Correct line {number} of {path.name}",
            ) from error
        found.append((onset, duration, (row["trial_type"] or "").strip()))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Rejection(
            problem="the annotation file cannot be read",
            found=f"{path.name}: {error}",
            wanted="a readable text file (UTF-8)",
            advice="Check that the file exists, may be read and is text",
        ) from error


def _require_times(onset: float, duration: float, *, label: str, path: Path) -> None:
    if not (isfinite(onset) and isfinite(duration) and duration >= 0):
        raise Rejection(
            problem="not a time in the annotation file",
            found=f"'{label}' at {onset} s for {duration} s in {path.name}",
            wanted="an onset in seconds, and a duration of 0 s or more",
            advice="Correct the annotation, or export the scoring again",
        )


def _no_duration(label: str, *, onset: float, path: Path) -> Rejection:
    return Rejection(
        problem="stage without a duration",
        found=f"'{label}' at {onset:g} s in {path.name}",
        wanted="how long the stage lasts",
        advice="Export the scoring with durations, one annotation for each epoch or run",
    )


def _unknown_stage(label: str, annotation: Annotation, *, where: str = "") -> Rejection:
    return Rejection(
        problem="unknown stage label",
        found=f"'{label}'" + (f" in {where}" if where else ""),
        wanted=", ".join(f"'{known}'" for known in annotation.stages),
        advice="Say what it means under `stages` in the dataset's dataset.yaml",
    )
