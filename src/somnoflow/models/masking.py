"""Hiding tokens and predicting them, as in MAE (arXiv 2111.06377).

Notation: B epochs, V maskings of each, F frames, L visible frames, D size of a token.
"""

import torch
from torch import Tensor


def random_masking(x: Tensor, *, visible: int, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Keep the tokens with the lowest noise, in its order.

    Parameters
    ----------
    x
        Tokens (B, F, D).
    visible
        Tokens L that are kept.
    noise
        One masking (B, F), or V of them one after another, (V B, F); on any device.

    Returns
    -------
    kept : Tensor
        (V B, L, D).
    mask : Tensor
        (V B, F): 0 is kept, 1 is hidden.
    ids_restore : Tensor
        (V B, F): where in (kept, hidden) each frame is found.
    """
    ids_shuffle = noise.to(x.device).argsort(dim=1, stable=True)
    ids_restore = ids_shuffle.argsort(dim=1)
    epoch = torch.arange(len(noise), device=x.device) % len(x)
    kept = x[epoch[:, None], ids_shuffle[:, :visible]]
    mask = (ids_restore >= visible).to(x.dtype)
    return kept, mask, ids_restore


def restore(x: Tensor, *, mask_token: Tensor, ids_restore: Tensor) -> Tensor:
    """Give all frames (B, F, D) in the order of time: visible ones (B, L, D), else `mask_token`."""
    B, visible, D = x.shape
    hidden = mask_token.expand(B, ids_restore.shape[1] - visible, -1).to(x.dtype)
    x = torch.cat([x, hidden], dim=1)  # (B, F, D), shuffled
    return x.gather(1, ids_restore[:, :, None].expand(-1, -1, D))


def masked_error(target: Tensor, predicted: Tensor, mask: Tensor) -> Tensor:
    """Give the mean squared error of tokens (B, F, D) where the mask (B, F) is 1, in float32."""
    error = (predicted.float() - target.float()).square().mean(dim=-1)  # (B, F)
    return (error * mask).sum() / mask.sum()
