"""Packed signals in the unit that they were recorded in."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from somnoflow.config.unimodal import modality_of
from somnoflow.data.packed import PackedEpochs, Rows
from somnoflow.signals.channels import STORAGE
from somnoflow.training.reading import Floats, read_finite

NIGHT = ["dataset", "subject", "recording"]


class Measured(NamedTuple):
    """Signals (n, T) of a channel, and their unit."""

    values: Floats
    unit: str


class PackedMeasures:
    """Reads epochs of packed channels in physical units.

    Parameters
    ----------
    indexes
        `index.json` of the packed shards that `epochs` are from.
    epochs
        Packed epochs.
    """

    def __init__(self, indexes: Sequence[Path], epochs: PackedEpochs) -> None:
        self._epochs = epochs
        tables = [path.with_name("epochs.parquet") for path in sorted(indexes)]
        self._scalings = {
            channel: pl.concat(
                pl.scan_parquet(table, hive_partitioning=False)
                .select(
                    *NIGHT,
                    *(
                        pl.col(f"{channel}_{name}").alias(name)
                        for name in ("center", "gain", "scale")
                    ),
                )
                .unique()
                for table in tables
            ).collect()
            for channel in epochs.channels
        }

    def read(self, rows: Rows, *, channel: str) -> Measured:
        """Read epochs of one recording, in which the channel is present."""
        night = self._epochs.table[rows[:1]].select(NIGHT)
        [scaling] = night.join(self._scalings[channel], on=NIGHT).iter_rows(named=True)
        place = self._epochs.channels.index(channel)
        values = read_finite(self._epochs, rows)[:, place]
        samples = values / np.float32(scaling["gain"]) + np.float32(scaling["center"])
        return Measured(samples * np.float32(scaling["scale"]), STORAGE[modality_of(channel)].unit)
