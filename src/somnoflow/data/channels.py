"""The channels of a recording: choose, convert, filter, resample, cut and flag each one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from somnoflow.config.dataset import Reading
from somnoflow.config.signals import Signals
from somnoflow.io.edf import SourceRecording, SourceSignal
from somnoflow.io.parquet import ChannelEpochs
from somnoflow.io.rejection import Rejection
from somnoflow.signals.channels import MICROVOLTS, STORAGE, conversion, modality_of
from somnoflow.signals.epochs import INT16_MAX, Grid, cut, quantise
from somnoflow.signals.filters import bandpass, hold, resample
from somnoflow.signals.quality import Flag, quality_flags
from somnoflow.stages import EPOCH_SECONDS

MOST_BEYOND = 0.01


@dataclass(frozen=True)
class Channels:
    """Epochs of each canonical channel, its row of channels.tsv, and remarks on the recording."""

    epochs: Mapping[str, ChannelEpochs]
    rows: Sequence[dict[str, Any]]
    remarks: Sequence[str]


def read_channels(
    source: SourceRecording, *, reading: Reading, signals: Signals, grid: Grid
) -> Channels:
    """Choose, convert, filter, resample and cut the canonical channels of a recording.

    Parameters
    ----------
    source
        The recording.
    reading
        What the dataset's labels and units mean.
    signals
        Channels, filters, sampling rate and quality thresholds.
    grid
        Epochs to cut.

    Raises
    ------
    Rejection
        When no channel can be used.
    """
    epochs = grid.epochs
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
    return Channels(epochs=taken, rows=rows, remarks=doubts)


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
