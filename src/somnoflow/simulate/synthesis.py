"""Building blocks of the simulated signals: coloured noise, events at given times, slow drifts.

All of it is vectorised over the night and single-threaded, so a night is quick and reproducible.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d

FRAME_S = 2.0
"""Step, in seconds, at which the state of the sleeper (mixture, rates, gains) is described."""


def synthesise_noise(
    rng: np.random.Generator, psd: np.ndarray, *, sampling_rate: float, n_samples: int
) -> np.ndarray:
    """Synthesise Gaussian noise whose power spectrum changes slowly with time.

    Frames of 4 s with random phases and the wanted spectrum are overlapped by half and added under
    square-root Hann windows, whose squares sum to one: the variance is that of the spectra.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness.
    psd : np.ndarray
        One-sided power spectral density in unit^2/Hz, shape (n_frames, n_frequencies), a frame each
        `FRAME_S` seconds, frequencies from 0 to half the sampling rate.
    sampling_rate : float
        In Hz.
    n_samples : int
        Length of the result.

    Returns
    -------
    np.ndarray
        float32, shape (n_samples,).
    """
    n_frames, n_frequencies = psd.shape
    length = 2 * (n_frequencies - 1)
    spectrum = rng.standard_normal((n_frames, n_frequencies, 2), dtype=np.float32)
    amplitude = np.sqrt(psd * (sampling_rate * length / 4)).astype(np.float32)
    waves = np.fft.irfft(spectrum.view(np.complex64)[..., 0] * amplitude, n=length, axis=1)
    window = np.sin(np.pi * (np.arange(length) + 0.5) / length)
    waves = (waves * window).astype(np.float32)
    half = length // 2
    signal = np.zeros((n_frames + 1, half), dtype=np.float32)
    signal[:-1] = waves[:, :half]
    signal[1:] += waves[:, half:]
    return signal.ravel()[half // 2 : half // 2 + n_samples]


def frame_frequencies(sampling_rate: float) -> np.ndarray:
    """Frequencies (Hz) of the frames of `synthesise_noise`."""
    return np.fft.rfftfreq(round(2 * FRAME_S * sampling_rate), 1 / sampling_rate)


def count_frames(n_samples: int, sampling_rate: float) -> int:
    """Count the frames needed to cover `n_samples`."""
    return int(np.ceil(n_samples / sampling_rate / FRAME_S)) + 1


def add_waves(
    signal: np.ndarray, onsets_s: np.ndarray, waves: np.ndarray, *, sampling_rate: float
) -> None:
    """Add one wave at each onset, in place; what falls outside the night is cut.

    Parameters
    ----------
    signal : np.ndarray
        Shape (n_samples,), changed in place.
    onsets_s : np.ndarray
        Times of the first sample of each wave in seconds, shape (n_events,).
    waves : np.ndarray
        Shape (n_events, n_wave_samples).
    sampling_rate : float
        In Hz.
    """
    index = np.round(onsets_s * sampling_rate).astype(np.int64)[:, None] + np.arange(waves.shape[1])
    inside = (index >= 0) & (index < len(signal))
    np.add.at(signal, index[inside], waves[inside].astype(signal.dtype))


def draw_times(rng: np.random.Generator, rate_per_s: np.ndarray) -> np.ndarray:
    """Draw the times (s) of a Poisson process whose rate is given per frame, sorted."""
    counts = rng.poisson(np.maximum(rate_per_s, 0) * FRAME_S)
    starts = np.repeat(np.arange(len(counts)) * FRAME_S, counts)
    return np.sort(starts + FRAME_S * rng.random(len(starts)))


def draw_drift(
    rng: np.random.Generator, n: int, *, correlation: float, shape: tuple[int, ...] = ()
) -> np.ndarray:
    """Draw Gaussian drift of unit variance, correlated over some steps, shape (n, *shape)."""
    noise = rng.standard_normal((n, *shape))
    smooth = gaussian_filter1d(noise, correlation, axis=0, mode="wrap")
    return smooth * np.sqrt(2 * np.sqrt(np.pi) * correlation) if correlation > 0.5 else noise


def per_sample(values: np.ndarray, *, sampling_rate: float, n_samples: int) -> np.ndarray:
    """Interpolate a value per frame to a value per sample, float32, shape (n_samples,)."""
    times = np.arange(n_samples) / sampling_rate
    centres = (np.arange(len(values)) + 0.5) * FRAME_S
    return np.interp(times, centres, values).astype(np.float32)
