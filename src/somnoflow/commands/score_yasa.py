"""Take the stages of YASA's own stager as predictions of a fold."""

from somnoflow.config.baselines import YasaSlice
from somnoflow.entry import Input, Inputs, Output, command


def score_yasa(
    *, features: Inputs, split: Input, predictions: Output, fold: int, cfg: YasaSlice
) -> None:
    """Write the predictions of the fold's validation and test subjects."""
    raise NotImplementedError


if __name__ == "__main__":
    command(score_yasa)
