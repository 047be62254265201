"""Section `heads`: what is trained on the frozen encoder's embeddings."""

from typing import Literal

from pydantic import Field, model_validator

from somnoflow.config.balance import Balance
from somnoflow.config.base import Section
from somnoflow.config.context import SCORE_STRIDE, Context, ContextName, require_score_stride
from somnoflow.config.tasks import TASK_CHOICES, TaskName

ProbeName = Literal["linear", "knn", "boosting"]
HeadName = ProbeName | ContextName


class Linear(Balance):
    """The published linear probe (arXiv 2404.17585, section IV)."""

    passes: int = Field(60, ge=1, description="Passes over the labelled epochs. Published: 300.")
    batch_size: int = Field(128, ge=2, description="Epochs per step. Published: 512.")
    learning_rate: float = Field(
        1e-3, gt=0, description="AdamW's peak learning rate. Published: 5e-5."
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout before the last layer.")
    seed: int = Field(1, ge=0, description="Seed of initial weights and order.")


class Knn(Section):
    """The k-nearest-neighbours probe on principal components."""

    components: int = Field(50, ge=1, description="Principal components kept. Published: 50.")
    neighbours: int = Field(10, ge=1, description="Neighbours that vote.")


class Boosting(Section):
    """Gradient-boosted trees."""

    trees: int = Field(200, ge=1, description="Most trees of a class; validation chooses fewer.")
    leaves: int = Field(31, ge=2, description="Most leaves of a tree.")
    learning_rate: float = Field(0.1, gt=0, description="Share of a tree's answer that is taken.")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="`balanced` weighs each class by the inverse of its share."
    )
    seed: int = Field(1, ge=0, description="Seed of the draws.")


class Heads(Section):
    """Which heads are trained on frozen embeddings, and how."""

    names: list[HeadName] = Field(
        default=["linear", "knn", "mamba"],
        min_length=1,
        description="Heads to train: probes (`linear`, `knn`, `boosting`) see one epoch, context "
        "modules (`lstm`, `transformer`, `lstm_transformer`, `mamba`, `mamba2`, `bimamba`) its "
        "neighbours too.",
    )
    tasks: list[TaskName] = Field(
        default=["staging"],
        min_length=1,
        description="What heads and fine-tunings on NeuroNet are asked for: "
        f"{TASK_CHOICES}. Heads on tables of features are asked for `staging` alone.",
    )
    linear: Linear = Linear()
    knn: Knn = Knn()
    boosting: Boosting = Boosting()
    context: Context = Context()
    score_stride: int | None = SCORE_STRIDE

    @model_validator(mode="after")
    def _check(self) -> "Heads":
        require_score_stride(self.score_stride, window=self.context.window)
        return self


class HeadSlice(Section):
    """The recipe of the one head that is trained."""

    name: HeadName
    task: TaskName
    recipe: Linear | Knn | Boosting | Context
    hidden: list[float] | None = None
