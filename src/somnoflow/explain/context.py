"""The answer to one epoch inside its place in the night, as a function of its feature alone.

A head that sees the epoch's neighbours gets them here as it does when a night is scored; they are
constants, so that a gradient tells of the epoch itself.

Notation: N usable epochs of a night, L epochs of a context, D feature, K classes.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from somnoflow.data.windows import Flags
from somnoflow.explain.model import HeadModule
from somnoflow.models.context import WindowHead
from somnoflow.models.recurrent import NightHead


class Span(NamedTuple):
    """Epochs `begin` to `stop` (not included) of a night."""

    begin: int
    stop: int


def context_of(head: HeadModule, starts: Flags, place: int) -> Span:
    """Give the epochs that decide what a head says of one.

    A head on windows sees the window that the epoch is in where windows stand side by side; a head
    with a memory all from the beginning of the run to the end of that window; a head that centres
    its window on each epoch a window's length on both sides.

    Parameters
    ----------
    head
        Of the model.
    starts
        (N,), where a run begins (`somnoflow.data.windows.run_starts`).
    place
        The epoch, one of the N.
    """
    if not isinstance(head, WindowHead | NightHead):
        return Span(place, place + 1)
    begins = np.flatnonzero(starts)
    first = int(begins[begins <= place].max(initial=0))
    last = int(begins[begins > place].min(initial=len(starts)))
    window = first + (place - first) // head.window * head.window
    end = min(window + head.window, last)
    if isinstance(head, WindowHead):
        return Span(window, end)
    if head.stateful:
        return Span(first, end)
    return Span(max(first, place - head.window), min(last, place + head.window + 1))


def logits_of(head: HeadModule, features: Tensor, place: int) -> Tensor:
    """Give the logits (1, K) of the epoch `place` of a context's features (L, D)."""
    if not isinstance(head, WindowHead | NightHead):
        return head(features[place : place + 1])
    rows = features[None]  # (1, L, D)
    valid = torch.ones(rows.shape[:2], dtype=torch.bool)
    if isinstance(head, WindowHead):
        return head(rows, valid)[:, place]
    if not head.stateful:
        return head(rows, valid)[0][:, place]
    state = None
    while place >= head.window:
        _, state = head(rows[:, : head.window], valid[:, : head.window], state)
        rows, valid = rows[:, head.window :], valid[:, head.window :]
        place -= head.window
    return head(rows, valid, state)[0][:, place]
