"""Which epochs of a batch have which channels.

Notation: B epochs, C channels, N epochs that have a channel.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

ALL = slice(None)


class Presence:
    """Which epochs have which channels; without any indexing where all have all.

    Parameters
    ----------
    present
        (B, C), False where an epoch does not have a channel.
    channels
        Names of the C channels.

    Attributes
    ----------
    epochs
        B.
    rows
        For each channel that any epoch has: the epochs that have it.
    counts
        For each of these channels, how many they are: N.

    Raises
    ------
    ValueError
        When there are other channels, or an epoch has none.
    """

    def __init__(self, present: Tensor, *, channels: Sequence[str]) -> None:
        if present.ndim != 2 or present.shape[1] != len(channels) or present.dtype != torch.bool:
            raise ValueError(
                f"found presence of shape {tuple(present.shape)} and type {present.dtype}, wanted "
                f"(B, {len(channels)}) and torch.bool, for the channels {', '.join(channels)}"
            )
        # On the CPU, where what follows is decided; one look at a device's memory.
        known = present.cpu()
        empty = ~known.any(dim=1)
        if empty.any():
            raise ValueError(
                f"{int(empty.sum())} of {len(known)} epochs have none of the channels "
                f"{', '.join(channels)}, {int(empty.nonzero()[0])} the first; wanted at least one "
                "in each: leave these epochs out"
            )
        self.epochs = len(known)
        self.counts = {
            channel: count
            for channel, count in zip(channels, known.sum(dim=0).tolist(), strict=True)
            if count
        }
        self.rows: dict[str, slice | Tensor] = {
            channel: ALL if count == self.epochs else self._having(present, channels.index(channel))
            for channel, count in self.counts.items()
        }
        numbers = [channels.index(channel) for channel in self.counts]
        self.full = all(count == self.epochs for count in self.counts.values())
        self._present = present[:, numbers]

    @staticmethod
    def _having(present: Tensor, number: int) -> Tensor:
        return present[:, number].nonzero().squeeze(1)

    def valid(self, tokens: int) -> Tensor | None:
        """Tell which tokens are there, (B, C' tokens), of the C' channels that any epoch has.

        None where all are.
        """
        return None if self.full else self._present.repeat_interleave(tokens, dim=1)

    def spread(self, x: Tensor, channel: str) -> Tensor:
        """Give the rows (B, ...) of all epochs from those (N, ...) of a channel; others are 0."""
        rows = self.rows[channel]
        if isinstance(rows, slice):
            return x
        return x.new_zeros(self.epochs, *x.shape[1:]).index_copy(0, rows, x)
