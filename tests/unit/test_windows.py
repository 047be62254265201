"""Windows: each epoch is covered and predicted once, and no window leaves its run."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somnoflow.data.windows import average, cut_windows, pad, run_starts

few = settings(derandomize=True, deadline=None, max_examples=60)
runs = st.lists(st.integers(1, 25), max_size=6)
lengths_and_strides = st.integers(1, 12).flatmap(
    lambda length: st.tuples(st.just(length), st.integers(1, length))
)


def starts_of(lengths: list[int]) -> np.ndarray:
    return np.array([i == 0 for length in lengths for i in range(length)], bool)


def run_of(starts: np.ndarray) -> np.ndarray:
    return np.cumsum(starts)


# Runs


def table_of(*rows: tuple[str, str, str, int]) -> pl.DataFrame:
    names = ["dataset", "subject", "recording", "epoch"]
    return pl.DataFrame(rows, schema=names, orient="row").cast({"epoch": pl.Int32})


def test_a_run_ends_with_its_recording_and_at_a_gap() -> None:
    """Defect S12: people, nights and gaps part windows."""
    table = table_of(
        ("a", "a/1", "n1", 3), ("a", "a/1", "n1", 4), ("a", "a/1", "n1", 6),  # 5 is left out
        ("a", "a/1", "n2", 7),  # another night, although the number goes on
        ("a", "a/2", "n2", 8),  # another person
        ("b", "a/2", "n2", 9), ("b", "a/2", "n2", 10),
        ("b", "a/2", "n2", 10), ("b", "a/2", "n2", 2),  # twice, and back
    )  # fmt: skip
    assert run_starts(table).tolist() == [1, 0, 1, 1, 1, 1, 0, 1, 1]
    assert run_starts(table[:0]).tolist() == []
    assert run_starts(table[:1]).tolist() == [1]
    unsigned = table[:3].cast({"epoch": pl.UInt32})
    assert run_starts(unsigned.reverse()).tolist() == [1, 1, 1]


# Windows


@few
@given(lengths=runs, shape=lengths_and_strides, whole=st.booleans())
def test_windows_cover_every_epoch_and_stay_in_their_run(
    lengths: list[int], shape: tuple[int, int], whole: bool
) -> None:
    length, stride = shape
    starts = starts_of(lengths)
    windows = cut_windows(starts, length=length, stride=stride, whole=whole)
    run = run_of(starts)
    covered = np.zeros(len(starts), int)
    for begin, end in windows:
        assert 1 <= end - begin <= length
        assert len(set(run[begin:end])) == 1
        covered[begin:end] += 1
    assert (covered >= 1).all()
    assert (np.diff(windows[:, 0]) > 0).all()
    assert (np.diff(windows[:, 1]) > 0).all()  # no window lies in another one
    if not whole:
        assert covered.max(initial=0) <= -(-length // stride)
    if not whole and stride == length:
        assert (covered == 1).all()


@few
@given(lengths=runs, shape=lengths_and_strides)
def test_training_windows_are_full_wherever_their_run_allows(
    lengths: list[int], shape: tuple[int, int]
) -> None:
    length, stride = shape
    windows = cut_windows(starts_of(lengths), length=length, stride=stride, whole=True)
    edges = np.cumsum([0, *lengths])
    for begin, end in windows:
        run = np.searchsorted(edges, begin, side="right") - 1
        assert end - begin == min(length, lengths[run])


def test_windows_are_those_counted_by_hand() -> None:
    starts = starts_of([7, 2, 4])
    scoring = cut_windows(starts, length=4, stride=4, whole=False)
    assert scoring.tolist() == [[0, 4], [4, 7], [7, 9], [9, 13]]
    training = cut_windows(starts, length=4, stride=2, whole=True)
    assert training.tolist() == [[0, 4], [2, 6], [3, 7], [7, 9], [9, 13]]
    overlapping = cut_windows(starts, length=4, stride=3, whole=False)
    assert overlapping.tolist() == [[0, 4], [3, 7], [7, 9], [9, 13]]
    assert cut_windows(starts[:0], length=4, stride=3, whole=False).shape == (0, 2)
    unmarked = cut_windows(np.zeros(3, bool), length=4, stride=3, whole=False)
    assert unmarked.tolist() == [[0, 3]]


@pytest.mark.parametrize("stride", [0, 5])
def test_windows_that_leave_epochs_out_are_refused(stride: int) -> None:
    with pytest.raises(ValueError, match=rf"windows of 4 epochs every {stride} epochs leave"):
        cut_windows(np.ones(3, bool), length=4, stride=stride, whole=True)


@few
@given(lengths=runs, shape=lengths_and_strides)
def test_padding_goes_right_and_can_be_read(lengths: list[int], shape: tuple[int, int]) -> None:
    windows = cut_windows(starts_of(lengths), length=shape[0], stride=shape[1], whole=False)
    rows, valid = pad(windows)
    assert rows.shape == valid.shape == (len(windows), np.diff(windows).max(initial=0))
    for window, places, real in zip(windows, rows, valid, strict=True):
        assert places[real].tolist() == list(range(*window))
        assert (places[~real] == window[1] - 1).all()
        assert all(before >= after for before, after in pairwise(real))


# Averages


@few
@given(lengths=runs, shape=lengths_and_strides, at_once=st.integers(1, 9), whole=st.booleans())
def test_every_epoch_gets_the_mean_of_its_windows(
    lengths: list[int], shape: tuple[int, int], at_once: int, whole: bool
) -> None:
    """Defects N6, N7, N9: one prediction per epoch, whatever the overlap and the last batch."""
    length, stride = shape
    starts = starts_of(lengths)
    windows = cut_windows(starts, length=length, stride=stride, whole=whole)
    said = np.random.default_rng(0).random((len(windows), length, 3)).astype(np.float32)

    def parts():
        for begin in range(0, len(windows), at_once):
            rows, valid = pad(windows[begin : begin + at_once])
            values = said[begin : begin + at_once, : rows.shape[1]]
            yield rows[valid], values[valid]

    means = average(parts(), epochs=len(starts), values=3)
    assert means.shape == (len(starts), 3)
    assert means.dtype == np.float32
    for epoch, mean in enumerate(means):
        heard = [
            said[number, epoch - begin]
            for number, (begin, end) in enumerate(windows)
            if begin <= epoch < end
        ]
        if len(heard) == 1:
            assert (mean == heard[0]).all()
        np.testing.assert_allclose(mean, np.mean(heard, axis=0), rtol=1e-5)


def test_an_epoch_without_a_window_is_counted() -> None:
    part = (np.array([0, 2]), np.ones((2, 5), np.float32))
    with pytest.raises(ValueError, match="1 of 3 epochs are in no window"):
        average([part], epochs=3, values=5)
