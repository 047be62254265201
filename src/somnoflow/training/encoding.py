"""Features of packed epochs, from a frozen encoder."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from somnoflow.data.packed import Rows
from somnoflow.models.epoch_encoder import EpochEncoder
from somnoflow.training.reading import Epochs, Floats, read_finite


class Encoder(Protocol):
    """What gives an epoch of several channels a feature, as `models.encoders` loads it."""

    @property
    def dimension(self) -> int:
        """Size D of the feature."""
        ...

    def forward_features(self, signals: Tensor, present: Tensor) -> Tensor:
        """Give features (B, D) of signals (B, C, T), of the channels that are present (B, C)."""
        ...


@torch.inference_mode()
def embed_rows(
    model: EpochEncoder | Encoder,
    epochs: Epochs,
    rows: Rows,
    *,
    batch_size: int,
    device: torch.device,
) -> Floats:
    """Give the features (N, D) of usable epochs, rows (N,) of the table, batch by batch.

    The model is in evaluation mode on `device`, an `EpochEncoder` where the epochs are of one
    channel; what is held beside the features does not grow with N.
    """
    features = np.empty((len(rows), model.dimension), np.float32)
    for begin in range(0, len(rows), batch_size):
        few = rows[begin : begin + batch_size]
        signals = torch.from_numpy(read_finite(epochs, few)).to(device)
        if isinstance(model, EpochEncoder):
            found = model.forward_features(signals.squeeze(dim=1))
        else:
            present = torch.from_numpy(epochs.present[few]).to(device)
            found = model.forward_features(signals, present)
        features[begin : begin + batch_size] = found.float().cpu().numpy()
    return features
