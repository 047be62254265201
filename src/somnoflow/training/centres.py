"""Epochs that are learned from the window around them, each encoded once for all its windows.

A *block* is a stretch of neighbouring epochs that is read at once. Those asked for have their
whole window in it; the model gathers the windows from features. What a block has besides is context
and has no label there.

Notation: N epochs, M blocks, C epochs asked for, L epochs of the longest block.
"""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from somnoflow.data.windows import pad
from somnoflow.tasks import UNKNOWN
from somnoflow.training.balance import Rows, oversample
from somnoflow.training.seeds import ORDER, numpy_generator
from somnoflow.training.streams import runs_of
from somnoflow.training.supervised import Draw, Nights

# Epochs asked for in a block: few, so that a batch has many nights; many, since 4 more are encoded.
TRAINING_BLOCK = 16
VALIDATION_BLOCK = 64


class Blocks:
    """Blocks around epochs.

    Parameters
    ----------
    centres
        Rows (C,) of the epochs asked for, ascending and each once where they are to share blocks.
    runs
        (R, 2), from `runs_of`.
    window
        Epochs of a window.
    span
        Most epochs from the first one asked for in a block to its last; 1: each has its own.

    Attributes
    ----------
    ends
        (M, 2): the first and the last epoch asked for.
    windows
        (M, 2): first row of the block, and the one after its last. Near the end of a run a window
        is the first or the last whole one.
    sizes
        (M,): how many epochs are asked for.
    """

    def __init__(self, centres: Rows, *, runs: Rows, window: int, span: int) -> None:
        run = np.searchsorted(runs[:, 0], centres, side="right") - 1
        first = _begin_blocks(centres, run=run, window=window, span=span)
        last = np.append(first[1:], len(centres))[: len(first)] - 1
        self._centres = centres
        self.sizes = last - first + 1
        self.ends = np.stack([centres[first], centres[last]], axis=1)
        low, high = runs[run[first]].T
        begin = self.ends[:, 0] - window // 2
        end = self.ends[:, 1] - window // 2 + window
        self.windows = np.stack(
            [
                np.clip(begin, low, np.maximum(low, high - window)),
                np.clip(end, np.minimum(low + window, high), high),
            ],
            axis=1,
        )

    def draw(self, numbers: Rows) -> Draw:
        """Give the key of some blocks."""
        rows, valid = pad(self.windows[numbers])
        inside = valid & (rows >= self.ends[numbers, :1]) & (rows <= self.ends[numbers, 1:])
        return Draw(self.windows[numbers], asked=inside & np.isin(rows, self._centres))


def _begin_blocks(centres: Rows, *, run: Rows, window: int, span: int) -> Rows:
    """Give which of the centres begin a block: those whose window meets none before, and so on."""
    number = np.arange(len(centres))
    if span == 1:
        return number
    apart = (np.diff(centres, prepend=0) >= window) | (np.diff(run, prepend=-1) != 0)
    apart[:1] = True
    stretch = np.maximum.accumulate(np.where(apart, number, 0))  # where its neighbours begin
    part = (centres - centres[stretch]) // span
    return np.flatnonzero(apart | (np.diff(part, prepend=0) != 0))


class CentreOrder(Sampler[Draw]):
    """The order of a training pass over labelled epochs, in blocks that are shuffled.

    Every `stride`-th labelled epoch comes once, others in each pass.

    Parameters
    ----------
    nights
        Of the training subjects.
    window
        Epochs of a window.
    stride
        Step between labelled epochs.
    batch_size
        About how many of them a batch has.
    seed
        Of the order.
    oversampled
        Whether epochs are repeated until all classes are as many (`oversample`); each then has a
        block of its own.
    """

    def __init__(
        self,
        nights: Nights,
        *,
        window: int,
        stride: int,
        batch_size: int,
        seed: int,
        oversampled: bool = False,
    ) -> None:
        self._targets = nights.targets
        self._labelled = np.flatnonzero(nights.targets != UNKNOWN)
        self._runs = runs_of(nights)
        self._window = window
        self._stride = min(stride, len(self._labelled))
        self._batch_size = batch_size
        self._seed = seed
        self._oversampled = oversampled
        self._pass = 0

    def set_epoch(self, number: int) -> None:
        """Begin pass `number`; Lightning calls this by the name it knows."""
        self._pass = number

    # No __len__: which epochs come decides how many they are.
    def __iter__(self) -> Iterator[Draw]:
        generator = numpy_generator(self._seed, ORDER, self._pass)
        centres = self._labelled[generator.integers(self._stride) :: self._stride]
        span = min(TRAINING_BLOCK, self._batch_size)
        if self._oversampled:
            span = 1
            centres = oversample(centres, self._targets[centres], generator=generator)
        blocks = Blocks(centres, runs=self._runs, window=self._window, span=span)
        order = generator.permutation(len(blocks.sizes))
        batches = -(-len(centres) // self._batch_size)
        before = np.cumsum(blocks.sizes[order]) - blocks.sizes[order]
        for batch in np.split(order, np.flatnonzero(np.diff(before * batches // len(centres))) + 1):
            yield blocks.draw(batch)


def around_all(nights: Nights, *, window: int, batch_size: int) -> list[Draw]:
    """Give batches in which each epoch is asked once, for validation."""
    every = np.arange(len(nights.targets))
    span = min(VALIDATION_BLOCK, batch_size)
    blocks = Blocks(every, runs=runs_of(nights), window=window, span=span)
    at_once = max(1, batch_size // span)
    numbers = np.arange(len(blocks.sizes))
    return [blocks.draw(numbers[i : i + at_once]) for i in range(0, len(numbers), at_once)]
