"""What one embed job needs."""

from pydantic import Field

from somnoflow.config.base import Section


class EmbedSlice(Section):
    """The name of what the encoder reads: a channel, a modality or a fusion."""

    channel: str
    batch_size: int = Field(256, ge=1, description="Epochs per forward pass.")
