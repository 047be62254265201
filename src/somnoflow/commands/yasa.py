"""Take YASA's features of every recording of a shard, and the answers of its own stager."""

from somnoflow.config.baselines import YasaSlice
from somnoflow.entry import Input, Output, command


def yasa(*, part: Input, features: Output, cfg: YasaSlice) -> None:
    """Write one row per epoch: keys, features, and the probabilities of YASA's stager."""
    raise NotImplementedError


if __name__ == "__main__":
    command(yasa)
