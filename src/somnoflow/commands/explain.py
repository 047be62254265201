"""Show where in some test epochs a model finds its stage."""

from somnoflow.config.explain import ExplainSlice
from somnoflow.entry import Input, Inputs, Output, command


def explain(
    *,
    packed: Inputs,
    predictions: Input,
    model: Inputs,
    explanation: Output,
    threads: int,
    cfg: ExplainSlice,
) -> None:
    """Write trace, heat, probabilities and detected events of some epochs of each stage."""
    raise NotImplementedError


if __name__ == "__main__":
    command(explain)
