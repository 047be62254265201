"""Signal processing: what passes, what is stopped, and which epochs are flagged."""

import numpy as np
import pytest
from tests.recordings import noise, sine

from somnoflow.config.signals import Quality
from somnoflow.io.rejection import Rejection
from somnoflow.signals.channels import conversion
from somnoflow.signals.epochs import INT16_MAX, cut, quantise
from somnoflow.signals.filters import bandpass, hold, resample
from somnoflow.signals.quality import Flag, quality_flags

EEG_BAND = (0.5, 40.0)


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples**2)))


@pytest.mark.parametrize(
    ("hertz", "low", "high"), [(0.05, 0, 0.02), (2, 0.99, 1.01), (12, 0.99, 1.01), (35, 0.98, 1.02),
     (60, 0, 0.01)],
)  # fmt: skip
def test_bandpass_passes_its_band_and_stops_the_rest(hertz: float, low: float, high: float) -> None:
    samples = sine(hertz=hertz, rate=256, seconds=120)
    passed = bandpass(samples, sampling_rate=256, band=EEG_BAND)
    middle = slice(20 * 256, 100 * 256)
    assert low <= rms(passed[middle]) / rms(samples[middle]) <= high


def test_bandpass_shifts_nothing_in_time() -> None:
    samples = sine(hertz=10, rate=128, seconds=60)
    passed = bandpass(samples, sampling_rate=128, band=EEG_BAND)
    middle = slice(10 * 128, 50 * 128)
    np.testing.assert_allclose(passed[middle], samples[middle], atol=0.5)


def test_whole_recordings_are_filtered_without_edges_at_epoch_borders() -> None:
    tone = sine(hertz=10, rate=100, seconds=300, amplitude=20)
    samples = 500 + sine(hertz=0.02, rate=100, seconds=300, amplitude=300) + tone
    whole = cut(bandpass(samples, sampling_rate=100, band=EEG_BAND) - tone, 3000)[1:-1]
    apart = [bandpass(part, sampling_rate=100, band=EEG_BAND) for part in cut(samples, 3000)]
    borders = np.r_[np.arange(100), np.arange(2900, 3000)]
    assert np.abs(whole[:, borders]).max() < 1
    assert np.abs(np.stack(apart)[1:-1] - cut(tone, 3000)[1:-1])[:, borders].max() > 5


def test_bandpass_with_a_rate_below_the_upper_edge_keeps_the_lower_one() -> None:
    samples = 100 + sine(hertz=5, rate=64, seconds=120)
    passed = bandpass(samples, sampling_rate=64, band=EEG_BAND)
    assert abs(passed[1280:-1280].mean()) < 1
    assert rms(passed[1280:-1280]) == pytest.approx(50 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize(("rate", "band"), [(1, (25, 49)), (1, (0.05, 1)), (60, (25, 49))])
def test_bandpass_refuses_a_rate_that_leaves_less_than_half_of_the_band(
    rate: float, band: tuple[float, float]
) -> None:
    with pytest.raises(ValueError, match=f"sampled at {rate} Hz, wanted at least"):
        bandpass(np.zeros(1000), sampling_rate=rate, band=band)


@pytest.mark.parametrize("rate", [10, 50, 100, 125, 128, 200, 256, 512])
def test_resample_keeps_frequency_phase_and_length(rate: int) -> None:
    hertz = 2.0
    found = resample(sine(hertz=hertz, rate=rate, seconds=60), sampling_rate=rate, target=100)
    assert len(found) == 6000
    wanted = sine(hertz=hertz, rate=100, seconds=60)
    np.testing.assert_allclose(found[500:-500], wanted[500:-500], atol=0.5)


def test_resample_stops_what_the_new_rate_cannot_hold() -> None:
    found = resample(sine(hertz=80, rate=256, seconds=60), sampling_rate=256, target=100)
    assert rms(found[500:-500]) < 1


def test_hold_repeats_each_value_until_the_next() -> None:
    found = hold(np.array([97.0, 93.0, 95.0]), sampling_rate=1, target=100)
    np.testing.assert_array_equal(found, np.repeat([97, 93, 95], 100))


@pytest.mark.parametrize("rate", [0.5, 3.0, 4.0, 7.0, 250.0])
def test_hold_gives_the_whole_length_and_no_new_values(rate: float) -> None:
    samples = np.round(noise(rate=rate, seconds=60, seed=1))
    found = hold(samples, sampling_rate=rate, target=100)
    assert len(found) == 6000
    assert set(found) <= set(samples)
    assert found[0] == samples[0]


def test_cut_drops_the_rest_and_moves_no_sample() -> None:
    np.testing.assert_array_equal(cut(np.arange(11.0), 4), [[0, 1, 2, 3], [4, 5, 6, 7]])
    assert cut(np.arange(3.0), 4).shape == (0, 4)


@pytest.mark.parametrize("length", [3000.6, 2999.1, 7.5, 3000.0])
def test_cut_of_uneven_lengths_loses_no_epoch_and_does_not_drift(length: float) -> None:
    epochs = cut(np.arange(np.ceil(1000 * length)), length)
    assert epochs.shape == (1000, int(length))
    assert np.abs(epochs[:, 0] - np.arange(1000) * length).max() < 1


def test_quantise_rounds_and_saturates() -> None:
    found = quantise(np.array([0.0, 0.074, -0.076, 1e9, -1e9]), 0.05)
    assert found.tolist() == [0, 1, -2, INT16_MAX, -INT16_MAX]
    assert found.dtype == np.int16


def flags(epochs: np.ndarray, *, reach: float = 1000, step: float = 0.03) -> list[int]:
    return quality_flags(epochs, limits=(-reach, reach), step=step, quality=Quality()).tolist()


def test_good_zero_flat_and_half_flat_epochs() -> None:
    good = noise(rate=100, seconds=30)
    half = np.r_[good[:1400], np.full(1600, 7.0)]
    fine = np.r_[good[:1600], np.full(1400, 7.0)]
    weak = noise(rate=100, seconds=30, amplitude=0.05)
    epochs = np.stack([good, np.zeros(3000), np.full(3000, 42.0), half, fine, weak])
    assert flags(epochs) == [0, Flag.FLAT | Flag.ZERO, Flag.FLAT, Flag.FLAT, 0, Flag.FLAT]


@pytest.mark.parametrize(
    ("low", "high"), [(-192, 192), (-197, 196), (-3429.6, 134.4), (-1198.9, 1690.8)]
)
@pytest.mark.parametrize("side", [0, -1])
def test_clipping_is_seen_at_limits_that_floats_round(low: float, high: float, side: int) -> None:
    gain = (high - low) / 65535
    digital = np.random.default_rng(0).integers(-20000, 20000, 3000)
    digital[:200] = (-32768, 32767)[side]
    samples = (digital + (high / gain - 32767)) * gain  # as edfio computes it
    quality = Quality(flat_std=0)
    for share, wanted in ((0.05, Flag.CLIPPED), (0.5, Flag.GOOD)):
        quality = Quality(flat_std=0, clipped_fraction=share)
        found = quality_flags(samples[None], limits=(low, high), step=gain, quality=quality)
        assert found.tolist() == [wanted]


@pytest.mark.parametrize(
    ("unit", "channel", "factor"),
    [("uV", "EEG_C4", 1), ("µV", "EEG_C4", 1), ("mV", "EOG_L", 1e3), ("V", "EMG_CHIN", 1e6),
     ("uV", "ECG", 1e-3), ("mV", "ECG", 1), ("%", "SPO2", 1), ("", "SPO2", 1),
     ("l/s", "THORAX", 1)],
)  # fmt: skip
def test_units_are_converted(unit: str, channel: str, factor: float) -> None:
    assert conversion(unit, channel=channel) == pytest.approx(factor)


@pytest.mark.parametrize(("unit", "channel"), [("", "EEG_C4"), ("nV", "EEG_C4"), ("mV", "SPO2")])
def test_an_unknown_unit_is_refused_and_never_guessed(unit: str, channel: str) -> None:
    with pytest.raises(Rejection, match="unit not usable") as caught:
        conversion(unit, channel=channel)
    assert "units" in caught.value.advice
