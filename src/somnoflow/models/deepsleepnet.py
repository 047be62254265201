"""DeepSleepNet: two convolutional branches and a BiLSTM with a shortcut (arXiv 1703.04046).

Notation: N epochs, T samples of an epoch, B windows, L epochs of a window, D feature, H units of
the LSTM in one direction, K classes of the task, C channels and n samples of a map.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from somnoflow.config.recipe import Size
from somnoflow.models.context import map_valid
from somnoflow.models.convolution import Branch, require_sizes
from somnoflow.models.epoch_encoder import EpochEncoder
from somnoflow.models.layers import as_autocast
from somnoflow.models.recurrent import EpochHead, NightHead, NightModel, State, lstm

# The stride of the small filters is a sixteenth of a second.
LEAST_RATE = 16


class Widths(NamedTuple):
    """Channels of the first convolutions and of the others, and H."""

    first: int
    later: int
    units: int


SIZES: dict[Size, Widths] = {"published": Widths(64, 128, 512), "tiny": Widths(16, 32, 32)}


class DeepFeatureNet(EpochEncoder):
    """The two branches: small filters see when a pattern comes, large ones its frequencies.

    Parameters
    ----------
    sampling_rate
        fs in Hz. First kernels and strides are fs/2 and fs/16 (small), 4 fs and fs/2 (large), cut
        down to whole samples: 50, 6, 400 and 50 at the published 100.
    samples
        T. Published: 3000.
    channels
        Of the first convolutions and of the others. Published: 64, 128.
    dropout
        After the first pooling of each branch. Published: 0.5.
    simplified
        Kernels of 8 and pools of 8 and 4 in both branches. Published: kernels of 8 and 6, pools of
        8 and 4 (small) and of 4 and 2 (large).
    """

    def __init__(
        self,
        *,
        sampling_rate: int,
        samples: int,
        channels: tuple[int, int],
        dropout: float,
        simplified: bool,
    ) -> None:
        super().__init__()
        require_sizes(
            "DeepSleepNet",
            sampling_rate=sampling_rate,
            samples=samples,
            least=LEAST_RATE,
            kernel=4 * sampling_rate,
        )
        self.sampling_rate = sampling_rate
        self.samples = samples
        self.small = Branch(
            samples,
            kernel=sampling_rate // 2,
            stride=sampling_rate // 16,
            channels=channels,
            later_kernel=8,
            pools=(8, 4),
            dropout=dropout,
        )
        self.large = Branch(
            samples,
            kernel=4 * sampling_rate,
            stride=sampling_rate // 2,
            channels=channels,
            later_kernel=8 if simplified else 6,
            pools=(8, 4) if simplified else (4, 2),
            dropout=dropout,
        )

    @property
    def dimension(self) -> int:
        """Size D of the feature of an epoch: both flattened maps."""
        return self.small.dimension + self.large.dimension

    def forward_features(self, epochs: Tensor) -> Tensor:
        """Give the features (N, D) of epochs (N, T)."""
        self.require_epochs(epochs)
        x = epochs[:, None]  # (N, 1, T)
        return torch.cat([self.small(x), self.large(x)], dim=1)

    def maps(self) -> list[nn.Module]:
        """Give the modules whose outputs (N, C, n) are the last maps, of small and large."""
        return [self.small.last_map, self.large.last_map]


class SequenceResidual(NightHead):
    """Two stacks of LSTMs, ahead and back, beside a linear shortcut; their sum gives the class.

    As published, the layers of a direction see nothing of the other, and the states of both
    directions go on to the next window: the one that goes back has then seen the window before,
    from its end to its beginning.

    Parameters
    ----------
    dimension
        D.
    units
        H. Published: 512.
    dropout
        Of the features, of the output of each LSTM, and before the last layer. Published: 0.5.
    window
        Published: 25.
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
        self.shortcut = nn.Sequential(
            nn.Linear(dimension, 2 * units, bias=False), nn.BatchNorm1d(2 * units), nn.ReLU()
        )
        self.ahead = lstm(dimension, units, layers=2, dropout=dropout)
        self.back = lstm(dimension, units, layers=2, dropout=dropout)
        self.fc = nn.Linear(2 * units, len(self.task.classes))

    def forward(
        self, features: Tensor, valid: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Map features (B, L, D) to logits (B, L, K); the state is four tensors (2, B, H)."""
        return self._forward(features, valid, state, window=valid.shape[1])

    def answer_run(self, features: Tensor) -> Tensor:
        """Give the logits (n, K) of a whole run's features (n, D), as its windows would.

        The state that goes back begins a window where it ended the one before: both directions go
        through the run once, that one through windows turned round. One call of the LSTM takes
        less than half the time of many.
        """
        whole = torch.ones(1, len(features), dtype=torch.bool, device=features.device)
        logits, _ = self._forward(features[None], whole, None, window=self.window)
        return logits[0]

    def _forward(
        self, features: Tensor, valid: Tensor, state: State | None, *, window: int
    ) -> tuple[Tensor, State]:
        x = as_autocast(self.dropout(features))
        h, c, h_back, c_back = state or self._zero_state(x)
        ahead, (h, c) = self.ahead(x, (h.to(x), c.to(x)))  # (B, L, H)
        turned = turn_windows(x, valid, window=window)
        back, (h_back, c_back) = self.back(turned, (h_back.to(x), c_back.to(x)))
        both = torch.cat([ahead, turn_windows(back, valid, window=window)], dim=-1)  # (B, L, 2H)
        summed = self.dropout(both) + map_valid(self.shortcut, x, valid)
        return self.fc(self.dropout(summed)), (h, c, h_back, c_back)

    def _zero_state(self, x: Tensor) -> State:
        shape = self.ahead.num_layers, len(x), self.ahead.hidden_size
        return tuple(x.new_zeros(shape) for _ in range(4))


def turn_windows(x: Tensor, valid: Tensor, *, window: int) -> Tensor:
    """Reverse the valid epochs of (B, L, W) in time, each window of so many by itself.

    The last window of a row can be shorter; padding stays where it is.
    """
    place = torch.arange(x.shape[1], device=x.device).expand(valid.shape)  # (B, L)
    begin = place // window * window
    end = (begin + window).minimum(valid.sum(dim=1, keepdim=True))
    order = torch.where(valid, begin + end - 1 - place, place)
    return x.gather(1, order[..., None].expand_as(x))


class DeepSleepNet(NightModel):
    """The whole network, trained in two steps.

    Parameters
    ----------
    sampling_rate, samples, simplified
        As in `DeepFeatureNet`.
    preset
        Size: `tiny`, or as `published`.
    dropout
        Published: 0.5.
    window
        Epochs of a window. Published: 25.
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
        window: int = 25,
        task: str = "staging",
        seen: npt.NDArray[np.int64] | None = None,
        simplified: bool = False,
    ) -> None:
        first, later, units = SIZES[preset]
        encoder = DeepFeatureNet(
            sampling_rate=sampling_rate,
            samples=samples,
            channels=(first, later),
            dropout=dropout,
            simplified=simplified,
        )
        head = SequenceResidual(
            encoder.dimension, units=units, dropout=dropout, window=window, task=task, seen=seen
        )
        architecture: dict[str, Any] = {
            "sampling_rate": sampling_rate,
            "samples": samples,
            "preset": preset,
            "dropout": dropout,
            "window": window,
            "task": task,
            "simplified": simplified,
        }
        super().__init__(encoder, head, architecture=architecture)

    def cnn_stage(self) -> NightModel:
        """Give the model of the first step: this encoder itself, dropout and a linear layer."""
        head = EpochHead(
            self.encoder.dimension,
            dropout=self.architecture["dropout"],
            window=1,
            task=self.head.task.name,
            seen=self.head.seen.cpu().numpy().nonzero()[0],
        )
        return NightModel(self.encoder, head, architecture=self.architecture)

    def first_convolutions(self) -> list[nn.Parameter]:
        """Give the weights of the two first convolutions, which have an L2 penalty."""
        encoder = self.encoder
        assert isinstance(encoder, DeepFeatureNet)  # noqa: S101 - tells mypy
        return [encoder.small.first_convolution, encoder.large.first_convolution]
