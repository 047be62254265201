"""Epochs that follow each other and have the same class, as one annotation."""

from dataclasses import dataclass
from itertools import groupby

from somnoflow.scoring.hypnogram import Hypnogram
from somnoflow.stages import EPOCH_SECONDS


@dataclass(frozen=True)
class Run:
    """Consecutive epochs of one class: seconds from the start of the recording, and the class.

    `name` is None where the epochs have no usable signal.
    """

    onset_s: float
    duration_s: float
    name: str | None


def find_runs(hypnogram: Hypnogram) -> list[Run]:
    """Give the runs of a night, in the order of time; together they are all its epochs."""
    onsets = hypnogram.table["onset_s"].to_list()
    runs: list[Run] = []
    first = 0
    for name, epochs in groupby(hypnogram.classes):
        length = sum(1 for _ in epochs)
        runs.append(Run(onsets[first], float(length * EPOCH_SECONDS), name))
        first += length
    return runs
