"""Predictions of a respiratory event, checked and read: test epochs, and those that calibrate.

An epoch is judged where its signal is usable and somebody knows whether the event is in it. Test
epochs are judged; epochs of the same fold's validation subjects only say how many events stand
behind a predicted epoch (`event_nights.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
from somnoflow.stages import Stage
from somnoflow.tasks import UNKNOWN, Task

COUNTS = ["epochs", "judged", "unlabelled", "unusable", "positives"]
NIGHT_KEY = [*RECORDING_KEY, "fold"]
ROLES = ("val", "test")


@dataclass(frozen=True)
class Epochs:
    """The judged epochs of recordings.

    Attributes
    ----------
    recordings
        One row per recording (and fold, where one validates in several), sorted: dataset, subject,
        recording, fold and the counts. Each epoch is in exactly one of `unlabelled` (nobody knows
        of the event, whatever the signal is), `unusable` (known, no usable signal) and `judged`;
        `positives` is the part of `judged` with the event.
    row
        Row of `recordings` that each judged epoch belongs to, shape (n,), ascending.
    epoch
        Its number in the recording, shape (n,), ascending within one.
    asleep
        Whether the scorer's stage is N1, N2, N3 or REM, shape (n,).
    label, predicted
        Whether the event is there, and is predicted, shape (n,).
    score
        Predicted probability of the event, shape (n,).
    """

    recordings: pl.DataFrame
    row: np.ndarray
    epoch: np.ndarray
    asleep: np.ndarray
    label: np.ndarray
    predicted: np.ndarray
    score: np.ndarray

    @property
    def subjects(self) -> np.ndarray:
        """Number of each recording's subject, shape (recordings,), subjects sorted."""
        names = self.recordings["subject"].to_numpy()
        return np.unique(names, return_inverse=True)[1].astype(np.int64)

    def of_dataset(self, dataset: str) -> "Epochs":
        """Keep the recordings of one data set."""
        keep = (self.recordings["dataset"] == dataset).to_numpy()
        mine, place = keep[self.row], np.cumsum(keep) - 1
        return Epochs(
            self.recordings.filter(pl.Series(keep)),
            place[self.row[mine]],
            self.epoch[mine],
            self.asleep[mine],
            self.label[mine],
            self.predicted[mine],
            self.score[mine],
        )

    def answered(self, predicted: np.ndarray) -> "Epochs":
        """Give the same epochs with other answers, which are their scores as well."""
        return Epochs(
            self.recordings, self.row, self.epoch, self.asleep, self.label, predicted,
            predicted.astype(np.float64),
        )  # fmt: skip


@dataclass(frozen=True)
class Events:
    """What one model predicts of an event: test epochs, validation epochs, threshold by fold."""

    task: Task
    test: Epochs
    val: Epochs
    thresholds: dict[int, float]


def read_events(paths: Sequence[Path], *, task: Task) -> Events:
    """Read each fold's predictions of an event and check them.

    Parameters
    ----------
    paths
        One `predictions.parquet` per fold; rows of the roles "test" and "val" are read.
    task
        The event.

    Raises
    ------
    ValueError
        Where a column is missing or a value impossible, an epoch appears twice, a file holds
        several folds or thresholds, a subject is tested twice or is also a validation subject of
        the same fold, or no test epoch can be judged.
    """
    frames: list[pl.DataFrame] = []
    tested: dict[str, Path] = {}
    files: dict[int, Path] = {}
    thresholds: dict[int, float] = {}
    for path in paths:
        frame = _read_fold(path, task=task)
        if frame.is_empty():
            continue
        fold, threshold = frame.select("fold", "threshold").row(0)
        if fold in files:
            raise ValueError(
                f"{path} and {files[fold]} are both of fold {fold}, wanted one file per fold. "
                f"{REMAKE}"
            )
        files[fold], thresholds[fold] = path, round(threshold, 6)
        mine = frame.filter(pl.col("role") == "test")
        note_tested(mine["subject"].unique(), path=path, tested=tested)
        frames.append(frame.drop("threshold"))
    both = pl.concat(frames) if frames else pl.DataFrame(schema={"role": pl.String})
    if both.filter(pl.col("role") == "test").is_empty():
        raise no_test_rows(len(paths))
    test, val = (_epochs(both.filter(pl.col("role") == role)) for role in ("test", "val"))
    if not len(test.label):
        labelled = int(test.recordings["unusable"].sum())
        raise ValueError(
            f"none of {test.recordings['epochs'].sum()} test epochs in {len(paths)} file(s) of "
            f"predictions, such as {paths[0]}, can be judged on the task '{task.name}': "
            f"{labelled} have a label and none of these a usable signal. Wanted at least one. "
            f"Look at the scoring of events in the data sets, or leave '{task.name}' out of the "
            "tasks in the configuration."
        )
    return Events(task, test, val, dict(sorted(thresholds.items())))


def _read_fold(path: Path, *, task: Task) -> pl.DataFrame:
    """Check one file and give what is needed of it."""
    score = task.probabilities[1]
    columns = ["epoch", "fold", "role", "stage", "label", "usable", "predicted", "threshold"]
    scan = scan_columns(path, columns=[*RECORDING_KEY, *columns, *task.probabilities])
    scan = scan.filter(pl.col("role").is_in(ROLES))
    _check_rows(scan, task=task, path=path)
    frame = scan.select(
        *RECORDING_KEY,
        "epoch",
        "fold",
        "role",
        "threshold",
        "usable",
        labelled=pl.col("label") != UNKNOWN,
        asleep=pl.col("stage") > Stage.W,
        label=pl.col("label") == 1,
        predicted=pl.col("predicted") == 1,
        score=pl.col(score),
    ).collect(engine="streaming")
    for name in ("fold", "threshold"):
        if len(values := frame[name].unique().sort()) > 1:
            raise ValueError(
                f"{path}: several values of {name} in one file ({values[0]} and {values[-1]}), "
                f"wanted one. {REMAKE}"
            )
    refuse_repeated(
        frame.group_by(RECORDING_KEY).agg(epochs=pl.len(), different=pl.col("epoch").n_unique()),
        path=path,
    )
    roles = frame.group_by("subject").agg(pl.col("role").n_unique()).filter(pl.col("role") > 1)
    for subject in roles["subject"].sort():
        raise ValueError(
            f"{path}: subject {subject} is a test and a validation subject of one fold, wanted one "
            "of them. Make the split and the scores again."
        )
    return frame


def _check_rows(scan: pl.LazyFrame, *, task: Task, path: Path) -> None:
    usable, score, threshold = (pl.col(n) for n in ("usable", task.probabilities[1], "threshold"))
    says = pl.col("predicted") == 1
    # A score at the threshold may have been rounded to it, so either answer is right there.
    odd = (says & (score < threshold)) | (~says & (score > threshold))
    problems = {
        "usable is empty, wanted true or false": usable.is_null(),
        "fold is empty": pl.col("fold").is_null(),
        "threshold is no number": ~threshold.is_finite().fill_null(value=False),
        "stage is not in -1..4": outside("stage", -1, 4),
        "label is not in -1..1": outside("label", UNKNOWN, 1),
        "predicted is not 0 or 1 though the epoch is usable": usable & outside("predicted", 0, 1),
        "predicted is not -1 in an unusable epoch": ~usable & outside("predicted", -1, -1),
        f"the two probabilities are not 0..1 with the sum 1 (+-{SUM_TOLERANCE:g})": impossible(
            task.probabilities
        ),
        "predicted does not follow from the probability and the threshold": usable & odd,
    }
    shown = ("stage", "label", "usable", "predicted", "threshold", *task.probabilities)
    refuse_rows(scan, problems=problems, shown=shown, path=path)


def _epochs(frame: pl.DataFrame) -> Epochs:
    frame = frame.sort(*NIGHT_KEY, "epoch").with_columns(row=pl.struct(NIGHT_KEY).rle_id())
    judged = pl.col("labelled") & pl.col("usable")
    recordings = frame.group_by("row", maintain_order=True).agg(
        *(pl.col(name).first() for name in NIGHT_KEY),
        epochs=pl.len().cast(pl.Int64),
        judged=judged.sum().cast(pl.Int64),
        unlabelled=(~pl.col("labelled")).sum().cast(pl.Int64),
        unusable=(pl.col("labelled") & ~pl.col("usable")).sum().cast(pl.Int64),
        positives=(judged & pl.col("label")).sum().cast(pl.Int64),
    )
    rows = frame.filter(judged)
    return Epochs(
        recordings=recordings.drop("row"),
        row=rows["row"].to_numpy().astype(np.int64),
        epoch=rows["epoch"].to_numpy().astype(np.int64),
        asleep=rows["asleep"].to_numpy(),
        label=rows["label"].to_numpy(),
        predicted=rows["predicted"].to_numpy(),
        score=rows["score"].to_numpy(),
    )
