"""The epochs of several channels as if they were of one: an encoder is trained on all of them."""

from collections.abc import Collection, Sequence
from copy import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from somnoflow.data.packed import PackedEpochs, Rows


class PooledChannels:
    """Packed epochs of some channels, one channel's epochs after the other's.

    Parameters
    ----------
    indexes, subjects
        As for `PackedEpochs`.
    channels
        Channels whose epochs are put together; of one channel, this is its `PackedEpochs`.

    Attributes
    ----------
    channels
        One name that tells them all.
    table
        As in `PackedEpochs`, N rows for each channel.
    present
        (C N, 1): which are usable.
    samples, sampling_rate
        As in `PackedEpochs`.
    """

    def __init__(
        self,
        indexes: Sequence[Path],
        *,
        channels: Sequence[str],
        subjects: Collection[str] | None = None,
    ) -> None:
        self.channels: tuple[str, ...] = (" or ".join(channels),)
        self._take([PackedEpochs(indexes, channels=[name], subjects=subjects) for name in channels])
        self.samples = self._parts[0].samples
        self.sampling_rate = self._parts[0].sampling_rate

    def _take(self, parts: list[PackedEpochs]) -> None:
        self._parts = parts
        self.table = pl.concat(part.table for part in parts)
        self.present = np.concatenate([part.present for part in parts])

    def __len__(self) -> int:
        return len(self.table)

    def only(self, subjects: Collection[str]) -> "PooledChannels":
        """Give the epochs of some of the subjects; nothing is read again."""
        chosen = copy(self)
        chosen._take([part.only(subjects) for part in self._parts])
        return chosen

    def rows(self, *, scored: bool) -> Rows:
        """Give the rows that may be trained on, as `PackedEpochs.rows`."""
        starts = np.arange(len(self._parts)) * len(self._parts[0])
        return np.concatenate(
            [
                start + part.rows(scored=scored)
                for start, part in zip(starts, self._parts, strict=True)
            ]
        )

    def read(self, rows: Rows) -> npt.NDArray[np.float32]:
        """Read epochs (B, 1, T), scaled, each of its own channel."""
        signals = np.empty((len(rows), 1, self.samples), np.float32)
        channel, row = np.divmod(rows, len(self._parts[0]))
        for number, part in enumerate(self._parts):
            mine = channel == number
            signals[mine] = part.read(row[mine])
        return signals
