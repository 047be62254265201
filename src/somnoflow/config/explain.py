"""Section `explain`: what a model looks at when it scores an epoch."""

from pydantic import Field

from somnoflow.config.base import Section


class Explain(Section):
    """Explanations: where in an epoch a model finds its stage."""

    epochs: int = Field(
        2,
        ge=0,
        description="Epochs of each stage to explain, for each supervised model, fine-tuned "
        "NeuroNet and SynthSleepNet, of test subjects of the first fold; 0: none.",
    )
    seed: int = Field(1, ge=0, description="Seed of the draw.")


class ExplainSlice(Section):
    """What one explain job needs."""

    epochs: int
    seed: int
