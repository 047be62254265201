"""The frame backbone: a frame of raw signal becomes one token (arXiv 2404.17585, section III-A).

Notation: B epochs, F frames of an epoch, W samples per frame, C channels of a feature map.

The frames of an epoch are the rows of an image: feature maps are (B, C, F, W) with the channels
last in memory, and a two-dimensional convolution with a kernel of (1, k) sees one frame at a time.
It gives the numbers of a one-dimensional one over B F separate frames and is faster on a CPU: about
twice in the forward pass, and in the gradient of the weights by images of many short rows.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, elu

# Padding of every convolution of the branches, whatever its kernel: maps of kernels 5 and 7 shrink.
PADDING = 1


def _convolution(c_in: int, c_out: int, *, kernel: int, stride: int, padding: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, (1, kernel), stride=(1, stride), padding=(0, padding), bias=False)


class SqueezeExcitation(nn.Sequential):
    """Scale the channels of a map by weights that its mean over time decides (arXiv 1709.01507).

    Parameters
    ----------
    channels
        Channels C of the map.
    reduction
        The mean passes C // `reduction` values.
    """

    def __init__(self, channels: int, *, reduction: int) -> None:
        inner = channels // reduction
        if inner < 1:
            raise ValueError(
                f"found squeeze {reduction}, wanted at most the {channels} channels of the block"
            )
        super().__init__(
            nn.Linear(channels, inner, bias=False),
            nn.ReLU(),
            nn.Linear(inner, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scale (B, C, F, W): each frame by itself."""
        # Pooling goes through memory in its order, which a mean over channels last does not.
        mean = avg_pool2d(x, (1, x.shape[-1])).squeeze(-1).transpose(1, 2)  # (B, F, C)
        return x * super().forward(mean).transpose(1, 2)[..., None]


class BasicBlock(nn.Module):
    """Residual block of two convolutions whose shortcut is cropped to the shrunken map.

    Parameters
    ----------
    c_in, c_out
        Channels in and out.
    kernel
        Kernel of both convolutions.
    stride
        Stride of the first convolution.
    squeeze
        Reduction of squeeze and excitation before the sum; None: without.
    """

    def __init__(
        self, c_in: int, c_out: int, *, kernel: int, stride: int, squeeze: int | None = None
    ) -> None:
        super().__init__()
        self.conv1 = _convolution(c_in, c_out, kernel=kernel, stride=stride, padding=PADDING)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = _convolution(c_out, c_out, kernel=kernel, stride=1, padding=PADDING)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.squeeze: nn.Module = nn.Identity()
        if squeeze is not None:
            self.squeeze = SqueezeExcitation(c_out, reduction=squeeze)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(
                _convolution(c_in, c_out, kernel=1, stride=stride, padding=0),
                nn.BatchNorm2d(c_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, F, W) to (B, c_out, F, W'), W' <= W."""
        y = elu(self.bn1(self.conv1(x)), inplace=True)
        y = self.squeeze(self.bn2(self.conv2(y)))
        shortcut = self.shortcut(x)[..., : y.shape[-1]]
        return elu(y + shortcut, inplace=True)


class FrameBackbone(nn.Module):
    """Three parallel residual branches over a frame, and two linear layers to its token.

    A stem (convolution, batch norm, ELU, max pooling) feeds branches with kernels 3, 5 and 7.
    Each is averaged over time, their maps are joined along time, flattened and halved by a linear
    layer. With the published values and W = 300 the flattened map has 512 values, the token 256.

    Parameters
    ----------
    window
        Samples W of a frame. Published: 300 (3 s at 100 Hz).
    stem
        Channels of the stem. Published: 32.
    stem_stride
        Stride of the stem's convolution. Published: 2.
    channels
        Channels of the blocks of a branch. Published: 32, 32, 48, 64.
    strides
        Stride of each of these blocks. Published: 1, 1, 2, 2.
    kernels
        Kernel of each branch. Published: 3, 5, 7.
    pools
        Width of each branch's average pooling, of stride 1; cut down to the map where it is
        shorter. Published: 16, 11, 6, for 3 s and (SynthSleepNet) for 4 s.
    squeeze
        Reduction of squeeze and excitation in each block; None: without. Published: without
        (NeuroNet), 16 (SynthSleepNet).

    Attributes
    ----------
    lengths
        Length of each branch's map before its pooling: 19, 13, 6 for W = 300.
    flat
        Values of the flattened map.
    features
        Values of a token, `flat // 2`.
    """

    def __init__(
        self,
        window: int,
        *,
        stem: int = 32,
        stem_stride: int = 2,
        channels: Sequence[int] = (32, 32, 48, 64),
        strides: Sequence[int] = (1, 1, 2, 2),
        kernels: Sequence[int] = (3, 5, 7),
        pools: Sequence[int] = (16, 11, 6),
        squeeze: int | None = None,
    ) -> None:
        super().__init__()
        if len(channels) != len(strides) or len(kernels) != len(pools):
            raise ValueError(
                f"{len(channels)} channels need as many strides, found {len(strides)}; "
                f"{len(kernels)} kernels need as many pools, found {len(pools)}"
            )
        self.lengths = [
            map_length(window, kernel=kernel, stem_stride=stem_stride, strides=strides)
            for kernel in kernels
        ]
        if min(self.lengths) < 1:
            shortest = shortest_window(kernels=kernels, stem_stride=stem_stride, strides=strides)
            raise ValueError(
                f"a frame of {window} samples is too short for the frame backbone: the map of "
                f"kernel {kernels[self.lengths.index(min(self.lengths))]} would be empty. "
                f"Wanted at least {shortest} samples"
            )
        self.window = window
        self.conv1 = _convolution(1, stem, kernel=7, stride=stem_stride, padding=3)
        self.bn1 = nn.BatchNorm2d(stem)
        self.maxpool = nn.MaxPool2d((1, 3), stride=(1, 2), padding=(0, 1))
        self.branches = nn.ModuleList(
            nn.Sequential(
                *(
                    BasicBlock(c_in, c_out, kernel=kernel, stride=stride, squeeze=squeeze)
                    for (c_in, c_out), stride in zip(
                        pairwise([stem, *channels]), strides, strict=True
                    )
                )
            )
            for kernel in kernels
        )
        widths = [min(pool, length) for pool, length in zip(pools, self.lengths, strict=True)]
        self.pools = nn.ModuleList(nn.AvgPool2d((1, width), stride=1) for width in widths)
        pooled = sum(length - width + 1 for length, width in zip(self.lengths, widths, strict=True))
        self.flat = channels[-1] * pooled
        self.features = self.flat // 2
        self.feature_layer = nn.Sequential(
            nn.Linear(self.flat, self.features), nn.ELU(), nn.Linear(self.features, self.features)
        )
        # torch's types do not know this form of `to`.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames (B, F, W) to tokens (B, F, `features`), or (B, W) to (B, `features`).

        In training, batch norms see the B F frames at once and move their running statistics
        once; the published loop over the frames of an epoch moves them once per frame. In
        evaluation both give the same numbers.
        """
        if frames.ndim == 2:
            return self(frames[:, None]).squeeze(1)
        x = frames[:, None]  # (B, 1, F, W)
        x = elu(self.bn1(self.conv1(x)), inplace=True)  # (B, stem, F, W / 2), published stride
        x = self.maxpool(x)  # (B, stem, F, W / 4)
        maps = [pool(branch(x)) for branch, pool in zip(self.branches, self.pools, strict=True)]
        flat = torch.cat(maps, dim=-1).transpose(1, 2).flatten(2)  # (B, F, `flat`)
        return self.feature_layer(flat)


def map_length(window: int, *, kernel: int, stem_stride: int, strides: Sequence[int]) -> int:
    """Give the length of a branch's map before pooling; below 1 where the window is too short."""
    length = (window + 2 * 3 - 7) // stem_stride + 1
    length = (length + 2 * 1 - 3) // 2 + 1
    for stride in strides:
        length = (length + 2 * PADDING - kernel) // stride + 1
        length += 2 * PADDING - kernel + 1
        if length < 1:
            return 0
    return length


def shortest_window(*, kernels: Sequence[int], stem_stride: int, strides: Sequence[int]) -> int:
    """Give the fewest samples of a frame for which every branch's map has a sample."""
    window = 1
    while any(
        map_length(window, kernel=kernel, stem_stride=stem_stride, strides=strides) < 1
        for kernel in kernels
    ):
        window += 1
    return window
