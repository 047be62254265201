"""Probabilities of the epochs of one recording, from their signals."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from somnoflow.data.packed import Rows
from somnoflow.data.windows import run_starts
from somnoflow.models.heads import Head
from somnoflow.training.encoding import embed_rows
from somnoflow.training.reading import Epochs, Floats

# Epochs that the encoder sees at once; what it holds in memory does not grow with the night.
BATCH = 128


def predict_rows(
    encoder: Any, head: Head, epochs: Epochs, rows: Rows, *, stride: int, device: torch.device
) -> Floats:
    """Give the probabilities (N, K) of usable epochs of a recording, each encoded once.

    Parameters
    ----------
    encoder
        As for `embed_rows`, on `device`.
    head
        On the encoder's features.
    epochs
        Of the channels that the encoder reads.
    rows
        Rows (N,) of `epochs.table`, in the order of time.
    stride
        Step between windows in epochs, for heads that see more than one.
    device
        Where the encoder computes.
    """
    if not len(rows):
        return np.empty((0, len(head.task.classes)), np.float32)
    with _one_thread() if getattr(encoder, "small_steps", False) else nullcontext():
        features = embed_rows(encoder, epochs, rows, batch_size=BATCH, device=device)
    with _one_thread():
        return head.predict_proba(features, run_starts(epochs.table[rows]), stride=stride)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute by one CPU thread what takes thousands of small steps, one after the other.

    Shared among threads these are no faster, and on a machine that others use too each of them
    waits for the slower thread.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
