"""SE-ResNet-BiLSTM: the stage of the middle one of five epochs (arXiv 2309.07156).

The sizes of the layers are ours; they are not published.

Notation: N epochs, T samples of an epoch, B rows, L epochs of a row, W epochs of a window,
M windows, D feature, H units of the LSTM in one direction, K classes of the task, C channels and n
samples of a map.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from somnoflow.config.recipe import Size
from somnoflow.models.backbone import SqueezeExcitation
from somnoflow.models.convolution import require_sizes
from somnoflow.models.epoch_encoder import EpochEncoder
from somnoflow.models.layers import as_autocast
from somnoflow.models.recurrent import NightHead, NightModel, State

# The stride of the first convolution is a twenty-fifth of a second.
LEAST_RATE = 25
KERNEL = 7
POOL = 4


class Widths(NamedTuple):
    """Channels of the stem and the blocks, reduction of squeeze and excitation, and H."""

    stem: int
    blocks: tuple[int, ...]
    squeeze: int
    units: int


SIZES: dict[Size, Widths] = {
    "published": Widths(32, (32, 64, 128, 128), 16, 128),
    "tiny": Widths(16, (16, 32, 32, 32), 8, 32),
}


class SeBlock(nn.Module):
    """Residual block of two convolutions with squeeze and excitation before the sum.

    Parameters
    ----------
    c_in, c_out
        Channels in and out.
    squeeze
        Reduction of squeeze and excitation.
    """

    def __init__(self, c_in: int, c_out: int, *, squeeze: int) -> None:
        super().__init__()
        around = KERNEL // 2
        self.conv1 = nn.Conv1d(c_in, c_out, KERNEL, stride=2, padding=around, bias=False)
        self.bn1 = nn.BatchNorm1d(c_out)
        self.conv2 = nn.Conv1d(c_out, c_out, KERNEL, padding=around, bias=False)
        self.bn2 = nn.BatchNorm1d(c_out)
        self.squeeze = SqueezeExcitation(c_out, reduction=squeeze)
        self.shortcut = nn.Sequential(
            nn.Conv1d(c_in, c_out, 1, stride=2, bias=False), nn.BatchNorm1d(c_out)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, c_in, n) to (N, c_out, ceil(n / 2))."""
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        y = self.squeeze(y[:, :, None]).squeeze(2)  # as the one frame of an epoch
        return relu(y + self.shortcut(x))


class SeResNet(EpochEncoder):
    """Convolution, batch norm, ReLU, max pooling, SE-residual blocks, and the mean over time.

    Parameters
    ----------
    sampling_rate
        fs in Hz. The first kernel is about half a second and odd, its stride fs/25: 49 and 4 at
        100.
    samples
        T.
    stem, blocks
        Channels of the first convolution and of each block.
    squeeze
        Reduction of squeeze and excitation. Published: 16.
    """

    def __init__(
        self,
        *,
        sampling_rate: int,
        samples: int,
        stem: int,
        blocks: tuple[int, ...],
        squeeze: int,
    ) -> None:
        super().__init__()
        around = 49 * sampling_rate // 200
        kernel = 2 * around + 1
        require_sizes(
            "SE-ResNet-BiLSTM",
            sampling_rate=sampling_rate,
            samples=samples,
            least=LEAST_RATE,
            kernel=kernel,
        )
        self.sampling_rate = sampling_rate
        self.samples = samples
        self.stem = nn.Sequential(
            nn.Conv1d(
                1, stem, kernel, stride=sampling_rate // LEAST_RATE, padding=around, bias=False
            ),
            nn.BatchNorm1d(stem),
            nn.ReLU(),
            nn.MaxPool1d(POOL, ceil_mode=True),
        )
        self.blocks = nn.Sequential(
            *(SeBlock(c_in, c_out, squeeze=squeeze) for c_in, c_out in pairwise([stem, *blocks]))
        )
        self._dimension = blocks[-1]

    @property
    def dimension(self) -> int:
        """Size D of the feature of an epoch: the channels of the last map."""
        return self._dimension

    def forward_features(self, epochs: Tensor) -> Tensor:
        """Give the features (N, D) of epochs (N, T)."""
        self.require_epochs(epochs)
        features: Tensor = self.blocks(self.stem(epochs[:, None])).mean(dim=-1)
        return features

    def maps(self) -> list[nn.Module]:
        """Give the module whose output (N, C, n) is the last map."""
        return [self.blocks[-1]]


class CentreHead(NightHead):
    """Two layers of BiLSTM over the window around each epoch, and two linear layers on its cell.

    The window of an epoch is centred on it; near the ends of a run it is the first or the last
    whole one, and the epoch is not in its middle. A run shorter than W is one window.

    Parameters
    ----------
    dimension
        D.
    units
        H.
    dropout
        Between the layers of the LSTM.
    window
        W. Published: 5.
    task, seen
        As in `NightHead`.
    """

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
        self.lstm = nn.LSTM(
            dimension, units, num_layers=2, dropout=dropout, bidirectional=True, batch_first=True
        )
        self.fc = nn.Sequential(
            nn.Linear(2 * units, units), nn.ReLU(), nn.Linear(units, len(self.task.classes))
        )

    def forward(
        self, features: Tensor, valid: Tensor, state: State | None = None
    ) -> tuple[Tensor, None]:
        """Map features (B, L, D) of runs to logits (B, L, K), 0 for padding; there is no state."""
        row, place = valid.nonzero(as_tuple=True)  # of each valid epoch
        length = valid.sum(dim=1)  # (B,)
        begin = torch.minimum(place - self.window // 2, length[row] - self.window).clamp(min=0)
        # Epochs at the ends of a run share a window: (row, begin) tells it, and it runs once.
        windows, of = torch.stack([row, begin], dim=1).unique(dim=0, return_inverse=True)
        row, first = windows.T
        size = length[row].clamp(max=self.window)  # (M,)
        epoch = first[:, None] + torch.arange(self.window, device=valid.device)  # (M, W)
        x = as_autocast(features[row[:, None], epoch.clamp(max=valid.shape[1] - 1)])  # (M, W, D)
        packed = pack_padded_sequence(x, size.cpu(), batch_first=True, enforce_sorted=False)
        cells, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)  # (M, W, 2H)
        found = self.fc(cells[of, place - begin])  # (n, K)
        logits = found.new_zeros(*valid.shape, found.shape[-1])
        logits[valid] = found
        return logits, None


class SeResNetBiLstm(NightModel):
    """The whole network.

    Parameters
    ----------
    sampling_rate, samples
        As in `SeResNet`.
    preset
        Size: `tiny`, or `published`: the sizes of section 3 in the documentation, ours.
    dropout
        Between the layers of the LSTM. Ours: 0.3.
    window
        Epochs that the class of the middle one is told from. Published: 5.
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
        dropout: float = 0.3,
        window: int = 5,
        task: str = "staging",
        seen: npt.NDArray[np.int64] | None = None,
    ) -> None:
        sizes = SIZES[preset]
        encoder = SeResNet(
            sampling_rate=sampling_rate,
            samples=samples,
            stem=sizes.stem,
            blocks=sizes.blocks,
            squeeze=sizes.squeeze,
        )
        head = CentreHead(
            encoder.dimension,
            units=sizes.units,
            dropout=dropout,
            window=window,
            task=task,
            seen=seen,
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
