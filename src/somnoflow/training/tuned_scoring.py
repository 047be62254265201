"""Stages and probabilities from signals, one recording at a time, by a fine-tuned model."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from somnoflow.data.windows import run_starts
from somnoflow.models.stager import Stager
from somnoflow.training.scoring import NIGHT, add_predictions, require_order
from somnoflow.training.signals import SignalEpochs

# Epochs that the encoder sees at once; what it holds in memory does not grow with the night.
BATCH = 128


def score_recordings(
    stager: Stager, epochs: SignalEpochs, *, stride: int
) -> Iterator[pl.DataFrame]:
    """Score recordings one by one: each epoch is encoded once, then seen in every window it is in.

    Windows and their mean are those of heads on frozen embeddings.

    Parameters
    ----------
    stager
        Fine-tuned model, in evaluation mode.
    epochs
        Signals of the subjects to score.
    stride
        Step between windows in epochs.

    Returns
    -------
    For each recording its rows of `epochs.table` with the columns of `add_predictions`.
    """
    require_order(epochs.table)
    numbered = epochs.table.with_row_index("row")
    for (*_,), night in numbered.group_by(NIGHT, maintain_order=True):
        usable = night.filter("usable")
        features = encode(stager, epochs, usable["row"].to_numpy().astype(np.int64))
        probabilities = stager.head.predict_proba(features, run_starts(usable), stride=stride)
        yield add_predictions(night.drop("row"), probabilities)


@torch.inference_mode()
def encode(
    stager: Stager, epochs: SignalEpochs, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Give the features (N, D) of usable epochs, rows (N,) of the table."""
    features = np.empty((len(rows), stager.head.dimension), np.float32)
    device = stager.head.seen.device
    for begin in range(0, len(rows), BATCH):
        signals = torch.from_numpy(epochs.read(rows[begin : begin + BATCH])).to(device)
        features[begin : begin + BATCH] = stager.forward_features(signals).float().cpu().numpy()
    return features
