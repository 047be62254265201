"""Explain epochs of a night: heat, signal and detected events, as rows of the table."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl
import torch
from torch import Tensor

from somnoflow.config.unimodal import modality_of
from somnoflow.data.packed import Rows
from somnoflow.data.windows import run_starts
from somnoflow.explain.context import context_of, logits_of
from somnoflow.explain.events import (
    MICROVOLTS,
    NOT_LOOKED_FOR,
    Found,
    find_events,
    stretch_around,
)
from somnoflow.explain.explanation import GRAD_CAM, ROLLOUT
from somnoflow.explain.gradcam import grad_cam
from somnoflow.explain.model import ExplainedModel
from somnoflow.explain.physical import Measured
from somnoflow.explain.rollout import attention_rollout, has_attention
from somnoflow.explain.timing import Values, scale_heat
from somnoflow.training.encoding import embed_rows
from somnoflow.training.reading import Epochs, Floats, read_finite

BATCH = 64


class Measures(Protocol):
    """What reads epochs in physical units: `PackedMeasures`."""

    def read(self, rows: Rows, *, channel: str) -> Measured:
        """Read epochs of one recording, in which the channel is present."""
        ...


class Answer(NamedTuple):
    """What a model says of an epoch, and why.

    Attributes
    ----------
    probabilities
        (K,).
    explained
        The class that the heats are of.
    heats
        For each method (C, T), not yet scaled.
    """

    probabilities: Floats
    explained: int
    heats: dict[str, Values]


class NightExplainer:
    """Explains epochs of one night by one model.

    Parameters
    ----------
    model
        With its encoder's channels.
    epochs
        Of the same channels.
    rows
        Usable epochs of the night, (N,), in the order of time: what the model saw of it.
    """

    def __init__(self, model: ExplainedModel, epochs: Epochs, rows: Rows) -> None:
        self.model = model
        self.epochs = epochs
        self.rows = rows
        self._starts = run_starts(epochs.table[rows])
        # What a head with a memory saw is the same for all epochs of the night.
        self._features: dict[int, Tensor] = {}

    def explain(self, row: int, *, asked: int | None = None) -> Answer:
        """Explain an epoch, one of the rows, by the class `asked` for, or by the likeliest."""
        place = int(np.flatnonzero(self.rows == row)[0])
        begin, stop = context_of(self.model.head, self._starts, place)
        before, after = self._encode(begin, place), self._encode(place + 1, stop)
        few = self.rows[place : place + 1]
        signals = torch.from_numpy(read_finite(self.epochs, few))  # (1, C, T)
        present = torch.from_numpy(self.epochs.present[few])  # (1, C)

        def logits(signals: Tensor) -> Tensor:
            feature = self.model.encode(signals, present)
            features = torch.cat([before, feature, after])  # (L, D)
            return logits_of(self.model.head, features, place - begin)

        with torch.no_grad():
            probabilities = self.model.probabilities(logits(signals))[0].numpy()
        explained = int(probabilities.argmax()) if asked is None else asked
        heats = {
            GRAD_CAM: grad_cam(
                logits, signals, present, encoder=self.model.encoder, target=explained
            )
        }
        if has_attention(self.model.encoder):
            heats[ROLLOUT] = attention_rollout(self.model, signals, present)
        return Answer(probabilities, explained, heats)

    def _encode(self, begin: int, stop: int) -> Tensor:
        """Give the features (stop - begin, D) of places of the night, each encoded once."""
        new = [place for place in range(begin, stop) if place not in self._features]
        found = embed_rows(
            self.model.encoder,
            self.epochs,
            self.rows[new],
            batch_size=BATCH,
            device=torch.device("cpu"),
        )
        # Made in inference mode, they could not stand in what a gradient goes through.
        self._features.update(zip(new, torch.from_numpy(found), strict=True))
        known = [self._features[place] for place in range(begin, stop)]
        return torch.stack(known) if known else torch.from_numpy(found)


def explanation_rows(
    explainer: NightExplainer,
    row: int,
    *,
    answer: Answer,
    predicted: int,
    measures: Measures,
) -> Iterator[dict[str, Any]]:
    """Give the rows of an epoch: one for each channel that is there and each method.

    Parameters
    ----------
    explainer
        Of the night.
    row
        The epoch.
    answer
        From the explainer; its probabilities are written.
    predicted
        Class that the model was scored by.
    measures
        Reads the epochs in physical units.
    """
    epochs, task = explainer.epochs, explainer.model.task
    told = epochs.table.select("dataset", "subject", "recording", "epoch", "onset_s", "stage")
    shared = {
        **told.row(row, named=True),
        "predicted": predicted,
        "explained": answer.explained,
        **dict(zip(task.probabilities, answer.probabilities.tolist(), strict=True)),
        "sampling_rate": epochs.sampling_rate,
    }
    scaled = {method: scale_heat(heat) for method, heat in answer.heats.items()}
    for place, channel in enumerate(epochs.channels):
        if not epochs.present[row, place]:
            continue
        own = explainer.rows[epochs.present[explainer.rows, place]]
        measured, found = _look_around(epochs, own, row, channel=channel, measures=measures)
        for method, heat in scaled.items():
            yield {
                **shared,
                "channel": channel,
                "unit": measured.unit,
                "signal": measured.values[0].tolist(),
                "method": method,
                "heat": heat[place].tolist(),
                "spindles": _as_dicts(found.spindles),
                "slow_waves": _as_dicts(found.slow_waves),
            }


def _look_around(
    epochs: Epochs, rows: Rows, row: int, *, channel: str, measures: Measures
) -> tuple[Measured, Found]:
    """Give an epoch's signal in its unit, and the events of an EEG.

    `rows` are those of the night in which the channel is there.
    """
    numbers: list[int] = epochs.table["epoch"].gather(pl.Series(rows)).to_list()
    place = int(np.flatnonzero(rows == row)[0])
    begin, stop = stretch_around(numbers, place)
    values, unit = measures.read(rows[begin:stop], channel=channel)
    found = NOT_LOOKED_FOR
    if modality_of(channel) == "EEG" and unit == MICROVOLTS:
        found = find_events(values, place=place - begin, sampling_rate=epochs.sampling_rate)
    return Measured(values[place - begin : place - begin + 1], unit), found


def _as_dicts(events: Any) -> list[dict[str, float]] | None:
    return None if events is None else [event._asdict() for event in events]
