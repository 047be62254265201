"""How well scores rank epochs with an event above the others: AUROC, AUPRC and the curve.

Epochs are sorted once. A resample of the subjects then is a weight per epoch, and its areas are two
running sums over the sorted weights: exact, with ties as scikit-learn treats them, at the cost of
one pass over the epochs and no further sort. Scores of all folds are ranked together.
"""

from dataclasses import dataclass

import numpy as np

from somnoflow.evaluate.confusion import ratio

CURVE_POINTS = 201


@dataclass(frozen=True)
class Ranking:
    """Epochs from the highest score to the lowest.

    Attributes
    ----------
    positive
        Whether the event is there, shape (n,).
    group
        What each epoch is weighted by, such as the number of its subject, shape (n,).
    last
        Place of the last epoch of each score, shape (different scores,).
    """

    positive: np.ndarray
    group: np.ndarray
    last: np.ndarray


def rank(score: np.ndarray, positive: np.ndarray, group: np.ndarray) -> Ranking:
    """Sort epochs by their scores, all arrays of shape (n,)."""
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], [True] * bool(len(ranked))))
    return Ranking(positive[order], group[order], last)


def areas(ranking: Ranking, weight: np.ndarray | None = None) -> tuple[float, float]:
    """Give the areas under the ROC curve and under the precision-recall curve.

    The latter is the average precision, the sum of precision times the step in recall, without
    interpolation.

    Parameters
    ----------
    ranking
        Sorted epochs.
    weight
        Weight of each group, shape (groups,); 1 where None.

    Returns
    -------
    tuple of float
        AUROC (NaN without a positive or without a negative epoch), AUPRC (NaN without a positive).
    """
    hits, alarms = _sums(ranking, weight)
    positives, negatives = (hits[-1], alarms[-1]) if len(hits) else (0.0, 0.0)
    if not positives:
        return np.nan, np.nan
    step = np.diff(hits, prepend=0.0)
    auprc = float(np.nansum(step * ratio(hits, hits + alarms)))
    auroc = float((np.diff(alarms, prepend=0.0) * (hits - step / 2)).sum())
    return (auroc / (positives * negatives) if negatives else np.nan), auprc / positives


def _sums(ranking: Ranking, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Give the weight of true and of false positives at each threshold."""
    weights = np.ones(len(ranking.group)) if weight is None else weight[ranking.group]
    total = np.cumsum(weights, dtype=np.float64)[ranking.last]
    hits = np.cumsum(weights * ranking.positive, dtype=np.float64)[ranking.last]
    return hits, total - hits


def precision_recall(ranking: Ranking) -> dict[str, list[float]]:
    """Give the precision-recall curve, at about even steps of recall where it has many points.

    Returns
    -------
    dict
        `recall` (ascending) and `precision`, both empty without a positive epoch.
    """
    hits, alarms = _sums(ranking, None)
    if not len(hits) or not hits[-1]:
        return {"recall": [], "precision": []}
    recall, precision = hits / hits[-1], hits / (hits + alarms)
    kept = np.unique(np.searchsorted(recall, np.linspace(0, 1, CURVE_POINTS)))
    if len(recall) <= CURVE_POINTS:
        kept = np.arange(len(recall))
    return {
        "recall": [round(float(value), 4) for value in recall[kept]],
        "precision": [round(float(value), 4) for value in precision[kept]],
    }
