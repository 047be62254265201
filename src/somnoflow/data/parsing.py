"""Turn one checked recording into epochs: choose channels, convert, filter, resample, cut, label.

Everything that is skipped is returned with its reason: a recording as `Rejection`, a channel as a
row with a `problem`, a label or an epoch as a note.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from somnoflow.config.dataset import Reading
from somnoflow.config.signals import Signals
from somnoflow.io.annotations import Scoring, event_seconds, read_scoring, stage_per_epoch
from somnoflow.io.edf import SourceRecording, SourceSignal, open_recording
from somnoflow.io.parquet import ChannelEpochs, RecordingEpochs
from somnoflow.io.rejection import Rejection
from somnoflow.signals.channels import MICROVOLTS, STORAGE, conversion, modality_of
from somnoflow.signals.epochs import INT16_MAX, cut, quantise
from somnoflow.signals.filters import bandpass, hold, resample
from somnoflow.signals.quality import Flag, quality_flags
from somnoflow.stages import EPOCH_SECONDS, SCORED_STAGES, Stage

MOST_BEYOND = 0.01


@dataclass(frozen=True)
class Parsed:
    """A recording cut into epochs, the row it adds to the cohort table, and its channels' rows."""

    epochs: RecordingEpochs
    row: dict[str, Any]
    channels: list[dict[str, Any]]


def parse_recording(
    entry: Mapping[str, Any], *, folder: Path, reading: Reading, signals: Signals
) -> Parsed:
    """Parse one recording.

    Parameters
    ----------
    entry
        `recording`, `subject`, `night` and the relative paths `signal`, `stages`, `events`
        (None where there is none).
    folder
        Folder that the paths are relative to.
    reading
        What the dataset's labels mean.
    signals
        Channels, filters, sampling rate and quality thresholds.

    Raises
    ------
    Rejection
        When the recording cannot be used at all.
    """
    source = open_recording(folder / entry["signal"])
    if source.seconds < signals.minimum_minutes * 60:
        raise Rejection(
            problem="recording too short",
            found=f"{source.seconds / 60:.1f} minutes",
            wanted=f"at least {signals.minimum_minutes:g} minutes",
            advice="Leave it out of the manifest, or lower signals.minimum_minutes",
        )
    epochs = int(source.seconds // EPOCH_SECONDS)
    stage, events, notes = _labels(
        entry, folder=folder, reading=reading, source=source, epochs=epochs
    )
    channels, rows, doubts = _channels(source, reading=reading, signals=signals, epochs=epochs)
    counts = {name.name: int((stage == name).sum()) for name in SCORED_STAGES}
    there = [name for name, channel in channels.items() if channel.samples is not None]
    first_eeg = next((name for name in there if modality_of(name) == "EEG"), there[0])
    quality = channels[first_eeg].quality
    row = {
        "subject": entry["subject"],
        "recording": entry["recording"],
        "night": entry["night"],
        "start": source.start.isoformat() if source.start else "",
        "hours": round(source.seconds / 3600, 4),
        "epochs": epochs,
        "scored": int((stage >= 0).sum()),
        "unscored": int((stage < 0).sum()),
        **counts,
        "flat": int((quality & Flag.FLAT > 0).sum()),
        "usable_stages": {
            name.name: int(((stage == name) & (quality == Flag.GOOD)).sum())
            for name in SCORED_STAGES
        },
        "notes": "; ".join([*notes, *doubts]),
    }
    identity = {"recording": entry["recording"], "subject": entry["subject"]}
    return Parsed(
        epochs=RecordingEpochs(
            **identity, night=entry["night"], stage=stage, events=events, channels=channels
        ),
        row=row,
        channels=[{"recording": entry["recording"], **channel} for channel in rows],
    )


def _labels(
    entry: Mapping[str, Any],
    *,
    folder: Path,
    reading: Reading,
    source: SourceRecording,
    epochs: int,
) -> tuple[npt.NDArray[np.int8], dict[str, npt.NDArray[np.float32]], list[str]]:
    scorings: dict[str, Scoring] = {}
    for kind, annotation in (("stages", reading.stages), ("events", reading.events)):
        if annotation is not None and entry[kind] is not None:
            scorings[kind] = read_scoring(folder / entry[kind], annotation)
    notes: list[str] = []
    stage = np.full(epochs, Stage.UNSCORED, np.int8)
    events: list[tuple[float, float, str]] = []
    for kind, scoring in scorings.items():
        offset = _offset(scoring, source, notes, kind=kind)
        events += [(onset + offset, duration, name) for onset, duration, name in scoring.events]
        if kind == "stages":
            _require_stages(scoring, offset=offset, source=source, file=entry[kind])
            stage = stage_per_epoch(scoring.stages, epochs=epochs, offset=offset)
            _note_length(scoring, offset=offset, epochs=epochs, notes=notes)
    _note_events(events, epochs=epochs, notes=notes)
    for scoring in scorings.values():
        for label, count in sorted(scoring.unused.items()):
            notes.append(f"annotation '{label}' not used ({count} times)")
    return stage, event_seconds(events, epochs=epochs), notes


def _offset(scoring: Scoring, source: SourceRecording, notes: list[str], *, kind: str) -> float:
    """Give the seconds from the start of the signal to the start of an annotation file."""
    if not scoring.has_clock:
        return 0.0
    if scoring.start is None or source.start is None:
        which = "signal" if source.start is None else f"{kind} file"
        notes.append(f"start of the {which} not known; {kind} taken to begin with the signal")
        return 0.0
    offset = (scoring.start - source.start).total_seconds()
    if offset:
        notes.append(f"annotation of {kind} starts {offset:+g} s from the signal; shifted by that")
    return offset


def _require_stages(scoring: Scoring, *, offset: float, source: SourceRecording, file: str) -> None:
    if not scoring.stages:
        raise Rejection(
            problem="no stages in the annotation file",
            found=f"{file} without any stage",
            wanted="the stage of each epoch",
            advice="Check that this is the scoring; else take its row out of the manifest",
        )
    begin = min(onset for onset, _, _ in scoring.stages) + offset
    end = max(onset + duration for onset, duration, _ in scoring.stages) + offset
    if begin >= source.seconds or end <= 0:
        raise Rejection(
            problem="annotation of another time",
            found=f"stages from {begin:g} s to {end:g} s after the start of the signal",
            wanted=f"stages within the signal's {source.seconds:g} s",
            advice="Check that both files are of the same night, and the start in their headers",
        )


def _note_events(events: list[tuple[float, float, str]], *, epochs: int, notes: list[str]) -> None:
    end = epochs * EPOCH_SECONDS
    outside = sum(1 for onset, length, _ in events if onset >= end or onset + length < 0)
    if outside:
        notes.append(f"{outside} events lie outside the recording")
    instants = sum(1 for _, length, _ in events if not length)
    if instants:
        notes.append(f"{instants} events have no duration and count no seconds")


def _note_length(scoring: Scoring, *, offset: float, epochs: int, notes: list[str]) -> None:
    end = max(onset + duration for onset, duration, stage in scoring.stages) + offset
    difference = round(end / EPOCH_SECONDS) - epochs
    if difference < 0:
        notes.append(f"annotation ends {-difference} epochs before the signal; they are unscored")
    elif difference > 0:
        notes.append(f"annotation goes on {difference} epochs after the signal; they are ignored")


def _channels(
    source: SourceRecording, *, reading: Reading, signals: Signals, epochs: int
) -> tuple[dict[str, ChannelEpochs], list[dict[str, Any]], list[str]]:
    taken: dict[str, ChannelEpochs] = {}
    rows: list[dict[str, Any]] = []
    doubts: list[str] = []
    for channel in signals.channels:
        chosen, reason = _choose(source, channel, reading)
        row: dict[str, Any] = {"channel": channel, "source": "", "unit": "", "sampling_rate": ""}
        if chosen is not None:
            row |= {
                "source": chosen.label,
                "unit": chosen.unit,
                "sampling_rate": f"{chosen.sampling_rate:g}",
            }
            try:
                taken[channel] = _convert(
                    chosen, channel=channel, reading=reading, signals=signals, epochs=epochs
                )
            except Rejection as rejection:
                reason = str(rejection)
        if channel in taken:
            doubts += _doubts(source, taken[channel], channel=channel, label=row["source"])
            flags = taken[channel].quality
            row |= {
                "epochs": epochs,
                "zero": int((flags & Flag.ZERO > 0).sum()),
                "flat": int((flags & Flag.FLAT > 0).sum()),
                "clipped": int((flags & Flag.CLIPPED > 0).sum()),
                "problem": "",
            }
        else:
            taken[channel] = ChannelEpochs(
                samples=None, scale=1.0, quality=np.full(epochs, Flag.MISSING, np.uint8)
            )
            row |= {"epochs": 0, "zero": 0, "flat": 0, "clipped": 0, "problem": reason}
        rows.append(row)
    if all(row["problem"] for row in rows):
        labels = ", ".join(signal.label for signal in source.signals) or "(no signals)"
        reasons = sorted({row["problem"] for row in rows})
        raise Rejection(
            problem="no usable channel",
            found=f"{labels} ({'; '.join(reasons)})",
            wanted=f"one of {', '.join(reading.channels)}",
            advice="Name the labels under `channels` in the dataset's dataset.yaml",
        )
    return taken, rows, doubts


def _doubts(
    source: SourceRecording, taken: ChannelEpochs, *, channel: str, label: str
) -> list[str]:
    """Say what may be wrong with a channel that is used all the same."""
    doubts = []
    namesakes = sum(signal.label == label for signal in source.signals)
    if namesakes > 1:
        doubts.append(f"{namesakes} signals are called '{label}'; the first is {channel}")
    good = np.asarray(taken.samples)[taken.quality == Flag.GOOD]
    beyond = float((np.abs(good) == INT16_MAX).mean()) if good.size else 0.0
    if beyond > MOST_BEYOND:
        unit = STORAGE[modality_of(channel)].unit
        doubts.append(
            f"{beyond:.0%} of {channel} lies beyond {taken.scale * INT16_MAX:.4g} {unit}; is the "
            "unit in the header right? Else say it under `units` in dataset.yaml"
        )
    return doubts


def _choose(
    source: SourceRecording, channel: str, reading: Reading
) -> tuple[SourceSignal | None, str]:
    wanted = [label for label, canonical in reading.channels.items() if canonical == channel]
    by_label = {signal.label: signal for signal in reversed(source.signals)}
    for label in wanted:
        if label in by_label:
            return by_label[label], ""
    if not wanted:
        return None, "the dataset has no label for this channel"
    return None, f"the recording has none of: {', '.join(wanted)}"


def _convert(
    signal: SourceSignal, *, channel: str, reading: Reading, signals: Signals, epochs: int
) -> ChannelEpochs:
    storage = STORAGE[modality_of(channel)]
    factor = conversion(reading.units.get(signal.label, signal.unit), channel=channel)
    samples = signal.physical() * factor
    rate = signal.sampling_rate
    if rate * EPOCH_SECONDS < 2:
        raise Rejection(
            problem="sampling rate too low",
            found=f"{rate:g} Hz",
            wanted=f"at least 2 samples in {EPOCH_SECONDS} s",
            advice="Take the channel out of signals.channels",
        )
    quality = _quality(samples, signal=signal, channel=channel, factor=factor, signals=signals)
    if storage.steps:
        samples = hold(samples, sampling_rate=rate, target=signals.sampling_rate)
    else:
        band = signals.filters.get(modality_of(channel))  # type: ignore[call-overload]
        if band is not None:
            samples = _filtered(samples, rate=rate, band=band)
        samples = resample(samples, sampling_rate=rate, target=signals.sampling_rate)
    length = signals.sampling_rate * EPOCH_SECONDS
    whole = cut(samples, length)[:epochs]
    if len(whole) < epochs or len(quality) < epochs:
        raise Rejection(
            problem="signal shorter than the recording",
            found=f"{min(len(whole), len(quality))} epochs",
            wanted=f"{epochs} epochs",
            advice="Check the sampling rate in the file's header",
        )
    scale = storage.scale or _scale_of(whole)
    return ChannelEpochs(samples=quantise(whole, scale), scale=scale, quality=quality[:epochs])


def _filtered(
    samples: npt.NDArray[np.float64], *, rate: float, band: tuple[float, float]
) -> npt.NDArray[np.float64]:
    try:
        return bandpass(samples, sampling_rate=rate, band=band)
    except ValueError as error:
        raise Rejection(
            problem="sampling rate too low",
            found=f"{rate:g} Hz",
            wanted=f"at least {sum(band):g} Hz for the band {band[0]:g}-{band[1]:g} Hz",
            advice="Take the channel out of signals.channels, or change its filter",
        ) from error


def _quality(
    samples: npt.NDArray[np.float64],
    *,
    signal: SourceSignal,
    channel: str,
    factor: float,
    signals: Signals,
) -> npt.NDArray[np.uint8]:
    storage = STORAGE[modality_of(channel)]
    length = signal.sampling_rate * EPOCH_SECONDS
    if storage.steps:
        # A steady saturation is a healthy one: of constant values only a zero line is none.
        zero = (np.abs(cut(samples, length)) <= signal.step * factor).all(axis=1)
        return np.where(zero, Flag.FLAT | Flag.ZERO, Flag.GOOD).astype(np.uint8)
    to_microvolts = MICROVOLTS.get(storage.unit, 1.0)
    low, high, step = (value * factor * to_microvolts for value in (*signal.limits, signal.step))
    quality = signals.quality
    if storage.unit not in MICROVOLTS:
        quality = quality.model_copy(update={"flat_std": 0.0})
    return quality_flags(
        cut(samples * to_microvolts, length), limits=(low, high), step=step, quality=quality
    )


def _scale_of(epochs: npt.NDArray[np.float64]) -> float:
    """Choose a step that leaves room for five times the 99.9th percentile."""
    size = np.abs(epochs)
    reach = 5 * float(np.quantile(size, 0.999)) or float(size.max())
    return reach / INT16_MAX if reach else 1.0
