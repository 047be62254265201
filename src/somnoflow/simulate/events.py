"""Simulated respiratory events, oxygen desaturations and arousals.

Durations, the mix of labels, the index per hour and the rates per stage come from 23 scored nights
of the St. Vincent's / UCD sleep apnea database (PhysioNet ucddb, ODC-By 1.0; its one complete night
is held out; tables made by ``benchmarks/fit_simulation.py``). Rules of shape: AASM manual v2.6 (an
apnea loses at least 90 % of the flow for 10 s, a hypopnea at least 30 % with a desaturation of 3 %
or an arousal).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from somnoflow.simulate.hypnogram import EPOCH_S, N1, N2, REM, W
from somnoflow.simulate.subject import Traits

LABELS = ("Obstructive apnea", "Central apnea", "Mixed apnea", "Hypopnea")
DESATURATION = "Oxygen desaturation"
AROUSAL = "Arousal"
SCORED_FALL_PERCENT = 3.0


@dataclass(frozen=True)
class RespiratoryStatistics:
    """Fitted statistics.

    Attributes
    ----------
    durations : np.ndarray
        Quantiles of the duration in seconds per label, shape (4, n_quantiles).
    shares : np.ndarray
        Share of each label, shape (4,).
    index : np.ndarray
        Quantiles of the events per hour of sleep between recordings, shape (n_quantiles,).
    stage_rates : np.ndarray
        Rate per stage relative to N2, shape (5,).
    """

    durations: np.ndarray
    shares: np.ndarray
    index: np.ndarray
    stage_rates: np.ndarray


@dataclass(frozen=True)
class SleepEvents:
    """Events of one night; times in seconds from the start, arrays of one group equally long.

    Attributes
    ----------
    breathing_onsets, breathing_durations, breathing_labels : np.ndarray
        Respiratory events, labels as index into `LABELS`.
    remaining_flow : np.ndarray
        Fraction of the flow that is left during each event.
    dip_onsets, dip_durations, dip_depths : np.ndarray
        Falls of SpO2: start, time to the lowest point and depth in percent. Those of at least 3 %
        are scored.
    arousal_onsets, arousal_durations : np.ndarray
        Arousals.
    """

    breathing_onsets: np.ndarray
    breathing_durations: np.ndarray
    breathing_labels: np.ndarray
    remaining_flow: np.ndarray
    dip_onsets: np.ndarray
    dip_durations: np.ndarray
    dip_depths: np.ndarray
    arousal_onsets: np.ndarray
    arousal_durations: np.ndarray

    def as_annotations(self) -> list[tuple[float, float, str]]:
        """List the scored events as (onset_s, duration_s, label), sorted by time."""
        breathing = zip(
            self.breathing_onsets,
            self.breathing_durations,
            [LABELS[k] for k in self.breathing_labels],
            strict=True,
        )
        scored = self.dip_depths >= SCORED_FALL_PERCENT
        dips = [
            (onset, duration, DESATURATION)
            for onset, duration in zip(
                self.dip_onsets[scored], self.dip_durations[scored], strict=True
            )
        ]
        arousals = [
            (onset, duration, AROUSAL)
            for onset, duration in zip(self.arousal_onsets, self.arousal_durations, strict=True)
        ]
        events = [*breathing, *dips, *arousals]
        return sorted((round(float(o), 2), round(float(d), 2), label) for o, d, label in events)


@cache
def load_statistics() -> RespiratoryStatistics:
    """Read the fitted tables."""
    rows = _read_rows(Path(__file__).with_name("respiratory_events.tsv"))
    table = {row[0]: [float(v) for v in row[1:]] for row in rows}
    by_label = np.array([table[f"duration_s {label}"] for label in LABELS])
    rates = [
        float(row[1]) for row in _read_rows(Path(__file__).with_name("respiratory_stages.tsv"))
    ]
    return RespiratoryStatistics(
        durations=np.maximum(by_label[:, 1:], 10.0),
        shares=by_label[:, 0] / by_label[:, 0].sum(),
        index=np.array(table["index_per_hour"][1:]),
        stage_rates=np.array(rates),
    )


def _read_rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()[1:]]


def simulate_events(rng: np.random.Generator, traits: Traits, stages: np.ndarray) -> SleepEvents:
    """Simulate the events of one night.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness.
    traits : Traits
        The subject.
    stages : np.ndarray
        Stage per 30-s epoch, shape (n_epochs,).

    Returns
    -------
    SleepEvents
        Respiratory events lie in sleep and do not overlap; each has one fall of SpO2.
    """
    onsets, durations, labels = _draw_breathing(rng, traits, stages)
    apnea = labels < LABELS.index("Hypopnea")
    remaining = np.where(
        apnea, rng.uniform(0.0, 0.07, len(onsets)), rng.uniform(0.3, 0.62, len(onsets))
    )
    dips = _draw_dips(rng, traits, onsets, durations, remaining, night_s=len(stages) * EPOCH_S)
    # A hypopnea without a fall of 3 % is only scored with an arousal.
    needed = ~apnea & (dips[2] < SCORED_FALL_PERCENT)
    arousals = _draw_arousals(rng, traits, stages, ends=onsets + durations, needed=needed)
    return SleepEvents(onsets, durations, labels, remaining, *dips, *arousals)


def _draw_breathing(
    rng: np.random.Generator, traits: Traits, stages: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw non-overlapping respiratory events in sleep, in trains that come and go with posture."""
    statistics = load_statistics()
    night_s = len(stages) * EPOCH_S
    rates = statistics.stage_rates.copy()
    rates[REM] = rates[N2] * traits.rem_apnea_ratio
    posture = _draw_posture(rng, len(stages))
    asleep = stages != W
    per_epoch = traits.apnea_index * rates[stages] * posture
    if asleep.any() and per_epoch[asleep].mean() > 0:
        per_epoch *= traits.apnea_index / per_epoch[asleep].mean()
    shares = statistics.shares * np.array([1.0, 4.0 * traits.central_share, 1.0, 1.0])
    shares[:3] *= 0.5 + traits.apnea_index / 30
    shares /= shares.sum()
    found: list[tuple[float, float, int]] = []
    time = rng.uniform(0.0, 60.0)
    while time < night_s - 15.0:
        hourly = per_epoch[int(time // EPOCH_S)]
        label = int(rng.choice(4, p=shares))
        quantiles = statistics.durations[label]
        position = rng.random() * (len(quantiles) - 1)
        duration = float(np.interp(position, np.arange(len(quantiles)), quantiles))
        # Looking every 12 s at the hazard of the present epoch; 0.8 keeps the densest trains apart.
        if rng.random() < min(0.8, hourly * 12.0 / max(3600.0 - hourly * (duration + 12.0), 600.0)):
            end = time + duration
            if end < night_s - 5.0 and stages[int(end // EPOCH_S)] != W:
                found.append((time, duration, label))
                time = end
        time += 6.0 + rng.gamma(3.0, 2.0)
    table = np.array(found).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2].astype(np.int64)


def _draw_posture(rng: np.random.Generator, n_epochs: int) -> np.ndarray:
    """Draw a factor on the event rate that holds while one position is kept (10 min to an hour)."""
    changes = np.cumsum(rng.uniform(20, 120, size=n_epochs // 20 + 2))
    factors = rng.choice([0.25, 1.0, 1.8], size=len(changes) + 1, p=[0.3, 0.4, 0.3])
    return factors[np.searchsorted(changes, np.arange(n_epochs))]


def _draw_dips(
    rng: np.random.Generator,
    traits: Traits,
    onsets: np.ndarray,
    durations: np.ndarray,
    remaining: np.ndarray,
    *,
    night_s: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the fall of SpO2 after each event: later by the circulation time, deeper if longer."""
    n = len(onsets)
    delay = traits.circulation_delay_s * np.exp(0.12 * rng.standard_normal(n))
    depth = 0.24 * durations * (1 - remaining) * traits.desaturation_gain
    depth = np.minimum(depth * np.exp(0.3 * rng.standard_normal(n)), 30.0)
    start = onsets + np.minimum(delay, durations + 15.0)
    fall = durations * rng.uniform(0.8, 1.1, n)
    return start, fall, np.where(start + fall < night_s, depth, 0.0)


def _draw_arousals(
    rng: np.random.Generator,
    traits: Traits,
    stages: np.ndarray,
    *,
    ends: np.ndarray,
    needed: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw arousals at the end of most events, and spontaneous ones in the rest of sleep."""
    night_s = len(stages) * EPOCH_S
    after = ends[needed | (rng.random(len(ends)) < 0.6)] - rng.uniform(0.0, 1.5)
    hours = (stages != W).sum() * EPOCH_S / 3600
    n_free = rng.poisson(traits.arousal_index * hours)
    weight = np.array([0.0, 1.5, 1.0, 0.35, 0.9])[stages]
    free = np.empty(0)
    if weight.sum() > 0:
        epochs = rng.choice(len(stages), size=n_free, p=weight / weight.sum())
        free = (epochs + rng.random(n_free)) * EPOCH_S
    onsets = np.sort(np.r_[after, free])
    durations = np.minimum(3.0 + rng.gamma(2.0, 2.5, len(onsets)), 15.0)
    keep = onsets + durations < night_s
    keep &= np.r_[True, np.diff(onsets) > 18.0][: len(onsets)]
    keep &= stages[np.minimum(onsets // EPOCH_S, len(stages) - 1).astype(int)] >= N1
    return onsets[keep], durations[keep]
