"""Embeddings of all usable epochs of a packed shard, from a frozen encoder."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from somnoflow.data.packed import PackedEpochs, Rows
from somnoflow.io.atomic import atomic, write_json
from somnoflow.io.digest import sha256_file
from somnoflow.models.neuronet import NeuroNet
from somnoflow.training.reading import read_finite

log = logging.getLogger(__name__)

# Batches per block: a block is what is held in memory, and one row group of the file.
BLOCK = 16


def embed_shard(
    model: NeuroNet, epochs: PackedEpochs, path: Path, *, batch_size: int, device: torch.device
) -> int:
    """Write one row per epoch of a shard, block by block, so memory does not grow with it.

    Parameters
    ----------
    model
        Frozen encoder on `device`.
    epochs
        Epochs of the shard.
    path
        Parquet file: `dataset`, `subject`, `recording`, `epoch`, `onset_s`, `stage`, `usable` and
        `embedding`, D float32, null where the epoch is not usable.
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
            columns = epochs.table[start : start + len(rows)].select(schema.names[:-1]).to_arrow()
            column = pa.FixedSizeListArray.from_arrays(
                pa.array(embedding.ravel()), model.dimension, mask=pa.array(~usable[rows])
            )
            writer.write_table(
                pa.table([*columns.columns, column], names=schema.names).cast(schema)
            )
    return int(np.count_nonzero(usable))


@torch.inference_mode()
def embed_rows(
    model: NeuroNet, epochs: PackedEpochs, rows: Rows, *, batch_size: int, device: torch.device
) -> npt.NDArray[np.float32]:
    """Give the features (N, D) of usable epochs, rows (N,) of the table, batch by batch.

    The model is in evaluation mode on `device`; what it holds does not grow with N.
    """
    features = np.empty((len(rows), model.dimension), np.float32)
    for begin in range(0, len(rows), batch_size):
        signals = read_finite(epochs, rows[begin : begin + batch_size])
        found = model.forward_features(torch.from_numpy(signals).to(device))
        features[begin : begin + batch_size] = found.float().cpu().numpy()
    return features


def embedding_schema(dimension: int) -> pa.Schema:
    """Give the columns of an embedding file of D = `dimension`."""
    return pa.schema(
        [
            pa.field("dataset", pa.string()),
            pa.field("subject", pa.string()),
            pa.field("recording", pa.string()),
            pa.field("epoch", pa.int32()),
            pa.field("onset_s", pa.float64()),
            pa.field("stage", pa.int8()),
            pa.field("usable", pa.bool_()),
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
