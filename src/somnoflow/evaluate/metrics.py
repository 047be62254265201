"""The numbers of one model on its test subjects: pooled, per recording, against a constant answer.

Rules that hold everywhere here:

- Only epochs with a human stage and a usable signal are compared; all others are counted.
- A stage in neither truth nor prediction has no F1 (None) and is left out of macro F1, which is
  the plain mean over the other stages (what scikit-learn does by default). It is named in `notes`.
- A value that is not defined is None, never NaN and never 0.
"""

from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    f1_score,
    precision_recall_fscore_support,
    recall_score,
)

from somnoflow.config.evaluate import Evaluate
from somnoflow.evaluate.bootstrap import intervals
from somnoflow.evaluate.confusion import COUNTS, N_STAGES, Counted, agreement, rounded
from somnoflow.evaluate.predictions import RECORDING_KEY
from somnoflow.stages import STAGE_NAMES

PER_RECORDING = ("accuracy", "macro_f1", "kappa")


def summarise(counted: Counted, *, cfg: Evaluate) -> dict[str, Any]:
    """Give everything in `metrics.json`: all test recordings together, then each data set.

    Parameters
    ----------
    counted
        The test recordings.
    cfg
        Bootstrap resamples, confidence and seed.

    Returns
    -------
    dict
        `counts`, `subjects`, `recordings`, `pooled`, `per_recording`, `intervals`, `baseline`,
        `notes`; `datasets` holds the same for each data set where there are several.
    """
    names = counted.table["dataset"].unique().sort().to_list()
    several = len(names) > 1
    return _block(counted, cfg=cfg) | {
        "stages": list(STAGE_NAMES),
        "datasets": {name: _block(counted.of_dataset(name), cfg=cfg) for name in names if several},
    }


def _block(counted: Counted, *, cfg: Evaluate) -> dict[str, Any]:
    confusion = counted.confusion.sum(axis=0)
    return {
        "counts": _counts(counted),
        "subjects": counted.table["subject"].n_unique(),
        "recordings": counted.table.height,
        "pooled": pooled(confusion),
        "per_recording": _per_recording(counted.confusion),
        "intervals": intervals(counted.per_subject(), cfg=cfg),
        "baseline": majority_baseline(confusion),
        "notes": _notes(confusion),
    }


def _counts(counted: Counted) -> dict[str, int]:
    counts = {name: int(counted.table[name].sum()) for name in COUNTS}
    parts = counts["scored"] + counts["unscored"] + counts["unusable"]
    if parts != counts["epochs"] or counts["scored"] != int(counted.confusion.sum()):
        raise AssertionError(f"the counts of epochs do not add up: {counts}")
    return counts


def pooled(confusion: np.ndarray) -> dict[str, Any]:
    """Compute the metrics of all epochs together, each epoch with the same weight.

    Parameters
    ----------
    confusion
        Counts, shape (5 true, 5 predicted).

    Returns
    -------
    dict
        `accuracy`, `balanced_accuracy` (mean recall over the stages in the truth), `macro_f1`,
        `kappa`, `per_class` (precision, recall = sensitivity, f1, support) and
        `confusion_matrix` (rows true).
    """
    # One weighted sample per filled cell is the same to scikit-learn as one sample per epoch.
    true, predicted = np.nonzero(confusion)
    weight = confusion[true, predicted]
    pair: dict[str, Any] = {"y_true": true, "y_pred": predicted, "sample_weight": weight}
    if not len(weight):
        overall = dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1", "kappa"))
    else:
        one_stage = len(np.union1d(true, predicted)) == 1
        overall = {
            "accuracy": rounded(accuracy_score(**pair)),
            "balanced_accuracy": rounded(
                recall_score(**pair, labels=np.unique(true), average="macro", zero_division=0)
            ),
            "macro_f1": rounded(f1_score(**pair, average="macro", zero_division=0)),
            "kappa": None if one_stage else rounded(cohen_kappa_score(true, predicted,
                                                                     sample_weight=weight)),
        }  # fmt: skip
    return overall | {
        "per_class": _per_class(pair),
        "confusion_matrix": confusion.tolist(),
    }


def _per_class(pair: dict[str, Any]) -> dict[str, dict[str, float | int | None]]:
    if not len(pair["y_true"]):
        empty = {"precision": None, "recall": None, "f1": None, "support": 0}
        return {name: dict(empty) for name in STAGE_NAMES}
    columns = precision_recall_fscore_support(**pair, labels=range(N_STAGES), zero_division=np.nan)
    return {
        name: {
            "precision": rounded(precision),
            "recall": rounded(recall),
            "f1": rounded(f1),
            "support": int(support),
        }
        for name, precision, recall, f1, support in zip(STAGE_NAMES, *columns, strict=True)
    }


def majority_baseline(confusion: np.ndarray) -> dict[str, Any]:
    """Score the answer "always the most frequent true stage" on the same epochs.

    The stage is read off the test epochs themselves, so this is the best that any constant
    answer can reach; a tie goes to the first stage in the order W, N1, N2, N3, REM.
    """
    support = confusion.sum(axis=1)
    constant = np.zeros_like(confusion)
    stage = int(support.argmax())
    constant[:, stage] = support
    values = agreement(constant)
    return {
        "stage": STAGE_NAMES[stage] if support.any() else None,
        "accuracy": rounded(values.accuracy),
        "macro_f1": rounded(values.macro_f1),
        "kappa": rounded(values.kappa),
    }


def _per_recording(confusion: np.ndarray) -> dict[str, dict[str, float | int | None]]:
    values = agreement(confusion)
    return {name: _spread(getattr(values, name)) for name in PER_RECORDING}


def _spread(values: np.ndarray) -> dict[str, float | int | None]:
    defined = values[~np.isnan(values)]
    n = len(defined)
    return {
        "n": n,
        "mean": rounded(defined.mean()) if n else None,
        "median": rounded(np.median(defined)) if n else None,
        "sd": rounded(defined.std(ddof=1)) if n > 1 else None,
    }


def _notes(confusion: np.ndarray) -> list[str]:
    if not confusion.any():
        return ["No test epoch has both a human stage and a usable signal: no metric is defined."]
    absent = confusion.sum(axis=0) + confusion.sum(axis=1) == 0
    notes = [
        f"{name} is in neither truth nor prediction: no F1, left out of macro F1."
        for name, out in zip(STAGE_NAMES, absent, strict=True)
        if out
    ]
    return notes


def recording_table(counted: Counted) -> pl.DataFrame:
    """Give one row per test recording: counts, accuracy, macro F1 and kappa (null: not defined)."""
    values = agreement(counted.confusion)
    return counted.table.select(*RECORDING_KEY, "fold", *COUNTS).with_columns(
        pl.Series(name, getattr(values, name)).fill_nan(None) for name in PER_RECORDING
    )
