"""A model that scores nights, with all that its signals need.

What is decided here:

- The numbers are those that the workflow gives the same night, where it keeps the whole of it; a
  temperature is applied to them, which changes no answer.
- Recordings of any length are scored that have one whole epoch: the limits of `signals` keep
  damaged files out of trainings, and readers refuse more than 14 days.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from somnoflow.config.pack import Pack
from somnoflow.config.signals import Signals
from somnoflow.evaluate.calibration import apply_temperature
from somnoflow.io.rejection import Rejection
from somnoflow.io.source import SourceRecording
from somnoflow.models.heads import Head
from somnoflow.night import CutNight, Night, cut_night, scale_night, signals_for
from somnoflow.scoring.choice import Choice
from somnoflow.scoring.hypnogram import Hypnogram
from somnoflow.scoring.montage import Montage, choose_montage
from somnoflow.stages import EPOCH_SECONDS
from somnoflow.tasks import Task
from somnoflow.training.predicting import predict_rows
from somnoflow.training.reading import Floats

DECIMALS = 6


@dataclass(frozen=True, eq=False)
class Scorer:
    """An encoder of epochs and a head on its features, in evaluation mode, and their settings.

    Attributes
    ----------
    name
        Of the bundle or file, for people.
    encoder
        With `sampling_rate` and `samples`; as for `training.encoding.embed_rows`.
    head
        On its features.
    channels
        What the encoder reads.
    device
        Where the encoder computes.
    signals, pack
        How its signals were made; `signals` with its sampling rate.
    stride
        Step between windows in epochs.
    threshold
        Probability from which on an epoch has the event; None for stages.
    temperature
        Of its probabilities; None where they are not calibrated.
    about
        What the bundle says of itself, as JSON; empty where it is none.
    settings_from
        Where `signals` and `pack` come from, to be said.
    made_by
        What made the answers, as JSON.
    choice
        What was chosen beside the model.
    """

    name: str
    encoder: Any
    head: Head
    channels: tuple[str, ...]
    device: torch.device
    signals: Signals
    pack: Pack
    stride: int
    threshold: float | None
    temperature: float | None
    about: Mapping[str, Any]
    settings_from: str
    made_by: Mapping[str, Any]
    choice: Choice

    @property
    def task(self) -> Task:
        """What it answers."""
        return self.head.task

    def predict(self, night: Night) -> Floats:
        """Give the probabilities (n, K) of the n usable epochs of a night, before calibration."""
        rows = night.rows(scored=False)
        return predict_rows(
            self.encoder, self.head, night, rows, stride=self.stride, device=self.device
        )

    def read(self, source: SourceRecording, *, recording: str) -> "Given":
        """Choose and read the channels of a recording that the model is given.

        Raises
        ------
        Rejection
            When the recording has no usable channel for it, or no whole epoch.
        """
        if source.seconds < EPOCH_SECONDS:
            raise Rejection(
                problem="recording too short",
                found=f"{source.seconds:.1f} s",
                wanted=f"at least an epoch of {EPOCH_SECONDS} s",
                advice="Leave it out",
            )
        montage = choose_montage(
            self.channels,
            source=source,
            reading=self.choice.reading,
            allowed=self.choice.channels,
            vote=self.choice.vote,
        )
        signals = signals_for(
            montage.channels, sampling_rate=self.signals.sampling_rate, like=self.signals
        )
        known = self.choice.reading
        reading = known.model_copy(update={"channels": {**known.channels, **montage.names}})
        cut = cut_night(source, recording=recording, reading=reading, signals=signals)
        return Given(montage, cut)

    def score(self, given: "Given") -> Hypnogram:
        """Say what every epoch of a night is."""
        cut, task = given.cut, self.task
        nights = [scale_night(cut, channels=way, pack=self.pack) for way in given.montage.ways]
        probabilities = _average([(night, self._calibrated(night)) for night in nights], task=task)
        return Hypnogram(
            recording=cut.recording,
            start=cut.start,
            task=task,
            table=answers(
                cut.onset_s, probabilities, task=task, threshold=self._calibrated_threshold()
            ),
            threshold=self._calibrated_threshold(),
            made_by=self.made_by,
            night={
                "epochs": len(probabilities),
                "usable": int(np.isfinite(probabilities[:, 0]).sum()),
                "channels": dict(cut.taken),
                "absent": dict(cut.absent),
                "remarks": [*given.montage.remarks, *cut.remarks],
            },
        )

    def _calibrated(self, night: Night) -> npt.NDArray[np.float64]:
        found = self.predict(night).astype(np.float64)
        return found if self.temperature is None else apply_temperature(found, self.temperature)

    def _calibrated_threshold(self) -> float | None:
        """Give the threshold of calibrated probabilities: the same epochs lie beyond it.

        A threshold that a person chose is one of the probabilities that are written.
        """
        if self.threshold is None or self.temperature is None or self.choice.threshold is not None:
            return self.threshold
        both = np.array([[1 - self.threshold, self.threshold]])
        return float(apply_temperature(both, self.temperature)[0, 1])


@dataclass(frozen=True, eq=False)
class Given:
    """What a model is given of a recording: which channels, and their epochs."""

    montage: Montage
    cut: CutNight

    @property
    def physical(self) -> Night:
        """The epochs of all channels that were read, in physical units."""
        return scale_night(self.cut, channels=self.montage.channels, pack=Pack(scaling="none"))


def _average(
    parts: Sequence[tuple[Night, npt.NDArray[np.float64]]], *, task: Task
) -> npt.NDArray[np.float64]:
    """Give the mean (N, K) over what is said of each epoch; NaN where nothing is."""
    epochs = len(parts[0][0])
    total = np.zeros((epochs, len(task.classes)))
    count = np.zeros((epochs, 1))
    for night, probabilities in parts:
        rows = night.rows(scored=False)
        total[rows] += probabilities
        count[rows] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def answers(
    onset_s: npt.NDArray[np.float64],
    probabilities: npt.NDArray[np.float64],
    *,
    task: Task,
    threshold: float | None,
) -> pl.DataFrame:
    """Give a row for each epoch of a night; one without a usable signal has no answer.

    Parameters
    ----------
    onset_s
        Seconds from the start of the recording to each of N epochs.
    probabilities
        (N, K); NaN where an epoch has no usable signal.
    task
        What was asked.
    threshold
        Probability from which on an epoch has the event; the likeliest class is said where None.

    Returns
    -------
    As `Hypnogram.table`.
    """
    usable = np.isfinite(probabilities[:, 0])
    rounded = probabilities.round(DECIMALS)
    said = np.where(usable[:, None], probabilities, 0).argmax(axis=1)
    if threshold is not None:
        said = (probabilities[:, 1] >= threshold).astype(np.int64)
    names = [task.classes[number] if known else None for number, known in
             zip(said, usable, strict=True)]  # fmt: skip
    confidence = rounded[np.arange(len(said)), said]
    return pl.DataFrame(
        {
            "epoch": np.arange(len(said), dtype=np.int32),
            "onset_s": onset_s,
            task.column: names,
            "confidence": confidence,
            **dict(zip(task.probabilities, rounded.T, strict=True)),
        },
        schema_overrides={task.column: pl.String},
    ).with_columns(pl.col("confidence", *task.probabilities).fill_nan(None))
