"""Section `pretrain`: self-supervised training of NeuroNet on one channel."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from somnoflow.config.base import Section
from somnoflow.config.precision import Precision
from somnoflow.config.signals import Channel

Preset = Literal["tiny", "T", "B", "synth-tiny", "synth"]
Objective = Literal["hybrid", "masked", "contrastive"]
BASE = "neuronet"


class Objectives(Section):
    """What a training asks of the model; a variant changes some of it."""

    objective: Objective = Field(
        "hybrid",
        description="`hybrid`: masked prediction and contrast, as published; `masked` or "
        "`contrastive`: one half alone.",
    )
    mask_ratio: float = Field(
        0.8, gt=0, lt=1, description="Share of frames hidden from the encoder. Published: 0.8."
    )
    block_masking: int = Field(
        1,
        ge=1,
        description="Neighbouring frames hidden or shown together. Published: 1, although "
        "neighbours share 88 % of their samples.",
    )
    stop_gradient: bool = Field(
        False,
        description="Take the frame tokens as a fixed target of the prediction. Published: no, "
        "the target is trained with its prediction.",
    )
    temperature: float = Field(
        0.05, gt=0, description="Temperature of the NT-Xent loss. Published: 0.05."
    )
    alpha: float = Field(
        1.0, ge=0, description="Weight of the NT-Xent loss in `hybrid`. Published: 1."
    )


class Recipe(Objectives):
    """One training of NeuroNet (arXiv 2404.17585, section IV)."""

    preset: Preset = Field(
        "tiny",
        description="Size of NeuroNet: `tiny` for laptops and tests, `T` and `B` published; "
        "`synth-tiny` and `synth` are SynthSleepNet's, with squeeze and excitation.",
    )
    frame_window: float = Field(
        3.0, gt=0, description="Length of a frame in seconds. Published: 3."
    )
    frame_step: float = Field(
        0.375,
        gt=0,
        description="Step between frames in seconds, cut down to whole samples. Published: 0.375.",
    )
    passes: int = Field(
        8, ge=1, description="Passes over the training subjects' epochs. Published: 30."
    )
    batch_size: int = Field(64, ge=2, description="30-s epochs per batch. Published: 256.")
    accumulate: int = Field(
        1,
        ge=1,
        description="Batches whose gradients are added up for one optimiser step. The contrast is "
        "within a batch.",
    )
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
    precision: Precision = Field(
        "auto",
        description="Arithmetic of the training: `bfloat16` where layers allow it, `float32`, or "
        "`auto`: bfloat16 where the device has it in hardware.",
    )
    choose_by: Literal["loss", "knn"] = Field(
        "loss",
        description="How the pass to keep is chosen on the validation subjects: lowest `loss`, "
        "which needs no labels, or highest macro-F1 of a nearest-neighbours probe (`knn`) fitted "
        "on labelled training subjects.",
    )
    seed: int = Field(1, ge=0, description="Seed of initial weights, order and masks.")

    @model_validator(mode="after")
    def _check(self) -> "Recipe":
        if self.frame_step > self.frame_window:
            raise ValueError(
                f"frame_step is {self.frame_step} s, wanted at most frame_window = "
                f"{self.frame_window} s"
            )
        return self


class Pretrain(Recipe):
    """NeuroNet's self-supervised training: one recipe, its channels and its variants."""

    channels: list[Channel] = Field(
        default=["EEG_C4"],
        min_length=1,
        description="One encoder is trained for each of these channels, of any modality.",
    )
    variants: dict[str, Objectives] = Field(
        default={},
        description="Encoders trained beside it, each with what differs, such as "
        "`masked: {objective: masked}`. Their rows are called `neuronet-<name>`.",
    )

    @field_validator("variants")
    @classmethod
    def _plain_names(cls, value: dict[str, Objectives]) -> dict[str, Objectives]:
        for name in value:
            if not (name.isascii() and name.isalnum() and name.islower()):
                raise ValueError(f"variant '{name}': wanted lower-case letters and digits")
        return value

    @property
    def encoders(self) -> list[str]:
        """Names of all encoders: `neuronet`, then `neuronet-<variant>`."""
        return [BASE, *(f"{BASE}-{name}" for name in self.variants)]

    def recipe(self, encoder: str) -> Recipe:
        """Give the recipe of an encoder: the section's values with what its variant changes."""
        variants = dict(zip(self.encoders, [Objectives(), *self.variants.values()], strict=True))
        changed = variants[encoder]
        values = {name: getattr(self, name) for name in Recipe.model_fields}
        return Recipe(**{**values, **changed.model_dump(exclude_unset=True)})


class PretrainSlice(Section):
    """What one pretrain job needs: `channel` names the encoder, `channels` are what it reads."""

    channel: str
    channels: list[Channel]
    sampling_rate: int
    recipe: Recipe
