"""Random access to packed epochs: one int16 array on disk per shard.

A packed shard is a folder with `signals.npy` (epoch, channel, time) int16, `epochs.parquet` (one
row per epoch, in the same order) and `index.json` (shapes, channels, digests). An epoch is read at
its place in the file. A memory map would be as fast, but its pages count as the process's memory
and grow with the cohort, and clusters kill jobs for that.
"""

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from somnoflow.io.digest import DigestError, require_sha256

Rows = npt.NDArray[np.int64]


class PackedEpochs:
    """One channel of the packed epochs of some subjects.

    Parameters
    ----------
    indexes
        `index.json` of each packed shard.
    channel
        Canonical channel, such as `EEG_C4`.
    subjects
        Subject keys (`dataset/subject`) to keep; every subject where None.

    Attributes
    ----------
    table
        One row per epoch, sorted by dataset, subject, recording and epoch: `dataset`, `subject`
        (the key `dataset/subject`), `recording`, `epoch`, `onset_s`, `stage` (-1 unscored) and
        `usable` (the channel is there and carries a signal).
    samples
        Samples per epoch, T.

    Raises
    ------
    ValueError
        When no shard has the channel, or shards differ in samples per epoch.
    DigestError
        When an epoch table is not the one its index names, or the signals have another shape.
    """

    def __init__(
        self,
        indexes: Sequence[Path],
        *,
        channel: str,
        subjects: Collection[str] | None = None,
    ) -> None:
        self.channel = channel
        self._signals: list[_Signals] = []
        tables = []
        lengths = set()
        for number, path in enumerate(sorted(indexes)):
            index = json.loads(path.read_text(encoding="utf-8"))
            if channel not in index["channels"]:
                raise ValueError(
                    f"{path} holds the channels {', '.join(index['channels'])}, wanted {channel}. "
                    "Add it to signals.channels in the configuration"
                )
            table_path = path.with_name("epochs.parquet")
            require_sha256(table_path, index["sha256"]["epochs.parquet"], made_by="pack")
            self._signals.append(
                _Signals(path.with_name("signals.npy"), index=index, channel=channel)
            )
            lengths.add(index["samples"])
            tables.append(
                pl.read_parquet(table_path).select(
                    "dataset",
                    "subject",
                    "recording",
                    "epoch",
                    "onset_s",
                    "stage",
                    usable=pl.col(f"{channel}_quality") == 0,
                    gain=f"{channel}_gain",
                    shard=pl.lit(number, pl.Int32),
                    row=pl.int_range(pl.len(), dtype=pl.Int64),
                )
            )
        if not tables:
            raise ValueError("no packed shard was given, wanted the index.json of at least one")
        if len(lengths) != 1:
            raise ValueError(f"shards differ in samples per epoch: {sorted(lengths)}")
        self.samples: int = lengths.pop()
        whole = pl.concat(tables)
        if subjects is not None:
            whole = whole.filter(pl.col("subject").is_in(sorted(subjects)))
        whole = whole.sort("dataset", "subject", "recording", "epoch")
        self._shard = whole["shard"].to_numpy()
        self._row = whole["row"].to_numpy()
        self._gain = whole["gain"].to_numpy()
        self.table = whole.drop("gain", "shard", "row")

    def __len__(self) -> int:
        return len(self.table)

    def rows(self, *, scored: bool) -> Rows:
        """Give the rows that may be trained on: usable, and scored where `scored` is true."""
        keep = self.table["usable"].to_numpy()
        if scored:
            keep = keep & (self.table["stage"].to_numpy() >= 0)
        return np.flatnonzero(keep)

    def read(self, rows: Rows) -> npt.NDArray[np.float32]:
        """Read epochs in robust-z units of their recording (median 0, IQR / 1.349 = 1).

        Parameters
        ----------
        rows
            Rows of `table`, shape (B,), in any order.

        Returns
        -------
        Array of shape (B, T), float32.
        """
        samples = np.empty((len(rows), self.samples), np.dtype("<i2"))
        for place, row in zip(samples, rows, strict=True):
            self._signals[self._shard[row]].read_into(place, row=int(self._row[row]))
        batch = samples.astype(np.float32)
        batch *= self._gain[rows, None]
        return batch


class _Signals:
    """One channel of a `signals.npy`, read epoch by epoch.

    Shape and type are compared with the index; the digest of the content is compared by whoever
    copies it, since reading all of it here would cost more than a training's start.
    """

    def __init__(self, path: Path, *, index: dict[str, Any], channel: str) -> None:
        wanted = (index["epochs"], len(index["channels"]), index["samples"])
        self._path = path
        self._file = path.open("rb", buffering=0)
        np.lib.format.read_magic(self._file)
        shape, fortran, kind = np.lib.format.read_array_header_1_0(self._file)
        begin = self._file.tell()
        size = begin + 2 * math.prod(wanted)
        found = path.stat().st_size
        if shape != wanted or kind != np.dtype("<i2") or fortran or found != size:
            raise DigestError(
                f"{path} holds {kind} of shape {shape} in {found} bytes, wanted int16 of shape "
                f"{wanted} in {size} bytes. Make it again with: snakemake --forcerun pack"
            )
        self._epoch_bytes = 2 * wanted[1] * wanted[2]
        self._begin = begin + 2 * wanted[2] * index["channels"].index(channel)

    def read_into(self, place: npt.NDArray[np.int16], *, row: int) -> None:
        """Read the samples of an epoch into `place`, shape (T,)."""
        self._file.seek(self._begin + row * self._epoch_bytes)
        if self._file.readinto(place.data) != place.nbytes:
            raise DigestError(f"{self._path} was cut short while it was read")
