"""Probabilities of classes from signals, one recording at a time, by a model that reads them."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from somnoflow.data.packed import PackedEpochs
from somnoflow.models.tuned import Tuned
from somnoflow.training.predicting import predict_rows
from somnoflow.training.scoring import NIGHT, add_probabilities, require_order


def score_recordings(stager: Tuned, epochs: PackedEpochs, *, stride: int) -> Iterator[pl.DataFrame]:
    """Score recordings one by one: each epoch is encoded once, then seen in every window it is in.

    Windows and their mean are those of heads on frozen embeddings.

    Parameters
    ----------
    stager
        Fine-tuned or supervised model, in evaluation mode.
    epochs
        Packed epochs of the model's channels, of the subjects to score.
    stride
        Step between windows in epochs.

    Returns
    -------
    For each recording its rows of `epochs.table` with the columns of `add_probabilities`.
    """
    require_order(epochs.table)
    device = stager.head.seen.device
    numbered = epochs.table.with_row_index("row")
    for (*_,), night in numbered.group_by(NIGHT, maintain_order=True):
        rows = night.filter("usable")["row"].to_numpy().astype(np.int64)
        probabilities = predict_rows(
            stager.encoder, stager.head, epochs, rows, stride=stride, device=device
        )
        yield add_probabilities(night.drop("row"), probabilities, task=stager.head.task)
