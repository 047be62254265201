"""Train encoder and context module together on the labelled signals of a fold."""

from pathlib import Path

from somnoflow.config.finetune import FinetuneSlice
from somnoflow.entry import Input, Inputs, Output, command


def finetune(
    *,
    packed: Inputs,
    split: Input,
    labels: Input,
    encoder: Inputs,
    model: Output,
    training: Output,
    resume: Path,
    name: str,
    fold: int,
    gpus: int,
    threads: int,
    cfg: FinetuneSlice,
) -> None:
    """Fine-tune the encoder (none given: train from scratch), chosen by the validation subjects."""
    raise NotImplementedError


if __name__ == "__main__":
    command(finetune)
