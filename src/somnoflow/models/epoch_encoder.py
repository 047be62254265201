"""Encoders that see one epoch of one channel at a time."""

from torch import Tensor, nn


class EpochEncoder(nn.Module):
    """What gives epochs of one channel their features.

    Attributes
    ----------
    sampling_rate
        Hz.
    samples
        Samples T of an epoch.
    small_steps
        Whether it takes very many small steps, which one CPU thread does best.
    """

    sampling_rate: int
    samples: int
    small_steps: bool = False

    @property
    def dimension(self) -> int:
        """Size D of the feature of an epoch."""
        raise NotImplementedError

    def forward_features(self, epochs: Tensor) -> Tensor:
        """Give the features (B, D) of epochs (B, T)."""
        raise NotImplementedError

    def require_epochs(self, epochs: Tensor) -> None:
        """Raise `ValueError` where epochs are not (B, T)."""
        if epochs.ndim != 2 or epochs.shape[1] != self.samples:
            raise ValueError(
                f"found epochs of shape {tuple(epochs.shape)}, wanted (B, {self.samples}): "
                f"{self.samples / self.sampling_rate:g} s at {self.sampling_rate} Hz"
            )
