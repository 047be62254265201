"""Filter and resample whole recordings, before they are cut into epochs.

Filtering epoch by epoch would leave an edge artefact in each (defect S19 of the published code).
"""

from fractions import Fraction

import numpy as np
import numpy.typing as npt
from mne.filter import filter_data
from scipy.signal import resample_poly

Samples = npt.NDArray[np.float64]


def bandpass(samples: Samples, *, sampling_rate: float, band: tuple[float, float]) -> Samples:
    """Filter with MNE's zero-phase FIR (Hamming window, its default transition bands).

    Parameters
    ----------
    samples
        Shape (n,).
    sampling_rate
        In Hz.
    band
        Pass band in Hz. Where the recording's rate does not reach the upper edge, the recorder
        has already limited the signal and only the lower edge is applied.

    Raises
    ------
    ValueError
        When half the sampling rate lies below the middle of the band: what is left is not the
        signal that the band is meant for.
    """
    low, high = band
    nyquist = sampling_rate / 2
    if nyquist < (low + high) / 2:
        raise ValueError(
            f"sampled at {sampling_rate:g} Hz, wanted at least {low + high:g} Hz for the band "
            f"{low:g}-{high:g} Hz"
        )
    return filter_data(
        samples,
        sampling_rate,
        l_freq=low or None,
        h_freq=high if high < nyquist * 0.98 else None,
        verbose="ERROR",
    )


def resample(samples: Samples, *, sampling_rate: float, target: int) -> Samples:
    """Resample with a polyphase filter (scipy's, Kaiser window); the same rate is passed on."""
    if sampling_rate == target:
        return samples
    ratio = Fraction(target / sampling_rate).limit_denominator(10_000)
    return resample_poly(samples, ratio.numerator, ratio.denominator)


def hold(samples: Samples, *, sampling_rate: float, target: int) -> Samples:
    """Resample a slow measured value (SpO2) by repeating each sample until the next one."""
    count = round(len(samples) * target / sampling_rate)
    source = np.floor(np.arange(count) * (sampling_rate / target) + 1e-9).astype(np.int64)
    return samples[np.minimum(source, len(samples) - 1)]
