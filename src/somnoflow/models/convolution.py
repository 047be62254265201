"""One-dimensional convolution and pooling with TensorFlow's SAME padding, and blocks of them.

A map of n samples becomes one of ceil(n / stride), whatever the kernel. What is lacking is padded,
half of it on each side and an odd sample at the right; torch's own `padding="same"` knows no
stride.

Notation: N epochs, C channels, n samples of a map.
"""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import max_pool1d, pad


def same_padding(samples: int, *, kernel: int, stride: int) -> tuple[int, int]:
    """Give the samples that SAME padding adds at the left and at the right."""
    wanted = (same_length(samples, stride) - 1) * stride + kernel
    lacking = max(0, wanted - samples)
    return lacking // 2, lacking - lacking // 2


def same_length(samples: int, *strides: int) -> int:
    """Give the length of a map after layers of these strides."""
    for stride in strides:
        samples = -(-samples // stride)
    return samples


class SameConv1d(nn.Conv1d):
    """Convolution without bias, padded with zeros.

    Parameters
    ----------
    c_in, c_out
        Channels in and out.
    kernel, stride
        In samples.
    """

    def __init__(self, c_in: int, c_out: int, *, kernel: int, stride: int = 1) -> None:
        super().__init__(c_in, c_out, kernel, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, c_in, n) to (N, c_out, ceil(n / stride))."""
        [kernel], [stride] = self.kernel_size, self.stride
        return super().forward(pad(x, same_padding(x.shape[-1], kernel=kernel, stride=stride)))


class SameMaxPool1d(nn.Module):
    """Max pooling of neighbouring stretches; padding is never the largest.

    Parameters
    ----------
    width
        Samples of a stretch, and the stride.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, n) to (N, C, ceil(n / width))."""
        around = same_padding(x.shape[-1], kernel=self.width, stride=self.width)
        return max_pool1d(pad(x, around, value=float("-inf")), self.width)


def convolve(
    c_in: int, c_out: int, *, kernel: int, stride: int = 1, eps: float = 1e-5
) -> nn.Sequential:
    """Give convolution, batch norm and ReLU; `eps` is the norm's."""
    return nn.Sequential(
        SameConv1d(c_in, c_out, kernel=kernel, stride=stride),
        nn.BatchNorm1d(c_out, eps=eps),
        nn.ReLU(),
    )


class Branch(nn.Sequential):
    """A first convolution, pooling, dropout, three more convolutions, pooling; flattened.

    Parameters
    ----------
    samples
        T of an epoch.
    kernel, stride
        Of the first convolution.
    channels
        Of the first convolution and of the three others.
    later_kernel
        Of the three others.
    pools
        Widths of the two poolings.
    dropout
        After the first pooling.
    eps
        Of the batch norms.

    Attributes
    ----------
    dimension
        Values of the flattened map.
    """

    def __init__(
        self,
        samples: int,
        *,
        kernel: int,
        stride: int,
        channels: tuple[int, int],
        later_kernel: int,
        pools: tuple[int, int],
        dropout: float,
        eps: float = 1e-5,
    ) -> None:
        first, later = channels
        super().__init__(
            convolve(1, first, kernel=kernel, stride=stride, eps=eps),
            SameMaxPool1d(pools[0]),
            nn.Dropout(dropout),
            *(
                convolve(c_in, c_out, kernel=later_kernel, eps=eps)
                for c_in, c_out in pairwise([first, later, later, later])
            ),
            SameMaxPool1d(pools[1]),
            nn.Flatten(),
        )
        self.dimension = later * same_length(samples, stride, *pools)

    @property
    def first_convolution(self) -> nn.Parameter:
        """The weights of the first convolution."""
        return next(self.parameters())

    @property
    def last_map(self) -> nn.Module:
        """The last convolution with its norm and ReLU, whose output is (N, C, n)."""
        return self[-3]


def require_sizes(name: str, *, sampling_rate: int, samples: int, least: int, kernel: int) -> None:
    """Raise `ValueError` where a model cannot see such epochs.

    Parameters
    ----------
    name
        The model, for messages.
    sampling_rate, samples
        Hz, and T of an epoch.
    least
        The lowest sampling rate at which no stride is shorter than a sample.
    kernel
        The longest kernel in samples.
    """
    if sampling_rate < least:
        raise ValueError(
            f"{name}: a sampling rate of {sampling_rate} Hz is too low for its first convolution, "
            f"whose stride would be less than a sample; wanted at least {least} Hz. Set "
            "signals.sampling_rate to it or more"
        )
    if samples < kernel:
        raise ValueError(
            f"{name}: an epoch of {samples} samples ({samples / sampling_rate:g} s at "
            f"{sampling_rate} Hz) is shorter than the longest kernel; wanted at least {kernel} "
            f"samples ({kernel / sampling_rate:g} s)"
        )
