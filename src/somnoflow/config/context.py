"""Recipe of a temporal context module: the stage of an epoch from its neighbours in the night."""

from typing import Literal

from pydantic import Field, model_validator

from somnoflow.config.balance import Balance

ContextName = Literal["lstm", "transformer", "lstm_transformer", "mamba", "mamba2", "bimamba"]


class Context(Balance):
    """Training of a context module (arXiv 2404.17585, section IV)."""

    window: int = Field(20, ge=1, description="Epochs in a window, L. Published: 20.")
    stride: int | None = Field(
        None,
        ge=1,
        description="Step between training windows in epochs; half a window where null. "
        "Published: 10.",
    )
    width: int = Field(256, ge=8, description="Size of the tokens of the module. Published: 256.")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Dropout before the context module and the last layer."
    )
    input_dropout: float = Field(
        0.0, ge=0, lt=1, description="Dropout of the features themselves. Published: none."
    )
    passes: int = Field(20, ge=1, description="Passes over the windows. Published: 150.")
    batch_size: int = Field(16, ge=1, description="Windows per step. Published: 64.")
    learning_rate: float = Field(
        5e-4, gt=0, description="AdamW's peak learning rate, falling as a cosine. Published: 5e-4."
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW's weight decay.")
    gradient_clip: float = Field(
        1.0, ge=0, description="Largest gradient norm; 0 switches clipping off."
    )
    seed: int = Field(1, ge=0, description="Seed of initial weights and order.")

    @property
    def training_stride(self) -> int:
        """Step between training windows in epochs."""
        return self.stride or max(1, self.window // 2)

    @model_validator(mode="after")
    def _check(self) -> "Context":
        if self.training_stride > self.window:
            raise ValueError(
                f"stride is {self.stride} epochs, wanted at most window = {self.window}: epochs "
                "between windows would be left out"
            )
        return self


def require_score_stride(score_stride: int | None, *, window: int) -> None:
    """Raise `ValueError` where windows would leave epochs between them unscored."""
    if score_stride and score_stride > window:
        raise ValueError(
            f"score_stride is {score_stride} epochs, wanted at most window = {window}: epochs "
            "between windows would get no stage"
        )


SCORE_STRIDE = Field(
    None,
    ge=1,
    description="Step between windows when a night is scored; a window where null, as published. "
    "Where it is less, windows overlap and their probabilities are averaged.",
)
