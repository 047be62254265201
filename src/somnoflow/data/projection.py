"""The table of embeddings in a plane: where epochs lie, and how that was computed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from somnoflow.io.parquet import METADATA_KEY

PCA_COLUMNS, TSNE_COLUMNS = ("pca_1", "pca_2"), ("tsne_1", "tsne_2")
# Fewer epochs have no plane of their own.
LEAST = 3
SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string()),
        pa.field("subject", pa.string()),
        pa.field("recording", pa.string()),
        pa.field("epoch", pa.int32()),
        pa.field("stage", pa.int8()),
        *(pa.field(name, pa.float32()) for name in (*PCA_COLUMNS, *TSNE_COLUMNS)),
    ]
)


@dataclass(frozen=True)
class Projected:
    """Embedded epochs in a plane.

    Attributes
    ----------
    table
        One row per epoch: `dataset`, `subject`, `recording`, `epoch`, `stage`, and its place by
        principal components (`pca_1`, `pca_2`) and by t-SNE (`tsne_1`, `tsne_2`).
    about
        `epochs` drawn and `of` how many, `explained_variance` of the two components (parts of
        the whole), `perplexity`; the latter two are None where there are too few epochs.
    """

    table: pl.DataFrame
    about: dict[str, Any]


def write_projection(path: Path, table: pl.DataFrame, *, about: Mapping[str, Any]) -> None:
    """Write the table, with `about` in the schema's metadata under `somnoflow`."""
    metadata = {METADATA_KEY: json.dumps(dict(about), sort_keys=True).encode()}
    rows = table.select(SCHEMA.names).to_arrow().cast(SCHEMA)
    pq.write_table(rows.replace_schema_metadata(metadata), path, compression="zstd")


def read_projection(path: Path) -> Projected:
    """Read the table and how it was computed.

    Raises
    ------
    ValueError
        Where the file is no table of embeddings in a plane.
    """
    schema = pq.read_schema(path)
    absent = [name for name in SCHEMA.names if name not in schema.names]
    if absent or METADATA_KEY not in (schema.metadata or {}):
        raise ValueError(
            f"{path} lacks {absent or 'its metadata'}, found the columns {schema.names}, wanted "
            f"{SCHEMA.names}. Make it again with the rule project"
        )
    # hive_partitioning: the folder fold=... would become a column.
    table = pl.read_parquet(path, columns=SCHEMA.names, hive_partitioning=False)
    return Projected(table, json.loads(schema.metadata[METADATA_KEY]))
