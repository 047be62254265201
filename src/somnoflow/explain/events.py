"""Spindles and slow waves of an EEG, as YASA finds them (doi 10.7554/eLife.70092)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from somnoflow.stages import EPOCH_SECONDS
from somnoflow.training.reading import Floats

# YASA's thresholds of spindles are set by what is around them.
AROUND = 4
MICROVOLTS = "uV"
# YASA filters up to 30 Hz.
LEAST_RATE = 64


class Event(NamedTuple):
    """A part of an epoch, in seconds from its beginning; it may pass its ends."""

    onset_s: float
    duration_s: float


class Found(NamedTuple):
    """What was found in an epoch; None where it was not looked for."""

    spindles: list[Event] | None
    slow_waves: list[Event] | None


NOT_LOOKED_FOR = Found(None, None)


def find_events(epochs: Floats, *, place: int, sampling_rate: int) -> Found:
    """Find the spindles and slow waves of an epoch, with YASA's own thresholds, whatever its stage.

    Parameters
    ----------
    epochs
        EEG in microvolts (n, T): epochs that follow each other, some before and after this one.
    place
        The epoch among them.
    sampling_rate
        Hz; below 64 nothing is looked for.
    """
    if sampling_rate < LEAST_RATE:
        return NOT_LOOKED_FOR
    # YASA takes many seconds to import.
    import yasa  # noqa: PLC0415

    stretch = epochs.astype(np.float64).ravel()
    begin = float(place * EPOCH_SECONDS)
    # It warns of each stretch without any, which is an answer here.
    spindles = yasa.spindles_detect(stretch, sf=sampling_rate, verbose="ERROR")
    slow_waves = yasa.sw_detect(stretch, sf=sampling_rate, verbose="ERROR")
    return Found(_inside(spindles, begin=begin), _inside(slow_waves, begin=begin))


def _inside(found: Any, *, begin: float) -> list[Event]:
    """Give the events that overlap the epoch from `begin` on; YASA gives None for none."""
    if found is None:
        return []
    table = found.summary()
    events = [
        Event(round(float(onset) - begin, 3), round(float(duration), 3))
        for onset, duration in zip(table["Start"], table["Duration"], strict=True)
    ]
    return [one for one in events if one.onset_s < EPOCH_SECONDS and sum(one) > 0]


def stretch_around(numbers: Sequence[int], place: int) -> tuple[int, int]:
    """Give which of some epochs, by their ascending numbers, go without a gap around one of them.

    Returns
    -------
    The first, and the one after the last: at most `AROUND` on each side.
    """
    begin = stop = place
    while begin > max(0, place - AROUND) and numbers[begin - 1] == numbers[begin] - 1:
        begin -= 1
    while stop < min(len(numbers) - 1, place + AROUND) and numbers[stop + 1] == numbers[stop] + 1:
        stop += 1
    return begin, stop + 1
