"""Signals of packed epochs as inputs of a fine-tuned model, and whether they fit it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from somnoflow.data.packed import PackedEpochs
from somnoflow.training.reading import read_finite
from somnoflow.training.roles import Roles, require_subjects


class SignalEpochs:
    """The signals of one packed channel as inputs of a model: (N, T), read when asked for.

    Parameters
    ----------
    packed
        Epochs of one channel.

    Attributes
    ----------
    table
        As in `PackedEpochs`.
    """

    def __init__(self, packed: PackedEpochs) -> None:
        self._packed = packed
        self.table: pl.DataFrame = packed.table

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Read signals (N, T), scaled; raise `ValueError` where one is not finite."""
        return read_finite(self._packed, rows)[:, 0]


def open_fold(
    packed: Sequence[Path], *, channels: Sequence[str], roles: Roles
) -> tuple[PackedEpochs, PackedEpochs]:
    """Open the packed epochs of a fold's training and of its validation subjects.

    An epoch is usable where any of the channels is present.

    Raises
    ------
    ValueError
        When a subject is not in the shards.
    """
    opened = []
    for subjects in (roles.train, roles.val):
        epochs = PackedEpochs(packed, channels=channels, subjects=subjects, require="any")
        require_subjects(subjects, epochs.table["subject"].unique(), where="the packed shards")
        opened.append(epochs)
    train, val = opened
    return train, val


class Sampled(Protocol):
    """A model that takes epochs of so many samples at so many Hz."""

    sampling_rate: int
    samples: int


def require_fitting_shards(
    packed: Sequence[Path],
    *,
    encoder: Sampled,
    about: Mapping[str, Any],
    of: Path | str,
    channel: str | None = None,
) -> None:
    """Raise `ValueError` where shards are not what a model was trained on.

    Parameters
    ----------
    packed
        `index.json` of each packed shard.
    encoder, about
        The model's encoder and the description in its file.
    of
        The model's file, for messages.
    channel
        What the encoder is wanted for, as in its path; what it was trained for where None.
    """
    if channel not in (None, about["channel"]):
        raise ValueError(f"{of} was trained on {about['channel']}, wanted {channel}")
    for path in packed:
        shard = json.loads(path.read_text(encoding="utf-8"))
        for name, found, wanted in (
            ("Hz", shard["sampling_rate"], encoder.sampling_rate),
            ("samples per epoch", shard["samples"], encoder.samples),
        ):
            if found != wanted:
                raise ValueError(f"{path} has {found} {name}, {of} was trained on {wanted}")
