"""The channels of a recording: read, convert, filter, resample, cut and flag each one.

What is decided here:

- A derivation is clipped where either electrode is, and flat where the active one is. A reference
  that is flat all night is the recorder's own; one that is flat at times was off then.
- Stretches between gaps are filtered and resampled each by itself. An epoch that a gap touches is
  missing.
- The whole recording is filtered before it is cut, also where only a part of it is kept.
- What is not used stays in the table: a channel with its reason, a signal with "not used".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from somnoflow.config.dataset import Reading
from somnoflow.config.signals import Quality, Signals
from somnoflow.data.leads import Lead, choose_lead, find_names
from somnoflow.data.recorded import Pieces, Recorded, Samples, read_lead
from somnoflow.io.parquet import ChannelEpochs
from somnoflow.io.rejection import Rejection
from somnoflow.io.source import SourceRecording
from somnoflow.signals.channels import (
    EACH,
    MICROVOLTS,
    STORAGE,
    amplitude,
    modality_of,
    resolve_unit,
)
from somnoflow.signals.epochs import INT16_MAX, Grid, cut, find_whole, quantise
from somnoflow.signals.filters import bandpass, hold, resample
from somnoflow.signals.quality import (
    UNUSABLE,
    Flag,
    Flags,
    clipped_flags,
    flat_flags,
    join_flags,
    line_noise_share,
    range_flags,
)
from somnoflow.stages import EPOCH_SECONDS

MOST_BEYOND = 0.01
_COUNTED = {
    "missing": Flag.MISSING,
    "zero": Flag.ZERO,
    "flat": Flag.FLAT,
    "clipped": Flag.CLIPPED,
    "out_of_range": Flag.OUT_OF_RANGE,
    "line_noise": Flag.LINE_NOISE,
    "disconnected": Flag.DISCONNECTED,
}


@dataclass(frozen=True)
class Channels:
    """Epochs of each canonical channel, its row of channels.tsv, and remarks on the recording.

    Rows with an empty `channel` are signals that were not used.
    """

    epochs: Mapping[str, ChannelEpochs]
    rows: Sequence[dict[str, Any]]
    remarks: Sequence[str]


@dataclass(frozen=True)
class _Places:
    """Where the epochs that lie wholly in a segment are.

    `which` are their places in the grid, and `begins` their seconds from the start of each segment.
    """

    which: npt.NDArray[np.int64]
    begins: Sequence[npt.NDArray[np.float64]]

    def cut(self, pieces: Pieces, *, rate: float) -> Samples:
        """Cut these epochs out of a signal's segments; shape (epochs, samples)."""
        parts = [
            cut(piece, begins=begins, sampling_rate=rate)
            for piece, begins in zip(pieces, self.begins, strict=True)
            if begins.size
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclass(frozen=True)
class _Flagged:
    """Flags of the epochs of a channel, and what was decided on the way.

    `knows_lines` is false where line noise cannot be seen at the sampling rate.
    """

    flags: Flags
    knows_lines: bool
    remark: str


@dataclass(frozen=True)
class _Taken:
    """A channel, its amplitude in the unit of storage, and what may be wrong with it."""

    epochs: ChannelEpochs
    amplitude: float
    knows_lines: bool
    remarks: tuple[str, ...]


def read_channels(
    source: SourceRecording, *, reading: Reading, signals: Signals, grid: Grid
) -> Channels:
    """Choose, derive, convert, filter, resample and cut the canonical channels of a recording.

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
    offer = find_names(source.signals, reading)
    leads: dict[str, Lead | str] = {
        channel: choose_lead(channel, offer=offer, reading=reading) for channel in signals.channels
    }
    taken: dict[str, _Taken | str] = {
        channel: _take(
            lead, channel=channel, source=source, reading=reading, signals=signals, grid=grid
        )
        for channel, lead in leads.items()
    }
    problems = {channel: found for channel, found in taken.items() if isinstance(found, str)}
    if len(problems) == len(taken):
        labels = ", ".join(signal.label for signal in source.signals) or "(no signals)"
        raise Rejection(
            problem="no usable channel",
            found=f"{labels} ({'; '.join(sorted(set(problems.values())))})",
            wanted=f"{' or '.join(signals.channels)} under one of: "
            f"{', '.join(reading.channels) or 'the common names'}",
            advice="Name the labels under `channels` in the dataset's dataset.yaml",
        )
    used = {id(one) for lead in leads.values() if isinstance(lead, Lead) for one in lead.signals}
    unused = [signal for signal in source.signals if id(signal) not in used]
    return Channels(
        epochs={
            channel: _missing(grid.epochs) if isinstance(found, str) else found.epochs
            for channel, found in taken.items()
        },
        rows=[
            *(_row(channel, lead=leads[channel], taken=found) for channel, found in taken.items()),
            *(
                _row("", lead=Lead((signal,)), taken="") | {"remark": "not used"}
                for signal in unused
            ),
        ],
        remarks=_remarks(taken, leads=leads),
    )


def _take(lead: Lead | str, *, channel: str, **how: Any) -> _Taken | str:
    """Read a channel, or give the reason why there is none."""
    if isinstance(lead, str):
        return lead
    try:
        return _read_channel(lead, channel=channel, **how)
    except Rejection as rejection:
        return str(rejection)


def _missing(epochs: int) -> ChannelEpochs:
    quality = np.full(epochs, Flag.MISSING, np.uint8)
    return ChannelEpochs(samples=None, scale=1.0, quality=quality)


def _remarks(taken: Mapping[str, _Taken | str], *, leads: Mapping[str, Lead | str]) -> list[str]:
    remarks = [
        f"{channel}: {remark}"
        for channel, found in taken.items()
        if not isinstance(found, str)
        for remark in found.remarks
    ]
    guessed = [name for name, lead in leads.items() if isinstance(lead, Lead) and lead.guessed]
    return [*([f"guessed from labels: {', '.join(guessed)}"] if guessed else []), *remarks]


def _row(channel: str, *, lead: Lead | str, taken: _Taken | str) -> dict[str, Any]:
    """Give a row of channels.tsv."""
    signals = lead.signals if isinstance(lead, Lead) else ()
    row: dict[str, Any] = {
        "channel": channel,
        "source": "-".join(signal.label for signal in signals),
        "unit": ", ".join(dict.fromkeys(signal.unit for signal in signals)),
        "sampling_rate": f"{signals[0].sampling_rate:g}" if signals else "",
    }
    remark = ["guessed from the label"] if isinstance(lead, Lead) and lead.guessed else []
    if isinstance(taken, str):
        counts = dict.fromkeys(_COUNTED, 0)
        return row | {
            "amplitude": "", "epochs": 0, **counts, "problem": taken, "remark": "".join(remark),
        }  # fmt: skip
    flags = taken.epochs.quality
    counts = {name: int(np.count_nonzero(flags & flag)) for name, flag in _COUNTED.items()}
    return row | {
        "amplitude": f"{taken.amplitude:.4g}",
        "epochs": len(flags),
        **counts,
        **({} if taken.knows_lines else {"line_noise": ""}),
        "problem": "",
        "remark": "; ".join([*remark, *taken.remarks]),
    }


def _read_channel(
    lead: Lead,
    *,
    channel: str,
    source: SourceRecording,
    reading: Reading,
    signals: Signals,
    grid: Grid,
) -> _Taken:
    storage = STORAGE[modality_of(channel)]
    recorded = read_lead(lead, source=source, reading=reading)
    places = _find_places(source, grid=grid)
    raw = places.cut(recorded.pieces, rate=recorded.rate)
    filtered = places.cut(
        [
            _filter(piece, rate=recorded.rate, channel=channel, signals=signals)
            if begins.size
            else piece
            for piece, begins in zip(recorded.pieces, places.begins, strict=True)
        ],
        rate=signals.sampling_rate,
    )
    # Constant lines say nothing about the size of a signal; of values that are held, only zeros.
    reach = raw.max(axis=1) - (0.0 if storage.steps else raw.min(axis=1))
    has_signal = reach > 2 * recorded.electrodes[0].step
    size = amplitude(filtered, has_signal=has_signal, channel=channel)
    unit = resolve_unit(recorded.unit, channel=channel, size=size)
    flagged = _flag(
        recorded,
        raw=raw,
        filtered=filtered,
        places=places,
        channel=channel,
        factor=unit.factor,
        quality=signals.quality,
    )
    scale = storage.scale or _scale_of(filtered)
    samples = quantise(filtered, scale / unit.factor)
    flags = flagged.flags
    silent = "" if has_signal.any() else "no epoch with a signal"
    if has_signal.any() and not size:
        silent = "no spread to scale it by, so it is not used for training"
    beyond = _doubt_range(samples, flags=flags, channel=channel, scale=scale)
    return _Taken(
        epochs=_spread(samples, flags=flags, which=places.which, scale=scale, epochs=grid.epochs),
        amplitude=size * unit.factor,
        knows_lines=flagged.knows_lines,
        remarks=tuple(filter(None, (*lead.remarks, silent, flagged.remark, unit.remark, beyond))),
    )


def _find_places(source: SourceRecording, *, grid: Grid) -> _Places:
    which = [
        find_whole(grid, onset=segment.onset, seconds=segment.seconds)
        for segment in source.segments
    ]
    if not any(numbers.size for numbers in which):
        raise Rejection(
            problem="no whole epoch",
            found=f"{len(which)} stretches between gaps",
            wanted=f"one that holds an epoch of {EPOCH_SECONDS} s",
            advice="Leave the recording out of the manifest",
        )
    return _Places(
        which=np.concatenate(which),
        begins=[
            grid.begins()[numbers] - segment.onset
            for numbers, segment in zip(which, source.segments, strict=True)
        ],
    )


def _filter(piece: Samples, *, rate: float, channel: str, signals: Signals) -> Samples:
    """Filter and resample one segment; values that are held are not filtered."""
    modality = modality_of(channel)
    if STORAGE[modality].steps:
        return hold(piece, sampling_rate=rate, target=signals.sampling_rate)
    band = signals.filters.get(modality)  # type: ignore[call-overload]
    if band is not None:
        try:
            piece = bandpass(piece, sampling_rate=rate, band=band)
        except ValueError as error:
            raise Rejection(
                problem="sampling rate too low",
                found=f"{rate:g} Hz",
                wanted=f"at least {sum(band):g} Hz for the band {band[0]:g}-{band[1]:g} Hz",
                advice="Take the channel out of signals.channels, or change its filter",
            ) from error
    return resample(piece, sampling_rate=rate, target=signals.sampling_rate)


def _flag(
    recorded: Recorded,
    *,
    raw: Samples,
    filtered: Samples,
    places: _Places,
    channel: str,
    factor: float,
    quality: Quality,
) -> _Flagged:
    """Flag the epochs of a channel; `factor` leads from the recorded unit to the stored one."""
    modality = modality_of(channel)
    storage = STORAGE[modality]
    microvolts = factor * MICROVOLTS[storage.unit] if storage.unit in MICROVOLTS else None
    flatness = {"flat_std": 0.0, "flat_fraction": quality.flat_fraction}
    if storage.steps:
        # A steady saturation is a healthy one: of constant values only a zero line is none.
        flatness = {"flat_std": -1.0, "flat_fraction": 1.0}
    elif microvolts is not None:
        flatness["flat_std"] = quality.flat_std / microvolts
    own = []
    for electrode in recorded.electrodes:
        epochs = places.cut(electrode.pieces, rate=recorded.rate)
        found = flat_flags(epochs, step=electrode.step, **flatness)
        if not storage.steps:
            found |= clipped_flags(
                epochs,
                limits=electrode.limits,
                step=electrode.step,
                fraction=quality.clipped_fraction,
            )
        own.append(found)
    flags, *reference = own
    remark = ""
    if reference:
        flags |= flat_flags(raw, step=recorded.electrodes[0].step, **flatness)
        if (reference[0] & Flag.FLAT).all():
            remark = "the reference is flat all night; taken as the recorder's own"
        else:
            flags |= reference[0]
    limits = quality.ranges.get(modality)  # type: ignore[call-overload]
    if limits is not None:
        low, high = (value / factor for value in limits)
        flags |= range_flags(filtered, limits=(low, high), fraction=quality.out_of_range_fraction)
    line = None if microvolts is None else line_noise_share(raw, sampling_rate=recorded.rate)
    return _Flagged(join_flags(flags, line_share=line, quality=quality), line is not None, remark)


def _doubt_range(
    samples: npt.NDArray[np.int16], *, flags: Flags, channel: str, scale: float
) -> str:
    """Say how much of a channel lies beyond what int16 holds, where it is more than a little."""
    good = flags & UNUSABLE == 0
    reaches = good & ((samples.max(axis=1) == INT16_MAX) | (samples.min(axis=1) == -INT16_MAX))
    beyond = np.count_nonzero(np.abs(samples[reaches]) == INT16_MAX)
    beyond /= max(1, np.count_nonzero(good) * samples.shape[1])
    if beyond <= MOST_BEYOND:
        return ""
    unit = STORAGE[modality_of(channel)].unit
    return (
        f"{beyond:.0%} lies beyond {scale * INT16_MAX:.4g} {unit}; is the unit in the header "
        "right? Else say it under `units` in dataset.yaml"
    )


def _scale_of(epochs: Samples) -> float:
    """Choose a step that leaves room for five times the 99.9th percentile."""
    size = np.abs(epochs[:, ::EACH])
    reach = 5 * float(np.quantile(size, 0.999)) or float(np.abs(epochs).max())
    return reach / INT16_MAX if reach else 1.0


def _spread(
    samples: npt.NDArray[np.int16],
    *,
    flags: Flags,
    which: npt.NDArray[np.int64],
    scale: float,
    epochs: int,
) -> ChannelEpochs:
    """Lay epochs at their places in the grid; the others are missing."""
    if len(which) == epochs:
        return ChannelEpochs(samples=samples, scale=scale, quality=flags)
    everywhere = np.zeros((epochs, samples.shape[1]), np.int16)
    everywhere[which] = samples
    quality = np.full(epochs, Flag.MISSING, np.uint8)
    quality[which] = flags
    return ChannelEpochs(samples=everywhere, scale=scale, quality=quality)
