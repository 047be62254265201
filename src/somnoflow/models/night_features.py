"""Features of 30-s epochs of one derivation: the shape of the waves, and their spectrum.

The 13 features of the shape are those of the public feature table of Sleep-EDF-78, by its
definitions, so that a model may be trained on that table and read any signal. They look at the
signal as recorded: it is to be neither low-passed nor high-passed beyond what the recorder does.

Notation: B epochs, T samples, k steps of Higuchi's curve.
"""

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from somnoflow.models.epoch_encoder import EpochEncoder

SAMPLING_RATE = 100
SAMPLES = 3000
HIGUCHI_STEPS = 10
ENTROPY_BINS = (5, 10, 30, 60)
SHAPE = (
    "std", "iqr", "skewness", "kurtosis", "zero_crossings", "hjorth_mobility",
    "hjorth_complexity", "higuchi_fd", "petrosian_fd",
    *(f"binned_entropy_{bins}" for bins in ENTROPY_BINS),
)  # fmt: skip
EDGES_HZ = (
    0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 23, 26, 30, 35,
)  # fmt: skip
SEGMENT_S = 4
# Of the segments of an epoch: what it mostly is, and what its spindles and bursts reach.
QUANTILES = (0.5, 0.9)
SPECTRUM = tuple(
    f"log_power_{low:g}_{high:g}_q{100 * q:g}"
    for q in QUANTILES
    for low, high in itertools.pairwise(EDGES_HZ)
)
# Least variance and power, so that a constant epoch has finite features too.
TINY = 1e-12


class NightFeatures(EpochEncoder):
    """The features of single epochs, nothing of which is trained."""

    sampling_rate = SAMPLING_RATE
    samples = SAMPLES
    small_steps = True

    @property
    def dimension(self) -> int:
        """Size D of the feature of an epoch."""
        return len(SHAPE) + len(SPECTRUM)

    def forward_features(self, epochs: Tensor) -> Tensor:
        """Give the features (B, D) of epochs (B, T): those of the shape, then the spectrum."""
        self.require_epochs(epochs)
        # MPS has no float64, and Higuchi's sums want more than float32 has.
        exact = epochs.cpu().double()
        return torch.cat([describe_shape(exact), describe_spectrum(exact)], dim=1).float()


def describe_shape(epochs: Tensor) -> Tensor:
    """Give the features `SHAPE` (B, 13) of epochs (B, T), the first two in the epochs' unit.

    Sources: Hjorth, EEG Clin. Neurophysiol. 29 (1970); Higuchi, Physica D 31 (1988), here the slope
    of the curve lengths, which is the dimension less one; Petrosian, IEEE CBMS 1995.
    """
    samples = epochs.shape[1]
    centred = epochs - epochs.mean(dim=1, keepdim=True)
    variance = _variance(epochs)
    std = variance.sqrt()
    quartiles = torch.quantile(epochs, epochs.new_tensor([0.25, 0.75]), dim=1)
    first = epochs.diff(dim=1)
    second = first.diff(dim=1)
    mobility = (_variance(first) / variance).sqrt()
    complexity = (_variance(second) / _variance(first)).sqrt() / mobility
    crossings = (epochs < 0).diff(dim=1).sum(dim=1).double()
    turns = (first[:, 1:] * first[:, :-1] < 0).sum(dim=1).double()
    petrosian = math.log10(samples) / (math.log10(samples) + (1 + 0.4 * turns).log10())
    return torch.stack(
        [
            std,
            quartiles[1] - quartiles[0],
            (centred**3).mean(dim=1) / std**3,
            (centred**4).mean(dim=1) / variance**2 - 3,
            crossings,
            mobility,
            complexity,
            _higuchi_slope(epochs),
            petrosian,
            *(_binned_entropy(epochs, bins) for bins in ENTROPY_BINS),
        ],
        dim=1,
    )


def describe_spectrum(epochs: Tensor) -> Tensor:
    """Give the features `SPECTRUM` (B, 44) of epochs (B, T): log10 of the power per Hz in bands.

    Quantiles over half-overlapping segments of 4 s under a Hann window.
    """
    length = SEGMENT_S * SAMPLING_RATE
    window = torch.from_numpy(np.hanning(length)).to(epochs)
    segments = epochs.unfold(1, length, length // 2)
    segments = (segments - segments.mean(dim=2, keepdim=True)) * window
    power = torch.fft.rfft(segments).abs() ** 2 * (2 / (SAMPLING_RATE * (window**2).sum()))
    frequencies = torch.fft.rfftfreq(length, 1 / SAMPLING_RATE)
    bands = torch.stack(
        [
            power[:, :, (frequencies >= low) & (frequencies < high)].mean(dim=2)
            for low, high in itertools.pairwise(EDGES_HZ)
        ],
        dim=2,
    )  # (B, segments, bands)
    found = torch.quantile(bands, bands.new_tensor(QUANTILES), dim=1)  # (2, B, bands)
    return (found + TINY).log10().transpose(0, 1).flatten(1)


def _variance(values: Tensor) -> Tensor:
    return values.var(dim=1, correction=0).clamp(min=TINY)


def _higuchi_slope(epochs: Tensor) -> Tensor:
    samples = epochs.shape[1]
    lengths = []
    for k in range(1, HIGUCHI_STEPS + 1):
        steps = [
            epochs[:, begin::k].diff(dim=1).abs().sum(dim=1)
            * ((samples - 1) / (((samples - begin - 1) // k) * k))
            for begin in range(k)
        ]
        lengths.append(torch.stack(steps).mean(dim=0))
    y = (torch.stack(lengths, dim=1) + TINY).log()  # (B, k)
    x = -torch.arange(1, HIGUCHI_STEPS + 1).to(epochs).log()
    x = x - x.mean()
    return (y * x).sum(dim=1) / (x**2).sum()


def _binned_entropy(epochs: Tensor, bins: int) -> Tensor:
    """Give the entropy (B,) in bits of histograms between the extremes of each epoch."""
    low, high = epochs.amin(dim=1, keepdim=True), epochs.amax(dim=1, keepdim=True)
    place = ((epochs - low) / (high - low).clamp(min=TINY) * bins).long().clamp(max=bins - 1)
    counts = epochs.new_zeros(len(epochs), bins)
    counts.scatter_add_(1, place, torch.ones_like(epochs))
    share = counts / epochs.shape[1]
    return -torch.special.xlogy(share, share).sum(dim=1) / math.log(2)
