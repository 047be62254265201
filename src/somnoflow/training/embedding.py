"""Embeddings of all usable epochs of a packed shard, from a frozen encoder."""

import logging
from collections.abc import Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from somnoflow.config.unimodal import join_modalities, modality_of
from somnoflow.data.packed import PackedEpochs
from somnoflow.io.atomic import atomic, write_json
from somnoflow.io.digest import sha256_file
from somnoflow.tasks import LABELS
from somnoflow.training.encoding import Encoder, embed_rows
from somnoflow.training.reading import Flags, Floats

log = logging.getLogger(__name__)

# Batches per block: a block is what is held in memory, and one row group of the file.
BLOCK = 16


def embed_shard(
    model: Encoder, epochs: PackedEpochs, path: Path, *, batch_size: int, device: torch.device
) -> int:
    """Write one row per epoch of a shard, block by block, so memory does not grow with it.

    Parameters
    ----------
    model
        Frozen encoder on `device`.
    epochs
        Epochs of the shard, of the encoder's channels.
    path
        Parquet file with the columns of `embedding_schema`.
    batch_size
        Epochs per forward pass.
    device
        Where to compute.

    Returns
    -------
    Number of usable epochs.
    """
    schema = embedding_schema(model.dimension)
    usable = epochs.table["usable"].to_numpy()
    with (
        atomic(path) as partial,
        pq.ParquetWriter(partial, schema, compression="zstd") as writer,
    ):
        for start in range(0, len(epochs), BLOCK * batch_size):
            rows = np.arange(start, min(start + BLOCK * batch_size, len(epochs)))
            embedding = np.zeros((len(rows), model.dimension), np.float32)
            todo = usable[rows]
            embedding[todo] = embed_rows(
                model, epochs, rows[todo], batch_size=batch_size, device=device
            )
            table = epochs.table[start : start + len(rows)].with_columns(
                modalities=name_modalities(epochs.channels, epochs.present[rows])
            )
            writer.write_table(embedding_table(table, embedding))
    return int(np.count_nonzero(usable))


def name_modalities(channels: Sequence[str], present: Flags) -> pl.Series:
    """Give the modalities that are present, (N, C), in the order of the channels: `EEG+ECG`."""
    kinds, number = np.unique(present, axis=0, return_inverse=True)
    named = [
        join_modalities(dict.fromkeys(modality_of(name) for name in compress(channels, kind)))
        for kind in kinds
    ]
    return pl.Series(named, dtype=pl.String)[number.ravel()]


def embedding_table(table: pl.DataFrame, embedding: Floats) -> pa.Table:
    """Give rows of an embedding file.

    Parameters
    ----------
    table
        The columns of `embedding_schema` but the last.
    embedding
        (N, D); it becomes null where the epoch is not usable.
    """
    schema = embedding_schema(embedding.shape[1])
    unusable = pa.array(~table["usable"].to_numpy())
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(embedding.ravel()), embedding.shape[1], mask=unusable
    )
    columns = table.select(schema.names[:-1]).to_arrow().columns
    return pa.table([*columns, column], names=schema.names).cast(schema)


def embedding_schema(dimension: int) -> pa.Schema:
    """Give the columns of an embedding file of D = `dimension`.

    `stage`, `apnea`, `hypopnea` and `respiratory` are -1 where unknown; `quality` are the flags of
    all the encoder's channels together (`signals.quality.Flag`), `modalities` those that are
    present, such as `EEG+ECG`; `embedding` is null where the epoch is not usable.
    """
    return pa.schema(
        [
            pa.field("dataset", pa.string()),
            pa.field("subject", pa.string()),
            pa.field("recording", pa.string()),
            pa.field("epoch", pa.int32()),
            pa.field("onset_s", pa.float64()),
            *(pa.field(name, pa.int8()) for name in LABELS),
            pa.field("usable", pa.bool_()),
            pa.field("quality", pa.uint16()),
            pa.field("modalities", pa.string()),
            pa.field("embedding", pa.list_(pa.float32(), dimension)),
        ]
    )


def part_file(shard: Mapping[str, Any]) -> str:
    """Give the name of a shard's embedding file beside the index, from its packed index."""
    return f"dataset={shard['dataset']}/shard={shard['shard']}.parquet"


def write_index(
    index: Path, *, made_by: str, dimension: int, parts: Sequence[Mapping[str, Any]]
) -> None:
    """Write the index of embedding files and remove those of shards that are no longer there.

    Parameters
    ----------
    index
        Its path, or a temporary name in the folder where it will stand.
    made_by
        The rule.
    dimension
        D.
    parts
        `file` (from `part_file`), `epochs` and `usable` of each; its digest is added.
    """
    folder = index.parent
    described = [{**part, "sha256": sha256_file(folder / part["file"])} for part in parts]
    kept = {part["file"] for part in parts}
    for path in folder.glob("dataset=*/shard=*.parquet"):
        if path.relative_to(folder).as_posix() not in kept:
            log.info("removing %s: its shard is gone", path)
            path.unlink()
    write_json(index, {"made_by": made_by, "dimension": dimension, "parts": described})
