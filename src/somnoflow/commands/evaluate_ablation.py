"""Evaluate the stages that were scored with every subset of the modalities."""

from somnoflow.config.evaluate import Evaluate
from somnoflow.entry import Inputs, Output, command


def evaluate_ablation(
    *,
    counts: Inputs,
    metrics: Output,
    cfg: Evaluate,
) -> None:
    """Evaluate the stages that were scored with every subset of the modalities."""
    raise NotImplementedError


if __name__ == "__main__":
    command(evaluate_ablation)
