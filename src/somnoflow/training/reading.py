"""Signals of packed epochs, checked before they reach a model."""

from collections.abc import Sized
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from somnoflow.data.packed import Rows

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


class Epochs(Sized, Protocol):
    """Epochs of C channels that are read by row: `PackedEpochs`, `PooledChannels`."""

    channels: tuple[str, ...]
    samples: int
    sampling_rate: int
    table: pl.DataFrame
    present: Flags

    def rows(self, *, scored: bool) -> Rows:
        """Give the rows of usable epochs."""
        ...

    def read(self, rows: Rows) -> Floats:
        """Give signals (B, C, T) of rows (B,)."""
        ...


def read_finite(epochs: Epochs, rows: Rows) -> Floats:
    """Read signals (B, C, T); raise `ValueError` and name the first epoch that is not finite."""
    batch = epochs.read(rows)
    finite = np.asarray(np.isfinite(batch).all(axis=2))
    if not finite.all():
        channel = int(np.argmin(finite.all(axis=0)))
        good = finite[:, channel]
        first = epochs.table.row(int(rows[np.argmin(good)]), named=True)
        raise ValueError(
            f"channel {epochs.channels[channel]} is not finite in {np.count_nonzero(~good)} of "
            f"{len(rows)} epochs of a batch, first in epoch {first['epoch']} of recording "
            f"{first['recording']}, subject {first['subject']}. Make it again with: "
            "snakemake --forcerun pack"
        )
    return batch


def read_varying(epochs: Epochs, rows: Rows) -> tuple[Floats, Flags]:
    """Read signals (B, C, T) and which are present (B, C), for training.

    Raises
    ------
    ValueError
        When a signal is not finite, or a channel is constant in all epochs that it is present in.
    """
    batch, present = read_finite(epochs, rows), epochs.present[rows]
    varies = np.ptp(batch, axis=2) > 0
    for channel, name in enumerate(epochs.channels):
        there = present[:, channel]
        if np.count_nonzero(there) > 1 and not varies[there, channel].any():
            raise ValueError(
                f"channel {name} is constant in all {np.count_nonzero(there)} epochs of a "
                "batch although they are flagged usable; see signals.quality in the configuration"
            )
    return batch, present
