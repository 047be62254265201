"""How far a number moves with the seed: intervals over a few repeated trainings.

Three or more repeats get Student's interval of their mean (Student 1908, Biometrika 6:1), two get
their range, and one gets none. All of it is about the seeds (which labels were drawn, initial
weights, order of the batches); who was tested is the same in each repeat.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

STUDENT = "Student t"
RANGE = "range"


@dataclass(frozen=True)
class Spread:
    """Mean of repeated trainings with its interval.

    Attributes
    ----------
    n
        Repeats with a value.
    mean
        Their mean; None without any.
    interval
        Lowest and highest; None for fewer than two repeats.
    kind
        `STUDENT`, `RANGE` (of two), or empty where there is no interval.
    """

    n: int
    mean: float | None
    interval: tuple[float, float] | None
    kind: str

    @property
    def sign(self) -> int:
        """On which side of 0 the interval is, as `sign_of` says."""
        return sign_of(self.interval)


def sign_of(interval: Sequence[float] | None) -> int:
    """Give 1 where the whole interval is above 0, -1 where below, 0 where neither is known."""
    if interval is None:
        return 0
    return int(interval[0] > 0) - int(interval[1] < 0)


def over_seeds(
    values: Sequence[float | None],
    *,
    confidence: float,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Spread:
    """Give mean and interval of repeated trainings.

    Parameters
    ----------
    values
        One per seed; None, where it is not defined, is left out.
    confidence
        Share of such intervals that hold the true mean.
    bounds
        Possible values; Student's interval is cut there.
    """
    defined = [value for value in values if value is not None]
    n = len(defined)
    if not n:
        return Spread(0, None, None, "")
    mean = math.fsum(defined) / n
    if n == 1:
        return Spread(1, mean, None, "")
    if n == 2:
        return Spread(2, mean, (min(defined), max(defined)), RANGE)
    error = float(np.std(defined, ddof=1)) / math.sqrt(n)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * error
    return Spread(n, mean, (max(bounds[0], mean - half), min(bounds[1], mean + half)), STUDENT)
