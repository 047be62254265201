"""What counts and scores of a rare event say: sensitivity, specificity and the like, event overlap.

Everything but the areas follows from counts, so that a resample of subjects adds tables up.
"""

import numpy as np

from somnoflow.evaluate.confusion import agreement, ratio
from somnoflow.evaluate.events import Epochs

EPOCH_VALUES = (
    "sensitivity", "specificity", "ppv", "npv", "f1", "accuracy", "balanced_accuracy", "kappa",
)  # fmt: skip
EVENT_VALUES = ("event_precision", "event_recall", "event_f1")
AREAS = ("auroc", "auprc")
VALUES = (*EPOCH_VALUES, *AREAS, *EVENT_VALUES)
NO_POSITIVE, NO_NEGATIVE = "no epoch has the event", "every epoch has the event"
REASONS = {
    "sensitivity": NO_POSITIVE,
    "specificity": NO_NEGATIVE,
    "ppv": "no epoch is predicted to have the event",
    "npv": "every epoch is predicted to have the event",
    "f1": "no epoch has the event or is predicted to",
    "balanced_accuracy": "all epochs are alike",
    "kappa": "all epochs and all predictions are one and the same",
    "auroc": "all epochs are alike",
    "auprc": NO_POSITIVE,
    "event_precision": "no event is predicted",
    "event_recall": "there is no event",
    "event_f1": "there is no event and none is predicted",
}


def confusion_tables(epochs: Epochs) -> np.ndarray:
    """Count the judged epochs of each recording, shape (recordings, 2 true, 2 predicted)."""
    n = epochs.recordings.height
    cell = 4 * epochs.row + 2 * epochs.label + epochs.predicted
    return np.bincount(cell, minlength=4 * n).reshape(n, 2, 2)


def epoch_values(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Compute what follows from counts of epochs; NaN where a value is not defined.

    Parameters
    ----------
    confusion
        Counts, shape (..., 2 true, 2 predicted).

    Returns
    -------
    dict
        `EPOCH_VALUES`, arrays of shape (...). F1 is that of the event; balanced accuracy the mean
        of sensitivity and specificity.
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    quiet, alarms = confusion[..., 0, 0], confusion[..., 0, 1]
    missed, hits = confusion[..., 1, 0], confusion[..., 1, 1]
    values = agreement(confusion)
    sensitivity, specificity = ratio(hits, hits + missed), ratio(quiet, quiet + alarms)
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": ratio(hits, hits + alarms),
        "npv": ratio(quiet, quiet + missed),
        "f1": values.f1[..., 1],
        "accuracy": values.accuracy,
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "kappa": values.kappa,
    }


def event_values(events: np.ndarray) -> dict[str, np.ndarray]:
    """Compute precision, recall and F1 of events from counts (..., true | predicted | matched)."""
    true, predicted, matched = (events[..., column].astype(np.float64) for column in range(3))
    return {
        "event_precision": ratio(matched, predicted),
        "event_recall": ratio(matched, true),
        "event_f1": ratio(2 * matched, true + predicted),
    }
