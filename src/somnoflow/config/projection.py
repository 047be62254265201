"""Section `projection`: the picture of the fused embeddings."""

from pydantic import Field

from somnoflow.config.base import Section


class Projection(Section):
    """Embeddings in a plane, by principal components and by t-SNE."""

    epochs: int = Field(
        2000, ge=50, description="Most epochs to draw, as many of each recording as can be."
    )
    perplexity: float = Field(30, gt=1, description="Of t-SNE: neighbours that an epoch keeps.")
    seed: int = Field(1, ge=0, description="Seed of the draw and of t-SNE.")
