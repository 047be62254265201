"""Pack one shard for training: an array on disk instead of Parquet."""

import json
import logging

from somnoflow.config.pack import Pack
from somnoflow.data.packing import pack_part
from somnoflow.entry import Input, Output, command
from somnoflow.io.atomic import write_json
from somnoflow.io.digest import require_sha256, sha256_file

logger = logging.getLogger("somnoflow.pack")


def pack(*, part_index: Input, signals: Output, epochs: Output, index: Output, cfg: Pack) -> None:
    """Write array, epoch table and index of the shard; its part must be the one parse wrote."""
    described = json.loads(part_index.read_text(encoding="utf-8"))
    part = part_index.with_name(described["part"]["file"])
    require_sha256(part, described["part"]["sha256"], made_by="parse")
    packed = pack_part(part, dataset=described["dataset"], signals=signals, epochs=epochs, cfg=cfg)
    for constant in packed["constant"]:
        logger.warning("%(recording)s, %(channel)s: no spread to scale by; not used", constant)
    digests = {"signals.npy": sha256_file(signals), "epochs.parquet": sha256_file(epochs)}
    content = {"dataset": described["dataset"], "shard": described["shard"], "sha256": digests}
    write_json(index, {**content, **packed})


if __name__ == "__main__":
    command(pack)
