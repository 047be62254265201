"""Give every usable epoch of every packed shard its embedding from a frozen encoder."""

import json
import logging
from typing import Any

from somnoflow.config.embed import EmbedSlice
from somnoflow.data.packed import PackedEpochs
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.models.encoders import load_encoder
from somnoflow.training.device import choose_device, prepare
from somnoflow.training.embedding import embed_shard, part_file, write_index
from somnoflow.training.signals import require_fitting_shards

log = logging.getLogger(__name__)


def embed(
    *, encoder: Input, packed: Inputs, index: Output, gpus: int, threads: int, cfg: EmbedSlice
) -> None:
    """Embed all usable epochs, one file per shard beside the index."""
    device = choose_device(gpus)
    prepare(device, threads=threads)
    model, about = load_encoder(encoder)
    require_fitting_shards(packed, channel=cfg.channel, encoder=model, about=about, of=encoder)
    model.to(device)
    # The index has a temporary name here, in the folder where it will stand.
    folder = index.parent
    parts: list[dict[str, Any]] = []
    for path in sorted(packed):
        shard = json.loads(path.read_text(encoding="utf-8"))
        file = part_file(shard)
        epochs = PackedEpochs([path], channels=model.channels, require="any")
        usable = embed_shard(model, epochs, folder / file, batch_size=cfg.batch_size, device=device)
        log.info("%s: %d of %d epochs embedded", file, usable, len(epochs))
        parts.append({"file": file, "epochs": len(epochs), "usable": usable})
    write_index(index, made_by="embed", dimension=model.dimension, parts=parts)


if __name__ == "__main__":
    command(embed)
