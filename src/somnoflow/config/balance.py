"""How a training treats classes that are rare."""

from typing import Literal

from pydantic import Field

from somnoflow.config.base import Section


class Balance(Section):
    """What may be done so that rare classes are learned."""

    class_weights: Literal["none", "balanced", "root"] = Field(
        "none",
        description="Weights of the classes in the loss: `balanced` is the inverse of a class's "
        "share of the training epochs, `root` its square root. Published: none.",
    )
    sampling: Literal["plain", "balanced"] = Field(
        "plain",
        description="`balanced` draws with replacement, so that each class is drawn as often; a "
        "window counts as its rarest class. `plain` takes each once a pass. Published for events: "
        "balanced, though the code draws the common class more often.",
    )
