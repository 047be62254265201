"""Section `simulate`: size of the embedded simulated cohort."""

from pydantic import Field

from somnoflow.config.base import Section


class Simulate(Section):
    """The embedded simulated cohort."""

    subjects: int = Field(8, ge=1, description="Number of simulated subjects, one night each.")
    hours: float = Field(1.0, ge=0.1, le=24, description="Length of each night in hours.")
    seed: int = Field(
        87,
        ge=0,
        description="Seed of the cohort; another seed is another cohort. With this one each of "
        "the subjects has apneas and hypopneas.",
    )


class SimulateSlice(Section):
    """What one simulate job needs: the cohort's seed and the subjects of its shard."""

    subjects: list[str]
    hours: float
    seed: int
