"""Test predictions counted into one confusion matrix per recording, and agreement from the counts.

Accuracy, F1 and kappa are functions of the 5 x 5 table alone, so a cohort of any size is reduced
to one small table per recording before anything is computed, and a bootstrap adds tables up.
The order of rows (true stage) and columns (predicted stage) is W, N1, N2, N3, REM.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from somnoflow.evaluate.predictions import (
    RECORDING_KEY,
    REMAKE,
    SUM_TOLERANCE,
    impossible,
    no_test_rows,
    note_tested,
    outside,
    refuse_repeated,
    refuse_rows,
    scan_columns,
)
from somnoflow.stages import STAGE_NAMES

PROBABILITIES = [f"p_{name}" for name in STAGE_NAMES]
COLUMNS = [*RECORDING_KEY, "epoch", "fold", "role", "stage", "usable", "predicted", *PROBABILITIES]
COUNTS = ["epochs", "scored", "unscored", "unusable", "unscored_unusable"]
N_STAGES = len(STAGE_NAMES)


@dataclass(frozen=True)
class Counted:
    """The test recordings of one model.

    Attributes
    ----------
    table
        One row per recording, sorted: dataset, subject, recording, fold and the counts. Each
        epoch is in exactly one of three counts: `unscored` (no human stage, whatever the signal
        is), `unusable` (a human stage, no usable signal) and `scored` (both), so that
        scored + unscored + unusable = epochs. `unscored_unusable` is the part of `unscored`
        that also has no usable signal.
    confusion
        Counts of `scored` epochs, shape (recordings, 5 true, 5 predicted), int64.
    """

    table: pl.DataFrame
    confusion: np.ndarray

    def of_dataset(self, dataset: str) -> "Counted":
        """Keep the recordings of one data set."""
        keep = (self.table["dataset"] == dataset).to_numpy()
        return Counted(self.table.filter(pl.Series(keep)), self.confusion[keep])

    def per_subject(self) -> np.ndarray:
        """Add up the recordings of each subject, shape (subjects, 5, 5), subjects sorted."""
        subjects, row = np.unique(self.table["subject"].to_list(), return_inverse=True)
        summed = np.zeros((len(subjects), N_STAGES, N_STAGES), dtype=np.int64)
        np.add.at(summed, row, self.confusion)
        return summed


@dataclass(frozen=True)
class Agreement:
    """Agreement of true and predicted stages; NaN where a value is not defined.

    Attributes
    ----------
    accuracy, macro_f1, kappa
        Shape (...), of the leading axes of the confusion matrices.
    f1
        F1 of each stage, shape (..., 5).
    """

    accuracy: np.ndarray
    macro_f1: np.ndarray
    kappa: np.ndarray
    f1: np.ndarray


def agreement(confusion: np.ndarray) -> Agreement:
    """Compute agreement from confusion matrices.

    The F1 of a stage is 2 TP / (2 TP + FP + FN): not defined where the stage is in neither truth
    nor prediction, and 0 where it is in one of them only. Macro F1 is the plain mean over the
    stages that have an F1. Kappa is Cohen's (1960), unweighted; not defined where truth and
    prediction are one and the same single stage.

    Parameters
    ----------
    confusion
        Counts, shape (..., 5 true, 5 predicted).
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    total = confusion.sum(axis=(-2, -1))
    true, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    accuracy = ratio(hits.sum(axis=-1), total)
    f1 = ratio(2 * hits, true + predicted)
    chance = ratio((true * predicted).sum(axis=-1), total**2)
    return Agreement(
        accuracy=accuracy,
        macro_f1=ratio(np.nansum(f1, axis=-1), (~np.isnan(f1)).sum(axis=-1)),
        kappa=ratio(accuracy - chance, 1 - chance),
        f1=f1,
    )


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN where there is nothing to divide by."""
    result = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=result, where=denominator > 0)


def count_test_epochs(paths: Sequence[Path]) -> Counted:
    """Read the test rows of each fold's predictions, check them and count them.

    Parameters
    ----------
    paths
        One `predictions.parquet` per fold. Rows of other roles are not looked at.

    Raises
    ------
    ValueError
        Where an epoch appears twice, a subject is tested twice, a stage or a probability is
        impossible, or there is no test epoch at all.
    """
    tables, cells = [], []
    tested: dict[str, Path] = {}
    for path in paths:
        table, confusion = _count(scan_test_epochs(path), path)
        note_tested(table["subject"].unique(), path=path, tested=tested)
        tables.append(table)
        cells.append(confusion)
    table = pl.concat(tables) if tables else pl.DataFrame()
    if table.is_empty():
        raise no_test_rows(len(paths))
    order = table.select(pl.arg_sort_by(RECORDING_KEY)).to_series().to_numpy()
    return Counted(table[order], np.concatenate(cells)[order])


def scan_test_epochs(path: Path) -> pl.LazyFrame:
    """Give the test rows of one fold, one row per epoch, not yet read.

    Raises
    ------
    ValueError
        Where a column is missing.
    """
    scan = scan_columns(path, columns=COLUMNS)
    return scan.filter(pl.col("role") == "test")


def _check_rows(scan: pl.LazyFrame, path: Path) -> None:
    usable, last = pl.col("usable"), N_STAGES - 1
    problems = {
        "usable is empty, wanted true or false": usable.is_null(),
        "stage is not in -1..4": outside("stage", -1, last),
        "predicted is not in 0..4 though the epoch is usable": usable
        & outside("predicted", 0, last),
        "predicted is not -1 in an unusable epoch": ~usable & outside("predicted", -1, -1),
        f"the five probabilities are not 0..1 with the sum 1 (+-{SUM_TOLERANCE:g})": impossible(
            PROBABILITIES
        ),
    }
    shown = ("stage", "usable", "predicted", *PROBABILITIES)
    refuse_rows(scan, problems=problems, shown=shown, path=path)


def _check_recordings(table: pl.DataFrame, path: Path) -> None:
    refuse_repeated(table, path=path)
    folds = table.group_by("subject").agg(low=pl.col("fold").min(), high=pl.col("last").max())
    for subject, low, high in folds.filter(pl.col("low") != pl.col("high")).rows():
        raise ValueError(
            f"{path}: subject {subject} is tested in two folds ({low} and {high}). {REMAKE}"
        )


def _count(scan: pl.LazyFrame, path: Path) -> tuple[pl.DataFrame, np.ndarray]:
    """Check and count one fold, streaming the file instead of loading it."""
    _check_rows(scan, path)
    has_stage, usable = pl.col("stage") >= 0, pl.col("usable")
    counts = {
        "epochs": pl.len(),
        "scored": (has_stage & usable).sum(),
        "unscored": (~has_stage).sum(),
        "unusable": (has_stage & ~usable).sum(),
        "unscored_unusable": (~has_stage & ~usable).sum(),
        "different": pl.col("epoch").n_unique(),
    }
    cell = pl.col("stage").cast(pl.Int64) * N_STAGES + pl.col("predicted").cast(pl.Int64)
    tables = scan.group_by(RECORDING_KEY).agg(
        fold=pl.col("fold").min(),
        last=pl.col("fold").max(),
        **{name: expression.cast(pl.Int64) for name, expression in counts.items()},
    )
    cells = scan.filter(has_stage & usable).group_by(*RECORDING_KEY, cell=cell).agg(n=pl.len())
    table = tables.collect(engine="streaming").sort(RECORDING_KEY).with_row_index("row")
    _check_recordings(table, path)
    filled = cells.collect(engine="streaming").join(
        table.select("row", *RECORDING_KEY), on=RECORDING_KEY
    )
    confusion = np.zeros((table.height, N_STAGES**2), dtype=np.int64)
    confusion[filled["row"].to_numpy(), filled["cell"].to_numpy()] = filled["n"].to_numpy()
    return (
        table.drop("row", "last", "different"),
        confusion.reshape(-1, N_STAGES, N_STAGES),
    )


def rounded(value: Any) -> float | None:
    """Round to six decimals, far below any interval; NaN becomes None."""
    return None if math.isnan(value) else round(float(value), 6)
