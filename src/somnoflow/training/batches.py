"""Batches of packed epochs for pre-training: whole batches are read at once."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from somnoflow.data.packed import Rows
from somnoflow.training.distributed import ALONE, Rank
from somnoflow.training.reading import Epochs, read_varying
from somnoflow.training.seeds import ORDER, VALIDATION, numpy_generator


class EpochBatches(Dataset[Tensor]):
    """Signals (B, T) of a batch of one channel's epochs; an item's key is the batch's rows."""

    def __init__(self, epochs: Epochs) -> None:
        self.epochs = epochs

    def __getitem__(self, rows: Rows) -> Tensor:
        """Read a batch, as `read_varying`."""
        signals, _ = read_varying(self.epochs, rows)
        return torch.from_numpy(signals[:, 0])


class Channels(NamedTuple):
    """Signals (B, C, T), and which of them are present (B, C)."""

    signals: Tensor
    present: Tensor


class ChannelBatches(Dataset[Channels]):
    """Batches of epochs of several channels; an item's key is the batch's rows."""

    def __init__(self, epochs: Epochs) -> None:
        self.epochs = epochs

    def __getitem__(self, rows: Rows) -> Channels:
        """Read a batch, as `read_varying`."""
        return Channels(*map(torch.from_numpy, read_varying(self.epochs, rows)))


class PassOrder(Sampler[Rows]):
    """The order of a training pass: shuffled by seed and pass, in batches of one size.

    Several processes go through the same batches, each with its own part of every one.

    The epochs left over after the last whole batch are others in each pass.

    Parameters
    ----------
    rows
        Rows of the epochs that may be trained on.
    batch_size
        Epochs per batch, at most `len(rows)`.
    seed
        Of the order.
    rank
        Which of several processes this is.
    """

    def __init__(self, rows: Rows, *, batch_size: int, seed: int, rank: Rank = ALONE) -> None:
        self._part = rank.part(batch_size)
        self._rows = rows
        self._batch_size = batch_size
        self._seed = seed
        self._pass = 0

    def set_epoch(self, number: int) -> None:
        """Begin pass `number`; Lightning calls this by the name it knows."""
        self._pass = number

    def __len__(self) -> int:
        return len(self._rows) // self._batch_size

    def __iter__(self) -> Iterator[Rows]:
        order = numpy_generator(self._seed, ORDER, self._pass).permutation(self._rows)
        for start in range(0, len(self) * self._batch_size, self._batch_size):
            yield order[start : start + self._batch_size][self._part]


def validation_batches(
    rows: Rows, *, batch_size: int, seed: int, rank: Rank = ALONE
) -> Sequence[Rows]:
    """Cut all validation rows into batches of nearly equal size, the same in every pass.

    Equal sizes, because the contrastive loss depends on the size of the batch; shuffled once,
    because neighbours in a night are harder to tell apart than the epochs of a training batch.

    Several processes take turns, a whole batch each; the others' batches are empty.
    """
    order = numpy_generator(seed, VALIDATION).permutation(rows)
    batches = np.array_split(order, -(-len(order) // batch_size))
    return [
        batch if number % rank.of == rank.number else batch[:0]
        for number, batch in enumerate(batches)
    ]
