"""Give YASA's features in the form that `embed` gives embeddings in."""

from somnoflow.config.baselines import YasaSlice
from somnoflow.entry import Inputs, Output, command


def embed_yasa(*, features: Inputs, index: Output, cfg: YasaSlice) -> None:
    """Write one file per shard beside the index."""
    raise NotImplementedError


if __name__ == "__main__":
    command(embed_yasa)
