"""Embeddings of all usable epochs of a packed shard, from a frozen encoder."""

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from somnoflow.data.packed import PackedEpochs
from somnoflow.io.atomic import atomic
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
            todo = np.flatnonzero(usable[rows])
            for first in range(0, len(todo), batch_size):
                batch = todo[first : first + batch_size]
                embedding[batch] = embed_batch(
                    model, read_finite(epochs, rows[batch]), device=device
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
def embed_batch(
    model: NeuroNet, signals: npt.NDArray[np.float32], *, device: torch.device
) -> npt.NDArray[np.float32]:
    """Give the features (B, D) of signals (B, T)."""
    features = model.forward_features(torch.from_numpy(signals).to(device))
    return features.float().cpu().numpy()


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


def remove_stale(folder: Path, *, keep: list[str]) -> None:
    """Remove embedding files of shards that are no longer there."""
    for path in folder.glob("dataset=*/shard=*.parquet"):
        if path.relative_to(folder).as_posix() not in keep:
            log.info("removing %s: its shard is gone", path)
            path.unlink()
