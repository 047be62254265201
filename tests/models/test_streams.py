"""Nights in order: each epoch once, and a state only where a run goes on. Blocks around centres."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from somnoflow.data.windows import pad
from somnoflow.tasks import TASKS
from somnoflow.training.centres import CentreOrder, around_all
from somnoflow.training.errors import TrainingError
from somnoflow.training.streams import (
    ByCohort,
    ByNight,
    Streams,
    cut_run,
    deal,
    in_order,
    runs_of,
    side_by_side,
)
from somnoflow.training.supervised import Draw

STAGING = TASKS["staging"]


class Cohort:
    """Recordings of so many epochs, of which some are lost; an input is the number of its row."""

    def __init__(self, *sizes: int, lost: tuple[int, ...] = (), unscored: tuple = ()) -> None:
        self.table = pl.concat(
            pl.DataFrame(
                {
                    "dataset": "toy",
                    "subject": f"toy/{number:02d}",
                    "recording": f"{number:02d}-n1",
                    "epoch": np.arange(size, dtype=np.int32),
                    "stage": (np.arange(size) % 5).astype(np.int8),
                }
            )
            for number, size in enumerate(sizes)
        ).with_row_index("row")
        stage = pl.when(pl.col("subject").is_in(unscored)).then(-1).otherwise("stage")
        usable = ~pl.col("row").is_in(lost)
        self.table = self.table.with_columns(usable=usable, stage=stage.cast(pl.Int8))

    def read(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, None].astype(np.float32)


def nights(*sizes: int, **changes: tuple) -> Streams:
    return Streams(Cohort(*sizes, **changes), task=STAGING)


def asked(draws: list[Draw]) -> list[int]:
    """Give the rows that draws ask for."""
    found: list[int] = []
    for draw in draws:
        rows, valid = pad(draw.windows)
        found += rows[valid if draw.asked is None else valid & draw.asked].tolist()
    return found


def followed(draws: list[Draw]) -> None:
    """Check that a window continues exactly the one before in its row, where that one ended."""
    for before, draw in pairwise([None, *draws]):
        for row, (begin, _) in enumerate(draw.windows.tolist()):
            if draw.continues[row]:
                assert before is not None
                first, end = before.windows[row].tolist()
                assert end == begin
                # Its window was full: no padding has touched its state.
                assert end - first == np.diff(before.windows).max()


def test_runs_end_at_gaps_and_recordings() -> None:
    assert runs_of(nights(7, 5, lost=(3,))).tolist() == [[0, 3], [3, 6], [6, 11]]


def test_places_of_a_night_are_gone_through_side_by_side() -> None:
    order = ByNight(nights(23), length=4, lanes=3, seed=1)
    draws = list(order)
    assert len(order) == len(draws) == 2
    assert [draw.windows.tolist() for draw in draws] == [
        [[0, 4], [8, 12], [16, 20]],
        [[4, 8], [12, 16], [20, 23]],
    ]
    assert [draw.continues.tolist() for draw in draws] == [[False] * 3, [True] * 3]


def test_a_gap_inside_a_place_resets_the_state_and_the_next_night_too() -> None:
    # Usable: 0-5, 6-12 of the first recording (row 6 is lost), 13-17 of the second.
    order = ByNight(nights(14, 5, lost=(6,)), length=3, lanes=2, seed=1)
    draws = list(order)
    followed(draws)
    by_begin = {
        begin: bool(goes_on)
        for draw in draws
        for begin, goes_on in zip(draw.windows[:, 0], draw.continues, strict=True)
    }
    # Lanes of the first: (0, 3, 6) and (9, 12); 6 begins a run, 9 a lane. Of the second: 13, 16.
    assert by_begin == {0: False, 3: True, 6: False, 9: False, 12: True, 13: False, 16: False}


@pytest.mark.parametrize("lanes", [2, 3, 10])
@pytest.mark.parametrize("length", [3, 4, 25])
def test_by_night_has_every_epoch_once_in_each_pass(lanes: int, length: int) -> None:
    data = nights(31, 26, 2, 7, lost=(5, 12, 13, 40))
    order = ByNight(data, length=length, lanes=lanes, seed=1)
    passes = []
    for number in range(3):
        order.set_epoch(number)
        draws = list(order)
        assert len(draws) == len(order)
        followed(draws)
        assert sorted(asked(draws)) == list(range(len(data.targets)))
        for draw in draws:
            assert len({*data.recordings[draw.windows[:, 0]].tolist()}) == 1
            assert np.diff(draw.windows).sum() >= 2
        passes.append([draw.windows.tolist() for draw in draws])
    assert passes[0] != passes[1]
    order.set_epoch(1)  # as after a kill
    assert [draw.windows.tolist() for draw in order] == passes[1]


def test_recordings_without_a_label_or_with_one_epoch_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = nights(6, 5, 1, unscored=("toy/01",))
    order = ByNight(data, length=3, lanes=2, seed=1)
    assert sorted(asked(list(order))) == list(range(6))
    assert "1 recordings with one usable epoch are left out" in caplog.text
    with pytest.raises(TrainingError, match="no training recording has a label and 2 usable"):
        ByNight(nights(1, 1), length=3, lanes=2, seed=1)


def test_no_batch_of_a_night_is_a_single_epoch() -> None:
    def lanes_of(data: Streams, *, length: int, lanes: int) -> list[int]:
        draws = list(ByNight(data, length=length, lanes=lanes, seed=1))
        assert sorted(asked(draws)) == list(range(len(data.targets)))
        return [len(draw.windows) for draw in draws]

    assert lanes_of(nights(9), length=3, lanes=2) == [2, 1]
    assert lanes_of(nights(7), length=3, lanes=1) == [2, 1]  # 3, 3 and 1 epochs would come alone
    # Runs of 1, 1 and 1: at two places the first one's second run would come alone.
    assert lanes_of(nights(5, lost=(1, 3)), length=3, lanes=2) == [3]
    assert lanes_of(nights(3), length=1, lanes=1) == [3]


@pytest.mark.parametrize("lanes", [1, 2, 20])
def test_by_cohort_has_every_epoch_once_in_each_pass(lanes: int) -> None:
    data = nights(31, 8, 1, 17, lost=(5, 12))
    order = ByCohort(data, length=4, lanes=lanes, seed=1)
    passes = []
    for number in range(3):
        order.set_epoch(number)
        draws = list(order)
        followed(draws)
        assert max(len(draw.windows) for draw in draws) == min(lanes, 6)
        assert sorted(asked(draws)) == list(range(len(data.targets)))
        # A run lies in one lane: all its windows but the first continue.
        fresh = [w for d in draws for w in d.windows[~d.continues][:, 0].tolist()]
        assert sorted(fresh) == runs_of(data)[:, 0].tolist()
        passes.append([draw.windows.tolist() for draw in draws])
    assert passes[0] != passes[1]
    order.set_epoch(1)
    assert [draw.windows.tolist() for draw in order] == passes[1]


def test_the_next_run_takes_the_place_of_the_one_that_ended() -> None:
    runs = [cut_run(begin, end, length=4) for begin, end in [(0, 4), (4, 16), (16, 22)]]
    draws = list(side_by_side(deal(runs, lanes=2)))
    # The third run follows the first one, which ends first; rows are sorted by their lengths.
    assert [draw.windows.tolist() for draw in draws] == [
        [[0, 4], [4, 8]],
        [[16, 20], [8, 12]],
        [[20, 22], [12, 16]],
    ]
    assert [draw.continues.tolist() for draw in draws] == [
        [False, False],
        [False, True],
        [True, True],
    ]


def test_random_start_leaves_out_a_few_epochs_and_no_run() -> None:
    data = nights(20, 2, 30)
    order = ByCohort(data, length=4, lanes=2, seed=1, random_start=5)
    begins: list[list[int]] = []
    for number in range(40):
        order.set_epoch(number)
        draws = list(order)
        followed(draws)
        rows = np.array(sorted(asked(draws)))
        assert len(rows) == len(np.unique(rows))
        begins.append([int(rows[rows >= first].min() - first) for first in (0, 20, 22)])
        wanted = [row for b, (f, e) in zip(begins[-1], runs_of(data), strict=True)
                  for row in range(f + b, e)]  # fmt: skip
        assert rows.tolist() == wanted
    counts = np.array(begins)
    assert {*counts[:, 0].tolist()} == {*counts[:, 2].tolist()} == {0, 1, 2, 3, 4, 5}
    assert {*counts[:, 1].tolist()} == {0, 1}


def test_runs_without_a_label_are_left_out_of_the_cohort() -> None:
    order = ByCohort(nights(6, 5, unscored=("toy/01",)), length=3, lanes=2, seed=1)
    assert sorted(asked(list(order))) == list(range(6))


def test_validation_goes_through_whole_runs() -> None:
    data = nights(9, 4, 6, lost=(4,), unscored=("toy/01",))
    draws = in_order(data, length=3, lanes=2)
    followed(draws)
    assert sorted(asked(draws)) == list(range(len(data.targets)))


def test_a_batch_knows_what_is_asked_and_what_continues() -> None:
    data = nights(8)
    draw = Draw(np.array([[0, 3], [4, 6]]), np.array([True, False]), np.eye(2, 3, dtype=bool))
    batch = data[draw]
    assert batch.inputs[..., 0].tolist() == [[0, 1, 2], [4, 5, 5]]
    assert batch.valid.tolist() == [[True] * 3, [True, True, False]]
    assert batch.asked.tolist() == [[True, False, False], [False, True, False]]
    assert batch.targets.tolist() == [[0, -1, -1], [-1, 0, -1]]
    assert batch.continues.tolist() == [True, False]


# Blocks


def windows_of(draws: list[Draw], *, window: int) -> dict[int, tuple[int, int]]:
    """Give the window that a model gathers for each epoch asked for (`CentreHead`)."""
    found: dict[int, tuple[int, int]] = {}
    for draw in draws:
        rows, valid = pad(draw.windows)
        for (begin, end), asks, row in zip(draw.windows.tolist(), draw.asked, rows, strict=True):
            for place in np.flatnonzero(asks):
                size = end - begin
                first = max(0, min(place - window // 2, size - window))
                assert row[place] not in found
                found[int(row[place])] = (begin + first, begin + min(first + window, size))
        assert not (draw.asked & ~valid).any()
    return found


def wanted_windows(data: Streams, *, window: int) -> dict[int, tuple[int, int]]:
    """Give the nearest window to a centred one in the whole run of each epoch."""
    found = {}
    for low, high in runs_of(data).tolist():
        for epoch in range(low, high):
            first = max(low, min(epoch - window // 2, high - window))
            found[epoch] = (first, min(first + window, high))
    return found


@pytest.mark.parametrize("batch_size", [2, 7, 64, 1000])
def test_every_epoch_is_asked_once_with_the_window_of_its_whole_run(batch_size: int) -> None:
    data = nights(150, 3, 1, 6, lost=(40, 42))
    wanted = wanted_windows(data, window=5)
    draws = around_all(data, window=5, batch_size=batch_size)
    assert windows_of(draws, window=5) == wanted
    order = CentreOrder(data, window=5, stride=1, batch_size=batch_size, seed=1)
    assert windows_of(list(order), window=5) == wanted


def test_a_training_block_encodes_few_epochs_more_than_it_asks_for() -> None:
    draws = list(CentreOrder(nights(320), window=5, stride=1, batch_size=64, seed=1))
    assert [int(draw.asked.sum()) for draw in draws] == [64] * 5
    encoded = sum(np.diff(draw.windows).sum() for draw in draws)
    assert encoded == 320 + 4 * 20 - 4  # 20 blocks of 16, of which two end with the run


@pytest.mark.parametrize("stride", [2, 5, 8])
def test_a_stride_learns_every_so_manieth_epoch_another_one_in_each_pass(stride: int) -> None:
    data = nights(90, 43)
    order = CentreOrder(data, window=5, stride=stride, batch_size=8, seed=1)
    wanted = wanted_windows(data, window=5)
    seen = set()
    for number in range(8 * stride):
        order.set_epoch(number)
        draws = list(order)
        found = windows_of(draws, window=5)
        assert found == {row: wanted[row] for row in found}
        assert {*np.diff(sorted(found)).tolist()} == {stride}
        seen |= {*found}
        if stride >= 5:  # single windows
            assert {*np.diff(np.concatenate([d.windows for d in draws])).ravel().tolist()} == {5}
    assert seen == {*range(133)}


def test_oversampled_centres_are_as_many_of_each_class() -> None:
    epochs = Cohort(40)
    stages = np.r_[[0] * 21, [2] * 9, [3] * 4, [-1] * 6].astype(np.int8)
    epochs.table = epochs.table.with_columns(stage=pl.Series(stages))
    data = Streams(epochs, task=STAGING)
    order = CentreOrder(data, window=5, stride=1, batch_size=10, seed=1, oversampled=True)
    draws = list(order)
    batches = [data[draw] for draw in draws]
    learned = np.concatenate([batch.targets[batch.targets >= 0] for batch in batches])
    assert np.bincount(learned).tolist() == [21, 0, 21, 21]
    rows = np.concatenate([b.rows[b.asked] for b in batches])
    counts = np.bincount(rows, minlength=40)
    assert {*counts[:21].tolist()} == {1}
    assert {*counts[21:30].tolist()} == {2, 3}
    assert {*counts[30:34].tolist()} == {5, 6}


def test_few_labels_with_a_long_stride_leave_no_pass_empty() -> None:
    epochs = Cohort(30)
    stage = pl.when(pl.col("row").is_in([4, 20])).then("stage").otherwise(-1).cast(pl.Int8)
    epochs.table = epochs.table.with_columns(stage=stage)
    order = CentreOrder(Streams(epochs, task=STAGING), window=5, stride=10, batch_size=8, seed=1)
    for number in range(6):
        order.set_epoch(number)
        assert len(asked(list(order))) == 1
