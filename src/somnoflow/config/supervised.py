"""Section `supervised`: models that are trained on labelled signals from the beginning."""

from typing import Literal

from pydantic import Field

from somnoflow.config.base import Section
from somnoflow.config.deepsleepnet import DeepSleepNet
from somnoflow.config.seresnet_bilstm import SeResNetBiLstm
from somnoflow.config.signals import Channel
from somnoflow.config.tasks import TASK_CHOICES, TaskName
from somnoflow.config.tinysleepnet import TinySleepNet

SupervisedName = Literal["deepsleepnet", "tinysleepnet", "seresnet_bilstm"]
BalanceName = Literal["published", "plain", "weights", "oversampling"]


class Supervised(Section):
    """Which supervised models are trained, and how."""

    names: list[SupervisedName] = Field(
        default=["deepsleepnet", "tinysleepnet", "seresnet_bilstm"],
        description="Models to train: `deepsleepnet`, `tinysleepnet`, `seresnet_bilstm`; none "
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
    recipe: DeepSleepNet | TinySleepNet | SeResNetBiLstm
