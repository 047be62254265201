"""Nights in order: windows whose state goes on to the next window of the same run.

Some *lanes* lie side by side, each a list of windows; a batch has the next window of every lane. A
window continues the one before it in its lane, unless a run begins with it, and then its state
begins anew: none is carried over a gap or into another recording. A lane that has ended leaves the
batch, so nothing is padded but the last window of a run, and nothing is dropped.

Notation: N epochs, W windows of a lane, B windows of a batch, L epochs of a window.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset, Sampler

from somnoflow.data.windows import Flags, cut_windows
from somnoflow.tasks import UNKNOWN
from somnoflow.training.balance import Rows
from somnoflow.training.errors import TrainingError
from somnoflow.training.seeds import ORDER, numpy_generator
from somnoflow.training.supervised import Batch, Draw, Nights

log = logging.getLogger(__name__)


class Streams(Nights, Dataset[Batch]):
    """Nights of which an item's key is a `Draw`."""

    def __getitem__(self, draw: Draw) -> Batch:
        return self.batch(draw)


class Lane(NamedTuple):
    """Windows (W, 2) that come one after the other, and which of them continue the one before."""

    windows: Rows
    continues: Flags


def side_by_side(lanes: Sequence[Lane]) -> Iterator[Draw]:
    """Give the batches of lanes, the longest lane first: lane b is row b as long as it lasts."""
    going = sorted(lanes, key=lambda lane: -len(lane.windows))
    for step in range(len(going[0].windows)):
        going = [lane for lane in going if len(lane.windows) > step]
        yield Draw(
            np.stack([lane.windows[step] for lane in going]),
            continues=np.array([lane.continues[step] for lane in going]),
        )


def runs_of(nights: Nights) -> Rows:
    """Give the runs (R, 2) of nights: first row, and the one after the last."""
    first = np.flatnonzero(nights.starts)
    return np.stack([first, np.append(first[1:], len(nights.starts))[: len(first)]], axis=1)


def cut_run(begin: int, end: int, *, length: int) -> Lane:
    """Cut a run into windows that follow each other; the last one can be shorter."""
    first = np.arange(begin, end, length)
    return Lane(np.stack([first, np.minimum(first + length, end)], axis=1), first > begin)


def deal(runs: Sequence[Lane], *, lanes: int) -> list[Lane]:
    """Deal runs to lanes in their order: the next one goes to where the windows end first."""
    dealt: list[list[Lane]] = [[] for _ in range(min(lanes, len(runs)))]
    ends = np.zeros(len(dealt), int)
    for run in runs:
        free = int(ends.argmin())
        dealt[free].append(run)
        ends[free] += len(run.windows)
    return [Lane(*map(np.concatenate, zip(*lane, strict=True))) for lane in dealt]


def in_order(nights: Nights, *, length: int, lanes: int) -> list[Draw]:
    """Give batches in which each epoch is asked once, as `predict_proba` goes through nights."""
    runs = [cut_run(begin, end, length=length) for begin, end in runs_of(nights).tolist()]
    return list(side_by_side(deal(runs, lanes=lanes)))


class ByCohort(Sampler[Draw]):
    """Whole runs side by side, in another order in each pass; where one ends the next begins.

    Published for TinySleepNet, whose batches wait for the longest of their nights. Runs in which
    no epoch has a label are left out.

    Parameters
    ----------
    nights
        Of the training subjects.
    length
        L.
    lanes
        Most runs side by side.
    seed
        Of order and beginnings.
    random_start
        Most epochs that are left out at the beginning of a run, drawn in each pass; one at least
        stays.
    """

    def __init__(
        self, nights: Nights, *, length: int, lanes: int, seed: int, random_start: int = 0
    ) -> None:
        labelled = np.concatenate([[0], np.cumsum(nights.targets != UNKNOWN)])
        runs = runs_of(nights)
        self._runs = runs[labelled[runs[:, 1]] > labelled[runs[:, 0]]]
        self._length = length
        self._lanes = lanes
        self._seed = seed
        self._random_start = random_start
        self._pass = 0

    def set_epoch(self, number: int) -> None:
        """Begin pass `number`; Lightning calls this by the name it knows."""
        self._pass = number

    # No __len__: where runs begin decides how many windows they have.
    def __iter__(self) -> Iterator[Draw]:
        generator = numpy_generator(self._seed, ORDER, self._pass)
        runs = generator.permutation(self._runs)
        left_out = generator.integers(0, self._random_start, len(runs), endpoint=True)
        begins = np.minimum(runs[:, 0] + left_out, runs[:, 1] - 1)
        lanes = [
            cut_run(begin, end, length=self._length)
            for begin, end in zip(begins.tolist(), runs[:, 1].tolist(), strict=True)
        ]
        yield from side_by_side(deal(lanes, lanes=self._lanes))


class ByNight(Sampler[Draw]):
    """One recording after the other, some places of it side by side; recordings are shuffled.

    Published for DeepSleepNet, which drops what does not fill its windows. The windows of a
    recording are dealt in order to the lanes, so each goes through a part of the night. Where a
    batch would be a single epoch, which a batch norm cannot scale, lanes are fewer, or else more.

    Parameters
    ----------
    nights
        Of the training subjects. Recordings in which no epoch has a label are left out, and those
        of one usable epoch.
    length
        L.
    lanes
        Places side by side.
    seed
        Of the order.

    Raises
    ------
    TrainingError
        When no recording is left.
    """

    def __init__(self, nights: Nights, *, length: int, lanes: int, seed: int) -> None:
        self._seed = seed
        self._pass = 0
        labelled = np.bincount(nights.recordings, weights=nights.targets != UNKNOWN)
        count = np.bincount(nights.recordings)
        taken = np.flatnonzero((labelled > 0) & (count > 1))
        if single := np.count_nonzero((labelled > 0) & (count == 1)):
            log.warning("%d recordings with one usable epoch are left out of training", single)
        if not len(taken):
            raise TrainingError(
                f"no training recording has a label and 2 usable epochs; {single} have 1, which "
                "batch norm cannot scale: take more labels or more recordings"
            )
        windows = cut_windows(nights.starts, length=length, stride=length, whole=False)
        recording = nights.recordings[windows[:, 0]]
        self._nights = [
            _places(windows[recording == night], nights.starts, lanes=lanes) for night in taken
        ]
        self._batches = sum(map(len, self._nights))

    def set_epoch(self, number: int) -> None:
        """Begin pass `number`; Lightning calls this by the name it knows."""
        self._pass = number

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Draw]:
        generator = numpy_generator(self._seed, ORDER, self._pass)
        for night in generator.permutation(len(self._nights)):
            yield from self._nights[night]


def _places(windows: Rows, starts: Flags, *, lanes: int) -> list[Draw]:
    """Give the batches of a recording's windows (W, 2), at as many lanes as there can be."""
    most = min(lanes, len(windows))
    for count in (*range(most, 0, -1), *range(most + 1, len(windows))):
        draws = _deal_places(windows, starts, lanes=count)
        if min(np.diff(draw.windows).sum() for draw in draws) > 1:
            return draws
    return _deal_places(windows, starts, lanes=len(windows))


def _deal_places(windows: Rows, starts: Flags, *, lanes: int) -> list[Draw]:
    parts = np.array_split(windows, lanes)
    continues = [~starts[part[:, 0]] & (np.arange(len(part)) > 0) for part in parts]
    return list(side_by_side([Lane(*lane) for lane in zip(parts, continues, strict=True)]))
