"""Section `unimodal`: the encoders of single modalities that SynthSleepNet is built from."""

from collections.abc import Iterable, Mapping
from typing import get_args

from pydantic import Field

from somnoflow.config.heads import HeadName
from somnoflow.config.pretrain import Preset, Recipe
from somnoflow.config.signals import Channel, Modality
from somnoflow.config.tasks import TASK_CHOICES, TaskName

UNIMODAL = "unimodal"
JOINT = "+"


class UnimodalRecipe(Recipe):
    """One training of a modality's encoder (arXiv 2502.17481)."""

    preset: Preset = Field(
        "synth-tiny",
        description="Size of the encoders: `synth-tiny` for laptops and tests, `synth` published.",
    )
    frame_window: float = Field(
        4.0, gt=0, description="Length of a frame in seconds. Published: 4."
    )
    frame_step: float = Field(
        1.0, gt=0, description="Step between frames in seconds. Published: 1."
    )
    passes: int = Field(3, ge=1, description="Passes over the epochs. Published: 20.")
    learning_rate: float = Field(
        1e-3, gt=0, description="AdamW's peak learning rate. Published: 1e-4."
    )
    gradient_clip: float = Field(
        2.0, ge=0, description="Largest gradient norm; 0 switches clipping off. Published: 2."
    )


class Unimodal(UnimodalRecipe):
    """Encoders of single modalities: NeuroNet with squeeze and excitation, in frames of 4 s."""

    channels: list[Channel] = Field(
        default=["EEG_C4", "EOG_L", "EMG_CHIN", "ECG"],
        min_length=1,
        description="Channels to train on. Those of one modality train one encoder together.",
    )
    heads: list[HeadName] = Field(
        default=["linear"],
        description="Heads to train on each encoder alone, beside SynthSleepNet; `linear` is "
        "trained as `synthsleepnet.linear` says, the others as `heads` does.",
    )
    tasks: list[TaskName] = Field(
        default=[],
        description=f"What these heads are asked for: {TASK_CHOICES}. None (`[]`): no heads.",
    )

    @property
    def modalities(self) -> Mapping[Modality, list[Channel]]:
        """The channels of each modality that is trained on, in the order of a montage."""
        return {
            modality: own
            for modality in get_args(Modality)
            if (own := [name for name in self.channels if modality_of(name) == modality])
        }

    @property
    def recipe(self) -> UnimodalRecipe:
        """What a training needs of the section."""
        return UnimodalRecipe(**{name: getattr(self, name) for name in UnimodalRecipe.model_fields})


def modality_of(channel: str) -> str:
    """Give the modality of a channel: what stands before the underscore."""
    return channel.partition("_")[0]


def join_modalities(modalities: Iterable[str]) -> str:
    """Name several modalities as tables do: `EEG+ECG`."""
    return JOINT.join(modalities)
