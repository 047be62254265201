"""Each model against a reference over the same test subjects: differences, intervals, a test.

A subject's value is the mean over his or her test recordings. Differences are tested by Wilcoxon's
signed-rank test (1945), two-sided, and the p values of all models corrected as Holm (1979) does.
The reference is the model with the highest macro F1 of the test subjects. It was thus chosen by
those who compare it, and its lead is optimistic.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import wilcoxon

from somnoflow.evaluate.bootstrap import draw_subjects, percentile_interval
from somnoflow.report.comparison_section import LEAST_SUBJECTS, OVERALL, paired_columns
from somnoflow.report.naming import STAGING, ModelName
from somnoflow.report.sources import Model, read_table, whole_model

SCORES = tuple(OVERALL.values())


def read_subjects(paths: Iterable[Path]) -> dict[ModelName, pl.DataFrame]:
    """Read what each model of stages reaches in each test subject.

    Parameters
    ----------
    paths
        `recordings.tsv` beside the `metrics.json` of each model; those of events are left out.

    Returns
    -------
    dict
        For each model a table with a row per subject: subject, accuracy, macro_f1, kappa; null
        where a score is not defined in any recording.
    """
    named = {whole_model(path.parent): path for path in paths}
    return {
        name: read_table(path, texts=("subject",), decimals=SCORES)
        .group_by("subject")
        .agg(pl.col(SCORES).mean())
        .sort("subject")
        for name, path in named.items()
        if name.task == STAGING
    }


def choose_reference(models: Sequence[Model]) -> Model | None:
    """Give the model of stages with the highest macro F1; None where none was judged."""
    judged = [m for m in models if m.name.task == STAGING and m.metrics is not None]
    return max(judged, key=_macro_f1, default=None)


def _macro_f1(model: Model) -> float:
    return (model.metrics or {})["pooled"]["macro_f1"] or 0.0


def paired_differences(
    models: Sequence[Model], subjects: Mapping[ModelName, pl.DataFrame]
) -> dict[ModelName, dict[str, Any]]:
    """Compare each model of stages with the reference.

    Parameters
    ----------
    models
        With metrics, whose confidence, resamples and seed the intervals take.
    subjects
        Scores of each model's subjects, as `read_subjects` gives them.

    Returns
    -------
    dict
        For each model but the reference `reference`, `paired_subjects` and, for each score, the
        columns of `paired_columns`: the mean of the differences, model less reference, its
        bounds, p, and p after Holm. Bounds and p are None under `LEAST_SUBJECTS` subjects.
    """
    reference = choose_reference(models)
    if reference is None or reference.name not in subjects:
        return {}
    settings = (reference.metrics or {})["intervals"]
    found = {
        model.name: {"reference": reference.name.title}
        | _compare(subjects[model.name], subjects[reference.name], settings=settings)
        for model in models
        if model.name in subjects and model.name != reference.name
    }
    for score in SCORES:
        *_, plain, corrected = paired_columns(score)
        rows = [row for row in found.values() if row[plain] is not None]
        for row, p in zip(rows, holm([row[plain] for row in rows]), strict=True):
            row[corrected] = p
    return found


def _compare(
    mine: pl.DataFrame, other: pl.DataFrame, *, settings: Mapping[str, Any]
) -> dict[str, Any]:
    both = mine.join(other, on="subject", suffix="_other").sort("subject")
    row: dict[str, Any] = {"paired_subjects": both.height}
    for score in SCORES:
        gaps = (both[score] - both[f"{score}_other"]).drop_nulls().to_numpy()
        values = dict.fromkeys(paired_columns(score))
        mean, low, high, plain, _ = values
        if len(gaps):
            values[mean] = round(float(gaps.mean()), 6)
        if len(gaps) >= LEAST_SUBJECTS:
            values[low], values[high] = _interval(gaps, settings) or (None, None)
            values[plain] = signed_rank(gaps)
        row |= values
    return row


def _interval(gaps: np.ndarray, settings: Mapping[str, Any]) -> list[float] | None:
    drawn = draw_subjects(len(gaps), resamples=settings["resamples"], seed=settings["seed"])
    means = np.concatenate([times @ gaps for times in drawn]) / len(gaps)
    return percentile_interval(means, settings["confidence"])


def signed_rank(gaps: np.ndarray) -> float:
    """Give the two-sided p of Wilcoxon's signed-rank test; 1 where all differences are zero."""
    return float(wilcoxon(gaps).pvalue) if gaps.any() else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number, step by step from the smallest (Holm 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    corrected = np.empty_like(p)
    corrected[order] = stepped
    return corrected.tolist()
