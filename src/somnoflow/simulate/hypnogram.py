"""Simulated hypnograms: a semi-Markov model fitted to real nights.

The next stage depends on the present stage, on the third of the sleep period and on the time since
the last REM sleep (in the first cycle: since sleep onset), so that cycles, early N3 and late REM
come out of counted transitions. The length of each run of equal epochs is drawn from the quantiles
of its stage and third. Sources of the two tables: the 39 hypnograms of the 20 Sleep-EDF-20
subjects (Kemp et al. 2000, IEEE Trans Biomed Eng 47:1185; PhysioNet, ODC-By 1.0), R&K S3 and S4 =
N3, wake within 30 min of sleep; made by ``benchmarks/fit_simulation.py``.

Nights shorter than 7.5 h are compressed: clock and run lengths shrink by the square root of
hours / 7.5, so one hour passes through about two short cycles. A night of at least half an hour is
drawn again (at most 40 times) until all five stages have at least 2 % of the epochs each and REM
fills 5 to 36 % of the time after sleep onset (real nights, 5th to 95th percentile: 13 to 28 %).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from somnoflow.simulate.subject import Traits
from somnoflow.stages import EPOCH_SECONDS, SCORED_STAGES

EPOCH_S = EPOCH_SECONDS
W, N1, N2, N3, REM = (int(stage) for stage in SCORED_STAGES)
STAGES = ("W", "N1", "N2", "N3", "R")
FULL_NIGHT_HOURS = 7.5
SMOOTHING_COUNTS = 3.0


@dataclass(frozen=True)
class HypnogramStatistics:
    """Counted statistics of real hypnograms.

    Attributes
    ----------
    first_cycle_min : np.ndarray
        Lower edges, in minutes, of the bins of time since sleep onset, before any REM.
    later_cycles_min : np.ndarray
        Lower edges of the bins of time since the last REM.
    transitions : np.ndarray
        Probability of the next stage, shape (3, n_bins, 5, 5): third, bin (first cycle, then later
        ones), from, to.
    durations : np.ndarray
        Quantiles of run lengths in epochs, shape (3, 5, n_quantiles).
    """

    first_cycle_min: np.ndarray
    later_cycles_min: np.ndarray
    transitions: np.ndarray
    durations: np.ndarray


@cache
def load_statistics() -> HypnogramStatistics:
    """Read the fitted tables; sparse cells lean on the counts of their stage over all times."""
    table = _read_rows(Path(__file__).with_name("hypnogram_transitions.tsv"))
    first = np.unique([float(row[2]) for row in table if row[1] == "sleep onset"])
    later = np.unique([float(row[2]) for row in table if row[1] == "REM"])
    counts = np.array([[float(v) for v in row[4:]] for row in table])
    counts = counts.reshape(3, len(first) + len(later), 5, 5)
    overall = counts.sum(axis=0, keepdims=True) + 0.02 * counts.sum(axis=(0, 1), keepdims=True)
    counts = counts + SMOOTHING_COUNTS * overall / overall.sum(axis=-1, keepdims=True)
    table = _read_rows(Path(__file__).with_name("hypnogram_durations.tsv"))
    durations = np.array([[float(v) for v in row[3:]] for row in table]).reshape(3, 5, -1)
    # Wake runs longer than half an hour are nights that were interrupted for other reasons.
    durations[:, W] = np.minimum(durations[:, W], 60)
    transitions = counts / counts.sum(axis=-1, keepdims=True)
    return HypnogramStatistics(first, later, transitions, durations)


def _read_rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()[1:]]


def simulate_hypnogram(rng: np.random.Generator, traits: Traits, n_epochs: int) -> np.ndarray:
    """Simulate the sleep stages of one night.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness.
    traits : Traits
        The subject; its tendencies act on the odds of the stages.
    n_epochs : int
        Number of 30-s epochs, at least 1.

    Returns
    -------
    np.ndarray
        AASM stage of each epoch (0 W, 1 N1, 2 N2, 3 N3, 4 REM), int8, shape (n_epochs,).
    """
    attempts = 40 if n_epochs >= 60 else 1
    for _ in range(attempts):
        stages = _draw_night(rng, traits, n_epochs)
        if _is_plausible(stages):
            break
    return stages


def _is_plausible(stages: np.ndarray) -> bool:
    counts = np.bincount(stages, minlength=5)
    rem_share = counts[REM] / np.count_nonzero(np.cumsum(stages != W))
    return bool(counts.min() >= 0.02 * len(stages) and 0.05 <= rem_share <= 0.36)


def _draw_night(rng: np.random.Generator, traits: Traits, n_epochs: int) -> np.ndarray:
    statistics = load_statistics()
    hours = n_epochs * EPOCH_S / 3600
    pace = min(1.0, np.sqrt(hours / FULL_NIGHT_HOURS))
    lead = round(min(rng.uniform(10, 60) * pace, 0.12 * n_epochs))
    trail = round(min(rng.uniform(4, 40) * pace, 0.08 * n_epochs))
    sleep = _draw_sleep(rng, statistics, traits, n_epochs=n_epochs - lead - trail, pace=pace)
    return np.r_[np.full(lead, W), sleep, np.full(trail, W)].astype(np.int8)


def _draw_sleep(
    rng: np.random.Generator,
    statistics: HypnogramStatistics,
    traits: Traits,
    *,
    n_epochs: int,
    pace: float,
) -> np.ndarray:
    tendency = np.array(
        [
            traits.wake_tendency,
            traits.light_tendency,
            1.0,
            traits.deep_tendency,
            traits.rem_tendency,
        ]
    )
    stretch = np.sqrt(tendency) * pace
    stages = np.empty(n_epochs, dtype=np.int8)
    stage, done = N1, 0
    rem_end: int | None = None
    while done < n_epochs:
        third = min(2, 3 * done // n_epochs)
        end = min(
            n_epochs, done + _draw_run(rng, statistics.durations[third, stage], stretch[stage])
        )
        stages[done:end] = stage
        rem_end = end if stage == REM else rem_end
        clock = _find_clock(statistics, epochs=(end - (rem_end or 0)) / pace, first=rem_end is None)
        odds = statistics.transitions[third, clock, stage] * tendency
        stage = int(rng.choice(5, p=odds / odds.sum()))
        done = end
    return stages


def _find_clock(statistics: HypnogramStatistics, *, epochs: float, first: bool) -> int:
    minutes = epochs * EPOCH_S / 60
    if first:
        return int(np.searchsorted(statistics.first_cycle_min, minutes, side="right")) - 1
    later = int(np.searchsorted(statistics.later_cycles_min, minutes, side="right")) - 1
    return len(statistics.first_cycle_min) + later


def _draw_run(rng: np.random.Generator, quantiles: np.ndarray, stretch: float) -> int:
    position = rng.random() * (len(quantiles) - 1)
    length = float(np.interp(position, np.arange(len(quantiles)), quantiles))
    return max(1, int(length * stretch + rng.random()))
