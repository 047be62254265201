"""Frozen encoders as all heads see them: the features of epochs, from the channels that are there.

Notation: B epochs, C channels, T samples of an epoch, D size of a feature.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from somnoflow.models.neuronet import NeuroNet
from somnoflow.models.presence import Presence
from somnoflow.models.pretrained import load_neuronet
from somnoflow.models.synthsleepnet import KIND, SynthSleepNet, load_synthsleepnet
from somnoflow.models.weights import read_about


class Encoder(Protocol):
    """What gives epochs their features."""

    channels: tuple[str, ...]
    sampling_rate: int
    samples: int

    @property
    def dimension(self) -> int:
        """Size D of a feature."""

    def forward_features(self, signals: Tensor, present: Tensor) -> Tensor:
        """Give the features (B, D) of signals (B, C, T); `present` (B, C) tells which are there."""


class ModalityEncoder(nn.Module):
    """NeuroNet as an encoder of one or several channels of its modality.

    Parameters
    ----------
    model
        Trained on each of the channels.
    channels
        Their names.
    """

    def __init__(self, model: NeuroNet, *, channels: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.channels = tuple(channels)
        self.sampling_rate = model.sampling_rate
        self.samples = model.samples

    @property
    def dimension(self) -> int:
        """Size D of a feature."""
        return self.model.dimension

    def forward_features(self, signals: Tensor, present: Tensor) -> Tensor:
        """Give the features (B, D) of signals (B, C, T): the mean over the channels (B, C) there.

        What `signals` holds of a channel that an epoch does not have is not looked at.
        """
        presence = Presence(present, channels=self.channels)
        if signals.shape[:2] != present.shape:
            raise ValueError(
                f"found signals of shape {tuple(signals.shape)}, wanted "
                f"{(*present.shape, self.samples)}: {', '.join(self.channels)}"
            )
        if presence.full and len(self.channels) == 1:
            return self.model.forward_features(signals[:, 0])
        features = self.model.forward_features(signals[present])  # of each epoch and channel
        total = features.new_zeros(len(signals), self.dimension)
        total = total.index_add(0, present.nonzero()[:, 0], features)
        return total / present.sum(dim=1, keepdim=True)


def load_encoder(path: Path) -> tuple[ModalityEncoder | SynthSleepNet, dict[str, Any]]:
    """Rebuild an encoder in evaluation mode, frozen (defect N8); give the file's description too.

    Parameters
    ----------
    path
        Weights of kind `neuronet` or `synthsleepnet`.

    Returns
    -------
    encoder : Encoder
        On the CPU.
    about : dict
        With `channel`, the encoder's name in the grid, and `channels`, what it reads.
    """
    kind = read_about(path, kind=("neuronet", KIND))["kind"]
    if kind == KIND:
        return load_synthsleepnet(path)
    model, about = load_neuronet(path)
    # Files of one channel may not list it.
    about = {**about, "channels": about.get("channels", [about["channel"]])}
    encoder = ModalityEncoder(model, channels=about["channels"])
    return encoder.eval().requires_grad_(False), about
