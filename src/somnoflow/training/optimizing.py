"""The optimiser of every training: AdamW, its learning rate by the step, accumulated batches."""

import math
from typing import Any

import torch
from torch import nn


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


def accumulation_weight(batch_idx: int, *, accumulate: int, batches: int) -> float:
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
