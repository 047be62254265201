"""The contrastive loss of NeuroNet.

Notation: B batch, P size of a projection.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def nt_xent(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """Give the normalised temperature-scaled cross-entropy of pairs (SimCLR, arXiv 2002.05709).

    For each of the 2B projections its partner is the right answer among the 2B - 1 others::

        loss_i = -log( exp(cos(z_i, z_partner) / tau) / sum_{k != i} exp(cos(z_i, z_k) / tau) )

    All similarities come from one (2B, 2B) matrix product, in float32 also under autocast.

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
    B = len(first)
    with torch.autocast(first.device.type, enabled=False):
        z = normalize(torch.cat([first, second]).float(), dim=1)  # (2B, P)
        logits = z @ z.T / temperature  # (2B, 2B)
        logits = logits.masked_fill(
            torch.eye(2 * B, dtype=torch.bool, device=z.device), float("-inf")
        )
        partner = torch.arange(2 * B, device=z.device).roll(B)
        return cross_entropy(logits, partner)
