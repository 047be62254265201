"""The contrastive loss of NeuroNet.

Notation: B batch, P size of a projection.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

TINY = torch.finfo(torch.float32).tiny


def nt_xent(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """Give the normalised temperature-scaled cross-entropy of pairs (SimCLR, arXiv 2002.05709).

    For each of the 2B projections its partner is the right answer among the 2B - 1 others::

        loss_i = -log( exp(cos(z_i, z_partner) / tau) / sum_{k != i} exp(cos(z_i, z_k) / tau) )

    All similarities come from one (2B, 2B) matrix product, in float32 also under autocast. Only the
    direction of a projection counts: each is first divided by its largest value, so that neither
    huge nor tiny ones overflow. A projection of zeros has similarity 0 to all.

    Parameters
    ----------
    first, second
        Projections of two views of the same epochs, (B, P).
    temperature
        tau; NeuroNet's published value: 0.05.

    Returns
    -------
    The mean over the 2B projections.
    """
    if first.shape != second.shape or first.ndim != 2 or len(first) < 2:
        raise ValueError(
            f"found projections of shapes {tuple(first.shape)} and {tuple(second.shape)}, wanted "
            "twice (B, P) with B at least 2: an epoch needs another one to differ from"
        )
    B = len(first)
    with torch.autocast(first.device.type, enabled=False):
        z = torch.cat([first, second]).float()  # (2B, P)
        # The scale changes no direction, so no gradient goes through it.
        largest = z.detach().abs().amax(dim=1, keepdim=True)
        z = normalize(z / largest.where(largest > TINY, 1.0), dim=1)
        logits = z @ z.T / temperature  # (2B, 2B)
        logits = logits.masked_fill(
            torch.eye(2 * B, dtype=torch.bool, device=z.device), float("-inf")
        )
        partner = torch.arange(2 * B, device=z.device).roll(B)
        return cross_entropy(logits, partner)
