"""Section `baselines`: what every model has to be better than."""

from pydantic import Field, field_validator

from somnoflow.config.base import Section
from somnoflow.config.heads import HeadName
from somnoflow.config.signals import Channel
from somnoflow.config.unimodal import modality_of

# Sampling rates that YASA takes.
YASA_ABOVE_HZ = 80


class Baselines(Section):
    """Baselines: the majority class, YASA's features with heads on them, and YASA's own stager."""

    majority: bool = Field(
        True, description="Give every epoch the class that most training epochs have."
    )
    yasa: list[Channel] = Field(
        default=[],
        description="EEG channels to take YASA's features of; none: no features, no stager.",
    )
    yasa_heads: list[HeadName] = Field(
        default=["boosting"], description="Heads to train on the features, as `heads` says."
    )
    yasa_stager: bool = Field(
        True,
        description="Score with YASA's own stager too, which was trained on other recordings; an "
        "outside reference.",
    )

    @field_validator("yasa")
    @classmethod
    def _eeg(cls, value: list[Channel]) -> list[Channel]:
        if wrong := [name for name in value if modality_of(name) != "EEG"]:
            raise ValueError(f"{', '.join(wrong)}: YASA's features are of EEG channels")
        return value


class YasaSlice(Section):
    """What YASA's features of a shard depend on."""

    channel: Channel
