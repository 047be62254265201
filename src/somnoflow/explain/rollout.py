"""Attention roll-out: which frames a transformer's answer draws on (arXiv 2005.00928).

The attention of each block, averaged over its heads, is mixed half and half with the residual sum
around it, and the blocks are multiplied. It is the same for all classes, and says from where an
answer was gathered, not what spoke for it.

Notation: C channels, T samples of an epoch, F frames, L tokens, H heads, D embedding.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from somnoflow.explain.model import EncoderModule, ExplainedModel
from somnoflow.explain.timing import Cells, Values, lay_out
from somnoflow.models.encoders import ModalityEncoder
from somnoflow.models.layers import Attention, Block
from somnoflow.models.neuronet import NeuroNet
from somnoflow.models.synthsleepnet import SynthSleepNet


def has_attention(encoder: EncoderModule) -> bool:
    """Tell whether an encoder is a transformer over frames."""
    return isinstance(encoder, NeuroNet | ModalityEncoder | SynthSleepNet)


@torch.no_grad()
def attention_rollout(model: ExplainedModel, signals: Tensor, present: Tensor) -> Values:
    """Give for an epoch how much each sample is drawn on, (C, T), not yet scaled.

    The share of each frame stands over its samples; where frames overlap it is their mean. The
    shares of all channels that are there have the sum 1.

    Parameters
    ----------
    model
        Whose encoder is a transformer.
    signals, present
        (1, C, T), and which channels are there (1, C); the others get 0.
    """
    encoder = model.encoder
    there = present[0].nonzero().squeeze(1).tolist()
    shares = {}
    if isinstance(encoder, SynthSleepNet):
        parts = {number: encoder.encoder(encoder.channels[number]) for number in there}
        blocks = {number: _blocks(own) for number, own in parts.items()}
        with _recorded(_blocks(encoder), *blocks.values()) as (fused, *single):
            model.encode(signals, present)
        # The feature is the mean of all fused tokens: one after the other, F of each channel.
        gathered = roll_out(fused).mean(dim=1).unflatten(1, (len(there), -1))[0]  # (C', F)
        for number, fusing, attention in zip(there, gathered, single, strict=True):
            # A fused token is made of the channel's own; CLS, its first, is not fused.
            shares[number] = fusing @ roll_out(attention)[0, 1:, 1:]
        frames = parts[there[0]]
    else:
        own_frames = encoder.model if isinstance(encoder, ModalityEncoder) else encoder
        assert isinstance(own_frames, NeuroNet)  # noqa: S101 - tells mypy
        frames = own_frames
        with _recorded(_blocks(frames)) as (attention,):
            model.encode(signals, present)
        # The feature is the mean of the tokens but CLS, and over channels.
        for number, own in zip(there, roll_out(attention)[:, 1:, 1:].mean(dim=1), strict=True):
            shares[number] = own
    cells = Cells(first=(frames.window - 1) / 2, step=frames.window, frame_step=frames.step)
    heat = np.zeros(tuple(signals.shape[1:]))
    total = sum(float(share.sum()) for share in shares.values())
    for number, share in shares.items():
        values = share.double().numpy()[:, None] / total
        heat[number] = lay_out(values, cells, samples=heat.shape[1])
    return heat


def roll_out(attentions: Sequence[Tensor]) -> Tensor:
    """Multiply the attention (B, H, L, L) of blocks, the first one first, to (B, L, L).

    Rows are tokens after the last block, columns those before the first; each row has the sum 1.
    """
    rolled: Tensor | None = None
    for attention in attentions:
        mean = attention.mean(dim=1)
        mixed = (mean + torch.eye(mean.shape[-1])) / 2
        rolled = mixed if rolled is None else mixed @ rolled
    assert rolled is not None  # noqa: S101 - there is no transformer without blocks
    return rolled


def attention_of(module: Attention, x: Tensor, valid: Tensor | None = None) -> Tensor:
    """Give the attention (B, H, L, L) that the module's own kernel does not hand out.

    Arguments are those of `Attention.forward`.
    """
    B, L, D = x.shape
    qkv = module.qkv(x).reshape(B, L, 3, module.heads, D // module.heads)
    q, k, _ = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, L, D / H)
    scores = q @ k.transpose(-2, -1) / (D // module.heads) ** 0.5
    if valid is not None:
        scores = scores.masked_fill(~valid[:, None, None], float("-inf"))
    return scores.softmax(dim=-1)


def _blocks(transformer: nn.Module) -> list[Block]:
    return list(transformer.encoder_blocks)  # type: ignore[arg-type]


@contextmanager
def _recorded(*stacks: Sequence[Block]) -> Iterator[list[list[Tensor]]]:
    """Give a list of each stack's attentions, which fill in while a model runs."""
    found: list[list[Tensor]] = [[] for _ in stacks]
    hooks = []
    for stack, kept in zip(stacks, found, strict=True):
        for block in stack:

            def keep(
                module: nn.Module, inputs: tuple[Tensor, ...], kept: list[Tensor] = kept
            ) -> None:
                assert isinstance(module, Attention)  # noqa: S101 - tells mypy
                kept.append(attention_of(module, *inputs))

            hooks.append(block.attn.register_forward_pre_hook(keep))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
