"""Give YASA's features in the form that `embed` gives embeddings in."""

import json
import logging
from typing import Any

import pyarrow.parquet as pq

from somnoflow.baselines.yasa_features import DIMENSION, read_features, to_embedding
from somnoflow.config.baselines import YasaSlice
from somnoflow.data.packed import PackedEpochs
from somnoflow.entry import Inputs, Output, command
from somnoflow.io.atomic import atomic
from somnoflow.training.embedding import embedding_table, part_file, write_index

log = logging.getLogger(__name__)


def embed_yasa(*, features: Inputs, packed: Inputs, index: Output, cfg: YasaSlice) -> None:
    """Write one file per shard beside the index; labels and flags are those of the packed epochs.

    An epoch is usable where it is packed as usable and all its features are numbers.
    """
    parts: list[dict[str, Any]] = []
    # Both stand in the same folders below their own.
    for path, shard_index in zip(sorted(features), sorted(packed), strict=True):
        file = part_file(json.loads(shard_index.read_text(encoding="utf-8")))
        epochs = PackedEpochs([shard_index], channels=[cfg.channel]).table
        table = read_features(path, epochs=epochs)
        target = index.parent / file
        with atomic(target) as partial:
            rows = embedding_table(table, to_embedding(table))
            pq.write_table(rows, partial, compression="zstd")
        usable = int(table["usable"].sum())
        log.info("%s: %d of %d epochs have features", file, usable, len(table))
        parts.append({"file": file, "epochs": len(table), "usable": usable})
    write_index(index, made_by="embed_yasa", dimension=DIMENSION, parts=parts)


if __name__ == "__main__":
    command(embed_yasa)
