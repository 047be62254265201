"""Give every epoch the class that most labelled training epochs of the fold have."""

from somnoflow.config.score import ScoreSlice
from somnoflow.entry import Input, Inputs, Output, command


def score_majority(
    *,
    packed: Inputs,
    split: Input,
    labels: Input,
    predictions: Output,
    fold: int,
    cfg: ScoreSlice,
) -> None:
    """Write the predictions of the fold's validation and test subjects."""
    raise NotImplementedError


if __name__ == "__main__":
    command(score_majority)
