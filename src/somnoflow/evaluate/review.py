"""Which epochs of a night a person should look at first: those the model is least certain of.

They are chosen as `evaluate.calibrate_folds` chooses them when it measures what that is worth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from somnoflow.scoring.hypnogram import Hypnogram


@dataclass(frozen=True, eq=False)
class Review:
    """The least certain epochs of a night.

    Attributes
    ----------
    share
        Share of the usable epochs that was asked for.
    usable
        Number of epochs with an answer.
    rows
        Rows of the hypnogram's table, the least certain first, shape (n,).
    limit
        Confidence of the last of them; None where there is none.
    """

    share: float
    usable: int
    rows: npt.NDArray[np.int64]
    limit: float | None


def confidence_of(hypnogram: Hypnogram) -> npt.NDArray[np.float64]:
    """Give the probability of each epoch's answer, shape (N,); NaN where there is none."""
    return hypnogram.table["confidence"].cast(pl.Float64).fill_null(np.nan).to_numpy()


def choose_review(hypnogram: Hypnogram, *, share: float) -> Review:
    """Choose the least certain share of a night's usable epochs; of equals, the later ones.

    Raises
    ------
    ValueError
        When the share is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of epochs to review is {share}, wanted 0 to 1")
    confidence = confidence_of(hypnogram)
    usable = np.flatnonzero(np.isfinite(confidence))
    most_certain_first = usable[np.argsort(-confidence[usable], kind="stable")]
    kept = int((1 - share) * len(usable) + 0.5)
    rows = most_certain_first[kept:][::-1]
    return Review(share, len(usable), rows, float(confidence[rows[-1]]) if len(rows) else None)


def spread_out(rows: Sequence[int], *, most: int) -> list[int]:
    """Take the first rows that are no neighbours; neighbours where there are not enough."""
    apart: list[int] = []
    beside: list[int] = []
    for row in rows:
        near = any(abs(row - other) <= 1 for other in apart)
        (beside if near else apart).append(row)
        if len(apart) == most:
            break
    return [*apart, *beside[: most - len(apart)]]
