"""`somnoflow.score`: the hypnogram of one recording, from Python."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from somnoflow.inspect.naming import split_suffix
from somnoflow.io.recordings import open_recording
from somnoflow.scoring.choice import make_choice
from somnoflow.scoring.hypnogram import Hypnogram
from somnoflow.scoring.loading import load_scorers
from somnoflow.scoring.raw import name_of_raw, open_raw


def score(
    raw_or_path: Any,
    *,
    model: str | Path | None = None,
    encoder: str | Path | None = None,
    channels: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    vote: bool = True,
    stride: int | None = None,
    threshold: float | None = None,
) -> Hypnogram:
    """Say of every 30-s epoch of a recording which stage it is, or whether it has an event.

    Parameters
    ----------
    raw_or_path
        Path of an EDF, BDF, FIF or BrainVision recording, or an `mne.io.BaseRaw`. At least one
        epoch long, with an EEG or EOG channel sampled at 64 Hz or more for models of stages.
    model
        A bundle (folder or zip), the name of a shipped one, or weights of a training; the shipped
        default where None.
    encoder
        Weights of the encoder, where `model` is the weights of a head.
    channels
        Canonical channels that the model is given, such as `["EEG_C4", "EEG_C3"]`; all of its
        kind that the recording has where None.
    names
        What labels of the recording mean that Somnoflow does not know: `{"EEG 1": "EEG_C4"}`.
    vote
        Whether a model of one channel is given all of its kind, and the mean is taken.
    stride
        Step between windows in epochs; the model's own where None.
    threshold
        Probability from which on an epoch has the event, for models of events; the model's own
        where None.

    Returns
    -------
    Hypnogram
        `stages`, `probabilities` (N, K), `table` with a row for each of the N epochs; an epoch
        without a usable signal has no answer. `night["remarks"]` says what is not as the model was
        trained.

    Raises
    ------
    somnoflow.io.rejection.Rejection
        When the recording cannot be read, or has nothing that the model could be given.
    somnoflow.models.errors.WeightsError
        When the model cannot be used.
    somnoflow.config.base.ConfigError
        When an option does not go with the model.

    Examples
    --------
    >>> import somnoflow
    >>> hypnogram = somnoflow.score("night.edf", model="bundle.zip")
    >>> len(hypnogram), hypnogram.probabilities.shape
    (13, (13, 5))
    >>> set(hypnogram.stages) <= {"W", "N1", "N2", "N3", "REM", None}
    True
    >>> hypnogram.statistics().tib
    6.5
    >>> [path.name for path in hypnogram.save("scored", formats=["csv", "edf"])]
    ['night.csv', 'night-annotations.edf']

    A recording that MNE holds needs no file:

    >>> import mne
    >>> raw = mne.io.read_raw_edf("night.edf", verbose="error")
    >>> somnoflow.score(raw, model="bundle.zip").stages == hypnogram.stages
    True
    """
    choice = make_choice(
        names=names, channels=channels, vote=vote, stride=stride, threshold=threshold
    )
    is_path = isinstance(raw_or_path, str | Path)
    source = open_recording(Path(raw_or_path)) if is_path else open_raw(raw_or_path)
    name = Path(raw_or_path).name if is_path else name_of_raw(raw_or_path)
    [scorer] = load_scorers(
        [] if model is None else [model],
        encoder=None if encoder is None else Path(encoder),
        choice=choice,
    )
    return scorer.score(scorer.read(source, recording=split_suffix(name)[0]))
