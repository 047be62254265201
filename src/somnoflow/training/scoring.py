"""Stages and probabilities of every epoch of the validation and test subjects."""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from somnoflow.data.windows import run_starts
from somnoflow.models.heads import Floats, Head
from somnoflow.stages import STAGE_NAMES, Stage
from somnoflow.training.embedded import read_dimension, read_parts, to_matrix
from somnoflow.training.roles import Roles, require_subjects

log = logging.getLogger(__name__)

NIGHT = ("dataset", "subject", "recording")
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


def score_subjects(
    embeddings: Path, *, head: Head, roles: Roles, fold: int, stride: int
) -> pl.DataFrame:
    """Score the validation and test subjects: one row per epoch, usable and scored or not.

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
    return gather_predictions(scored, roles=roles, fold=fold, where=str(embeddings))


def score_part(part: pl.DataFrame, *, head: Head, dimension: int, stride: int) -> pl.DataFrame:
    """Add the predicted stage and the probabilities to a part's epochs that are usable.

    A part holds whole recordings, each in the order of time; epochs that are not usable end a run.
    """
    require_order(part)
    usable = part.filter("usable")
    probabilities = head.predict_proba(
        to_matrix(usable["embedding"], dimension=dimension), run_starts(usable), stride=stride
    )
    return add_predictions(part.drop("embedding"), probabilities)


def require_order(part: pl.DataFrame) -> None:
    """Raise `ValueError` unless each recording is in one piece, in the order of time."""
    changed = part.select(*NIGHT, "epoch")
    if not changed.equals(changed.sort(changed.columns, maintain_order=True)):
        raise ValueError(
            f"{len(part)} epochs of {part['recording'].n_unique()} recordings are not in the order "
            "of dataset, subject, recording and epoch: a model of neighbouring epochs would see "
            "wrong ones. Run again with: snakemake --forcerun pack"
        )


def add_predictions(table: pl.DataFrame, probabilities: Floats) -> pl.DataFrame:
    """Give a table the columns `predicted` (-1 where not usable) and `p_W` to `p_REM` (null there).

    `probabilities` (n, K) are those of its n usable epochs, in their order.
    """
    usable = table["usable"].to_numpy()
    columns = np.zeros((len(table), len(STAGE_NAMES)), np.float32)
    columns[usable] = probabilities
    predicted = np.full(len(table), Stage.UNSCORED, np.int8)
    predicted[usable] = probabilities.argmax(axis=1)
    return table.with_columns(
        pl.Series("predicted", predicted, pl.Int8),
        *(
            pl.when("usable").then(pl.Series(column)).alias(name)
            for name, column in zip(PROBABILITIES, columns.T, strict=True)
        ),
    )


def gather_predictions(
    parts: Iterable[pl.DataFrame], *, roles: Roles, fold: int, where: str
) -> pl.DataFrame:
    """Join scored parts, each with whole recordings, and check that nothing is missing or double.

    Parameters
    ----------
    parts
        From `add_predictions`.
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
    return table.sort(keys).with_columns(
        fold=pl.lit(fold, pl.Int32),
        role=pl.col("subject").replace_strict(role_of, return_dtype=pl.String),
    )


def _count_nights(table: pl.DataFrame) -> int:
    return table.select(NIGHT).n_unique()


def write_predictions(path: Path, table: pl.DataFrame) -> None:
    """Write predictions.parquet and log how many epochs of each role were scored."""
    for (role,), rows in table.group_by("role", maintain_order=True):
        log.info(
            "%s: %d epochs of %d subjects, %d usable and predicted, %d of these scored by hand",
            role, len(rows), rows["subject"].n_unique(), rows["usable"].sum(),
            rows.filter(pl.col("usable") & (pl.col("stage") >= 0)).height,
        )  # fmt: skip
    pq.write_table(table.select(SCHEMA.names).to_arrow().cast(SCHEMA), path, compression="zstd")
