"""Evaluate one model of respiratory events on its test subjects."""

from somnoflow.config.evaluate import Evaluate
from somnoflow.entry import Input, Inputs, Output, command


def evaluate_events(
    *,
    predictions: Inputs,
    cohort: Input,
    metrics: Output,
    recordings: Output,
    task: str,
    cfg: Evaluate,
) -> None:
    """Evaluate one model of respiratory events on its test subjects."""
    raise NotImplementedError


if __name__ == "__main__":
    command(evaluate_events)
