"""What one embed job needs."""

from pydantic import Field

from somnoflow.config.base import Section
from somnoflow.config.signals import Channel


class EmbedSlice(Section):
    """The channel whose epochs are embedded."""

    channel: Channel
    batch_size: int = Field(256, ge=1, description="Epochs per forward pass.")
