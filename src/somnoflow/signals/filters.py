"""Filter and resample whole recordings, before they are cut into epochs.

Filtering epoch by epoch would leave an edge artefact in each (defect S19 of the published code).

The filters are MNE's (`mne.filter.filter_data`, its defaults) and scipy's (`resample_poly`), to
within rounding; the tests compare them. They are computed here because a night must be cheap: in
float32, by long FFTs and by matrix products, with each kernel designed once, and without the second
that importing `mne` and `scipy.signal` takes in every job.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, rfft

Samples = npt.NDArray[np.float32]

_HAMMING_LENGTH = 3.3  # transition bands times seconds of a Hamming window (MNE's length factor)
_KAISER_BETA = 5.0  # of resample_poly
_KAISER_ZEROS = 10  # zero crossings of its kernel on each side
_LARGEST_RATIO = 10_000
_BATCH = 2**17  # samples that are transformed at a time: they stay in the processor's cache
_GROUP = 32  # outputs that are computed from one window of the input
_ROWS = 32  # windows in one product: small ones are never spread over threads, whose wait is long


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
    kernel = _bandpass_kernel(low, high if high < nyquist * 0.98 else None, sampling_rate)
    return samples if len(kernel) == 1 else _convolve(samples, kernel)


def resample(samples: Samples, *, sampling_rate: float, target: int) -> Samples:
    """Resample with a polyphase filter (scipy's, Kaiser window); the same rate is passed on."""
    if sampling_rate == target:
        return samples
    ratio = Fraction(target / sampling_rate).limit_denominator(_LARGEST_RATIO)
    up, down = ratio.numerator, ratio.denominator
    margin, groups = _polyphase_matrices(up, down)
    outputs = sum(matrix.shape[1] for _, matrix in groups)
    step = outputs * down // up
    count = ceil(len(samples) * up / down)
    rows = ceil(count / outputs / _ROWS) * _ROWS
    padded = np.zeros((rows + 1) * step + 2 * margin, np.float32)
    padded[margin : margin + len(samples)] = samples
    found = np.empty((rows, outputs), np.float32)
    at = 0
    for first, matrix in groups:
        width, wide = matrix.shape
        windows = np.lib.stride_tricks.sliding_window_view(padded[first:], width)[::step]
        batch = max(1, _BATCH // (width * _ROWS)) * _ROWS
        for begin in range(0, rows, batch):
            # Rows that overlap in memory are copied: their product would be slow.
            part = np.ascontiguousarray(windows[begin : min(begin + batch, rows)])
            product = part.reshape(-1, _ROWS, width) @ matrix
            found[begin : begin + batch, at : at + wide] = product.reshape(-1, wide)
        at += wide
    return found.reshape(-1)[:count]


def hold(samples: Samples, *, sampling_rate: float, target: int) -> Samples:
    """Resample a slow measured value (SpO2) by repeating each sample until the next one."""
    count = round(len(samples) * target / sampling_rate)
    source = np.floor(np.arange(count) * (sampling_rate / target) + 1e-9).astype(np.int64)
    return samples[np.minimum(source, len(samples) - 1)]


@lru_cache(maxsize=64)
def _bandpass_kernel(low: float, high: float | None, rate: float) -> Samples:
    """Give the kernel of `mne.filter.create_filter`: a low-pass less a lower low-pass."""
    above = below = np.ones(1)
    if high is not None:
        above = _lowpass_kernel(high, min(max(0.25 * high, 2.0), rate / 2 - high), rate)
    if low:
        width = min(max(0.25 * low, 2.0), low)
        below = _lowpass_kernel(low - width, width, rate)
    half = max(len(above), len(below) if low else 1) // 2
    kernel = _widened(above, half)
    if low:
        kernel = kernel - _widened(below, half)
    return kernel.astype(np.float32)


def _lowpass_kernel(edge: float, transition: float, rate: float) -> npt.NDArray[np.float64]:
    """Give a Hamming-windowed sinc that falls from `edge` to `edge + transition` Hz."""
    half = round(_HAMMING_LENGTH * rate / transition) // 2
    cutoff = 2 * (edge + transition / 2) / rate
    kernel = np.sinc(cutoff * np.arange(-half, half + 1)) * np.hamming(2 * half + 1)
    return kernel / kernel.sum()


def _widened(kernel: npt.NDArray[np.float64], half: int) -> npt.NDArray[np.float64]:
    return np.pad(kernel, half - len(kernel) // 2)


def _convolve(samples: Samples, kernel: Samples) -> Samples:
    """Convolve with a symmetric kernel by overlap-save; ends are mirrored as MNE does it."""
    count, half = len(samples), len(kernel) // 2
    size = 2 ** ceil(np.log2(8 * len(kernel)))
    step = size - 2 * half
    blocks = ceil(count / step)
    padded = np.zeros(blocks * step + 2 * half, np.float32)
    padded[half : half + count] = samples
    mirrored = min(half, count - 1)
    if mirrored:
        begin, end = half, half + count
        padded[begin - mirrored : begin] = 2 * samples[0] - samples[mirrored:0:-1]
        tail = 2 * samples[-1] - samples[-2 : -mirrored - 2 : -1]
        padded[end : end + mirrored] = tail
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[::step]
    response = rfft(kernel, size)
    found = np.empty((blocks, step), np.float32)
    batch = max(1, _BATCH // size)
    for begin in range(0, blocks, batch):
        spectrum = rfft(windows[begin : begin + batch], axis=1)
        spectrum *= response
        found[begin : begin + batch] = irfft(spectrum, size, axis=1)[:, 2 * half :]
    return found.reshape(-1)[:count]


@lru_cache(maxsize=32)
def _polyphase_matrices(up: int, down: int) -> tuple[int, Sequence[tuple[int, Samples]]]:
    """Give `resample_poly`'s filter as products: (first input, matrix) for each group of outputs.

    A period of outputs is computed from one window of the input, the next period from a window that
    begins `down / up` times as many samples later. The first of the two numbers given is how many
    samples must stand before the signal.
    """
    half = _KAISER_ZEROS * max(up, down)
    place = np.arange(-half, half + 1)
    kernel = np.sinc(place / max(up, down)) * np.kaiser(2 * half + 1, _KAISER_BETA)
    kernel *= up / kernel.sum()
    margin = half // up
    period = up * ceil(_GROUP / up)
    groups = []
    for begin in range(0, period, _GROUP):
        outputs = np.arange(begin, min(begin + _GROUP, period))
        first = floor(outputs[0] * down / up) - margin
        last = floor((outputs[-1] * down + half) / up)
        offset = half + outputs * down - np.arange(first, last + 1)[:, None] * up
        inside = (offset >= 0) & (offset <= 2 * half)
        matrix = np.where(inside, kernel[np.clip(offset, 0, 2 * half)], 0.0)
        groups.append((first + margin, matrix.astype(np.float32)))
    return margin, groups
