"""Random access to packed epochs: one int16 array on disk per shard.

A packed shard is a folder with `signals.npy` (epoch, channel, time) int16, `epochs.parquet` (one
row per epoch, in the same order) and `index.json` (shapes, channels, digests). The channels of an
epoch lie side by side, so an epoch is one read at its place in the file. A memory map would be
somewhat faster (docs/benchmarks.md), but its pages count as the process's memory and grow with the
cohort, and clusters kill jobs for that.

The samples are stored as they were measured; what scales them stands in the table, per recording
and channel (packing.py), and is applied here, when a batch is read.
"""

import json
import math
import os
from collections.abc import Collection, Sequence
from copy import copy
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from somnoflow.io.digest import DigestError, require_sha256
from somnoflow.signals.quality import UNUSABLE, Flag
from somnoflow.tasks import LABELS

Rows = npt.NDArray[np.int64]

BLOCK = 16  # epochs read and scaled at a time, while they are in the processor's cache

_COLUMNS = ("dataset", "subject", "recording", "epoch", "onset_s", *LABELS)
_NIGHT = pl.struct("dataset", "subject", "recording")


def read_usable(indexes: Sequence[Path], *, subjects: Collection[str]) -> pl.DataFrame:
    """Give the epochs of some subjects in which any of the packed channels carries a signal.

    Returns
    -------
    `dataset`, `subject`, `recording`, `epoch`, and the labels `stage`, `apnea`, `hypopnea` and
    `respiratory` (-1 unknown), sorted by the first four.

    Raises
    ------
    DigestError
        When an epoch table is not the one its index names.
    """
    keys = ["dataset", "subject", "recording", "epoch"]
    tables = []
    for path in sorted(indexes):
        index = json.loads(path.read_text(encoding="utf-8"))
        table_path = path.with_name("epochs.parquet")
        require_sha256(table_path, index["sha256"]["epochs.parquet"], made_by="pack")
        table = pl.scan_parquet(table_path, hive_partitioning=False).filter(
            pl.col("subject").is_in(sorted(subjects)),
            pl.any_horizontal(_present(channel) for channel in index["channels"]),
        )
        tables.append(table.select(*keys, *LABELS).collect())
    return pl.concat(tables).sort(keys)


class PackedEpochs:
    """Some channels of the packed epochs of some subjects.

    Parameters
    ----------
    indexes
        `index.json` of each packed shard.
    channels
        Canonical channels, such as `EEG_C4`, in the order that they are wanted in.
    subjects
        Subject keys (`dataset/subject`) to keep; every subject where None.
    require
        Whether an epoch is usable when `all` of the channels are present in it, or `any` of them.

    Attributes
    ----------
    table
        One row per epoch, sorted by dataset, subject, recording and epoch: `dataset`, `subject`
        (the key `dataset/subject`), `recording`, `epoch`, `onset_s`, `stage` (-1 unscored),
        `apnea`, `hypopnea`, `respiratory` (-1 where nobody looked), `quality` (the flags of all
        the channels) and `usable`.
    present
        (N, C): which channels are there, carry a signal and have a scale.
    samples
        Samples per epoch, T.
    sampling_rate
        Hz.

    Raises
    ------
    ValueError
        When a shard has not all the channels, or shards differ in sampling rate or in samples per
        epoch.
    DigestError
        When an epoch table is not the one its index names, or the signals have another shape.
    """

    def __init__(
        self,
        indexes: Sequence[Path],
        *,
        channels: Sequence[str],
        subjects: Collection[str] | None = None,
        require: Literal["all", "any"] = "all",
    ) -> None:
        self.channels = tuple(channels)
        self._signals: list[_Signals] = []
        tables = []
        lengths, rates = set(), set()
        for number, path in enumerate(sorted(indexes)):
            index = json.loads(path.read_text(encoding="utf-8"))
            missing = [channel for channel in channels if channel not in index["channels"]]
            if missing:
                raise ValueError(
                    f"{path} holds the channels {', '.join(index['channels'])}, wanted "
                    f"{', '.join(missing)}. Add it to signals.channels in the configuration"
                )
            table_path = path.with_name("epochs.parquet")
            require_sha256(table_path, index["sha256"]["epochs.parquet"], made_by="pack")
            self._signals.append(
                _Signals(path.with_name("signals.npy"), index=index, channels=channels)
            )
            lengths.add(index["samples"])
            rates.add(index["sampling_rate"])
            tables.append(_read_table(table_path, channels=channels, shard=number))
        if not tables:
            raise ValueError("no packed shard was given, wanted the index.json of at least one")
        if len(rates) != 1:
            raise ValueError(
                f"shards differ in sampling rate: {sorted(rates)} Hz. "
                "Make them again with: snakemake --forcerun parse"
            )
        if len(lengths) != 1:
            raise ValueError(f"shards differ in samples per epoch: {sorted(lengths)}")
        self.samples: int = lengths.pop()
        self.sampling_rate: int = rates.pop()
        whole = pl.concat(tables)
        if subjects is not None:
            whole = whole.filter(pl.col("subject").is_in(sorted(subjects)))
        whole = whole.sort("dataset", "subject", "recording", "epoch")
        self._shard = whole["shard"].to_numpy()
        self._row = whole["row"].to_numpy()
        # Scaling is the same in all epochs of a recording: keep it once.
        self._night = whole.select(_NIGHT.rle_id()).to_series().to_numpy().astype(np.int32)
        nights = whole[np.flatnonzero(np.diff(self._night, prepend=-1))]
        self._center = _matrix(nights, [f"{channel}_center" for channel in channels])
        self._gain = _matrix(nights, [f"{channel}_gain" for channel in channels])
        self._block = np.empty((BLOCK, len(channels), self.samples), np.dtype("<i2"))
        present = [whole[f"{channel}_present"].to_numpy() for channel in channels]
        self.present: npt.NDArray[np.bool_] = np.stack(present, axis=1)
        usable = self.present.all(axis=1) if require == "all" else self.present.any(axis=1)
        self.table = whole.select(*_COLUMNS, "quality", pl.Series("usable", usable))

    def __len__(self) -> int:
        return len(self.table)

    def only(self, subjects: Collection[str]) -> "PackedEpochs":
        """Give the epochs of some of the subjects; nothing is read again."""
        keep = self.table["subject"].is_in(sorted(subjects)).to_numpy()
        part = copy(self)
        part.table = self.table.filter(keep)
        part._shard, part._row, part._night = self._shard[keep], self._row[keep], self._night[keep]
        part.present = self.present[keep]
        return part

    def rows(self, *, scored: bool) -> Rows:
        """Give the rows that may be trained on: usable, and scored where `scored` is true."""
        keep = self.table["usable"].to_numpy()
        if scored:
            keep = keep & (self.table["stage"].to_numpy() >= 0)
        return np.flatnonzero(keep)

    def read(self, rows: Rows) -> npt.NDArray[np.float32]:
        """Read epochs, scaled as the section `pack` of the configuration said.

        Parameters
        ----------
        rows
            Rows of `table`, shape (B,), in any order.

        Returns
        -------
        Array of shape (B, C, T), float32, with the channels in the order asked for; zeros where one
        is not present.
        """
        scaled = np.empty((len(rows), *self._block.shape[1:]), np.float32)
        for begin in range(0, len(rows), len(self._block)):
            few = rows[begin : begin + len(self._block)]
            block = self._block[: len(few)]
            places = zip(block, self._shard[few].tolist(), self._row[few].tolist(), strict=True)
            for place, shard, row in places:
                self._signals[shard].read_into(place, row=row)
            night = self._night[few]
            part = scaled[begin : begin + len(few)]
            part[...] = block
            part -= self._center[night, :, None]
            part *= self._gain[night, :, None]
            part[~self.present[few]] = 0
        return scaled


class _Signals:
    """Some channels of a `signals.npy`, read epoch by epoch.

    Shape and type are compared with the index; the digest of the content is compared by whoever
    copies it, since reading all of it here would cost more than a training's start.
    """

    def __init__(self, path: Path, *, index: dict[str, Any], channels: Sequence[str]) -> None:
        wanted = (index["epochs"], len(index["channels"]), index["samples"])
        self._path = path
        self._file = path.open("rb", buffering=0)
        try:
            np.lib.format.read_magic(self._file)
            shape, fortran, kind = np.lib.format.read_array_header_1_0(self._file)
        except ValueError as error:
            raise DigestError(
                f"{path} ({path.stat().st_size} bytes) does not begin as an array does: {error}. "
                "Make it again with: snakemake --forcerun pack"
            ) from error
        begin = self._file.tell()
        size = begin + 2 * math.prod(wanted)
        found = path.stat().st_size
        if shape != wanted or kind != np.dtype("<i2") or fortran or found != size:
            raise DigestError(
                f"{path} holds {kind} of shape {shape} in {found} bytes, wanted int16 of shape "
                f"{wanted} in {size} bytes. Make it again with: snakemake --forcerun pack"
            )
        stored = [index["channels"].index(channel) for channel in channels]
        first, last = min(stored), max(stored)
        self._epoch_bytes = 2 * wanted[1] * wanted[2]
        self._begin = begin + 2 * wanted[2] * first
        # Where channels between or their order are not those asked for, read all and pick.
        self._picked = [place - first for place in stored]
        self._span = np.empty((last - first + 1, wanted[2]), np.dtype("<i2"))
        self._direct = self._picked == list(range(len(self._span)))

    def read_into(self, place: npt.NDArray[np.int16], *, row: int) -> None:
        """Read the samples of an epoch into `place`, shape (C, T)."""
        span = place if self._direct else self._span
        begin = self._begin + row * self._epoch_bytes
        # At a place of its own: a forked worker shares the file's position.
        if os.preadv(self._file.fileno(), [span.data], begin) != span.nbytes:
            raise DigestError(f"{self._path} was cut short while it was read")
        if not self._direct:
            np.take(span, self._picked, axis=0, out=place)


def _read_table(path: Path, *, channels: Sequence[str], shard: int) -> pl.DataFrame:
    """Read what is needed of a shard's epoch table; `row` is the epoch's place in the file."""
    quality = [_quality(channel).cast(pl.UInt16) for channel in channels]
    return pl.read_parquet(path).select(
        *_COLUMNS,
        *(f"{channel}_{name}" for channel in channels for name in ("center", "gain")),
        *(_present(channel).alias(f"{channel}_present") for channel in channels),
        quality=reduce(or_, quality),
        shard=pl.lit(shard, pl.Int32),
        row=pl.int_range(pl.len(), dtype=pl.Int64),
    )


def _present(channel: str) -> pl.Expr:
    scaled = pl.col(f"{channel}_gain").fill_null(0) != 0
    return (_quality(channel) & int(UNUSABLE) == 0) & scaled


def _quality(channel: str) -> pl.Expr:
    return pl.col(f"{channel}_quality").cast(pl.UInt8).fill_null(int(Flag.MISSING))


def _matrix(table: pl.DataFrame, columns: Sequence[str]) -> npt.NDArray[np.float32]:
    filled = [table[column].cast(pl.Float32).fill_null(0).to_numpy() for column in columns]
    return np.stack(filled, axis=1)
