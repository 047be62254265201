"""Stages and probabilities of every epoch of the validation and test subjects."""

import logging
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from somnoflow.models.heads import Head
from somnoflow.stages import STAGE_NAMES, Stage
from somnoflow.training.embedded import read_dimension, read_parts, to_matrix
from somnoflow.training.roles import Roles, require_subjects

log = logging.getLogger(__name__)

PROBABILITIES = [f"p_{name}" for name in STAGE_NAMES]
SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string()),
        pa.field("subject", pa.string()),
        pa.field("recording", pa.string()),
        pa.field("epoch", pa.int32()),
        pa.field("onset_s", pa.float64()),
        pa.field("fold", pa.int32()),
        pa.field("role", pa.string()),
        pa.field("stage", pa.int8()),
        pa.field("usable", pa.bool_()),
        pa.field("predicted", pa.int8()),
        *(pa.field(name, pa.float32()) for name in PROBABILITIES),
    ]
)


def score_subjects(embeddings: Path, *, head: Head, roles: Roles, fold: int) -> pl.DataFrame:
    """Score the validation and test subjects: one row per epoch, usable and scored or not.

    Raises
    ------
    ValueError
        When a subject of the split is not embedded, or an epoch would be scored twice.
    """
    role_of = {**dict.fromkeys(roles.val, "val"), **dict.fromkeys(roles.test, "test")}
    dimension = read_dimension(embeddings)
    table = pl.concat(
        score_part(part, head=head, dimension=dimension)
        for part in read_parts(embeddings, subjects=role_of)
    )
    require_subjects(role_of, table["subject"].unique(), where=str(embeddings))
    keys = ["dataset", "subject", "recording", "epoch"]
    if (twice := table.select(keys).is_duplicated().sum()) > 0:
        raise ValueError(f"{twice} of {len(table)} epochs of {embeddings} are there twice")
    return table.sort(keys).with_columns(
        fold=pl.lit(fold, pl.Int32),
        role=pl.col("subject").replace_strict(role_of, return_dtype=pl.String),
    )


def score_part(part: pl.DataFrame, *, head: Head, dimension: int) -> pl.DataFrame:
    """Add the predicted stage and the probabilities to a part's epochs that are usable."""
    usable = part["usable"].to_numpy()
    embeddings = to_matrix(part.filter("usable")["embedding"], dimension=dimension)
    probabilities = head.predict_proba(embeddings)
    columns = np.zeros((len(part), len(STAGE_NAMES)), np.float32)
    columns[usable] = probabilities
    predicted = np.full(len(part), Stage.UNSCORED, np.int8)
    predicted[usable] = probabilities.argmax(axis=1)
    return part.drop("embedding").with_columns(
        pl.Series("predicted", predicted, pl.Int8),
        *(
            pl.when("usable").then(pl.Series(column)).alias(name)
            for name, column in zip(PROBABILITIES, columns.T, strict=True)
        ),
    )


def write_predictions(path: Path, table: pl.DataFrame) -> None:
    """Write predictions.parquet and log how many epochs of each role were scored."""
    for (role,), rows in table.group_by("role", maintain_order=True):
        log.info(
            "%s: %d epochs of %d subjects, %d usable and predicted, %d of these scored by hand",
            role, len(rows), rows["subject"].n_unique(), rows["usable"].sum(),
            rows.filter(pl.col("usable") & (pl.col("stage") >= 0)).height,
        )  # fmt: skip
    pq.write_table(table.select(SCHEMA.names).to_arrow().cast(SCHEMA), path, compression="zstd")
