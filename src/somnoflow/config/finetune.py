"""Section `finetune`: encoder and context module trained together on labelled signals."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from somnoflow.config.base import Section
from somnoflow.config.context import SCORE_STRIDE, Context, ContextName, require_score_stride
from somnoflow.config.precision import Precision
from somnoflow.config.pretrain import Recipe
from somnoflow.config.signals import Channel
from somnoflow.config.tasks import TaskName

Tuning = Literal["partial", "full", "scratch"]
SCRATCH = "scratch"
_TUNINGS, _CONTEXTS = "|".join(get_args(Tuning)), "|".join(get_args(ContextName))
TunedName = Annotated[str, Field(pattern=rf"^({_TUNINGS})-({_CONTEXTS})$")]


class FinetuneRecipe(Context):
    """One fine-tuning (arXiv 2404.17585, section IV)."""

    passes: int = Field(10, ge=1, description="Passes over the windows. Published: 150.")
    precision: Precision = Field("auto", description="As in `pretrain`.")


class Finetune(FinetuneRecipe):
    """Which encoders are fine-tuned, and how."""

    names: list[TunedName] = Field(
        default=["partial-mamba"],
        description="What to train, as `<tuning>-<context module>`, such as `partial-mamba`. "
        "`partial`: MLP and second norm of the last encoder block, encoder norm and head, as "
        "published; `full`: everything; `scratch`: everything, from random weights, to see what "
        "pre-training is worth.",
    )

    score_stride: int | None = SCORE_STRIDE

    @model_validator(mode="after")
    def _check_score_stride(self) -> "Finetune":
        require_score_stride(self.score_stride, window=self.window)
        return self

    @property
    def recipe(self) -> FinetuneRecipe:
        """What a training needs of the section."""
        return FinetuneRecipe(**{name: getattr(self, name) for name in FinetuneRecipe.model_fields})


class FinetuneSlice(Section):
    """What one finetune job needs; `scratch` builds its encoder from `architecture`."""

    channel: Channel
    sampling_rate: int
    task: TaskName
    tuning: Tuning
    context: ContextName
    recipe: FinetuneRecipe
    architecture: Recipe | None
