"""Give every epoch of the cohort its features from a table, in the form that `embed` gives."""

import json
import logging
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from somnoflow.config.features import FeaturesSlice
from somnoflow.data.features import (
    KEYS,
    FeatureEpochs,
    join_cohort,
    read_features,
    standardise,
)
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.io.atomic import atomic
from somnoflow.io.digest import require_sha256
from somnoflow.tasks import LABELS
from somnoflow.training.embedding import embedding_table, part_file, write_index
from somnoflow.training.roles import read_roles

log = logging.getLogger(__name__)


def features(
    *, table: Input, packed: Inputs, split: Input, index: Output, fold: int, cfg: FeaturesSlice
) -> None:
    """Standardise the features by the fold's training subjects; one file per shard."""
    roles = read_roles(split, fold=fold)
    shards = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(packed)}
    cohort = {path: _read_epochs(path, shard["sha256"]) for path, shard in shards.items()}
    joined = join_cohort(
        read_features(table, cfg=cfg.table), pl.concat(cohort.values()), where=str(table)
    )
    epochs = standardise(
        joined, train=roles.train, normalise=cfg.table.normalise, bins=cfg.table.bins
    )
    folder = index.parent
    parts: list[dict[str, Any]] = []
    for path, shard in shards.items():
        file = part_file(shard)
        part = epochs.only(cohort[path]["subject"].unique())
        usable = write_part(folder / file, part)
        log.info("%s: %d of %d epochs have features", file, usable, len(part.table))
        parts.append({"file": file, "epochs": len(part.table), "usable": usable})
    write_index(index, made_by="features", dimension=epochs.dimension, parts=parts)


def write_part(path: Path, epochs: FeatureEpochs) -> int:
    """Write one row per epoch, as `embed_shard` does; give the number of usable epochs.

    What the signals were is not known: no flags and no modalities.
    """
    table = epochs.table.with_columns(quality=pl.lit(0), modalities=pl.lit(""))
    with atomic(path) as partial:
        pq.write_table(embedding_table(table, epochs.values), partial, compression="zstd")
    return int(table["usable"].sum())


def _read_epochs(index: Path, sha256: dict[str, str]) -> pl.DataFrame:
    path = index.with_name("epochs.parquet")
    require_sha256(path, sha256["epochs.parquet"], made_by="pack")
    columns = [*KEYS, "onset_s", *LABELS]
    return pl.read_parquet(path, columns=columns, hive_partitioning=False)


if __name__ == "__main__":
    command(features)
