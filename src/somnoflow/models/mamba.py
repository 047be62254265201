"""Mamba (arXiv 2312.00752) and Mamba2 (arXiv 2405.21060): sequences (B, L, D) to (B, L, D).

Parameters have the names, shapes, meaning and first values of `mamba_ssm.Mamba` and
`mamba_ssm.Mamba2`, so that one checkpoint serves both packages. The recurrence is in
`selective_scan`; output t depends on inputs up to t only.

Notation: B batch, L steps, D model, E = expand x D channels, N states of a channel, H heads,
P channels of a head, G groups of heads.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, pad, rms_norm, silu, softplus

from somnoflow.models.selective_scan import chunked_scan, precise, selective_scan

# Published: where the lengths of the steps lie at first, and the least of them.
DT_MIN, DT_MAX, DT_FLOOR = 1e-3, 1e-1, 1e-4
A_MIN, A_MAX = 1.0, 16.0
NORM_EPS = 1e-5
HEADDIM = 64


class Mamba(nn.Module):
    """A selective state space layer with a decay for each channel and state.

    Parameters
    ----------
    d_model
        D. NeuroNet's temporal context module: 256.
    d_state
        N. Published: 16.
    d_conv
        Steps that the convolution before the recurrence sees. Published: 4.
    expand
        E / D. Published: 2.

    References
    ----------
    Gu and Dao, "Mamba", arXiv 2312.00752, figure 3 and section 3.6.
    """

    def __init__(
        self, d_model: int, *, d_state: int = 16, d_conv: int = 4, expand: int = 2
    ) -> None:
        super().__init__()
        self.d_inner = expand * d_model  # E
        self.d_state = d_state
        self.dt_rank = math.ceil(d_model / 16)
        self.in_proj = nn.Linear(d_model, 2 * self.d_inner, bias=False)
        self.conv1d = depthwise(self.d_inner, d_conv)
        self.x_proj = nn.Linear(self.d_inner, self.dt_rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, self.d_inner)
        nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        with torch.no_grad():
            self.dt_proj.bias.copy_(first_dt_bias(self.d_inner))
        self.A_log = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(self.d_inner, 1))
        self.D = nn.Parameter(torch.ones(self.d_inner))
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)

    def forward(self, sequence: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D)."""
        x, z = self.in_proj(sequence).chunk(2, dim=-1)  # each (B, L, E)
        x = silu(causal_conv(self.conv1d, x))
        dt, B, C = self.x_proj(x).split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        # Autocast leaves a sum in 32 bits; the layer itself would add its bias in 16.
        dt = linear(dt, self.dt_proj.weight) + self.dt_proj.bias  # (B, L, E)
        y = selective_scan(x, softplus(dt), -precise(self.A_log).exp(), B, C)
        y = (y + self.D * x) * silu(z)
        out: Tensor = self.out_proj(y.to(z.dtype))
        return out


class Mamba2(nn.Module):
    """A selective state space layer with one decay for each head.

    Parameters
    ----------
    d_model
        D. SynthSleepNet's temporal context module: 512.
    d_state
        N. Published: 128; SynthSleepNet: 16.
    d_conv
        Steps that the convolution before the recurrence sees. Published: 4.
    expand
        E / D. Published: 2.
    headdim
        P; must divide E. Published: 64. None: 64, or the largest part of it that divides E.
    ngroups
        G; must divide H = E / P. Published: 1.

    Raises
    ------
    ValueError
        If heads or groups do not come out even.

    References
    ----------
    Dao and Gu, "Transformers are SSMs", arXiv 2405.21060, figure 6 and section 7.
    """

    def __init__(
        self,
        d_model: int,
        *,
        d_state: int = 128,
        d_conv: int = 4,
        expand: int = 2,
        headdim: int | None = None,
        ngroups: int = 1,
    ) -> None:
        super().__init__()
        self.d_inner = expand * d_model  # E
        self.d_state = d_state
        self.headdim = math.gcd(HEADDIM, self.d_inner) if headdim is None else headdim
        self.ngroups = ngroups
        if self.headdim < 1 or self.d_inner % self.headdim:
            raise ValueError(
                f"headdim {headdim} does not divide {self.d_inner} channels ({expand} x d_model "
                f"{d_model}); wanted a divisor, such as {math.gcd(HEADDIM, self.d_inner)}"
            )
        self.nheads = self.d_inner // self.headdim  # H
        if ngroups < 1 or self.nheads % ngroups:
            raise ValueError(
                f"{self.nheads} heads ({self.d_inner} channels / headdim {self.headdim}) cannot "
                f"be divided among {ngroups} groups; wanted ngroups that divides {self.nheads}"
            )
        self.d_xbc = self.d_inner + 2 * ngroups * d_state  # of x, B and C
        self.in_proj = nn.Linear(d_model, self.d_inner + self.d_xbc + self.nheads, bias=False)
        self.conv1d = depthwise(self.d_xbc, d_conv)
        self.dt_bias = nn.Parameter(first_dt_bias(self.nheads))
        self.A_log = nn.Parameter(torch.empty(self.nheads).uniform_(A_MIN, A_MAX).log())
        self.D = nn.Parameter(torch.ones(self.nheads))
        self.norm = RMSNormGated(self.d_inner, groups=ngroups)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)

    def forward(self, sequence: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D)."""
        z, xBC, dt = self.in_proj(sequence).split([self.d_inner, self.d_xbc, self.nheads], dim=-1)
        xBC = silu(causal_conv(self.conv1d, xBC))
        shared = self.ngroups * self.d_state
        x, B, C = xBC.split([self.d_inner, shared, shared], dim=-1)
        x = x.unflatten(-1, (self.nheads, self.headdim))  # (B, L, H, P)
        B, C = (part.unflatten(-1, (self.ngroups, self.d_state)) for part in (B, C))
        dt = softplus(dt + self.dt_bias)  # (B, L, H)
        y = chunked_scan(x, dt, -precise(self.A_log).exp(), B, C)
        y = self.norm((y + self.D[:, None] * x).flatten(2), z)
        out: Tensor = self.out_proj(y.to(z.dtype))
        return out


class RMSNormGated(nn.Module):
    """Multiply by a gate, then divide each group of channels by its root mean square.

    Parameters
    ----------
    channels
        E.
    groups
        G; must divide E.
    """

    def __init__(self, channels: int, *, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        """Normalise y silu(z), both (B, L, E)."""
        gated = (y * silu(z)).unflatten(-1, (self.groups, -1))
        return rms_norm(gated, gated.shape[-1:], eps=NORM_EPS).flatten(-2) * self.weight


def depthwise(channels: int, width: int) -> nn.Conv1d:
    """Build a convolution in time of each channel by itself, padded as in mamba_ssm."""
    return nn.Conv1d(channels, channels, width, groups=channels, padding=width - 1)


def causal_conv(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """Apply a depthwise convolution to (B, L, channels) that sees the past only.

    Written as a convolution in two dimensions of height 1, for which torch needs no copy with time
    last: about a third of the time of `conv` itself on the CPU at 20 steps.
    """
    padded = pad(x, (0, 0, conv.kernel_size[0] - 1, 0)).transpose(1, 2)
    weight = conv.weight.unsqueeze(2)
    y = conv2d(padded.unsqueeze(2), weight, conv.bias, groups=conv.groups)
    return y.squeeze(2).transpose(1, 2)


def first_dt_bias(count: int) -> Tensor:
    """Draw biases (count,) whose softplus is log-uniform from 0.001 to 0.1."""
    low, high = math.log(DT_MIN), math.log(DT_MAX)
    dt = (torch.rand(count) * (high - low) + low).exp().clamp(min=DT_FLOOR)
    return dt + torch.log(-torch.expm1(-dt))
