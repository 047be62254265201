"""What the recipes of all supervised models have in common, and their augmentations."""

from typing import Literal

from pydantic import Field

from somnoflow.config.base import Section
from somnoflow.config.precision import Precision

Size = Literal["tiny", "published"]


class SupervisedRecipe(Section):
    """Training of a supervised model on labelled signals."""

    preset: Size = Field(
        "tiny", description="Size: `tiny` for laptops and tests, or as `published`."
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout. Published: 0.5.")
    gradient_clip: float = Field(
        0.0, ge=0, description="Largest gradient norm; 0 switches clipping off."
    )
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty of the weights.")
    precision: Precision = Field("auto", description="As in `pretrain`.")
    seed: int = Field(1, ge=0, description="Seed of initial weights, order and augmentation.")


class Augmentation(Section):
    """Random changes of training signals, each epoch's own; 0 switches one off."""

    amplitude: float = Field(
        0.0, ge=0, lt=1, description="Largest relative change of the amplitude."
    )
    shift: float = Field(
        0.0, ge=0, le=0.5, description="Largest shift in time, as a part of the epoch."
    )
    noise: float = Field(
        0.0, ge=0, description="Largest deviation of added noise, in deviations of the epoch."
    )
    band_stop: float = Field(
        0.0, ge=0, description="Width in Hz of a band that is taken out at a random place."
    )
    mask: float = Field(
        0.0, ge=0, lt=1, description="Longest stretch set to zero, as a part of the epoch."
    )
    chance: float = Field(
        0.5, ge=0, le=1, description="Chance of each of these changes to be made to an epoch."
    )
