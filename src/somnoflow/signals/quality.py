"""Flag epochs whose signal is not one, or is doubtful.

Flags are bits of one byte per epoch and channel; 0 is a good epoch. A zero line is how some files
say "nothing was recorded here"; it is flat too, as is a line that stays at another value because
an electrode was off.

`UNUSABLE` are the flags of epochs without a signal: no model is trained or tested on them.
OUT_OF_RANGE and LINE_NOISE alone only warn: there is a signal, however bad, and a laboratory wants
its stage. To leave such epochs out of a test would flatter the results.
"""

from enum import IntFlag
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from somnoflow.config.signals import Quality

Epochs = npt.NDArray[np.float32]
Flags = npt.NDArray[np.uint8]

LINES_HZ = (50, 60)
_LINE_HALF_WIDTH_HZ = 1
_PARTS = 10  # of an epoch: spectra of 3 s resolve 2/3 Hz around a line
_BATCH = 32  # epochs that are looked at together: they stay in the processor's cache


class Flag(IntFlag):
    """What is wrong with an epoch of a channel."""

    GOOD = 0
    MISSING = 1
    FLAT = 2
    CLIPPED = 4
    ZERO = 8
    OUT_OF_RANGE = 16
    LINE_NOISE = 32
    DISCONNECTED = 64


UNUSABLE = Flag.MISSING | Flag.FLAT | Flag.CLIPPED | Flag.ZERO | Flag.DISCONNECTED


def flat_flags(epochs: Epochs, *, step: float, flat_std: float, flat_fraction: float) -> Flags:
    """Flag zero and flat epochs of an unfiltered signal.

    Parameters
    ----------
    epochs
        Shape (epochs, samples).
    step
        Value of one digital step of the recorder, in the unit of the signal.
    flat_std
        Largest standard deviation of a flat epoch, in the unit of the signal.
    flat_fraction
        Largest share of an epoch that may be one constant value.

    Returns
    -------
    Array of shape (epochs,), uint8, of `Flag` bits.
    """
    if not epochs.size:
        return np.zeros(len(epochs), np.uint8)
    low, high = epochs.min(axis=1), epochs.max(axis=1)
    zero = (low >= -step) & (high <= step)
    flat = zero.copy()
    samples = epochs.shape[1]
    # Two samples that differ by more than this deviate too much, were all others at their middle.
    narrow = high - low <= flat_std * np.sqrt(2 * samples) * (1 + 1e-6)
    for number in np.flatnonzero(~flat & narrow):
        flat[number] = epochs[number].std() <= flat_std
    # A run of more than a share leaves room for few changes: only such epochs are looked at.
    changes = np.count_nonzero(epochs[:, 1:] != epochs[:, :-1], axis=1)
    for number in np.flatnonzero(~flat & (changes < samples * (1 - flat_fraction) + 1)):
        flat[number] = _longest_run(epochs[number]) > flat_fraction * samples
    return (flat * Flag.FLAT + zero * Flag.ZERO).astype(np.uint8)


def clipped_flags(
    epochs: Epochs, *, limits: tuple[float, float], step: float, fraction: float
) -> Flags:
    """Flag epochs with more than a share of their samples at the limits of the recorder.

    `limits` are its values at the digital limits and `step` is that of one digital step; a flat
    epoch at a limit is flagged too.
    """
    # Half a step of room: a limit and the sample at it may differ in their last digits.
    low, high = limits[0] + step / 2, limits[1] - step / 2
    share = _share_outside(epochs, low=low, high=high)
    return ((share > fraction) * Flag.CLIPPED).astype(np.uint8)


def range_flags(epochs: Epochs, *, limits: tuple[float, float], fraction: float) -> Flags:
    """Flag epochs with more than a share of their samples outside of the plausible values."""
    share = _share_outside(epochs, low=limits[0], high=limits[1])
    return ((share > fraction) * Flag.OUT_OF_RANGE).astype(np.uint8)


def line_noise_share(epochs: Epochs, *, sampling_rate: float) -> Epochs | None:
    """Give the share of each epoch's power within 1 Hz of a mains frequency.

    The power is that of the unfiltered signal without its mean, in ten parts of each epoch under a
    Hann window; where the rate reaches both 50 and 60 Hz, the larger share counts.

    Returns
    -------
    Array of shape (epochs,), 0 for a constant epoch; None where the sampling rate does not reach
    the mains frequencies.
    """
    part = epochs.shape[1] // _PARTS
    lines = tuple(
        line for line in LINES_HZ if sampling_rate > 2 * (line + _LINE_HALF_WIDTH_HZ) and part
    )
    if not lines:
        return None
    waves, window = _line_waves(part, sampling_rate, lines)
    found = [
        _line_share(epochs[at : at + _BATCH], waves=waves, window=window, lines=len(lines))
        for at in range(0, len(epochs), _BATCH)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.float32)


def disconnected_flags(no_signal: npt.NDArray[np.bool_], *, least: int) -> Flags:
    """Flag runs of at least `least` epochs without a signal."""
    edges = np.diff(np.concatenate([[0], no_signal.astype(np.int8), [0]]))
    flags = np.zeros(len(no_signal), np.uint8)
    for begin, end in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True):
        if end - begin >= least:
            flags[begin:end] = Flag.DISCONNECTED
    return flags


def join_flags(flags: Flags, *, line_share: Epochs | None, quality: Quality) -> Flags:
    """Add line noise to the flags of each epoch, and the runs that come of all of them.

    A flat epoch is flat alone, though it may lie at a limit or outside of the plausible values. A
    zero line is where nothing was recorded, and no electrode that came off.
    """
    besides = np.uint8(Flag.CLIPPED | Flag.OUT_OF_RANGE)
    flags = np.where(flags & Flag.FLAT, flags & ~besides, flags).astype(np.uint8)
    no_signal = flags & (Flag.FLAT | Flag.CLIPPED | Flag.OUT_OF_RANGE) > 0
    if line_share is not None:
        flags |= ((line_share > quality.line_noise_fraction) * Flag.LINE_NOISE).astype(np.uint8)
        no_signal |= line_share > quality.line_only_fraction
    no_signal &= flags & Flag.ZERO == 0
    return flags | disconnected_flags(no_signal, least=quality.disconnected_epochs)


def _share_outside(epochs: Epochs, *, low: float, high: float) -> Epochs:
    share = np.zeros(len(epochs), np.float32)
    if not epochs.size:
        return share
    some = np.flatnonzero((epochs.min(axis=1) < low) | (epochs.max(axis=1) > high))
    for number in some:
        share[number] = ((epochs[number] < low) | (epochs[number] > high)).mean()
    return share


def _longest_run(samples: Epochs) -> int:
    changes = np.flatnonzero(samples[1:] != samples[:-1]) + 1
    return int(np.diff(np.concatenate([[0], changes, [len(samples)]])).max())


def _line_share(epochs: Epochs, *, waves: Epochs, window: Epochs, lines: int) -> Epochs:
    count, part = len(epochs), len(window)
    parts = epochs[:, : _PARTS * part].reshape(count, _PARTS, part)
    parts = (parts - epochs.mean(axis=1)[:, None, None]) * window
    total = np.einsum("epn,epn->e", parts, parts)
    # Products of a few rows are never spread over threads, whose wait is long.
    power = (parts.reshape(2 * count, _PARTS // 2, part) @ waves) ** 2
    at_lines = power.reshape(count, _PARTS, lines, -1).sum(axis=(1, 3)).max(axis=1)
    return np.divide(at_lines, total, out=np.zeros(count, np.float32), where=total > 0)


@lru_cache(maxsize=32)
def _line_waves(part: int, rate: float, lines: tuple[int, ...]) -> tuple[Epochs, Epochs]:
    """Give cosines and sines around the lines, and the window for the signal.

    Scaled so that the squares of the products with a windowed signal add up to its power there.
    """
    time = np.arange(part)
    columns = []
    around = np.arange(round(2 * _LINE_HALF_WIDTH_HZ * part / rate) + 1)
    for line in lines:
        bins = round((line - _LINE_HALF_WIDTH_HZ) * part / rate) + around
        angle = 2 * np.pi / part * time[:, None] * bins
        columns += [np.cos(angle), np.sin(angle)]
    waves = np.concatenate(columns, axis=1) * np.sqrt(2 / part)
    return waves.astype(np.float32), np.hanning(part + 1)[:-1].astype(np.float32)
