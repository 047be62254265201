"""The numbers of one model of a rare event on its test subjects, beside a constant answer.

Accuracy says little where nine of ten epochs hold no event, so every number stands beside what the
most frequent answer gets for all epochs, and AUPRC beside the prevalence. A value that is not
defined is None, never NaN and never 0, and `notes` says why.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from somnoflow.config.evaluate import Evaluate
from somnoflow.evaluate.confusion import rounded
from somnoflow.evaluate.event_agreement import agree_on_ahi, agree_on_rate
from somnoflow.evaluate.event_bootstrap import intervals
from somnoflow.evaluate.event_nights import Nights
from somnoflow.evaluate.event_overlap import EVENTS, count_events
from somnoflow.evaluate.event_ranking import Ranking, areas, precision_recall, rank
from somnoflow.evaluate.event_values import (
    AREAS,
    REASONS,
    VALUES,
    confusion_tables,
    epoch_values,
    event_values,
)
from somnoflow.evaluate.events import COUNTS, NIGHT_KEY, Epochs, Events

# The AHI counts all apneas and hypopneas, so only their union can estimate it.
AHI_TASK = "respiratory"


def summarise(found: Events, nights: Nights, *, cfg: Evaluate) -> dict[str, Any]:
    """Give everything in `metrics.json`: all test recordings together, then each data set.

    Parameters
    ----------
    found
        Predictions of the event.
    nights
        Their test nights.
    cfg
        Bootstrap resamples, confidence and seed.

    Returns
    -------
    dict
        `task`, `classes`, `thresholds` by fold, `calibration` by fold (task `respiratory`), and of
        all test recordings together: `subjects`, `recordings`, `counts`, `prevalence`, `pooled`,
        `baseline` and `intervals` (each with all of `VALUES`), `events`, `curve`, `nights`, `ahi`
        and `notes`. `datasets` holds the same for each data set where there are several.
    """
    names = found.test.recordings["dataset"].unique().sort().to_list()
    estimates = found.task.name == AHI_TASK
    several = len(names) > 1
    return _block(found.test, nights, estimates=estimates, cfg=cfg) | {
        "task": found.task.name,
        "classes": list(found.task.classes),
        "thresholds": {str(fold): value for fold, value in found.thresholds.items()},
        "calibration": _calibration(nights) if estimates else None,
        "datasets": {
            name: _block(
                found.test.of_dataset(name), nights.of_dataset(name), estimates=estimates, cfg=cfg
            )
            for name in names
            if several
        },
    }


def _calibration(nights: Nights) -> dict[str, dict[str, Any]]:
    return {
        str(row.pop("fold")): {
            name: rounded(value) if isinstance(value, float) else value
            for name, value in row.items()
        }
        for row in nights.calibration.to_dicts()
    }


def _block(epochs: Epochs, nights: Nights, *, estimates: bool, cfg: Evaluate) -> dict[str, Any]:
    counts = {name: int(epochs.recordings[name].sum()) for name in COUNTS}
    subject = epochs.subjects
    values, events = _values(epochs)
    rate = agree_on_rate(nights, subject=subject, cfg=cfg)
    notes = _notes(values, judged=counts["judged"]) + rate.pop("notes")
    ahi = None
    if estimates:
        ahi, said = agree_on_ahi(nights, subject=subject, cfg=cfg)
        notes += said
    return {
        "subjects": epochs.recordings["subject"].n_unique(),
        "recordings": epochs.recordings.height,
        "counts": counts,
        "prevalence": rounded(counts["positives"] / counts["judged"]) if counts["judged"] else None,
        "pooled": {name: rounded(value) for name, value in values.items()}
        | {"confusion_matrix": confusion_tables(epochs).sum(axis=0).tolist()},
        "events": dict(zip(EVENTS, events.tolist(), strict=True)),
        "baseline": majority_baseline(epochs),
        "intervals": intervals(epochs, cfg=cfg),
        "curve": precision_recall(_ranked(epochs)),
        "nights": rate,
        "ahi": ahi,
        "notes": notes,
    }


def _ranked(epochs: Epochs) -> Ranking:
    return rank(epochs.score, epochs.label, epochs.row)


def _values(epochs: Epochs) -> tuple[dict[str, float], np.ndarray]:
    """Give all `VALUES` of the pooled epochs, and the counts of events."""
    events = count_events(epochs).sum(axis=0)
    values = epoch_values(confusion_tables(epochs).sum(axis=0))
    values |= dict(zip(AREAS, np.array(areas(_ranked(epochs))), strict=True))
    values |= event_values(events)
    return {name: float(values[name]) for name in VALUES}, events


def majority_baseline(epochs: Epochs) -> dict[str, Any]:
    """Judge the answer "always the more frequent class", which is also every epoch's score.

    The class is read off the judged epochs themselves; a tie goes to "none". AUPRC is the
    prevalence then, and AUROC one half.
    """
    if not len(epochs.label):
        return {"positive": None, **dict.fromkeys(VALUES)}
    positive = bool(2 * epochs.label.sum() > len(epochs.label))
    values, _ = _values(epochs.answered(np.full(len(epochs.label), positive)))
    return {"positive": positive, **{name: rounded(value) for name, value in values.items()}}


def _notes(values: dict[str, float], *, judged: int) -> list[str]:
    if not judged:
        return ["No test epoch has both a label and a usable signal: no metric is defined."]
    return [
        f"{name.replace('_', ' ')} is not defined: {REASONS[name]}."
        for name, value in values.items()
        if np.isnan(value)
    ]


def recording_table(found: Events, nights: Nights) -> pl.DataFrame:
    """Give one row per test recording: counts and all numbers (null: not defined)."""
    epochs = found.test
    confusion, events = confusion_tables(epochs), count_events(epochs)
    ends = np.searchsorted(epochs.row, np.arange(epochs.recordings.height + 1))
    under = [
        areas(rank(epochs.score[a:b], epochs.label[a:b], epochs.row[a:b]))
        for a, b in pairwise(ends)
    ]
    values = (
        epoch_values(confusion)
        | dict(zip(AREAS, np.array(under).T, strict=True))
        | event_values(events)
    )
    shown = ["sleep_hours", "true_per_hour", "predicted_per_hour", "ahi"]
    shown += ["estimated_ahi"] if found.task.name == AHI_TASK else []
    return (
        epochs.recordings.select(*NIGHT_KEY, *COUNTS)
        .with_columns(
            predicted_positives=confusion[:, :, 1].sum(axis=1),
            **{name: values[name] for name in VALUES},
            **{f"{name}_events": events[:, column] for column, name in enumerate(EVENTS)},
        )
        .with_columns(nights.table.select(shown))
        .with_columns(pl.selectors.float().fill_nan(None))
    )
