"""Predict the stage of every epoch of a fold's validation and test subjects from its signal."""

from somnoflow.config.score import ScoreSlice
from somnoflow.entry import Input, Inputs, Output, command


def score_tuned(
    *,
    packed: Inputs,
    model: Input,
    split: Input,
    predictions: Output,
    fold: int,
    gpus: int,
    threads: int,
    cfg: ScoreSlice,
) -> None:
    """Score each epoch once; those without a usable signal get no stage."""
    raise NotImplementedError


if __name__ == "__main__":
    command(score_tuned)
