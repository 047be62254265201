"""Take YASA's features of every recording of a shard, and the answers of its own stager."""

import json

from somnoflow.baselines.yasa_features import write_features
from somnoflow.config.baselines import YasaSlice
from somnoflow.entry import Input, Output, command
from somnoflow.io.digest import require_sha256


def yasa(*, part_index: Input, features: Output, cfg: YasaSlice) -> None:
    """Write one row per epoch: keys, features, and the probabilities of YASA's stager."""
    described = json.loads(part_index.read_text(encoding="utf-8"))
    part = part_index.with_name(described["part"]["file"])
    require_sha256(part, described["part"]["sha256"], made_by="parse")
    write_features(part, features, dataset=described["dataset"], channel=cfg.channel)


if __name__ == "__main__":
    command(yasa)
