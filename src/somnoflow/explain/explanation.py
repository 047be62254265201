"""The table of explanations: one row for each explained epoch, channel and method.

Columns: `dataset`, `subject`, `recording`, `epoch`, `onset_s`; `stage` (-1 unscored), `predicted`
and `explained` (the class that the heat is of); the probability of each class; `channel`,
`sampling_rate` in Hz, `signal` (T,) in `unit`; `method`, `heat`
(T,) from 0 to 1, its maximum over all channels of the epoch, or 0 where nothing speaks for the
class; `spindles` and `slow_waves`, each a list of `onset_s` (from the beginning of the epoch) and
`duration_s`, null where they were not looked for.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from somnoflow.io.parquet import METADATA_KEY
from somnoflow.tasks import Task

GRAD_CAM = "Grad-CAM"
ROLLOUT = "attention roll-out"
EVENTS = pa.list_(pa.struct([("onset_s", pa.float32()), ("duration_s", pa.float32())]))


@dataclass(frozen=True)
class Explanations:
    """The table, and `about`: what is known of how its epochs were chosen."""

    table: pl.DataFrame
    about: dict[str, Any]


def explanation_schema(task: Task) -> pa.Schema:
    """Give the columns of a model's explanations."""
    return pa.schema(
        [
            pa.field("dataset", pa.string()),
            pa.field("subject", pa.string()),
            pa.field("recording", pa.string()),
            pa.field("epoch", pa.int32()),
            pa.field("onset_s", pa.float64()),
            pa.field("stage", pa.int8()),
            pa.field("predicted", pa.int8()),
            pa.field("explained", pa.int8()),
            *(pa.field(name, pa.float32()) for name in task.probabilities),
            pa.field("channel", pa.string()),
            pa.field("sampling_rate", pa.int32()),
            pa.field("unit", pa.string()),
            pa.field("signal", pa.list_(pa.float32())),
            pa.field("method", pa.string()),
            pa.field("heat", pa.list_(pa.float32())),
            pa.field("spindles", EVENTS),
            pa.field("slow_waves", EVENTS),
        ]
    )


def write_explanations(
    path: Path, rows: Sequence[Mapping[str, Any]], *, task: Task, about: Mapping[str, Any]
) -> None:
    """Write rows in their order, with `about` in the schema's metadata under `somnoflow`."""
    metadata = {METADATA_KEY: json.dumps(dict(about), sort_keys=True).encode()}
    schema = explanation_schema(task).with_metadata(metadata)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, compression="zstd")


def read_explanations(path: Path, *, task: Task) -> Explanations:
    """Read the table of a model.

    Raises
    ------
    ValueError
        Where the file is no table of explanations of this task.
    """
    schema, wanted = pq.read_schema(path), explanation_schema(task).names
    absent = [name for name in wanted if name not in schema.names]
    if absent or METADATA_KEY not in (schema.metadata or {}):
        raise ValueError(
            f"{path} lacks {absent or 'its metadata'}, found the columns {schema.names}, wanted "
            f"{wanted}. Make it again with the rule explain"
        )
    # hive_partitioning: the folder fold=... would become a column.
    table = pl.read_parquet(path, columns=wanted, hive_partitioning=False)
    return Explanations(table, json.loads(schema.metadata[METADATA_KEY]))
