"""Section `pretrain`: self-supervised training of NeuroNet on one channel."""

from typing import Literal

from pydantic import Field, model_validator

from somnoflow.config.base import Section
from somnoflow.config.signals import Channel


class Pretrain(Section):
    """NeuroNet's self-supervised training (arXiv 2404.17585, section IV)."""

    preset: Literal["tiny", "T", "B"] = Field(
        "tiny", description="Size of NeuroNet: `tiny` for laptops and tests, `T` and `B` published."
    )
    channels: list[Channel] = Field(
        default=["EEG_C4"],
        min_length=1,
        description="One encoder is trained for each of these channels.",
    )
    frame_window: float = Field(
        3.0, gt=0, description="Length of a frame in seconds. Published: 3."
    )
    frame_step: float = Field(
        0.375,
        gt=0,
        description="Step between frames in seconds, cut down to whole samples. Published: 0.375.",
    )
    mask_ratio: float = Field(
        0.8, gt=0, lt=1, description="Share of frames hidden from the encoder. Published: 0.8."
    )
    temperature: float = Field(
        0.05, gt=0, description="Temperature of the NT-Xent loss. Published: 0.05."
    )
    alpha: float = Field(1.0, ge=0, description="Weight of the NT-Xent loss. Published: 1.")
    passes: int = Field(
        8, ge=1, description="Passes over the training subjects' epochs. Published: 30."
    )
    batch_size: int = Field(64, ge=2, description="30-s epochs per optimiser step. Published: 256.")
    learning_rate: float = Field(
        1e-3, gt=0, description="AdamW's peak learning rate. Published: 1e-5 x batch / 256."
    )
    weight_decay: float = Field(0.05, ge=0, description="AdamW's weight decay.")
    warmup: float = Field(
        0.1, ge=0, lt=1, description="Share of the steps with a linearly rising learning rate."
    )
    gradient_clip: float = Field(
        1.0, ge=0, description="Largest gradient norm; 0 switches clipping off."
    )
    seed: int = Field(1, ge=0, description="Seed of initial weights, order and masks.")

    @model_validator(mode="after")
    def _check(self) -> "Pretrain":
        if self.frame_step > self.frame_window:
            raise ValueError(
                f"frame_step is {self.frame_step} s, wanted at most frame_window = "
                f"{self.frame_window} s"
            )
        return self


class PretrainSlice(Section):
    """What one pretrain job needs."""

    channel: Channel
    sampling_rate: int
    pretrain: Pretrain
