"""The spectrogram of a night: the power of one channel in each epoch, by frequency."""

import numpy as np
import numpy.typing as npt

from somnoflow.night import Night

LOW_HZ, HIGH_HZ = 0.5, 30.0
WINDOW_SECONDS = 2
# Which modality is drawn, the first that the night has.
MODALITIES = ("EEG", "EOG")
_BATCH = 64
_TINY = 1e-6  # uV^2 / Hz, below what an amplifier resolves


def channels_to_draw(night: Night, modality: str) -> list[int]:
    """Give the places of the channels of a modality that carry a signal in some epoch."""
    return [
        place
        for place, name in enumerate(night.channels)
        if name.startswith(modality) and night.present[:, place].any()
    ]


def channel_of_spectrum(night: Night) -> int | None:
    """Give the place of the channel whose spectrogram is drawn; None where there is none."""
    places = [place for modality in MODALITIES for place in channels_to_draw(night, modality)]
    return places[0] if places else None


def spectrogram(
    signal: npt.NDArray[np.float32],
    *,
    present: npt.NDArray[np.bool_],
    sampling_rate: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give each epoch's spectrum by Welch's method: Hann windows of 2 s, half overlapping.

    Parameters
    ----------
    signal
        (N, T) in uV.
    present
        (N,): epochs with a signal; the others are NaN.
    sampling_rate
        Hz.

    Returns
    -------
    tuple
        Frequencies (F,) in Hz and power (N, F) in dB of 1 uV^2 / Hz.
    """
    size = WINDOW_SECONDS * sampling_rate
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    frequencies = np.fft.rfftfreq(size, 1 / sampling_rate).astype(np.float64)
    kept = (frequencies >= LOW_HZ) & (frequencies <= HIGH_HZ)
    decibel = np.full((len(signal), int(kept.sum())), np.nan)
    rows = np.flatnonzero(present)
    for begin in range(0, len(rows), _BATCH):
        some = rows[begin : begin + _BATCH]
        parts = np.lib.stride_tricks.sliding_window_view(signal[some], size, axis=1)
        parts = parts[:, :: size // 2]
        parts = (parts - parts.mean(axis=2, keepdims=True)) * window
        power = (np.abs(np.fft.rfft(parts, axis=2)[:, :, kept]) ** 2).mean(axis=1)
        power *= 2 / (sampling_rate * float((window**2).sum()))
        decibel[some] = 10 * np.log10(np.maximum(power, _TINY))
    return frequencies[kept], decibel
