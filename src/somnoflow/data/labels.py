"""The labels of a recording: which epochs it has, the stage and the events of each.

What is decided here:

- Epochs begin where the scorer's pages do. Where all stages begin on a grid of 30 s, or of 20 s,
  that does not start with the signal, the first epoch begins with the grid: else every label would
  belong to another stretch of the signal than the scorer saw.
- An epoch has the stage that covers the most of it, and at least half. Of 20-s pages one always
  lies wholly inside an epoch, so it decides.
- A scoring with a date is laid over the signal by both clocks. One that tells only the time of day
  is laid over the twelve hours before and after the signal's start.
- Times before the start or after the end of the signal are cut off there.
- AHI: apneas and hypopneas whose middle lies in an epoch of sleep, per hour of sleep (AASM manual,
  version 3, between lights off and lights on where they are known). It is given only where the
  annotations can name apneas and hypopneas.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from somnoflow.config.annotation import EventName
from somnoflow.config.dataset import Reading
from somnoflow.io.annotations import Scoring, read_scoring
from somnoflow.io.rejection import Rejection
from somnoflow.io.source import SourceRecording
from somnoflow.signals.epochs import Grid
from somnoflow.stages import EPOCH_SECONDS, SCORED_STAGES, Stage

EVENT_NAMES: tuple[str, ...] = get_args(EventName)
APNEAS = ("obstructive_apnea", "central_apnea", "mixed_apnea")
PAGES = (30, 20)
DAY_SECONDS = 86_400

Spans = Sequence[tuple[float, float, str]]
Stages = Sequence[tuple[float, float, Stage]]


@dataclass(frozen=True)
class Labels:
    """Stage (epochs,) int8 and seconds of each event (epochs,) of the epochs of `grid`.

    An event that the annotations cannot name is None: nobody looked for it. `summary` goes into
    the cohort table: lights off and on (s), minutes of sleep and AHI, "" where not known.
    """

    grid: Grid
    stage: npt.NDArray[np.int8]
    events: Mapping[str, npt.NDArray[np.float32] | None]
    summary: Mapping[str, Any]
    notes: Sequence[str]


def read_labels(
    entry: Mapping[str, Any],
    *,
    folder: Path,
    reading: Reading,
    source: SourceRecording,
    wake_margin_minutes: float | None,
) -> Labels:
    """Read a recording's annotation files and lay them over its epochs.

    Parameters
    ----------
    entry
        Relative paths `signal`, `stages` and `events`, None where there is no such file.
    folder
        Folder that the paths are relative to.
    reading
        What the dataset's labels mean.
    source
        The recording.
    wake_margin_minutes
        Minutes of wake to keep around sleep; all where None.

    Raises
    ------
    Rejection
        When an annotation cannot be read, or is of another time.
    """
    notes: list[str] = []
    files = {"stages": entry["stages"], "events": entry["events"]}
    if reading.stages_inside:
        files["stages"] = entry["signal"]
    named = [
        (kind, annotation, read_scoring(folder / files[kind], annotation))
        for kind, annotation in (("stages", reading.stages), ("events", reading.events))
        if annotation is not None and files[kind] is not None
    ]
    stages: list[tuple[float, float, Stage]] = []
    spans: list[tuple[float, float, str]] = []
    marks: dict[str, float] = {}
    for kind, _, scoring in named:
        offset = _offset(scoring, source, notes, kind=kind)
        spans += [(onset + offset, duration, name) for onset, duration, name in scoring.events]
        marks |= {name: onset + offset for onset, name in scoring.marks}
        if kind == "stages":
            stages = [(onset + offset, length, stage) for onset, length, stage in scoring.stages]
            _require_stages(stages, source=source, file=files[kind])
    onset = _page_onset(stages, source=source, notes=notes)
    epochs = int((source.seconds - onset + 1e-6) // EPOCH_SECONDS)
    stage = stage_per_epoch(stages, epochs=epochs, offset=-onset)
    if stages:
        _note_stages(stages, epochs=epochs, onset=onset, notes=notes)
    _note_events(spans, seconds=source.seconds, notes=notes)
    for _, _, scoring in named:
        notes += scoring.notes
        for label, count in sorted(scoring.unused.items()):
            notes.append(f"annotation '{label}' not used ({count} times)")
    grid = Grid(onset=onset, epochs=epochs)
    scored: set[str] = {name for _, annotation, _ in named for name in annotation.events.values()}
    summary = _summary(stage, spans=spans, marks=marks, grid=grid, can_name=scored)
    if wake_margin_minutes is not None and stages:
        grid = _cropped(stage, grid=grid, minutes=wake_margin_minutes, notes=notes)
    kept = slice(grid.first, grid.first + grid.epochs)
    seconds = event_seconds(spans, epochs=epochs, offset=-onset)
    return Labels(
        grid=grid,
        stage=stage[kept],
        events={name: seconds[name][kept] if name in scored else None for name in EVENT_NAMES},
        summary=summary,
        notes=notes,
    )


def stage_per_epoch(stages: Stages, *, epochs: int, offset: float = 0.0) -> npt.NDArray[np.int8]:
    """Give the stage of each 30-s epoch: the one that covers the most of it, at least half.

    Where two stages cover the same half or more, the scoring contradicts itself (or is shifted by
    half an epoch against the signal), and the epoch is unscored.

    Parameters
    ----------
    stages
        (onset s, duration s, Stage).
    epochs
        Number of epochs of the recording.
    offset
        Seconds to add to each onset.

    Returns
    -------
    Array of shape (epochs,), int8; -1 where no stage, or more than one, covers half of the epoch
    and more of it than each other stage.
    """
    seconds = np.stack(
        [
            _overlap([span for span in stages if span[2] is stage], epochs=epochs, offset=offset)
            for stage in SCORED_STAGES
        ],
        axis=1,
    )
    best = seconds.argmax(axis=1)
    ordered = np.sort(seconds, axis=1)
    clear = (ordered[:, -1] >= EPOCH_SECONDS / 2) & (ordered[:, -1] > ordered[:, -2])
    return np.where(clear, best, Stage.UNSCORED).astype(np.int8)


def event_seconds(
    events: Spans, *, epochs: int, offset: float = 0.0
) -> dict[str, npt.NDArray[np.float32]]:
    """Give the seconds of each event type that overlap each epoch, shape (epochs,) each."""
    return {
        name: np.minimum(
            _overlap([span for span in events if span[2] == name], epochs=epochs, offset=offset),
            EPOCH_SECONDS,
        ).astype(np.float32)
        for name in EVENT_NAMES
    }


def _overlap(
    spans: Sequence[tuple[float, float, Any]], *, epochs: int, offset: float
) -> npt.NDArray[np.floating[Any]]:
    """Give the seconds of all spans in each epoch: the rise of what was covered up to its edges."""
    edges = np.arange(epochs + 1) * float(EPOCH_SECONDS)
    times = np.asarray([(onset, onset + length) for onset, length, _ in spans], np.float64)
    begins, ends = np.sort(np.clip(times.reshape(-1, 2) + offset, 0.0, edges[-1]), axis=0).T
    covered = _seconds_since(begins, edges) - _seconds_since(ends, edges)
    # A thousandth of a millisecond: halves of an epoch must stay equal halves.
    return np.diff(covered).round(6)


def _seconds_since(
    times: npt.NDArray[np.floating[Any]], edges: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.floating[Any]]:
    """Give, for each edge, the sum of its distances to all `times` (sorted) before it."""
    before = np.searchsorted(times, edges)
    return before * edges - np.concatenate([[0.0], np.cumsum(times)])[before]


def _offset(scoring: Scoring, source: SourceRecording, notes: list[str], *, kind: str) -> float:
    """Give the seconds from the start of the signal to the zero of a scoring's onsets.

    Onsets that count from a clock are shifted to the signal's; a clock that onsets do not count
    from is compared only. Either way a difference is noted.
    """
    if source.start is not None and scoring.start is not None:
        difference = (scoring.start - source.start).total_seconds()
    elif source.start is not None and scoring.clock is not None:
        difference = _seconds_apart(scoring.clock, source.start.time())
    else:
        if scoring.has_clock:
            which = "signal" if source.start is None else f"{kind} file"
            notes.append(f"start of the {which} not known; {kind} taken to begin with the signal")
        return 0.0
    if not difference:
        return 0.0
    if scoring.has_clock:
        notes.append(
            f"annotation of {kind} starts {difference:+g} s from the signal; shifted by that"
        )
        return difference
    notes.append(
        f"clock of {kind} begins {difference:+g} s from the signal's, though its onsets count from "
        "the start of the recording; not shifted"
    )
    return 0.0


def _seconds_apart(clock: time, start: time) -> float:
    """Give the seconds from `start` to the nearest moment with the time of day `clock`."""
    midnight = datetime.min
    apart = datetime.combine(midnight, clock) - datetime.combine(midnight, start)
    half_a_day = DAY_SECONDS / 2
    return (apart.total_seconds() + half_a_day) % DAY_SECONDS - half_a_day


def _require_stages(stages: Stages, *, source: SourceRecording, file: str) -> None:
    if not stages:
        raise Rejection(
            problem="no stages in the annotation file",
            found=f"{file} without any stage",
            wanted="the stage of each epoch",
            advice="Check that this is the scoring; else take its row out of the manifest",
        )
    begin = min(onset for onset, _, _ in stages)
    end = max(onset + duration for onset, duration, _ in stages)
    if begin >= source.seconds or end <= 0:
        raise Rejection(
            problem="annotation of another time",
            found=f"stages from {begin:g} s to {end:g} s after the start of the signal",
            wanted=f"stages within the signal's {source.seconds:g} s",
            advice="Check that both files are of the same night, and the start in their headers",
        )


def _page_onset(stages: Stages, *, source: SourceRecording, notes: list[str]) -> float:
    """Give the second of the recording at which the scorer's pages begin; misalignment is noted."""
    scored = [begin for begin, _, stage in stages if stage is not Stage.UNSCORED]
    sample = 1 / max((signal.sampling_rate for signal in source.signals), default=1.0)
    for page in PAGES:
        phases = np.asarray(scored) % page
        apart = np.abs(phases - phases[:1])
        if (np.minimum(apart, page - apart) <= sample).all():
            break
    else:
        notes.append(
            "stages begin on no grid of 30 or 20 s; epochs begin with the signal, and each has the "
            "stage that covers the most of it"
        )
        return 0.0
    onset = float(phases[0]) if scored else 0.0
    if min(onset, page - onset) <= sample:
        return 0.0
    notes.append(f"epochs begin {onset:g} s after the start of the signal, with the scored pages")
    return onset


def _note_stages(stages: Stages, *, epochs: int, onset: float, notes: list[str]) -> None:
    end = max(begin + duration for begin, duration, _ in stages) - onset
    difference = round(end / EPOCH_SECONDS) - epochs
    if difference < 0:
        notes.append(f"annotation ends {_epochs(-difference)} before the signal; unscored there")
    elif difference > 0:
        notes.append(f"annotation goes on {_epochs(difference)} after the signal; ignored there")
    covered = _overlap(stages, epochs=epochs, offset=-onset)
    overlapping = int((covered > EPOCH_SECONDS + 0.1).sum())
    if overlapping:
        notes.append(f"stages overlap in {_epochs(overlapping)}")


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"


def _note_events(spans: Spans, *, seconds: float, notes: list[str]) -> None:
    outside = sum(1 for onset, length, _ in spans if onset >= seconds or onset + length < 0)
    if outside:
        notes.append(f"{outside} events lie outside the recording")
    instants = sum(1 for _, length, _ in spans if not length)
    if instants:
        notes.append(f"{instants} events have no duration and count no seconds")


def _summary(
    stage: npt.NDArray[np.int8],
    *,
    spans: Spans,
    marks: Mapping[str, float],
    grid: Grid,
    can_name: set[str],
) -> dict[str, Any]:
    """Give lights off and on (s), minutes of sleep and AHI; "" where not known."""
    off, on = marks.get("lights_off"), marks.get("lights_on")
    begins = grid.onset + np.arange(len(stage)) * EPOCH_SECONDS
    in_bed = (begins >= (0 if off is None else off) - EPOCH_SECONDS / 2) & (
        begins < (np.inf if on is None else on)
    )
    asleep = (stage > Stage.W) & in_bed
    minutes = float(asleep.sum()) * EPOCH_SECONDS / 60
    known = bool((stage >= 0).any())
    breathing = "hypopnea" in can_name and bool(can_name & set(APNEAS))
    ahi: float | str = ""
    if known and minutes and breathing:
        middles = [
            onset + length / 2 - grid.onset
            for onset, length, name in spans
            if name in (*APNEAS, "hypopnea")
        ]
        places = (np.asarray(middles) // EPOCH_SECONDS).astype(np.int64)
        places = places[(places >= 0) & (places < len(stage))]
        ahi = round(float(asleep[places].sum()) * 60 / minutes, 2)
    return {
        "lights_off_s": "" if off is None else round(off, 3),
        "lights_on_s": "" if on is None else round(on, 3),
        "sleep_minutes": minutes if known else "",
        "ahi": ahi,
    }


def _cropped(stage: npt.NDArray[np.int8], *, grid: Grid, minutes: float, notes: list[str]) -> Grid:
    """Keep `minutes` before the first and after the last epoch of sleep."""
    asleep = np.flatnonzero(stage > Stage.W)
    if not asleep.size:
        notes.append("no sleep was scored, so no wake is cropped")
        return grid
    margin = int(minutes * 60 // EPOCH_SECONDS)
    first = max(0, int(asleep[0]) - margin)
    last = min(len(stage), int(asleep[-1]) + 1 + margin)
    if last - first < len(stage):
        notes.append(
            f"{_epochs(first)} before and {len(stage) - last} after sleep dropped "
            "(signals.wake_margin_minutes)"
        )
    return Grid(onset=grid.onset, epochs=last - first, first=first)
