"""Train SynthSleepNet on the frozen encoders of its modalities."""

from pathlib import Path

from somnoflow.config.synthsleepnet import FuseSlice
from somnoflow.entry import Input, Inputs, Output, command


def fuse(
    *,
    encoders: Inputs,
    packed: Inputs,
    split: Input,
    encoder: Output,
    training: Output,
    resume: Path,
    tensorboard: Path,
    name: str,
    fold: int,
    gpus: int,
    threads: int,
    cfg: FuseSlice,
    processes: int = 1,
) -> None:
    """Train SynthSleepNet on the frozen encoders of its modalities."""
    raise NotImplementedError


if __name__ == "__main__":
    command(fuse)
