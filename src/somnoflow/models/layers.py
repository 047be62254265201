"""The parts of a vision transformer that the masked autoencoders here are built from.

Notation: B batch, L tokens, D embedding, H heads. Names (`norm1`, `attn.qkv`, `attn.proj`,
`norm2`, `mlp.fc1`, `mlp.fc2`) are those of the published checkpoints.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

# Of the vision transformer and of MAE, and so of the published checkpoints (torch's is 1e-5).
NORM_EPS = 1e-6
MLP_RATIO = 4


class Attention(nn.Module):
    """Multi-head self-attention with a bias on queries, keys and values.

    Parameters
    ----------
    dim
        Embedding D.
    heads
        Heads H; must divide D.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"embedding of {dim} cannot be divided among {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Map (B, L, D) to (B, L, D); where `valid` (B, L) is False, a token is not looked at."""
        B, L, D = x.shape
        qkv = self.qkv(x).reshape(B, L, 3, self.heads, D // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, L, D / H)
        mask = None if valid is None else valid[:, None, None]  # (B, 1, 1, L)
        x = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(x.transpose(1, 2).reshape(B, L, D))


class Mlp(nn.Module):
    """Two linear layers with a GELU between them, four times as wide inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, MLP_RATIO * dim)
        self.fc2 = nn.Linear(MLP_RATIO * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        return self.fc2(gelu(self.fc1(x)))


class Block(nn.Module):
    """Transformer block with layer norms before attention and MLP (ViT, arXiv 2010.11929).

    Parameters
    ----------
    dim
        Embedding D.
    heads
        Heads H; must divide D.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Map (B, L, D) to (B, L, D); where `valid` (B, L) is False, a token is not looked at."""
        x = x + self.attn(self.norm1(x), valid)
        return x + self.mlp(self.norm2(x))


def projection_head(dim: int, sizes: Sequence[int]) -> nn.Sequential:
    """Give what a contrastive loss compares: Linear, batch norm, ELU, Linear; from (B, dim)."""
    hidden, projected = sizes
    head = nn.Sequential(
        nn.Linear(dim, hidden), nn.BatchNorm1d(hidden), nn.ELU(), nn.Linear(hidden, projected)
    )
    without_bias(head[0])
    return head


def classifier(sizes: Sequence[int], *, classes: int, dropout: float) -> nn.Sequential:
    """Give Linear, batch norm, ELU and dropout for each hidden layer, then Linear to the classes.

    `sizes` are those of the input and of the hidden layers; maps (B, `sizes[0]`) to (B, `classes`).
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ELU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], classes))


def as_autocast(x: Tensor) -> Tensor:
    """Give an LSTM's input in the precision of autocast, where that is on.

    On a CPU torch casts the weights of its LSTM alone, and then finds no way to compute.
    """
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def without_bias(linear: nn.Module) -> None:
    """Leave the bias of a layer before a batch norm untrained.

    The norm takes it away again: its gradient is rounding alone, of which Adam would make whole
    steps that only evaluation sees.
    """
    assert isinstance(linear, nn.Linear)  # noqa: S101 - tells mypy
    linear.bias.requires_grad_(False)


def sincos_positions(length: int, dim: int) -> Tensor:
    """Give fixed sine-cosine positions (arXiv 1706.03762, section 3.5), sines first as in MAE.

    Parameters
    ----------
    length
        Tokens L.
    dim
        Embedding D, even.

    Returns
    -------
    Tensor of shape (L, D), float32.
    """
    if dim % 2:
        raise ValueError(f"sine-cosine positions need an even embedding, found {dim}")
    rate = 10_000.0 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim / 2))  # (D / 2,)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * rate  # (L, D / 2)
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()


def initialise_as_mae(module: nn.Module) -> None:
    """Set Xavier-uniform weights and zero biases, as MAE does; for `nn.Module.apply`.

    Call it in a constructor only: applied later it would overwrite loaded weights (defect S1).
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
