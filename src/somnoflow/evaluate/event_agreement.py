"""Whether a number per night agrees with the true one: bias, limits, correlations, severity.

Bias and 95 % limits of agreement are those of Bland and Altman (1986, Lancet 327:307). Lin's
concordance correlation (1989, Biometrics 45:255) asks for equal values, Pearson's for a line only.
Intervals are over subjects, each drawn with all recordings.
"""

from typing import Any

import numpy as np
from scipy.stats import rankdata

from somnoflow.config.evaluate import Evaluate
from somnoflow.evaluate.bootstrap import draw_subjects, percentile_interval
from somnoflow.evaluate.confusion import agreement, rounded
from somnoflow.evaluate.event_nights import SEVERITY, SEVERITY_NAMES, Nights

AGREEMENT = (
    "bias", "lower_limit", "upper_limit", "mean_absolute_error", "pearson", "spearman",
    "concordance",
)  # fmt: skip
LIMITS = 1.96
FEWEST = 3


def agree_on_rate(nights: Nights, *, subject: np.ndarray, cfg: Evaluate) -> dict[str, Any]:
    """Compare predicted with true epochs per hour of sleep, as `agree`."""
    names = ("true_per_hour", "predicted_per_hour", "usual_per_hour")
    columns = (nights.table[name].to_numpy() for name in names)
    return agree(*columns, subject=subject, what="Epochs per hour", cfg=cfg)


def agree_on_ahi(
    nights: Nights, *, subject: np.ndarray, cfg: Evaluate
) -> tuple[dict[str, Any] | None, list[str]]:
    """Compare the estimated with the true AHI, as `agree`, with `severity`, and give notes.

    The comparison is None, and a note says why, where no recording has both.
    """
    names = ("ahi", "estimated_ahi", "usual_ahi")
    true, estimated, usual = (nights.table[name].to_numpy() for name in names)
    if np.isnan(true).all():
        return None, ["AHI: not known of any test recording."]
    notes = nights.notes()
    if np.isnan(true + estimated).all():
        return None, [*notes, "AHI: cannot be estimated where it is known."]
    result = agree(true, estimated, usual, subject=subject, what="AHI", cfg=cfg)
    notes += result.pop("notes")
    return result | {"severity": severity(true, estimated, usual)}, notes


def agree(
    true: np.ndarray,
    predicted: np.ndarray,
    constant: np.ndarray,
    *,
    subject: np.ndarray,
    what: str,
    cfg: Evaluate,
) -> dict[str, Any]:
    """Compare a predicted with a true number of each recording.

    Parameters
    ----------
    true, predicted
        Numbers of each recording, shape (n,); recordings where one of them is NaN are left out.
    constant
        The baseline's answer, which does not look at the recording, shape (n,).
    subject
        Number of each recording's subject, shape (n,).
    what
        Name of the number, for notes.
    cfg
        Of the intervals, which are over subjects.

    Returns
    -------
    dict
        `recordings`, the values of `AGREEMENT`, `intervals`, `baseline` (bias and mean absolute
        error), `points` (the numbers themselves) and `notes`.
    """
    kept = ~(np.isnan(true) | np.isnan(predicted))
    left_out = int((~kept).sum())
    true, predicted, subject = true[kept], predicted[kept], subject[kept]
    values = compare(true, predicted)
    gap = constant[kept] - true
    notes = [
        f"{what}: {name.replace('_', ' ')} is not defined: {_reason(name, true, predicted)}."
        for name, value in values.items()
        if np.isnan(value)
    ]
    if left_out:
        notes.append(f"{what}: not known in {left_out} of {len(kept)} recordings.")
    return {
        "recordings": len(true),
        **{name: rounded(value) for name, value in values.items()},
        "true_mean": rounded(true.mean()) if len(true) else None,
        "predicted_mean": rounded(predicted.mean()) if len(true) else None,
        "intervals": _intervals(true, predicted, subject, cfg=cfg),
        "baseline": {
            "bias": rounded(gap.mean()) if len(gap) else None,
            "mean_absolute_error": rounded(np.abs(gap).mean()) if len(gap) else None,
        },
        "points": {
            "true": [round(float(value), 3) for value in true],
            "predicted": [round(float(value), 3) for value in predicted],
        },
        "notes": notes,
    }


def compare(true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Give bias, limits, mean absolute error and correlations; NaN where not defined."""
    values = dict.fromkeys(AGREEMENT, np.nan)
    gap = predicted - true
    if len(gap):
        values |= {"bias": gap.mean(), "mean_absolute_error": np.abs(gap).mean()}
    if len(gap) > 1:
        reach = LIMITS * gap.std(ddof=1)
        values |= {"lower_limit": gap.mean() - reach, "upper_limit": gap.mean() + reach}
    if len(gap) < FEWEST:
        return values
    flat_true, flat_predicted = np.ptp(true) == 0, np.ptp(predicted) == 0
    if not (flat_true or flat_predicted):
        values["pearson"] = np.corrcoef(true, predicted)[0, 1]
        values["spearman"] = np.corrcoef(rankdata(true), rankdata(predicted))[0, 1]
    if not (flat_true and flat_predicted):
        together = np.mean((true - true.mean()) * (predicted - predicted.mean()))
        together = 0.0 if flat_true or flat_predicted else together
        spread = true.var() + predicted.var() + gap.mean() ** 2
        values["concordance"] = 2 * together / spread
    return values


def _reason(name: str, true: np.ndarray, predicted: np.ndarray) -> str:
    if name in ("bias", "mean_absolute_error"):
        return "no recording has both numbers"
    fewest = 2 if name.endswith("limit") else FEWEST
    if len(true) < fewest:
        return f"{len(true)} recording(s), wanted at least {fewest}"
    flat = [word for word, x in (("true", true), ("predicted", predicted)) if np.ptp(x) == 0]
    return f"all recordings have the same {' and the same '.join(flat)} number"


def _intervals(
    true: np.ndarray, predicted: np.ndarray, subject: np.ndarray, *, cfg: Evaluate
) -> dict[str, list[float] | None]:
    """Draw subjects with all their recordings, and compare anew."""
    names, place = np.unique(subject, return_inverse=True)
    if len(names) < 2:
        return dict.fromkeys(AGREEMENT)
    drawn = []
    for times in draw_subjects(len(names), resamples=cfg.resamples, seed=cfg.seed):
        for one in times:
            rows = np.repeat(np.arange(len(true)), one[place])
            drawn.append(list(compare(true[rows], predicted[rows]).values()))
    columns = np.array(drawn).T
    return {
        name: percentile_interval(column, cfg.confidence)
        for name, column in zip(AGREEMENT, columns, strict=True)
    }


def severity(true: np.ndarray, estimated: np.ndarray, constant: np.ndarray) -> dict[str, Any]:
    """Sort recordings into four classes of severity by their true and estimated AHI.

    Returns
    -------
    dict
        `classes`, `table` (4 true, 4 estimated), `accuracy`, `kappa` and `baseline` (the accuracy
        where each recording has the constant answer).
    """
    kept = ~(np.isnan(true) | np.isnan(estimated))
    tables = [_severity_table(true[kept], other[kept]) for other in (estimated, constant)]
    values, flat = (agreement(table) for table in tables)
    return {
        "classes": list(SEVERITY_NAMES),
        "table": tables[0].tolist(),
        "accuracy": rounded(values.accuracy),
        "kappa": rounded(values.kappa),
        "baseline": {"accuracy": rounded(flat.accuracy)},
    }


def _severity_table(true: np.ndarray, other: np.ndarray) -> np.ndarray:
    table = np.zeros((len(SEVERITY_NAMES), len(SEVERITY_NAMES)), dtype=np.int64)
    np.add.at(table, (np.digitize(true, SEVERITY), np.digitize(other, SEVERITY)), 1)
    return table
