"""Simulated EOG, chin EMG, ECG, airflow and SpO2."""

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfilt

from somnoflow.simulate.eeg import EEG_RATE, EegFields, SleeperState
from somnoflow.simulate.events import LABELS, SleepEvents
from somnoflow.simulate.hypnogram import N1, REM, W
from somnoflow.simulate.subject import Traits
from somnoflow.simulate.synthesis import (
    add_waves,
    draw_drift,
    draw_times,
    frame_frequencies,
    per_sample,
    synthesise_noise,
)

ECG_RATE = 256.0
AIRFLOW_RATE = 16.0
SPO2_RATE = 1.0
CONTROL_RATE = 4.0
"""Rate at which heart rate and breathing are controlled, in Hz."""


def simulate_eyes(
    rng: np.random.Generator, traits: Traits, state: SleeperState, n_samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Simulate the potentials of the eyes at E1 and E2, without the EEG that reaches them.

    Saccades with eyes open, bursts of rapid eye movements in REM, slow eye movements at sleep onset
    and blinks. Horizontal movements have opposite signs in E1 and E2 (AASM manual v2.6). REM
    density about 2 to 10 movements per minute, in bursts, denser late in the night (Aserinsky
    1971, Psychophysiology 8:361).

    Returns
    -------
    tuple of np.ndarray
        E1 and E2 in uV, float32, shape (n_samples,) at `EEG_RATE`.
    """
    weights = state.mixture
    conjugate = np.zeros(n_samples, dtype=np.float32)
    common = np.zeros(n_samples, dtype=np.float32)
    awake = weights[:, W] * state.eyes_open
    times = draw_times(rng, 1.1 * awake + 0.06 * weights[:, W] * (1 - state.eyes_open))
    _add_saccades(rng, conjugate, times, traits.eye_uv * 0.6)
    late = np.linspace(0.6, 1.4, len(weights))
    bursts = np.exp(1.7 * draw_drift(rng, len(weights), correlation=4.0) - 1.0)
    times = draw_times(rng, 0.5 * weights[:, REM] ** 2 * late * np.minimum(bursts, 8.0))
    _add_saccades(rng, conjugate, times, traits.eye_uv * 0.75)
    conjugate += _slow_eye_movements(rng, traits, state, n_samples)
    times = draw_times(rng, 0.22 * awake)
    time = np.arange(int(0.6 * EEG_RATE)) / EEG_RATE
    shape = np.exp(-0.5 * ((time - 0.2) / 0.07) ** 2) - 0.15 * np.exp(
        -0.5 * ((time - 0.42) / 0.08) ** 2
    )
    heights = 0.9 * traits.eye_uv * np.exp(0.3 * rng.standard_normal((len(times), 1)))
    add_waves(common, times, heights * shape, sampling_rate=EEG_RATE)
    skew_left, skew_right = np.exp(0.12 * rng.standard_normal(2))
    # Slightly oblique electrodes (E1 below, E2 above): blinks are opposite and unequal.
    return skew_left * conjugate - 0.5 * common, -skew_right * conjugate + common


def _add_saccades(
    rng: np.random.Generator, signal: np.ndarray, times: np.ndarray, uv: float
) -> None:
    """Add steps that the amplifier's high-pass brings back, alternating in direction."""
    time = np.arange(int(2.5 * EEG_RATE)) / EEG_RATE
    n = len(times)
    rise = rng.uniform(0.02, 0.06, (n, 1))
    decay = rng.uniform(0.25, 0.7, (n, 1))
    sign = np.where(
        rng.random((n, 1)) < 0.75, (-1.0) ** np.arange(n)[:, None], rng.choice([-1, 1], (n, 1))
    )
    height = sign * uv * np.exp(0.45 * rng.standard_normal((n, 1))) * 0.6
    step = 1 / (1 + np.exp(-(time - 0.15) / (rise / 3)))
    waves = height * step * np.exp(-np.clip(time - 0.15, 0, None) / decay)
    add_waves(signal, times, waves, sampling_rate=EEG_RATE)


def _slow_eye_movements(
    rng: np.random.Generator, traits: Traits, state: SleeperState, n_samples: int
) -> np.ndarray:
    """Rolling eyes at 0.2 to 0.5 Hz in N1 and in drowsy wake."""
    frequencies = frame_frequencies(EEG_RATE)
    psd = np.exp(-0.5 * ((frequencies - 0.35) / 0.12) ** 2)
    psd /= psd.sum() * (frequencies[1] - frequencies[0])
    weights = state.mixture
    drowsy = weights[:, N1] + 0.45 * weights[:, W] * (1 - state.eyes_open)
    swing = np.exp(0.7 * draw_drift(rng, len(weights), correlation=6.0))
    sd = 0.13 * traits.eye_uv * drowsy * swing
    return synthesise_noise(
        rng, sd[:, None] ** 2 * psd, sampling_rate=EEG_RATE, n_samples=n_samples
    )


def simulate_eog(
    rng: np.random.Generator,
    *,
    fields: EegFields,
    eyes: tuple[np.ndarray, np.ndarray],
    traits: Traits,
) -> tuple[np.ndarray, np.ndarray]:
    """Simulate EOG E1-M2 and E2-M2 in uV: eyes, the EEG that reaches them, electrode noise."""
    noise = rng.standard_normal((2, len(fields.right)), dtype=np.float32) * np.float32(
        traits.noise_uv
    )
    return eyes[0] + fields.frontal_left + noise[0], eyes[1] + fields.frontal_right + noise[1]


def simulate_chin(
    rng: np.random.Generator, traits: Traits, state: SleeperState, n_samples: int
) -> np.ndarray:
    """Simulate the chin EMG in uV: tone by stage, twitches in REM, bursts with arousals.

    Returns
    -------
    np.ndarray
        float32, shape (n_samples,) at `EEG_RATE`.
    """
    frequencies = frame_frequencies(EEG_RATE)
    psd = (
        frequencies**2
        / (frequencies**2 + 25.0**2)
        / (1 + (8.0 / np.clip(frequencies, 0.1, None)) ** 4)
    )
    psd += 0.004 / np.clip(frequencies, 0.5, None)
    psd /= psd.sum() * (frequencies[1] - frequencies[0])
    weights = state.mixture
    n = len(weights)
    tone = np.exp(weights @ np.log(traits.chin_uv))
    tone *= np.exp(
        0.25 * draw_drift(rng, n, correlation=60.0) + 0.2 * draw_drift(rng, n, correlation=3.0)
    )
    active = np.exp(0.6 * draw_drift(rng, n, correlation=4.0))
    tone *= 1 + 0.8 * weights[:, W] * state.eyes_open * active
    tone *= 1 + 1.5 * state.arousal * rng.uniform(0.3, 1.0, n)
    floor = 0.5 * traits.noise_uv
    sd = np.sqrt(tone**2 + floor**2)
    signal = synthesise_noise(
        rng, sd[:, None] ** 2 * psd, sampling_rate=EEG_RATE, n_samples=n_samples
    )
    times = draw_times(rng, 0.05 * weights[:, REM] ** 2 * np.minimum(active, 4.0))
    length = int(0.4 * EEG_RATE)
    burst = np.hanning(length) * rng.standard_normal((len(times), length))
    heights = 0.7 * traits.chin_uv[W] * np.exp(0.6 * rng.standard_normal((len(times), 1)))
    add_waves(signal, times, heights * burst, sampling_rate=EEG_RATE)
    return signal


def simulate_breathing(
    rng: np.random.Generator,
    traits: Traits,
    state: SleeperState,
    events: SleepEvents,
    *,
    night_s: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Simulate airflow and the phase of breathing.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness.
    traits : Traits
        The subject.
    state : SleeperState
        State per frame; breathing is least regular in wake and REM.
    events : SleepEvents
        Respiratory events that take flow away, followed by deeper breaths.
    night_s : int
        Length of the night in seconds.

    Returns
    -------
    tuple of np.ndarray
        Airflow (a.u., quiet breathing about 1) and phase in radians, shape (night_s * 16,).
    """
    n = int(night_s * AIRFLOW_RATE)
    weights = state.mixture
    unsteady = weights @ np.array([0.16, 0.09, 0.05, 0.035, 0.14])
    rate = traits.breathing_rate / 60 * (weights @ np.array([1.08, 1.0, 0.98, 1.0, 1.05]))
    rate = rate * np.exp(unsteady * draw_drift(rng, len(weights), correlation=2.5))
    depth = (weights @ np.array([1.1, 0.95, 1.0, 1.0, 0.85])) * np.exp(
        1.5 * unsteady * draw_drift(rng, len(weights), correlation=2.0)
    )
    drift = np.exp(0.15 * draw_drift(rng, len(weights), correlation=150.0))
    phase = (
        2
        * np.pi
        * np.cumsum(per_sample(rate, sampling_rate=AIRFLOW_RATE, n_samples=n).astype(float))
    )
    phase /= AIRFLOW_RATE
    flow = np.sin(phase) + 0.18 * np.sin(2 * phase + 0.6) + 0.05 * np.sin(3 * phase)
    flow *= per_sample(depth * drift, sampling_rate=AIRFLOW_RATE, n_samples=n)
    flow *= _event_gain(events, n, recover_s=12.0)
    flow += 0.03 * rng.standard_normal(n)
    return flow.astype(np.float32), phase


def _event_gain(events: SleepEvents, n_samples: int, *, recover_s: float) -> np.ndarray:
    """Flow relative to quiet breathing: cut during events, up to 1.6 in the breaths after them."""
    gain = np.ones(n_samples)
    for onset, duration, remaining in zip(
        events.breathing_onsets, events.breathing_durations, events.remaining_flow, strict=True
    ):
        start, end = round(onset * AIRFLOW_RATE), round((onset + duration) * AIRFLOW_RATE)
        stop = min(n_samples, end + round(recover_s * AIRFLOW_RATE))
        gain[start:end] = remaining
        after = np.linspace(1, 0, stop - end)
        gain[end:stop] = np.maximum(gain[end:stop], 1 + (0.8 - 0.5 * remaining) * after)
    return gaussian_filter1d(gain, 0.35 * AIRFLOW_RATE)


def simulate_spo2(
    rng: np.random.Generator, traits: Traits, events: SleepEvents, *, night_s: int
) -> np.ndarray:
    """Simulate SpO2 in percent, 1 Hz, whole percents; the probe falls off now and then (reads 0).

    Each fall is straight, the recovery about 1.5 times as quick.
    """
    fall = np.zeros(night_s)
    time = np.arange(night_s)
    for onset, duration, depth in zip(
        events.dip_onsets, events.dip_durations, events.dip_depths, strict=True
    ):
        end = onset + duration
        piece = slice(int(onset), min(night_s, int(end + duration) + 1))
        shape = np.interp(time[piece], [onset, end, end + 0.65 * duration], [0.0, depth, 0.0])
        fall[piece] = np.maximum(fall[piece], shape)
    level = traits.oxygen_saturation - gaussian_filter1d(fall, 1.5)
    level += 0.5 * draw_drift(rng, night_s, correlation=200.0) + 0.25 * draw_drift(
        rng, night_s, correlation=3.0
    )
    values = np.clip(np.round(level), 50, 100)
    for onset in rng.uniform(0, night_s, rng.poisson(0.25 * night_s / 3600)):
        values[int(onset) : int(onset + rng.exponential(20.0) + 3)] = 0
    return values.astype(np.float32)


def simulate_ecg(
    rng: np.random.Generator,
    traits: Traits,
    state: SleeperState,
    events: SleepEvents,
    *,
    breathing_phase: np.ndarray,
    night_s: int,
) -> np.ndarray:
    """Simulate the ECG in mV.

    Heart rate follows stage, breathing (respiratory sinus arrhythmia), slow waves of blood pressure
    at 0.1 Hz (Task Force 1996, Circulation 93:1043), arousals, and falls and rises with each
    respiratory event (cyclic variation, Guilleminault et al. 1984, Lancet 1:126).

    Returns
    -------
    np.ndarray
        float32, shape (night_s * 256,).
    """
    beats = _draw_beats(
        rng, traits, state, events, breathing_phase=breathing_phase, night_s=night_s
    )
    n = int(night_s * ECG_RATE)
    signal = np.zeros(n, dtype=np.float32)
    intervals = np.diff(beats, append=beats[-1] + 1.0)
    _add_beats(rng, signal, beats, intervals)
    slow = 0.08 * draw_drift(rng, int(night_s * 2), correlation=3.0)
    wander = np.interp(np.arange(n) / ECG_RATE, np.arange(len(slow)) / 2, slow)
    signal += wander.astype(np.float32)
    signal += np.float32(0.012) * rng.standard_normal(n, dtype=np.float32)
    return signal


def _draw_beats(
    rng: np.random.Generator,
    traits: Traits,
    state: SleeperState,
    events: SleepEvents,
    *,
    breathing_phase: np.ndarray,
    night_s: int,
) -> np.ndarray:
    """Draw the times of the R waves in seconds."""
    n = int(night_s * CONTROL_RATE)
    weights = state.mixture
    frames = weights @ np.array([1.12, 1.03, 1.0, 1.0, 1.06])
    frames = frames * (1 + 0.03 * draw_drift(rng, len(weights), correlation=90.0))
    rate = per_sample(frames, sampling_rate=CONTROL_RATE, n_samples=n).astype(float)
    rate *= 1 + traits.heart_variability * np.sin(
        breathing_phase[:: round(AIRFLOW_RATE / CONTROL_RATE)]
    )
    pressure = draw_drift(rng, n, correlation=2.5)
    rate *= 1 + 0.7 * traits.heart_variability * (pressure - gaussian_filter1d(pressure, 12.0))
    rate *= 1 + _cyclic_variation(events, n) + 0.1 * _arousal_rise(events, n)
    cycles = np.cumsum(traits.heart_rate / 60 * rate / CONTROL_RATE)
    return np.interp(np.arange(1, int(cycles[-1])), cycles, np.arange(1, n + 1) / CONTROL_RATE)


def _cyclic_variation(events: SleepEvents, n: int) -> np.ndarray:
    """Slower heart during each event and faster after it, as a fraction of the rate."""
    change = np.zeros(n)
    for onset, duration, label in zip(
        events.breathing_onsets, events.breathing_durations, events.breathing_labels, strict=True
    ):
        start, end = round(onset * CONTROL_RATE), round((onset + duration) * CONTROL_RATE)
        strength = 0.5 if LABELS[label] == "Hypopnea" else 1.0
        stop = min(n, end + round(10 * CONTROL_RATE))
        change[start:end] = np.linspace(0, -0.12 * strength, end - start)
        change[end:stop] = 0.16 * strength * np.sin(np.linspace(0.3, np.pi, stop - end))
    return gaussian_filter1d(change, 1.0 * CONTROL_RATE)


def _arousal_rise(events: SleepEvents, n: int) -> np.ndarray:
    rise = np.zeros(n)
    for onset, duration in zip(events.arousal_onsets, events.arousal_durations, strict=True):
        rise[round(onset * CONTROL_RATE) : round((onset + duration + 4) * CONTROL_RATE)] = 1.0
    return gaussian_filter1d(rise, 1.5 * CONTROL_RATE)


def _add_beats(
    rng: np.random.Generator, signal: np.ndarray, beats: np.ndarray, intervals: np.ndarray
) -> None:
    """Add P, Q, R, S and T waves to each beat; the T wave follows the interval (Bazett)."""
    height = float(rng.uniform(0.7, 1.6))
    waves = {
        "P": (0.12 * rng.uniform(0.6, 1.3), -0.16, 0.022),
        "Q": (-0.12, -0.028, 0.009),
        "R": (1.0, 0.0, 0.011),
        "S": (-0.22 * rng.uniform(0.4, 1.5), 0.028, 0.010),
        "T": (0.28 * rng.uniform(0.5, 1.4), 0.27, 0.045),
    }
    stretch = np.sqrt(np.clip(intervals, 0.4, 1.6))
    for name, (share, centre, width) in waves.items():
        half = int(4 * width * ECG_RATE)
        middle = beats + centre * (stretch if name == "T" else 1.0)
        first = np.round(middle * ECG_RATE) - half
        time = (first[:, None] + np.arange(2 * half + 1)) / ECG_RATE - middle[:, None]
        add_waves(
            signal,
            first / ECG_RATE,
            height * share * np.exp(-0.5 * (time / width) ** 2),
            sampling_rate=ECG_RATE,
        )


def simulate_muscle(
    rng: np.random.Generator, traits: Traits, state: SleeperState, n_samples: int
) -> np.ndarray:
    """Simulate scalp and neck muscle in the EEG in uV: tense wake and arousals, little in sleep."""
    frequencies = frame_frequencies(EEG_RATE)
    psd = frequencies**2 / (frequencies**2 + 22.0**2) / (1 + (frequencies / traits.lowpass_hz) ** 8)
    psd /= psd.sum() * (frequencies[1] - frequencies[0])
    n = len(state.mixture)
    tense = np.exp(0.9 * draw_drift(rng, n, correlation=15.0))
    sd = traits.muscle_uv * state.mixture[:, W] * (0.2 + 0.8 * state.eyes_open) * tense
    sd *= 1 - 0.5 * state.arousal
    return synthesise_noise(
        rng, sd[:, None] ** 2 * psd, sampling_rate=EEG_RATE, n_samples=n_samples
    )


def leak_heart(ecg: np.ndarray, traits: Traits, n_samples: int) -> np.ndarray:
    """Part of the ECG seen by the mastoid reference, in uV at `EEG_RATE`, slow wander removed."""
    step = round(ECG_RATE / EEG_RATE)
    sos = butter(1, 1.0, "highpass", fs=EEG_RATE, output="sos")
    return (1000 * traits.heart_leak * sosfilt(sos, ecg[::step][:n_samples])).astype(np.float32)
