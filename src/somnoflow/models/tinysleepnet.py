"""TinySleepNet: one convolutional branch and one LSTM of the past (EMBC 2020, Supratak and Guo).

Notation: N epochs, T samples of an epoch, B windows, L epochs of a window, D feature, H units of
the LSTM, K classes of the task, C channels and n samples of a map.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from somnoflow.config.recipe import Size
from somnoflow.models.convolution import Branch, require_sizes
from somnoflow.models.epoch_encoder import EpochEncoder
from somnoflow.models.layers import as_autocast
from somnoflow.models.recurrent import NightHead, NightModel, State, lstm

# The stride of the filters is a sixteenth of a second.
LEAST_RATE = 16
# Of the published batch norms.
EPS = 1e-3


class Widths(NamedTuple):
    """Channels of all convolutions, and H."""

    channels: int
    units: int


SIZES: dict[Size, Widths] = {"published": Widths(128, 128), "tiny": Widths(32, 32)}


class FeatureNet(EpochEncoder):
    """DeepSleepNet's branch of small filters, wider.

    Parameters
    ----------
    sampling_rate
        fs in Hz. The first kernel and stride are fs/2 and fs/16, cut down to whole samples: 50
        and 6 at the published 100.
    samples
        T. Published: 3000.
    channels
        Of all convolutions. Published: 128.
    dropout
        After the first pooling. Published: 0.5.
    """

    def __init__(self, *, sampling_rate: int, samples: int, channels: int, dropout: float) -> None:
        super().__init__()
        kernel = sampling_rate // 2
        require_sizes(
            "TinySleepNet",
            sampling_rate=sampling_rate,
            samples=samples,
            least=LEAST_RATE,
            kernel=kernel,
        )
        self.sampling_rate = sampling_rate
        self.samples = samples
        self.branch = Branch(
            samples,
            kernel=kernel,
            stride=sampling_rate // 16,
            channels=(channels, channels),
            later_kernel=8,
            pools=(8, 4),
            dropout=dropout,
            eps=EPS,
        )

    @property
    def dimension(self) -> int:
        """Size D of the feature of an epoch: the flattened map."""
        return self.branch.dimension

    def forward_features(self, epochs: Tensor) -> Tensor:
        """Give the features (N, D) of epochs (N, T)."""
        self.require_epochs(epochs)
        features: Tensor = self.branch(epochs[:, None])
        return features

    def maps(self) -> list[nn.Module]:
        """Give the module whose output (N, C, n) is the last map."""
        return [self.branch.last_map]


class Memory(NightHead):
    """An LSTM of the past and a linear layer.

    Parameters
    ----------
    dimension
        D.
    units
        H. Published: 128.
    dropout
        Of the features and of the LSTM's output. Published: 0.5.
    window
        Published: 20.
    task, seen
        As in `NightHead`.
    """

    stateful = True

    def __init__(
        self,
        dimension: int,
        *,
        units: int,
        dropout: float,
        window: int,
        task: str,
        seen: npt.NDArray[np.int64] | None,
    ) -> None:
        super().__init__(window=window, task=task, seen=seen)
        self.dropout = nn.Dropout(dropout)
        self.lstm = lstm(dimension, units)
        self.fc = nn.Linear(units, len(self.task.classes))

    def forward(
        self, features: Tensor, valid: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Map features (B, L, D) to logits (B, L, K); the state is two tensors (1, B, H).

        Padding lies in the future, which is not seen.
        """
        x = as_autocast(self.dropout(features))
        begin = None if state is None else tuple(part.to(x) for part in state)
        out, state = self.lstm(x, begin)  # (B, L, H)
        return self.fc(self.dropout(out)), state


class TinySleepNet(NightModel):
    """The whole network, trained in one step.

    Parameters
    ----------
    sampling_rate, samples
        As in `FeatureNet`.
    preset
        Size: `tiny`, or as `published`.
    dropout
        Published: 0.5.
    window
        Epochs of a window. Published: 20.
    task
        What is asked, a key of `TASKS`.
    seen
        Classes that the training epochs have; the others get probability 0. All where None.

    Raises
    ------
    ValueError
        When the sampling rate or the epoch is too low or short for the kernels.
    """

    def __init__(
        self,
        *,
        sampling_rate: int,
        samples: int,
        preset: Size,
        dropout: float = 0.5,
        window: int = 20,
        task: str = "staging",
        seen: npt.NDArray[np.int64] | None = None,
    ) -> None:
        channels, units = SIZES[preset]
        encoder = FeatureNet(
            sampling_rate=sampling_rate, samples=samples, channels=channels, dropout=dropout
        )
        head = Memory(
            encoder.dimension, units=units, dropout=dropout, window=window, task=task, seen=seen
        )
        architecture: dict[str, Any] = {
            "sampling_rate": sampling_rate,
            "samples": samples,
            "preset": preset,
            "dropout": dropout,
            "window": window,
            "task": task,
        }
        super().__init__(encoder, head, architecture=architecture)
