"""Section `supervised.tinysleepnet`: its training (EMBC 2020)."""

from pydantic import Field, model_validator

from somnoflow.config.recipe import SupervisedRecipe


class TinySleepNet(SupervisedRecipe):
    """TinySleepNet: one CNN and one LSTM on nights in order."""

    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout. Published: 0.5.")
    passes: int = Field(25, ge=1, description="Passes over the nights. Published: 200.")
    window: int = Field(
        10, ge=1, description="Epochs of a window; the state goes on to the next. Published: 20."
    )
    batch_size: int = Field(
        15, ge=1, description="Nights that are gone through side by side. Published: 15."
    )
    learning_rate: float = Field(3e-3, gt=0, description="Adam's learning rate. Published: 1e-4.")
    weight_decay: float = Field(
        1e-3, ge=0, description="L2 penalty of the convolutions. Published: 1e-3."
    )
    gradient_clip: float = Field(
        5.0, ge=0, description="Largest gradient norm; 0 switches clipping off. Published: 5."
    )
    n1_weight: float = Field(
        1.5, gt=0, description="Weight of N1 in the loss, the others have 1. Published: 1.5."
    )
    roll: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Largest shift of a night against its epochs, as a part of one. Published: "
        "0.1.",
    )
    random_start: int = Field(
        4, ge=0, description="Most epochs left out at the beginning of a night. Published code: 4."
    )

    @model_validator(mode="after")
    def _check(self) -> "TinySleepNet":
        if self.roll and self.window < 2:
            raise ValueError(
                f"roll is {self.roll:g} with window = {self.window}, wanted 0, or a window of 2 "
                "or more: the epoch at the border of a rolled window loses its label"
            )
        return self
