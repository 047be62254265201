"""Section `label_efficiency`: how few labels are enough."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator

from somnoflow.config.base import Section
from somnoflow.config.context import ContextName
from somnoflow.config.finetune import TunedName, Tuning
from somnoflow.config.heads import HeadName, ProbeName
from somnoflow.config.subset import Unit
from somnoflow.config.synthsleepnet import LORA, FusedName

_CONTEXTS, _TUNINGS = get_args(ContextName), get_args(Tuning)
_METHODS = {
    *get_args(ProbeName),
    *_CONTEXTS,
    *(f"{tuning}-{context}" for tuning in (*_TUNINGS, LORA) for context in _CONTEXTS),
}
LEAST_PERCENT = 1e-4  # smaller ones have no plain name


class LabelEfficiency(Section):
    """Curves over nested subsets of the training subjects' labels."""

    methods: list[HeadName | TunedName | FusedName] = Field(
        default=[],
        description="Heads and fine-tunings to train on each subset, such as `linear`, "
        "`partial-mamba` and `scratch-mamba`; none: no curves.",
    )
    encoders: list[Literal["neuronet", "unimodal", "synthsleepnet"]] = Field(
        default=["neuronet"],
        min_length=1,
        description="On which encoders; each gets those of the methods that it has (`partial-`, "
        "`full-` and `scratch-` are NeuroNet's, `lora-` is SynthSleepNet's), for the tasks that "
        "its own section asks for.",
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

    @field_validator("methods", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        """Say it once: pydantic would tell for each kind of method that it is none of that kind."""
        for name in value if isinstance(value, list) else ():
            if name not in _METHODS:
                raise ValueError(
                    f"'{name}' is no method. Wanted: a probe ({', '.join(get_args(ProbeName))}), a "
                    f"context module ({', '.join(_CONTEXTS)}), or a tuning and a context module, "
                    f"such as {_TUNINGS[0]}-mamba ({', '.join(_TUNINGS)})"
                )
        return value

    @field_validator("percents")
    @classmethod
    def _named(cls, value: list[float]) -> list[float]:
        if min(value) < LEAST_PERCENT:
            raise ValueError(
                f"wanted at least {LEAST_PERCENT:g}, and one label is drawn in any case"
            )
        return value

    @property
    def needs_encoder(self) -> bool:
        """Whether a method begins with a pre-trained encoder."""
        return any(not name.startswith("scratch-") for name in self.methods)

    @property
    def subsets(self) -> list[str]:
        """Names of the subsets, such as `epochs-5-seed1`."""
        return [
            f"{by}-{percent:g}-seed{seed}"
            for by in self.by
            for percent in self.percents
            for seed in range(1, self.seeds + 1)
        ]
