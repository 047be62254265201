"""How certain a number is: percentile bootstrap intervals over subjects.

Epochs of one night, and nights of one person, are alike; drawing epochs would make intervals far
too narrow. Whole subjects are drawn with replacement instead, and their confusion matrices added.

With few subjects the percentile interval is too narrow (Efron and Tibshirani 1993, chapter 13);
below about ten it is a rough guide only.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from somnoflow.config.evaluate import Evaluate
from somnoflow.evaluate.confusion import Agreement, agreement
from somnoflow.stages import STAGE_NAMES

DRAWS_AT_ONCE = 4_000_000


def resample(confusion: np.ndarray, *, resamples: int, seed: int) -> Agreement:
    """Compute agreement in bootstrap resamples of the subjects.

    Parameters
    ----------
    confusion
        Counts of each subject, shape (subjects, 5, 5).
    resamples
        Number of resamples, each of as many subjects as there are.
    seed
        Seed of the draws.

    Returns
    -------
    Agreement
        Arrays whose first axis is the resample.
    """
    flat = confusion.reshape(len(confusion), -1)
    # A matrix product adds up the tables of the drawn subjects.
    summed = [
        times @ flat for times in draw_subjects(len(confusion), resamples=resamples, seed=seed)
    ]
    return agreement(np.concatenate(summed).reshape(-1, *confusion.shape[1:]))


def draw_subjects(subjects: int, *, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Draw as many subjects as there are, with replacement, again and again.

    Yields
    ------
    ndarray
        How often each subject was drawn, shape (some resamples, subjects): a draw with replacement
        is a multinomial count per subject.
    """
    rng = np.random.default_rng(seed)
    shares = np.full(subjects, 1 / subjects)
    step = max(1, DRAWS_AT_ONCE // subjects)
    for start in range(0, resamples, step):
        yield rng.multinomial(subjects, shares, size=min(step, resamples - start))


def intervals(confusion: np.ndarray, *, cfg: Evaluate) -> dict[str, Any]:
    """Give the intervals of accuracy, macro F1, kappa and the F1 of each stage.

    Parameters
    ----------
    confusion
        Counts of each subject, shape (subjects, 5, 5). Subjects without a scored epoch carry no
        information and are not drawn.
    cfg
        Resamples, confidence and seed.

    Returns
    -------
    dict
        `[low, high]` per value; None, with a `reason`, where fewer than two subjects have scored
        epochs. `undefined_resamples` counts the resamples in which a value is not defined (a
        stage that no drawn subject has); the interval is that of the others.
    """
    drawn = confusion[confusion.any(axis=(-2, -1))]
    result = describe_intervals(len(drawn), cfg=cfg)
    if len(drawn) < 2:
        nothing = dict.fromkeys(("accuracy", "macro_f1", "kappa"))
        return result | nothing | {
            "f1": dict.fromkeys(STAGE_NAMES),
            "undefined_resamples": {},
            "reason": too_few_subjects(len(drawn), epochs="scored"),
        }  # fmt: skip
    values = resample(drawn, resamples=cfg.resamples, seed=cfg.seed)
    f1 = {name: values.f1[:, column] for column, name in enumerate(STAGE_NAMES)}
    named = {"accuracy": values.accuracy, "macro_f1": values.macro_f1, "kappa": values.kappa}
    undefined = {name: int(np.isnan(array).sum()) for name, array in (named | f1).items()}
    return (
        result
        | {name: percentile_interval(array, cfg.confidence) for name, array in named.items()}
        | {
            "f1": {name: percentile_interval(array, cfg.confidence) for name, array in f1.items()},
            "undefined_resamples": {name: n for name, n in undefined.items() if n},
            "reason": None,
        }
    )


def describe_intervals(subjects: int, *, cfg: Evaluate) -> dict[str, Any]:
    """Say what intervals are of and how they are made, as it stands beside them."""
    return {
        "unit": "subject",
        "method": "percentile bootstrap",
        "subjects": subjects,
        "confidence": cfg.confidence,
        "resamples": cfg.resamples,
        "seed": cfg.seed,
    }


def too_few_subjects(subjects: int, *, epochs: str) -> str:
    """Give the reason why there are no intervals; `epochs` says which a subject has to have."""
    return (
        f"{subjects} test subject(s) with {epochs} epochs: an interval over subjects needs at "
        "least 2"
    )


def percentile_interval(values: np.ndarray, confidence: float) -> list[float] | None:
    """Give the central interval that holds `confidence` of the defined values."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    tail = (1 - confidence) / 2
    return [round(float(bound), 6) for bound in np.quantile(defined, [tail, 1 - tail])]
