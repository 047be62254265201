"""Put all models into one table, beside what was published."""

from somnoflow.config.evaluate import Evaluate
from somnoflow.entry import Input, Inputs, Output, command


def compare(
    *,
    metrics: Inputs,
    models: Inputs,
    recordings: Input,
    split: Input,
    table: Output,
    tex: Output,
    html: Output,
    cfg: Evaluate,
) -> None:
    """Write the table as CSV, LaTeX and HTML."""
    raise NotImplementedError


if __name__ == "__main__":
    command(compare)
