"""Classes and probabilities of every epoch of the validation and test subjects."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from somnoflow.data.windows import run_starts
from somnoflow.models.heads import Floats, Head
from somnoflow.tasks import UNKNOWN, Task
from somnoflow.training.embedded import read_dimension, read_parts, to_matrix
from somnoflow.training.roles import Roles, require_subjects
from somnoflow.training.targets import require_both
from somnoflow.training.threshold import best_threshold

log = logging.getLogger(__name__)

NIGHT = ("dataset", "subject", "recording")


def prediction_schema(task: Task) -> pa.Schema:
    """Give the columns of predictions.parquet; events have a label and a threshold too."""
    label = [pa.field("label", pa.int8())] if task.rare else []
    threshold = [pa.field("threshold", pa.float32())] if task.rare else []
    fields = [
        pa.field("dataset", pa.string()),
        pa.field("subject", pa.string()),
        pa.field("recording", pa.string()),
        pa.field("epoch", pa.int32()),
        pa.field("onset_s", pa.float64()),
        pa.field("fold", pa.int32()),
        pa.field("role", pa.string()),
        pa.field("stage", pa.int8()),
        *label,
        pa.field("usable", pa.bool_()),
        pa.field("predicted", pa.int8()),
        *threshold,
        *(pa.field(name, pa.float32()) for name in task.probabilities),
    ]
    return pa.schema(fields)


def score_subjects(
    embeddings: Path, *, head: Head, roles: Roles, fold: int, stride: int
) -> pl.DataFrame:
    """Score the validation and test subjects: one row per epoch, usable and labelled or not.

    Parameters
    ----------
    embeddings
        Index of the embedded epochs.
    head
        Trained head.
    roles, fold
        Who validates and who tests, and in which fold.
    stride
        Step between windows in epochs, for heads that see more than one.

    Raises
    ------
    ValueError
        When a subject of the split is not embedded, an epoch would be scored twice, or a recording
        is not in one piece.
    """
    dimension = read_dimension(embeddings)
    parts = read_parts(embeddings, subjects=[*roles.val, *roles.test])
    scored = (score_part(part, head=head, dimension=dimension, stride=stride) for part in parts)
    where = str(embeddings)
    return gather_predictions(scored, task=head.task, roles=roles, fold=fold, where=where)


def score_part(part: pl.DataFrame, *, head: Head, dimension: int, stride: int) -> pl.DataFrame:
    """Add the probabilities to a part's epochs that are usable.

    A part holds whole recordings, each in the order of time; epochs that are not usable end a run.
    """
    require_order(part)
    usable = part.filter("usable")
    probabilities = head.predict_proba(
        to_matrix(usable["embedding"], dimension=dimension), run_starts(usable), stride=stride
    )
    return add_probabilities(part.drop("embedding"), probabilities, task=head.task)


def require_order(part: pl.DataFrame) -> None:
    """Raise `ValueError` unless each recording is in one piece, in the order of time."""
    changed = part.select(*NIGHT, "epoch")
    if not changed.equals(changed.sort(changed.columns, maintain_order=True)):
        raise ValueError(
            f"{len(part)} epochs of {part['recording'].n_unique()} recordings are not in the order "
            "of dataset, subject, recording and epoch: a model of neighbouring epochs would see "
            "wrong ones. Run again with: snakemake --forcerun pack"
        )


def add_probabilities(table: pl.DataFrame, probabilities: Floats, *, task: Task) -> pl.DataFrame:
    """Give a table the columns of the task's probabilities, null where an epoch is not usable.

    `probabilities` (n, K) are those of its n usable epochs, in their order.
    """
    columns = np.zeros((len(table), len(task.classes)), np.float32)
    columns[table["usable"].to_numpy()] = probabilities
    return table.with_columns(
        pl.when("usable").then(pl.Series(column)).alias(name)
        for name, column in zip(task.probabilities, columns.T, strict=True)
    )


def gather_predictions(
    parts: Iterable[pl.DataFrame], *, task: Task, roles: Roles, fold: int, where: str
) -> pl.DataFrame:
    """Join scored parts, check that nothing is missing or double, and say what is predicted.

    Parameters
    ----------
    parts
        From `add_probabilities`, each with whole recordings.
    task
        What was asked.
    roles, fold
        Each row gets its fold and its role.
    where
        Where the parts come from, for messages.
    """
    role_of = {**dict.fromkeys(roles.val, "val"), **dict.fromkeys(roles.test, "test")}
    tables = list(parts)
    table = pl.concat(tables)
    require_subjects(role_of, table["subject"].unique(), where=where)
    keys = [*NIGHT, "epoch"]
    if (twice := table.select(keys).is_duplicated().sum()) > 0:
        raise ValueError(f"{twice} of {len(table)} epochs of {where} are there twice")
    pieces, nights = sum(map(_count_nights, tables)), _count_nights(table)
    if pieces != nights:
        raise ValueError(
            f"{nights} recordings of {where} lie in {pieces} pieces, wanted each in one part: no "
            "window may end where a file does. Run again with: snakemake --forcerun pack"
        )
    table = table.sort(keys).with_columns(
        fold=pl.lit(fold, pl.Int32),
        role=pl.col("subject").replace_strict(role_of, return_dtype=pl.String),
    )
    return add_events(table, task=task) if task.rare else add_stages(table, task=task)


def add_stages(table: pl.DataFrame, *, task: Task) -> pl.DataFrame:
    """Add the likeliest class as `predicted`, -1 where an epoch is not usable."""
    likeliest = table.filter("usable").select(task.probabilities).to_numpy().argmax(axis=1)
    return _add_predicted(table, likeliest)


def add_events(table: pl.DataFrame, *, task: Task) -> pl.DataFrame:
    """Add whether the event is predicted, -1 where an epoch is not usable, and its threshold.

    The threshold is chosen by the labelled epochs of the validation subjects (`role`), and the
    same for all (defect S5). `label` is the task's column.

    Raises
    ------
    ValueError
        When none of these epochs has the event, or all have it.
    """
    event = task.probabilities[1]
    table = table.with_columns(pl.col(task.column).alias("label"))
    chosen_by = table.filter("usable", pl.col("role") == "val", pl.col("label") != UNKNOWN)
    targets = chosen_by["label"].to_numpy().astype(np.int64)
    require_both(targets, task=task, role="validation")
    threshold = best_threshold(targets, chosen_by[event].to_numpy())
    log.info("%s from %s %.4g on, chosen by %d epochs", task.name, event, threshold, len(targets))
    found = table.filter("usable")[event].to_numpy() >= threshold
    return _add_predicted(table, found).with_columns(threshold=pl.lit(threshold, pl.Float32))


def _add_predicted(table: pl.DataFrame, classes: npt.NDArray[Any]) -> pl.DataFrame:
    predicted = np.full(len(table), UNKNOWN, np.int8)
    predicted[table["usable"].to_numpy()] = classes
    return table.with_columns(predicted=pl.Series(predicted, dtype=pl.Int8))


def _count_nights(table: pl.DataFrame) -> int:
    return table.select(NIGHT).n_unique()


def write_predictions(path: Path, table: pl.DataFrame, *, task: Task) -> None:
    """Write predictions.parquet and log how many epochs of each role were scored."""
    for (role,), rows in table.group_by("role", maintain_order=True):
        log.info(
            "%s: %d epochs of %d subjects, %d usable and predicted, %d of these scored by hand",
            role, len(rows), rows["subject"].n_unique(), rows["usable"].sum(),
            rows.filter(pl.col("usable") & (pl.col(task.column) != UNKNOWN)).height,
        )  # fmt: skip
    schema = prediction_schema(task)
    pq.write_table(table.select(schema.names).to_arrow().cast(schema), path, compression="zstd")
