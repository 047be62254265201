"""Section `supervised`: models that are trained on labelled signals from the beginning."""

from typing import Any, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator

from somnoflow.config.base import Section
from somnoflow.config.deepsleepnet import DeepSleepNet
from somnoflow.config.seresnet_bilstm import SeResNetBiLstm
from somnoflow.config.signals import Channel
from somnoflow.config.tasks import TASK_CHOICES, TaskName
from somnoflow.config.tinysleepnet import TinySleepNet

SupervisedName = Literal["deepsleepnet", "tinysleepnet", "seresnet_bilstm"]
SUPERVISED: tuple[SupervisedName, ...] = get_args(SupervisedName)
Recipe = DeepSleepNet | TinySleepNet | SeResNetBiLstm
BalanceName = Literal["published", "plain", "weights", "oversampling"]


class Supervised(Section):
    """Which supervised models are trained, and how."""

    names: list[SupervisedName] = Field(
        default=["deepsleepnet", "tinysleepnet", "seresnet_bilstm"],
        description=f"Models to train: {', '.join(f'`{name}`' for name in SUPERVISED)}; none "
        "(`[]`): no supervised models.",
    )
    channels: list[Channel] = Field(
        default=["EEG_C4"], min_length=1, description="Each model is trained on each of these."
    )
    tasks: list[TaskName] = Field(
        default=["staging"],
        min_length=1,
        description=f"What they are asked for: {TASK_CHOICES}.",
    )
    balance: list[BalanceName] = Field(
        default=["published"],
        min_length=1,
        description="What is done for rare classes, one model for each: `published` is the "
        "model's own way, `plain` nothing, `weights` the inverse of a class's share in the loss, "
        "`oversampling` classes repeated until all are as many.",
    )
    deepsleepnet: DeepSleepNet = DeepSleepNet()
    tinysleepnet: TinySleepNet = TinySleepNet()
    seresnet_bilstm: SeResNetBiLstm = SeResNetBiLstm()


class TrainSlice(Section):
    """What one train job needs."""

    name: SupervisedName
    channel: Channel
    sampling_rate: int
    task: TaskName
    balance: BalanceName
    recipe: Recipe

    @field_validator("recipe", mode="before")
    @classmethod
    def _of_the_named_model(cls, recipe: Any, info: ValidationInfo) -> Any:
        # Recipes share most options, so what they hold does not tell whose they are.
        field = Supervised.model_fields.get(info.data.get("name", ""))
        if field is None or not isinstance(recipe, dict):
            return recipe
        kind: Any = field.annotation
        return kind.model_validate(recipe)
