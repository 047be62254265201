"""Section `heads`: what is trained on the frozen encoder's embeddings."""

from typing import Literal

from pydantic import Field

from somnoflow.config.base import Section

HeadName = Literal["linear", "knn"]


class Linear(Section):
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


class Heads(Section):
    """Which probes are trained, and how."""

    names: list[HeadName] = Field(
        default=["linear", "knn"], min_length=1, description="Probes to train."
    )
    linear: Linear = Linear()
    knn: Knn = Knn()
