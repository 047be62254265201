"""Lay embeddings of test subjects out in a plane."""

from somnoflow.config.projection import Projection
from somnoflow.entry import Input, Output, command


def project(
    *,
    embeddings: Input,
    split: Input,
    projection: Output,
    fold: int,
    threads: int,
    cfg: Projection,
) -> None:
    """Lay embeddings of test subjects out in a plane."""
    raise NotImplementedError


if __name__ == "__main__":
    command(project)
