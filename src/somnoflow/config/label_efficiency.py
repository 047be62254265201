"""Section `label_efficiency`: how few labels are enough."""

from typing import Annotated

from pydantic import Field

from somnoflow.config.base import Section
from somnoflow.config.finetune import TunedName
from somnoflow.config.heads import HeadName
from somnoflow.config.subset import Unit


class LabelEfficiency(Section):
    """Curves over nested subsets of the training subjects' labels."""

    methods: list[HeadName | TunedName] = Field(
        default=[],
        description="Heads and fine-tunings to train on each subset, such as `linear`, "
        "`partial-mamba` and `scratch-mamba`; none: no curves.",
    )
    by: list[Unit] = Field(
        default=["subjects", "epochs"],
        min_length=1,
        description="Leave out the labels of whole `subjects`, or of single `epochs` of all.",
    )
    percents: list[Annotated[float, Field(gt=0, le=100)]] = Field(
        default=[1, 5, 10, 100],
        min_length=1,
        description="Sizes of the subsets in percent, rounded to at least one; a larger subset "
        "contains the smaller ones of its seed.",
    )
    seeds: int = Field(3, ge=1, description="Draws of each subset; each is also a training's seed.")

    @property
    def subsets(self) -> list[str]:
        """Names of the subsets, such as `epochs-5-seed1`."""
        return [
            f"{by}-{percent:g}-seed{seed}"
            for by in self.by
            for percent in self.percents
            for seed in range(1, self.seeds + 1)
        ]
