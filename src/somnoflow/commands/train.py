"""Train a supervised model on the labelled signals of a fold's training subjects."""

from pathlib import Path

from somnoflow.config.supervised import TrainSlice
from somnoflow.entry import Input, Inputs, Output, command


def train(
    *,
    packed: Inputs,
    split: Input,
    labels: Input,
    model: Output,
    training: Output,
    resume: Path,
    name: str,
    fold: int,
    gpus: int,
    threads: int,
    cfg: TrainSlice,
) -> None:
    """Train the model that `cfg` describes, chosen by the validation subjects."""
    raise NotImplementedError


if __name__ == "__main__":
    command(train)
