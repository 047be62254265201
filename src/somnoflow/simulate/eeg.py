"""Simulated EEG (C4-M1, C3-M2) and the state of the sleeper that all signals share.

The background is Gaussian noise whose spectrum follows the stage mixture every two seconds
(eeg_spectrum.tsv). The spectra of W and N3 are medians of real central EEG (St. Vincent's / UCD
sleep apnea database, PhysioNet ucddb, C3-A2 or C4-A1, ODC-By 1.0: W of 23 and N3 of 21 partial
nights; the one complete night is held out, because models are judged on it). Those of N1, N2 and
REM are not measured but assumed: they lie between N3 and W, so that the spectral widths have the
positions they have in Sleep-EDF-78. Sleep amplitudes per stage, their spread between subjects and
from epoch to epoch are those of Sleep-EDF-78 (eeg_features.tsv: Fpz-Cz, PhysioNet sleep-edfx,
ODC-By 1.0), times 1.1: N3 of the partial ucddb nights has 1.28 times the Fpz-Cz median, but the
unit of ucddb is not certain. Both tables are made by ``benchmarks/fit_simulation.py``.

On the background lie single waves: alpha with eyes closed, vertex waves, spindles, K-complexes,
slow waves, sawtooth waves. Where these carry a band of the real spectrum, the background gives that
band up (alpha and sigma bridged, part of delta).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from somnoflow.simulate.events import SleepEvents
from somnoflow.simulate.hypnogram import EPOCH_S, N1, N2, N3, REM, STAGES, W
from somnoflow.simulate.subject import N_EEG_BANDS, Traits
from somnoflow.simulate.synthesis import (
    FRAME_S,
    add_waves,
    count_frames,
    draw_drift,
    draw_times,
    frame_frequencies,
    synthesise_noise,
)

EEG_RATE = 128.0
SITE_FACTOR = 1.1
BAND_CENTRES_HZ = np.array([0.5, 1.5, 4.0, 8.0, 13.0, 22.0, 40.0])
BACKGROUND_SHARE = np.array([0.85, 0.95, 0.85, 0.85, 0.9])
"""Part of the amplitude that is background in W, N1, N2, N3, REM; single waves carry the rest."""
WAXING = np.array([0.5, 0.5, 0.35, 0.0, 0.5])
"""Spread of the log amplitude over seconds in W, N1, N2, N3, REM (scaled like the slow spread)."""
AMBIGUITY = np.array(
    [
        [0.00, 0.70, 0.00, 0.00, 0.30],
        [0.40, 0.00, 0.40, 0.00, 0.20],
        [0.05, 0.35, 0.00, 0.50, 0.10],
        [0.00, 0.00, 1.00, 0.00, 0.00],
        [0.15, 0.55, 0.30, 0.00, 0.00],
    ]
)
"""What an epoch of each stage (row) partly looks like when it is not typical (rows sum to one)."""
AMBIGUITY_MEAN = np.array([0.08, 0.26, 0.13, 0.16, 0.11])


@dataclass(frozen=True)
class SleeperState:
    """The state of the sleeper, one row each `FRAME_S` seconds.

    Attributes
    ----------
    mixture : np.ndarray
        Weight of each stage, rows sum to one, shape (n_frames, 5).
    eyes_open : np.ndarray
        0 closed to 1 open; only counts as far as the sleeper is awake, shape (n_frames,).
    arousal : np.ndarray
        0 to 1 during arousals, shape (n_frames,).
    """

    mixture: np.ndarray
    eyes_open: np.ndarray
    arousal: np.ndarray


@dataclass(frozen=True)
class EegFields:
    """Sources of the EEG before the electrodes, in uV, each of shape (n_samples,).

    Attributes
    ----------
    right, left : np.ndarray
        Central fields (C4, C3).
    frontal_right, frontal_left : np.ndarray
        What of the EEG reaches the eye electrodes.
    """

    right: np.ndarray
    left: np.ndarray
    frontal_right: np.ndarray
    frontal_left: np.ndarray


@cache
def load_spectra() -> tuple[np.ndarray, np.ndarray]:
    """Read frequencies (Hz) and the log10 PSD per stage, shapes (n,) and (5, n)."""
    rows = _read_rows(Path(__file__).with_name("eeg_spectrum.tsv"))
    frequencies = np.array([float(row[1]) for row in rows if row[0] == "W"])
    psd = np.array([[float(row[3]) for row in rows if row[0] == name] for name in STAGES])
    return frequencies, _bridge_peaks(frequencies, psd)


@cache
def load_amplitudes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read epoch standard deviation (uV), its log spread between and within subjects, each (5,)."""
    rows = _read_rows(Path(__file__).with_name("eeg_features.tsv"))
    table = np.array([[float(v) for v in r[3:6]] for r in rows if r[:2] == ["Fpz-Cz", "std"]])
    return table[:, 0], table[:, 1], table[:, 2]


def _read_rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()[1:]]


def _bridge_peaks(frequencies: np.ndarray, psd: np.ndarray) -> np.ndarray:
    """Replace the alpha peak of W and the sigma peak of N3 by straight lines in log-log."""
    bridged = gaussian_filter1d(psd, 0.8, axis=1)
    for stage, low, high in ((W, 6.5, 12.5), (N3, 9.0, 16.0)):
        inside = (frequencies > low) & (frequencies < high)
        outside = np.log(frequencies[~inside])
        line = np.interp(np.log(frequencies[inside]), outside, bridged[stage, ~inside])
        bridged[stage, inside] = np.minimum(bridged[stage, inside], line)
    # Below 3 Hz wake spectra hold eye movements, which the simulation adds by itself.
    slow = frequencies < 3.0
    bridged[W, slow] -= 0.25
    return bridged


def simulate_state(
    rng: np.random.Generator, stages: np.ndarray, events: SleepEvents
) -> SleeperState:
    """Simulate what the scored stages leave open: gradual transitions, untypical epochs, open eyes.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness.
    stages : np.ndarray
        Stage per 30-s epoch, shape (n_epochs,).
    events : SleepEvents
        Events of the night; arousals look like wake for their duration.
    """
    n_frames = count_frames(len(stages) * EPOCH_S, 1.0)
    mixture = _mix_stages(rng, stages, n_frames)
    times = (np.arange(n_frames) + 0.5) * FRAME_S
    arousal = np.zeros(n_frames)
    for onset, duration in zip(events.arousal_onsets, events.arousal_durations, strict=True):
        arousal[(times > onset - 1) & (times < onset + duration + 1)] = 1.0
    awake = np.eye(5)[W]
    share = 0.55 * arousal[:, None]
    mixture = (1 - share) * mixture + share * awake
    eyes_open = _draw_open_eyes(rng, stages, n_frames)
    return SleeperState(mixture, eyes_open, arousal)


def _mix_stages(rng: np.random.Generator, stages: np.ndarray, n_frames: int) -> np.ndarray:
    frame = np.arange(n_frames)
    shift = 5.0 * draw_drift(rng, n_frames, correlation=10.0)
    epoch = np.clip((frame * FRAME_S + shift) // EPOCH_S, 0, len(stages) - 1).astype(int)
    hot = np.eye(5)[stages[epoch]]
    mixture = 0.8 * gaussian_filter1d(hot, 4.0, axis=0, mode="nearest")
    mixture += 0.2 * gaussian_filter1d(hot, 25.0, axis=0, mode="nearest")
    # The share of foreign activity varies over minutes, skewed: most epochs are typical.
    swing = np.exp(0.8 * draw_drift(rng, n_frames, correlation=20.0))
    share = np.clip(mixture @ AMBIGUITY_MEAN * swing, 0.0, 0.7)[:, None]
    direction = AMBIGUITY[None] * np.exp(draw_drift(rng, n_frames, correlation=40.0, shape=(5, 5)))
    direction /= direction.sum(axis=2, keepdims=True)
    foreign = np.einsum("fs,fst->ft", mixture, direction)
    return (1 - share) * mixture + share * foreign


def _draw_open_eyes(rng: np.random.Generator, stages: np.ndarray, n_frames: int) -> np.ndarray:
    """Draw whether the eyes are open: spells of about a minute, mostly after the last sleep."""
    asleep = np.flatnonzero(stages != W)
    likely = np.full(n_frames, 0.25)
    if len(asleep):
        frames_per_epoch = EPOCH_S / FRAME_S
        likely[: int(asleep[0] * frames_per_epoch)] = 0.0
        likely[int((asleep[-1] + 1) * frames_per_epoch) :] = 0.6
    drift = draw_drift(rng, n_frames, correlation=25.0)
    return 1 / (1 + np.exp(-6 * (drift + likely)))


def stage_psd(
    rng: np.random.Generator, traits: Traits, state: SleeperState, frequencies: np.ndarray
) -> np.ndarray:
    """Make the power spectrum of the background at each frame.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness.
    traits : Traits
        The subject's slope, band gains and amplitudes.
    state : SleeperState
        Stage mixture.
    frequencies : np.ndarray
        Frequencies of the frames in Hz, shape (n_frequencies,).

    Returns
    -------
    np.ndarray
        One-sided PSD in uV^2/Hz, shape (n_frames, n_frequencies).
    """
    per_stage = _subject_spectra(traits, frequencies)
    n_frames = len(state.mixture)
    _, _, within = load_amplitudes()
    # Half of the spread from epoch to epoch is the mixture's, the rest is drawn here.
    swing = (state.mixture @ within) * draw_drift(rng, n_frames, correlation=12.0)
    # Amplitude also waxes and wanes within an epoch, least in N3: real epochs are heavy-tailed.
    swing += (state.mixture @ WAXING) * draw_drift(rng, n_frames, correlation=1.0)
    bands = 0.12 * draw_drift(rng, n_frames, correlation=5.0, shape=(N_EEG_BANDS,))
    log_psd = state.mixture @ per_stage + bands @ _band_weights(frequencies)
    log_psd += (2 * 0.45 / np.log(10)) * swing[:, None]
    return 10.0**log_psd


def _subject_spectra(traits: Traits, frequencies: np.ndarray) -> np.ndarray:
    """Spectra of one subject per stage, log10 uV^2/Hz, shape (5, n_frequencies)."""
    known, log_psd = load_spectra()
    shape = np.empty((5, len(frequencies)))
    axis = np.log10(np.clip(frequencies, 0.3, None))
    for stage in range(5):
        shape[stage] = np.interp(axis, np.log10(known), log_psd[stage])
        beyond = frequencies > known[-1]
        shape[stage, beyond] -= 2.0 * (axis[beyond] - np.log10(known[-1]))
    shape = _scale_to_amplitudes(shape, frequencies)
    shape -= traits.slope * (axis - np.log10(6.0))
    shape += traits.band_gain @ _band_weights(frequencies)
    shape += 2 * np.log10(traits.amplitude * traits.stage_gain)[:, None]
    response = 1 / (1 + (traits.highpass_hz / np.clip(frequencies, 0.05, None)) ** 2)
    response /= 1 + (frequencies / traits.lowpass_hz) ** 8
    return shape + np.log10(response)


def _scale_to_amplitudes(log_psd: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Give the sleep stages the amplitudes of the feature table; wake keeps its spectrum's own."""
    medians, _, _ = load_amplitudes()
    power = np.sum(10.0 ** log_psd[:, 1:], axis=1) * (frequencies[1] - frequencies[0])
    target = SITE_FACTOR * medians * BACKGROUND_SHARE
    gain = np.log10(target**2 / power)
    gain[W] = 2 * np.log10(BACKGROUND_SHARE[W])
    return log_psd + gain[:, None]


def _band_weights(frequencies: np.ndarray) -> np.ndarray:
    """Overlapping triangles on the log-frequency axis that sum to one, shape (7, n_frequencies)."""
    axis = np.log(np.clip(frequencies, BAND_CENTRES_HZ[0], BAND_CENTRES_HZ[-1]))
    return np.array([np.interp(axis, np.log(BAND_CENTRES_HZ), row) for row in np.eye(N_EEG_BANDS)])


def simulate_fields(
    rng: np.random.Generator, traits: Traits, state: SleeperState, n_samples: int
) -> EegFields:
    """Simulate the EEG fields of one night at `EEG_RATE`.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness.
    traits : Traits
        The subject.
    state : SleeperState
        State per frame.
    n_samples : int
        Length of the night in samples.
    """
    psd = stage_psd(rng, traits, state, frame_frequencies(EEG_RATE))
    shared, own_right, own_left, front = (
        synthesise_noise(rng, psd, sampling_rate=EEG_RATE, n_samples=n_samples) for _ in range(4)
    )
    del psd
    coupling = np.float32(rng.uniform(0.8, 0.92))
    rest = np.sqrt(1 - coupling**2)
    waves = _simulate_waves(rng, traits, state, n_samples)
    right = coupling * shared + rest * own_right + waves
    left = np.float32(rng.uniform(0.9, 1.1)) * (coupling * shared + rest * own_left + waves)
    toward_eyes = np.float32(rng.uniform(0.55, 0.85))
    mixed = toward_eyes * (0.7 * shared + 0.6 * waves)
    frontal_right = mixed + toward_eyes * (0.6 * front + 0.35 * own_right)
    frontal_left = mixed + toward_eyes * (0.6 * front + 0.35 * own_left)
    return EegFields(right, left, frontal_right, frontal_left)


def _simulate_waves(
    rng: np.random.Generator, traits: Traits, state: SleeperState, n_samples: int
) -> np.ndarray:
    """Add up alpha, vertex waves, spindles, K-complexes, slow waves and sawtooth waves."""
    signal = _alpha_rhythm(rng, traits, state, n_samples)
    weights = state.mixture
    swing = np.exp(0.4 * draw_drift(rng, len(weights), correlation=12.0))
    spindle_rate = traits.spindle_per_min / 60 * (weights[:, N2] + 0.6 * weights[:, N3]) * swing
    times = draw_times(rng, spindle_rate)
    _add(signal, times, _spindles(rng, traits, len(times)))
    times = draw_times(rng, traits.k_per_min / 60 * weights[:, N2] * swing)
    _add(signal, times, _biphasic(rng, len(times), low_uv=90 * traits.amplitude, width_s=0.55))
    times = draw_times(rng, 2.5 / 60 * np.clip(weights[:, N1] - 0.3, 0, 1))
    _add(signal, times, _biphasic(rng, len(times), low_uv=55 * traits.amplitude, width_s=0.18))
    times = draw_times(rng, 0.8 * weights[:, N3] ** 1.5 * swing)
    _add(signal, times, _biphasic(rng, len(times), low_uv=0.4 * traits.slow_wave_uv, width_s=0.75))
    times = draw_times(rng, 0.9 / 60 * weights[:, REM])
    _add(signal, times, _sawtooth(rng, len(times), uv=14 * traits.amplitude))
    return signal


def _add(signal: np.ndarray, times: np.ndarray, waves: np.ndarray) -> None:
    add_waves(signal, times, waves, sampling_rate=EEG_RATE)


def _alpha_rhythm(
    rng: np.random.Generator, traits: Traits, state: SleeperState, n_samples: int
) -> np.ndarray:
    """Alpha with eyes closed: narrow waxing noise at the subject's peak, a little of it in REM."""
    frequencies = frame_frequencies(EEG_RATE)
    peak = np.exp(-0.5 * ((frequencies - traits.alpha_hz) / 0.6) ** 2)
    peak /= peak.sum() * (frequencies[1] - frequencies[0])
    weights = state.mixture
    closed = weights[:, W] * (1 - 0.85 * state.eyes_open) + 0.15 * weights[:, N1] ** 2
    closed += 0.06 * weights[:, REM]
    swing = np.exp(0.5 * draw_drift(rng, len(weights), correlation=2.0))
    # At C4-M1 the rhythm has about half its occipital amplitude.
    sd = 0.5 * traits.alpha_uv * closed * swing
    return synthesise_noise(
        rng, sd[:, None] ** 2 * peak, sampling_rate=EEG_RATE, n_samples=n_samples
    )


def _spindles(rng: np.random.Generator, traits: Traits, n: int) -> np.ndarray:
    """Spindles of 0.5 to 2 s with a slight fall in frequency, shape (n, 2 s)."""
    time = np.arange(int(2.0 * EEG_RATE)) / EEG_RATE - 1.0
    width = np.clip(rng.lognormal(np.log(0.85), 0.3, (n, 1)), 0.5, 2.0)
    hertz = traits.spindle_hz + 0.4 * rng.standard_normal((n, 1))
    phase = 2 * np.pi * (hertz * time - 0.25 * time**2 + rng.random((n, 1)))
    height = traits.spindle_uv * np.exp(0.3 * rng.standard_normal((n, 1)))
    envelope = np.where(np.abs(time) < width / 2, np.cos(np.pi * time / width) ** 2, 0.0)
    return height * envelope * np.sin(phase)


def _biphasic(rng: np.random.Generator, n: int, *, low_uv: float, width_s: float) -> np.ndarray:
    """Negative then positive waves (vertex, K-complex, slow wave), shape (n, 3.5 widths)."""
    time = np.arange(int(3.5 * width_s * EEG_RATE)) / EEG_RATE
    width = width_s * np.exp(0.18 * rng.standard_normal((n, 1)))
    height = low_uv * np.exp(0.3 * rng.standard_normal((n, 1)))
    dip = -np.exp(-0.5 * ((time - 1.0 * width) / (0.28 * width)) ** 2)
    ratio = rng.uniform(0.4, 0.8, (n, 1))
    crest = ratio * np.exp(-0.5 * ((time - 2.0 * width) / (0.42 * width)) ** 2)
    return height * (dip + crest)


def _sawtooth(rng: np.random.Generator, n: int, *, uv: float) -> np.ndarray:
    """Trains of notched waves at 2 to 4 Hz for some seconds, shape (n, 6 s)."""
    time = np.arange(int(6.0 * EEG_RATE)) / EEG_RATE - 3.0
    hertz = rng.uniform(2.0, 4.0, (n, 1))
    phase = (hertz * time + rng.random((n, 1))) % 1.0
    length = rng.uniform(1.0, 2.5, (n, 1))
    height = uv * np.exp(0.3 * rng.standard_normal((n, 1)))
    return height * (2 * np.abs(2 * phase**1.5 - 1) - 1) * np.exp(-0.5 * (time / length) ** 2)
