"""Windows of neighbouring epochs, for models that look at more than one (context modules).

A *run* is a stretch of epochs of one recording that follow each other without a gap. Windows lie
inside a run: none joins two people, two nights or the two sides of a gap (defect S12). The rows of
a table of epochs go through here in four steps:

    starts = run_starts(table)                                     # (N,) bool
    windows = cut_windows(starts, length=20, stride=10, whole=True)  # (M, 2): start, stop
    rows, valid = pad(windows[batch])                              # (B, L) rows, (B, L) bool
    probabilities = average(parts, epochs=N, values=K)             # (N, K), one row per epoch

Notation: N epochs, M windows, B windows of a batch, L epochs of a window, K values of an epoch.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import polars as pl

Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


def run_starts(table: pl.DataFrame) -> Flags:
    """Tell which rows of a table do not directly continue the row before.

    Parameters
    ----------
    table
        Epochs as `dataset`, `subject`, `recording` and `epoch`. Epochs that were left out, because
        they are unusable or were never recorded, are a gap.

    Returns
    -------
    Array (N,): True where a row begins another recording, or its epoch is not the next one.
    """
    changed = (
        pl.col(name).ne_missing(pl.col(name).shift())
        for name in ("dataset", "subject", "recording")
    )
    next_epoch = pl.col("epoch").cast(pl.Int64).diff() == 1
    starts = pl.any_horizontal(*changed, ~next_epoch.fill_null(value=False))
    return table.select(starts).to_series().to_numpy()


def cut_windows(starts: Flags, *, length: int, stride: int, whole: bool) -> Rows:
    """Cut runs into windows that cover every epoch.

    Windows begin every `stride` epochs of a run, and the first one that reaches the end of the run
    is its last. Below `length`, `stride` lets windows overlap; `average` then gives each epoch one
    prediction (defects N6, N7, N9).

    Parameters
    ----------
    starts
        (N,), from `run_starts`; the first epoch begins a run in any case.
    length
        Epochs of a window, L.
    stride
        Step between windows in epochs, at most `length`.
    whole
        True for training: a last window that is too short is moved back to end with its run. False
        for scoring: it stays short, so that no epoch is covered more often than `stride` asks for.
        A run shorter than `length` is one window in both.

    Returns
    -------
    Array (M, 2) of rows: first epoch of the window and the one after its last, in ascending order.

    Raises
    ------
    ValueError
        When `stride` is not within 1 and `length`.
    """
    if not 1 <= stride <= length:
        raise ValueError(
            f"windows of {length} epochs every {stride} epochs leave epochs out; wanted "
            "1 <= stride <= length"
        )
    first = np.flatnonzero(starts)
    if len(starts) and not starts[0]:
        first = np.concatenate([[0], first])
    last = np.append(first[1:], len(starts))[: len(first)]
    count = 1 + -(-np.maximum(last - first - length, 0) // stride)  # windows of each run
    place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    first, last = np.repeat(first, count), np.repeat(last, count)
    begin = first + place * stride
    end = np.minimum(begin + length, last)
    if whole:
        begin = np.maximum(end - length, first)
    return np.stack([begin, end], axis=1)


def pad(windows: Rows) -> tuple[Rows, Flags]:
    """Give the rows of windows as one rectangle, padded at the right.

    Parameters
    ----------
    windows
        (B, 2), from `cut_windows`.

    Returns
    -------
    rows : array (B, L)
        L is the longest window's length. Padding repeats the last row of its window, so that it
        can be read like any other.
    valid : array (B, L)
        False where a row is padding.
    """
    begin, end = windows[:, :1], windows[:, 1:]
    rows = begin + np.arange((end - begin).max(initial=0))
    return np.minimum(rows, end - 1), rows < end


def average(parts: Iterable[tuple[Rows, Floats]], *, epochs: int, values: int) -> Floats:
    """Average what overlapping windows say of each epoch.

    Parameters
    ----------
    parts
        Rows (n,) and their values (n, K); parts come one at a time and a row may come often.
    epochs, values
        N and K.

    Returns
    -------
    Array (N, K). A row that came once is what came, to the bit.

    Raises
    ------
    ValueError
        When an epoch never came (defects N6, N9).
    """
    total = np.zeros((epochs, values), np.float32)
    count = np.zeros(epochs, np.int64)
    for rows, part in parts:
        np.add.at(total, rows, part)
        np.add.at(count, rows, 1)
    if missing := np.count_nonzero(count == 0):
        raise ValueError(f"{missing} of {epochs} epochs are in no window, wanted each in one")
    total /= count[:, None]
    return total
