"""What one embed job needs."""

from pydantic import Field

from somnoflow.config.base import Section


class EmbedSlice(Section):
    """What one embed job needs: `channel` names what the encoder reads, or a fusion."""

    channel: str
    batch_size: int = Field(256, ge=1, description="Epochs per forward pass.")
