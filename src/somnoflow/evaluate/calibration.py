"""Whether a model's confidence is the share of its right answers, and the temperature that helps.

Temperature scaling (Guo, Pleiss, Sun and Weinberger 2017): probabilities become softmax(log(p) / T)
with one number T > 0 for all classes. T above 1 makes a model less sure. The order of the classes
stays, so answers do not change; a class of probability 0 keeps it at any T.

Notation: N epochs, K classes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BINS = 15
LOWEST, HIGHEST = 0.05, 20.0
FEWEST = 100
# A true class of probability 0 is impossible at any temperature: a few epochs of it are rounding,
# many are a model that temperatures cannot describe.
MOST_IMPOSSIBLE = 0.01
# About the rounding of the stored probabilities; without a floor one epoch makes the mean endless.
FLOOR = 1e-7


class NoTemperatureError(ValueError):
    """Epochs that no temperature can be fitted to; the message is the reason."""


def apply_temperature(probabilities: npt.ArrayLike, temperature: float) -> Floats:
    """Give softmax(log(p) / T).

    Parameters
    ----------
    probabilities
        Shape (N, K), 0..1; a row of NaN stays one.
    temperature
        T, above 0; 1 changes nothing but that each row adds up to 1 exactly.

    Returns
    -------
    ndarray
        Shape (N, K).

    Raises
    ------
    ValueError
        Where the temperature is no number above 0.
    """
    if not 0 < temperature < np.inf:
        raise ValueError(f"the temperature is {temperature}, wanted a number above 0")
    with np.errstate(divide="ignore"):
        logs = np.log(np.asarray(probabilities, dtype=np.float64))
    # Less the highest first: 0 over a small T stays 0, where log(p) / T may be too large a number.
    scaled = np.exp((logs - logs.max(axis=-1, keepdims=True)) / temperature)
    result: Floats = scaled / scaled.sum(axis=-1, keepdims=True)
    return result


def fit_temperature(probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Find the temperature with the least negative log-likelihood of the true classes.

    The likelihood is concave in 1 / T, so its slope has one root at most, and that is searched
    from T = 0.05 to 20; where it lies outside, the nearer end is given.

    Parameters
    ----------
    probabilities
        Shape (N, K), 0..1.
    targets
        Number of the true class of each epoch, shape (N,).

    Raises
    ------
    NoTemperatureError
        Where there are fewer than 100 epochs; where more than 1 % of them have a true class of
        probability 0 (up to that share they are left out); and where no other class is likelier
        than the true one anywhere, so that the likelihood has no maximum.
    """
    # Here, so that those who only apply a temperature do not wait for it.
    from scipy.optimize import brentq  # noqa: PLC0415

    p = np.asarray(probabilities, dtype=np.float64)
    true = p[np.arange(len(p)), np.asarray(targets, dtype=np.int64)]
    if len(p) < FEWEST:
        raise NoTemperatureError(f"{len(p)} validation epochs, wanted at least {FEWEST}")
    possible = true > 0
    impossible = len(p) - int(possible.sum())
    if impossible > MOST_IMPOSSIBLE * len(p):
        raise NoTemperatureError(
            f"the true class has probability 0 in {impossible} of {len(p)} validation epochs, "
            "which no temperature changes"
        )
    p, true = p[possible], true[possible]
    if (true >= p.max(axis=1)).all():
        raise NoTemperatureError(
            f"the true class is the likeliest in all of {len(p)} validation epochs, so that the "
            "likelihood grows with every lower temperature"
        )
    logs = np.log(p, out=np.zeros_like(p), where=p > 0)
    wanted = float(np.log(true).mean())

    def slope(inverse: float) -> float:
        """Give d NLL / d(1 / T): the expected less the true logarithm."""
        expected = (apply_temperature(p, 1 / inverse) * logs).sum(axis=1).mean()
        return float(expected) - wanted

    if slope(1 / HIGHEST) >= 0:
        return HIGHEST
    if slope(1 / LOWEST) <= 0:
        return LOWEST
    return float(1 / brentq(slope, 1 / HIGHEST, 1 / LOWEST, xtol=1e-9))


def count_bins(confidence: npt.ArrayLike, right: npt.ArrayLike) -> Floats:
    """Sort epochs into 15 bins of equal width by confidence: (0, 1/15], ..., (14/15, 1].

    Parameters
    ----------
    confidence
        Probability of the answer, shape (N,); 0 belongs to the first bin.
    right
        Whether the answer is true, shape (N,).

    Returns
    -------
    ndarray
        Epochs, sum of the confidence and number of right ones of each bin, shape (15, 3); counts
        of several sets of epochs may be added.
    """
    sure = np.asarray(confidence, dtype=np.float64)
    place = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
    sums = [np.ones_like(sure), sure, np.asarray(right, dtype=np.float64)]
    return np.stack([np.bincount(place, weights=one, minlength=BINS) for one in sums], axis=1)


def expected_calibration_error(bins: Floats) -> float:
    """Give the mean distance of confidence and accuracy over bins, weighted by their epochs.

    ECE (Naeini, Cooper and Hauskrecht 2015) of the counts of `count_bins`; NaN without an epoch.
    """
    epochs, confidence, right = bins.T
    total = epochs.sum()
    return float(np.abs(confidence - right).sum() / total) if total else float("nan")


def reliability(bins: Floats) -> list[dict[str, Any]]:
    """Give what a reliability diagram shows: each bin with its mean confidence and accuracy.

    Parameters
    ----------
    bins
        As `count_bins` gives them.

    Returns
    -------
    list of dict
        `low`, `high`, `epochs`, `confidence`, `accuracy` of each of the 15 bins; the last two are
        None in an empty one.
    """
    rows = []
    for place, (epochs, confidence, right) in enumerate(bins.tolist()):
        rows.append(
            {
                "low": round(place / BINS, 6),
                "high": round((place + 1) / BINS, 6),
                "epochs": int(epochs),
                "confidence": round(confidence / epochs, 6) if epochs else None,
                "accuracy": round(right / epochs, 6) if epochs else None,
            }
        )
    return rows


def negative_log_likelihood(probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> Floats:
    """Give the natural -log of the true class's probability, not below 1e-7; shape (N,)."""
    p = np.asarray(probabilities, dtype=np.float64)
    true = p[np.arange(len(p)), np.asarray(targets, dtype=np.int64)]
    loss: Floats = -np.log(np.maximum(true, FLOOR))
    return loss


def brier_score(probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> Floats:
    """Give the squared distance to the truth, added up over all classes (Brier 1950); shape (N,).

    It is 0 for a sure right answer and 2 for a sure wrong one, with two classes as well.
    """
    error = np.array(probabilities, dtype=np.float64)
    error[np.arange(len(error)), np.asarray(targets, dtype=np.int64)] -= 1
    score: Floats = (error**2).sum(axis=1)
    return score
