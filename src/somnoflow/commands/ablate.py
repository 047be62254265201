"""Score the stages of test subjects with every subset of a fusion's modalities."""

from somnoflow.config.synthsleepnet import AblateSlice
from somnoflow.entry import Input, Inputs, Output, command


def ablate(
    *,
    encoder: Input,
    head: Input,
    packed: Inputs,
    split: Input,
    counts: Output,
    fold: int,
    gpus: int,
    threads: int,
    cfg: AblateSlice,
) -> None:
    """Score the stages of test subjects with every subset of a fusion's modalities."""
    raise NotImplementedError


if __name__ == "__main__":
    command(ablate)
