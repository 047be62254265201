"""Section `evaluate`: how certain a number is."""

from pydantic import Field

from somnoflow.config.base import Section


class Evaluate(Section):
    """Bootstrap over subjects."""

    resamples: int = Field(1000, ge=100, description="Bootstrap resamples of the test subjects.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Coverage of the intervals.")
    seed: int = Field(1, ge=0, description="Seed of the resampling.")
