"""Artefacts of the simulated recordings: movement, pops, mains, sweat, lost electrodes."""

import numpy as np

from somnoflow.simulate.eeg import EEG_RATE, SleeperState
from somnoflow.simulate.hypnogram import W
from somnoflow.simulate.subject import Traits
from somnoflow.simulate.synthesis import (
    add_waves,
    draw_drift,
    draw_times,
    frame_frequencies,
    per_sample,
    synthesise_noise,
)

MOVEMENT_GAIN = {"EEG": 1.0, "EOG": 1.5, "EMG": 0.8}


def draw_movement(rng: np.random.Generator, traits: Traits, state: SleeperState) -> np.ndarray:
    """Draw the strength of body movement at each frame: in wake, with arousals, rarely in sleep.

    Returns
    -------
    np.ndarray
        Zero where still, about one in a typical movement, shape (n_frames,).
    """
    n = len(state.mixture)
    rate = traits.movement_per_hour / 3600 * (1 + 8 * state.mixture[:, W] + 10 * state.arousal)
    strength = np.zeros(n)
    for time in draw_times(rng, rate):
        start = int(time // 2)
        stop = start + 1 + rng.poisson(1.8)
        strength[start:stop] = np.exp(0.6 * rng.standard_normal())
    # A sleeper shifts; only the awake turn over and sit up.
    return strength * (0.35 + 0.65 * state.mixture[:, W] * (1 - state.arousal))


def add_artefacts(
    rng: np.random.Generator,
    signals: dict[str, np.ndarray],
    *,
    traits: Traits,
    movement: np.ndarray,
    breathing: np.ndarray,
) -> None:
    """Add artefacts to the EEG, EOG and EMG channels in place.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness.
    signals : dict of str to np.ndarray
        Channels at `EEG_RATE` in uV by label; the label begins with EEG, EOG or EMG.
    traits : Traits
        The subject and its recording.
    movement : np.ndarray
        Strength of movement per frame.
    breathing : np.ndarray
        Breathing at `EEG_RATE` (a.u.), carries the sweat artefact.
    """
    frequencies = frame_frequencies(EEG_RATE)
    slow = 1 / (1 + (np.clip(frequencies, 0.25, None) / 1.2) ** 2)
    slow /= slow.sum() * (frequencies[1] - frequencies[0])
    fast = frequencies**2 / (frequencies**2 + 20.0**2)
    fast /= fast.sum() * (frequencies[1] - frequencies[0])
    sway = traits.sweat_uv * np.float32(rng.uniform(0.5, 1.0))
    for label, signal in signals.items():
        n = len(signal)
        kind = label[:3]
        gain = MOVEMENT_GAIN[kind]
        psd = (gain * movement[:, None]) ** 2 * (
            (15.0 if kind == "EMG" else 60.0) ** 2 * slow + 14.0**2 * fast
        )
        signal[:] += synthesise_noise(rng, psd, sampling_rate=EEG_RATE, n_samples=n)
        _add_mains(rng, signal, traits)
        if kind != "EMG":
            signal[:] += sway * breathing
        _add_pops(rng, signal, traits, n_frames=len(movement))


def _add_mains(rng: np.random.Generator, signal: np.ndarray, traits: Traits) -> None:
    """Add mains hum that swells while an electrode sits badly."""
    n_frames = int(len(signal) / EEG_RATE / 2) + 1
    swell = np.exp(1.0 * draw_drift(rng, n_frames, correlation=120.0) - 0.5)
    envelope = per_sample(traits.mains_uv * swell, sampling_rate=EEG_RATE, n_samples=len(signal))
    # Mains is never exactly 50 or 60 Hz.
    hertz = traits.mains_hz + rng.normal(0, 0.02)
    turn = 2 * np.pi * hertz / EEG_RATE
    signal += envelope * np.sin(turn * np.arange(len(signal)) + rng.uniform(0, 6.28)).astype(
        np.float32
    )


def _add_pops(
    rng: np.random.Generator, signal: np.ndarray, traits: Traits, *, n_frames: int
) -> None:
    """Add sudden steps that fade within a second or two."""
    times = draw_times(rng, np.full(n_frames, traits.pops_per_hour / 3600))
    time = np.arange(int(4 * EEG_RATE)) / EEG_RATE
    heights = rng.choice([-1, 1], (len(times), 1)) * rng.lognormal(
        np.log(150), 0.5, (len(times), 1)
    )
    waves = heights * np.exp(-time / rng.uniform(0.2, 0.8, (len(times), 1)))
    add_waves(signal, times, waves, sampling_rate=EEG_RATE)


def lose_electrodes(rng: np.random.Generator, signals: dict[str, np.ndarray]) -> None:
    """Flatten a channel for part of the night in one recording of eight, wholly in one of fifty."""
    if rng.random() < 0.125:
        label = str(rng.choice(sorted(signals)))
        n = len(signals[label])
        length = int(n * rng.uniform(0.03, 0.25))
        start = int(rng.uniform(0, n - length))
        signals[label][start : start + length] = 0.0
    if rng.random() < 0.02:
        signals[str(rng.choice(sorted(signals)))][:] = 0.0
