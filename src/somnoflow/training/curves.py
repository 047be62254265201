"""Curves of a training for TensorBoard."""

from pathlib import Path

import torch
from lightning.pytorch.loggers import TensorBoardLogger


class Curves(TensorBoardLogger):
    """Event files, and no file besides; their steps are optimiser steps.

    Parameters
    ----------
    folder
        Of this training; one that was killed goes on there.
    checkpoint
        The state it goes on from, or None. TensorBoard leaves out what an earlier start wrote
        after it, since those steps are done again.
    """

    def __init__(self, folder: Path, *, checkpoint: Path | None) -> None:
        done = 0
        if checkpoint is not None:
            state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
            done = state["global_step"]
        # Files are named by the second; a start in the same one would write over the last.
        super().__init__(
            folder, name="", version="", purge_step=done + 1, filename_suffix=f".{done}"
        )

    def save(self) -> None:
        """Write what is not on disk yet; the settings stand with the weights and not here."""
        self.experiment.flush()
