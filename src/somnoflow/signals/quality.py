"""Flag epochs whose signal is not one: missing, zero, flat or clipped.

Flags are bits of one byte per epoch and channel; 0 is a good epoch. A zero line is how some files
say "nothing was recorded here"; it is flat too, as is a line that stays at another value because
an electrode was off.

`UNUSABLE` are the flags of epochs without a signal: no model is trained or tested on them.
OUT_OF_RANGE and LINE_NOISE alone only warn: there is a signal, however bad, and a laboratory wants
its stage. To leave such epochs out of a test would flatter the results.
"""

from enum import IntFlag

import numpy as np
import numpy.typing as npt

from somnoflow.config.signals import Quality


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


def quality_flags(
    epochs: npt.NDArray[np.float64],
    *,
    limits: tuple[float, float],
    step: float,
    quality: Quality,
) -> npt.NDArray[np.uint8]:
    """Flag zero, flat and clipped epochs of an unfiltered signal.

    Parameters
    ----------
    epochs
        Shape (epochs, samples), in the unit that `quality.flat_std` is meant in.
    limits
        Values at the recorder's digital limits, in the same unit.
    step
        Value of one digital step of the recorder, in the same unit.
    quality
        Thresholds.

    Returns
    -------
    Array of shape (epochs,), uint8, of `Flag` bits.
    """
    flat = (epochs.std(axis=1) <= quality.flat_std) | (_longest_run(epochs) > quality.flat_fraction)
    low, high = limits
    # Half a step of room: a limit and the sample at it may differ in their last digits.
    at_limit = (epochs < low + step / 2) | (epochs > high - step / 2)
    clipped = at_limit.mean(axis=1) > quality.clipped_fraction
    zero = (np.abs(epochs) <= step).all(axis=1)
    return ((flat | zero) * Flag.FLAT + (clipped & ~flat) * Flag.CLIPPED + zero * Flag.ZERO).astype(
        np.uint8
    )


def _longest_run(epochs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give the share of each epoch that its longest stretch of one constant value takes."""
    changes = np.diff(epochs, axis=1) != 0
    positions = np.arange(1, epochs.shape[1])
    last_change = np.maximum.accumulate(np.where(changes, positions, 0), axis=1)
    return (positions - last_change + 1).max(axis=1) / epochs.shape[1]
