"""The classes that a head gives when an encoder is shown some of its modalities only.

Notation: B epochs of a batch, C channels, T samples of an epoch, N epochs of a recording.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import get_args

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import torch

from somnoflow.config.signals import Modality
from somnoflow.config.unimodal import join_modalities, modality_of
from somnoflow.data.packed import PackedEpochs, Rows
from somnoflow.models.heads import LinearProbe
from somnoflow.models.presence import Presence
from somnoflow.models.synthsleepnet import SynthSleepNet
from somnoflow.tasks import UNKNOWN
from somnoflow.training.reading import read_finite
from somnoflow.training.scoring import NIGHT

SCHEMA = pa.schema(
    [
        pa.field("modalities", pa.string()),
        *(pa.field(name, pa.string()) for name in NIGHT),
        pa.field("true", pa.int8()),
        pa.field("predicted", pa.int8()),
        pa.field("n", pa.int64()),
    ]
)

Classes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]


def modality_subsets(channels: Sequence[str]) -> dict[str, Flags]:
    """Give every choice of modalities, as `EEG+ECG` in the order of a montage.

    Returns
    -------
    For each name the channels that it has, (C,): all of a modality go together. Those with the
    fewest modalities first; the last has all.
    """
    found = {modality_of(channel) for channel in channels}
    modalities = [name for name in get_args(Modality) if name in found]
    return {
        join_modalities(some): np.array([modality_of(channel) in some for channel in channels])
        for count in range(1, len(modalities) + 1)
        for some in combinations(modalities, count)
    }


def ablate_recordings(
    encoder: SynthSleepNet,
    head: LinearProbe,
    epochs: PackedEpochs,
    *,
    batch_size: int,
    device: torch.device,
) -> Iterator[pl.DataFrame]:
    """Count true and predicted classes of recordings, one by one, for each subset of modalities.

    Parameters
    ----------
    encoder
        In evaluation mode, on `device`.
    head
        Trained on the embeddings of all modalities.
    epochs
        Epochs of the encoder's channels, usable where any of them is present.
    batch_size
        Epochs per forward pass.
    device
        Where to compute.

    Returns
    -------
    For each recording a table with the columns of `SCHEMA`, over the epochs whose class is known.
    `predicted` is -1 where an epoch has none of a subset's channels.
    """
    subsets = modality_subsets(encoder.channels)
    numbered = epochs.table.with_row_index("row").filter(pl.col(head.task.column) != UNKNOWN)
    for key, night in numbered.group_by(NIGHT, maintain_order=True):
        rows = night["row"].to_numpy().astype(np.int64)
        predicted = predict_subsets(
            encoder, head, epochs, rows, subsets=subsets, batch_size=batch_size, device=device
        )
        tables = (
            count(night[head.task.column].to_numpy(), found).with_columns(
                pl.lit(name).alias("modalities"),
                *(pl.lit(value).alias(column) for column, value in zip(NIGHT, key, strict=True)),
            )
            for name, found in predicted.items()
        )
        yield pl.concat(tables).select(SCHEMA.names)


@torch.inference_mode()
def predict_subsets(
    encoder: SynthSleepNet,
    head: LinearProbe,
    epochs: PackedEpochs,
    rows: Rows,
    *,
    subsets: Mapping[str, Flags],
    batch_size: int,
    device: torch.device,
) -> dict[str, Classes]:
    """Give the classes (N,) of rows (N,) for each subset of the channels; -1 where none is there.

    An epoch's channels are encoded once, by the frozen encoders, and fused once for each subset:
    a channel's tokens do not depend on the others.
    """
    predicted = {name: np.full(len(rows), UNKNOWN, np.int8) for name in subsets}
    usable = np.flatnonzero(epochs.present[rows].any(axis=1))
    for begin in range(0, len(usable), batch_size):
        places = usable[begin : begin + batch_size]
        present = epochs.present[rows[places]]  # (B, C)
        signals = torch.from_numpy(read_finite(epochs, rows[places])).to(device)
        tokens = encoder.embed_channels(signals, _presence(encoder, present, device=device))
        for name, kept in subsets.items():
            shown = present & kept
            there = shown.any(axis=1)
            if not there.any():
                continue
            presence = _presence(encoder, shown[there], device=device)
            # Whoever has a channel of the subset is there: the channel's tokens are all wanted.
            latent, _ = encoder.forward_encoder(
                {channel: tokens[channel] for channel in presence.rows}, presence
            )
            features = encoder.pool(latent, presence).float().cpu().numpy()
            predicted[name][places[there]] = head.predict_proba(features).argmax(axis=1)
    return predicted


def _presence(encoder: SynthSleepNet, present: Flags, *, device: torch.device) -> Presence:
    return Presence(torch.from_numpy(present).to(device), channels=encoder.channels)


def count(true: Classes, predicted: Classes) -> pl.DataFrame:
    """Count each pair of a true and a predicted class: `true`, `predicted`, `n`, sorted."""
    pairs = pl.DataFrame({"true": true, "predicted": predicted}, schema_overrides={"true": pl.Int8})
    counted = pairs.group_by("true", "predicted").agg(pl.len().cast(pl.Int64).alias("n"))
    return counted.sort("true", "predicted")
