"""The optimisers: AdamW with its learning rate by the step, Adam at constant rates; batches."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def adamw(
    model: nn.Module, *, learning_rate: float, weight_decay: float, steps: int, warmup: float = 0.0
) -> Any:
    """Give AdamW over what is trainable, and its schedule, as Lightning takes them.

    Parameters
    ----------
    model
        What is trained; frozen parameters are left out.
    learning_rate
        At the peak.
    weight_decay
        Of matrices; biases and scales of norms have nothing to be shrunk for.
    steps
        Optimiser steps of the whole training.
    warmup
        Share of the steps with a linearly rising learning rate; then it falls as a cosine.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=learning_rate,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_factor(step, steps=steps, warmup=warmup)
    )
    return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def adam(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    decayed: Sequence[Tensor] = (),
    slower: Sequence[Tensor] = (),
    slower_rate: float = 0.0,
) -> torch.optim.Adam:
    """Give Adam at constant learning rates, as DeepSleepNet and TinySleepNet are trained.

    Parameters
    ----------
    model
        What is trained; frozen parameters are left out.
    learning_rate
        Of all parameters but the slower ones.
    weight_decay
        L2 penalty of the decayed parameters: half of it times their squared norm is added to the
        loss. Published alike, but that there it is clipped with the gradient.
    decayed, slower
        Parameters with a penalty, and those with a learning rate of their own.
    slower_rate
        Learning rate of the slower ones.
    """
    own = {id(p) for p in slower}, {id(p) for p in decayed}
    groups = [
        {
            "params": [
                p
                for p in model.parameters()
                if p.requires_grad and (id(p) in own[0], id(p) in own[1]) == (slow, shrunk)
            ],
            "lr": slower_rate if slow else learning_rate,
            "weight_decay": weight_decay if shrunk else 0.0,
        }
        for slow in (True, False)  # the rate of the last group is what training.csv shows
        for shrunk in (True, False)
    ]
    return torch.optim.Adam([group for group in groups if group["params"]])


def accumulation_weight(batch_idx: int, *, accumulate: int, batches: float) -> float:
    """Give what a batch's loss is multiplied by before Lightning divides it by `accumulate`.

    The last group of a pass can have fewer batches; it is a step of its own, with the mean
    gradient of those that it has.

    Parameters
    ----------
    batch_idx
        Which batch of the pass, from 0.
    accumulate
        Batches whose gradients are added up for one optimiser step.
    batches
        Batches of a pass.
    """
    first = batch_idx - batch_idx % accumulate
    return accumulate / min(accumulate, batches - first)


def rate_factor(step: int, *, steps: int, warmup: float) -> float:
    """Give the share of the peak learning rate at a step: linear rise, then cosine fall to 0."""
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
