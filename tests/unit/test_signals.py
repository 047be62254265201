"""Signal processing: what passes, what is stopped, and which epochs are flagged."""

from fractions import Fraction

import numpy as np
import pytest
from mne.filter import filter_data
from scipy.signal import resample_poly
from tests.recordings import noise, sine

from somnoflow.config.signals import Quality
from somnoflow.io.rejection import Rejection
from somnoflow.signals.channels import STORAGE, amplitude, known_unit, resolve_unit
from somnoflow.signals.epochs import INT16_MAX, Grid, cut, find_whole, quantise
from somnoflow.signals.filters import bandpass, hold, resample
from somnoflow.signals.quality import (
    UNUSABLE,
    Flag,
    clipped_flags,
    disconnected_flags,
    flat_flags,
    join_flags,
    line_noise_share,
    range_flags,
)

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


@pytest.mark.parametrize("offset", [0.0, 5000.0])
@pytest.mark.parametrize("count", [20000, 400, 2, 1])
@pytest.mark.parametrize(
    ("rate", "band"),
    [(125, (0.5, 40)), (50, (0.5, 40)), (125, (25, 49)), (512, (3, 30)), (10, (0.05, 1)),
     (256, (0, 40)), (100.02, (0.5, 40)), (1.5, (0.05, 1))],
)  # fmt: skip
def test_bandpass_is_that_of_mne(
    rate: float, band: tuple[float, float], count: int, offset: float
) -> None:
    samples = noise(rate=1, seconds=count) + offset
    wanted = filter_data(
        samples,
        rate,
        band[0] or None,
        band[1] if band[1] < 0.98 * rate / 2 else None,
        verbose="ERROR",
    )
    found = bandpass(samples.astype(np.float32), sampling_rate=rate, band=band)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-4 * 20 + 1e-6 * offset)


@pytest.mark.parametrize("rate", [1, 10, 50, 125, 128, 200, 250.3, 256, 500, 512, 1000, 100.02])
def test_resample_is_that_of_scipy(rate: float) -> None:
    samples = noise(rate=1, seconds=5003)
    ratio = Fraction(100 / rate).limit_denominator(10_000)
    wanted = resample_poly(samples, ratio.numerator, ratio.denominator)
    found = resample(samples.astype(np.float32), sampling_rate=rate, target=100)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-4 * 20)


def test_bandpass_shifts_nothing_in_time() -> None:
    samples = sine(hertz=10, rate=128, seconds=60)
    passed = bandpass(samples, sampling_rate=128, band=EEG_BAND)
    middle = slice(10 * 128, 50 * 128)
    np.testing.assert_allclose(passed[middle], samples[middle], atol=0.5)


def test_whole_recordings_are_filtered_without_edges_at_epoch_borders() -> None:
    tone = sine(hertz=10, rate=100, seconds=300, amplitude=20)
    samples = 500 + sine(hertz=0.02, rate=100, seconds=300, amplitude=300) + tone
    whole = (bandpass(samples, sampling_rate=100, band=EEG_BAND) - tone).reshape(10, 3000)
    apart = [bandpass(part, sampling_rate=100, band=EEG_BAND) for part in samples.reshape(10, 3000)]
    borders = np.r_[np.arange(100), np.arange(2900, 3000)]
    assert np.abs(whole[1:-1, borders]).max() < 1
    assert np.abs(np.stack(apart) - tone.reshape(10, 3000))[1:-1, borders].max() > 5


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


def test_cut_gives_the_samples_at_their_times() -> None:
    samples = np.arange(3000, dtype=np.float32)
    found = cut(samples, begins=np.array([7.0, 37.0]), sampling_rate=10)
    np.testing.assert_array_equal(found, np.arange(70, 670).reshape(2, 300))
    assert np.shares_memory(found, samples)
    assert cut(samples, begins=np.zeros(0), sampling_rate=10).shape == (0, 300)


@pytest.mark.parametrize("rate", [100.02, 99.97, 0.25, 100.0])
def test_cut_of_uneven_lengths_loses_no_epoch_and_does_not_drift(rate: float) -> None:
    samples = np.arange(round(30_000 * rate), dtype=np.float32)
    epochs = cut(samples, begins=np.arange(1000) * 30.0, sampling_rate=rate)
    assert epochs.shape == (1000, int(rate * 30))
    assert np.abs(epochs[:, 0] - np.arange(1000) * 30 * rate).max() < 1
    assert (np.diff(epochs, axis=1) == 1).all()


def test_cut_refuses_a_signal_that_ends_early() -> None:
    with pytest.raises(ValueError, match="2900 samples, wanted 3000"):
        cut(np.zeros(2900, np.float32), begins=np.zeros(1), sampling_rate=100)


@pytest.mark.parametrize(
    ("onset", "seconds", "wanted"),
    [(0, 300, [0, 1, 2, 3, 4, 5, 6]), (97, 90, [1, 2, 3]), (97.0004, 90, [1, 2, 3]),
     (97, 89.99, [1, 2]), (97.01, 90, [2, 3]), (97, 29, []), (400, 90, [])],
)  # fmt: skip
def test_whole_epochs_of_a_stretch(onset: float, seconds: float, wanted: list[int]) -> None:
    grid = Grid(onset=7.0, epochs=7, first=2)
    assert find_whole(grid, onset=onset, seconds=seconds).tolist() == wanted


def test_quantise_rounds_and_saturates() -> None:
    found = quantise(np.array([[0.0, 0.074, -0.076, 1e9, -1e9]] * 40), 0.05)
    assert found.tolist() == [[0, 1, -2, INT16_MAX, -INT16_MAX]] * 40
    assert found.dtype == np.int16


def flags(epochs: np.ndarray) -> list[int]:
    return flat_flags(epochs, step=0.03, flat_std=0.1, flat_fraction=0.5).tolist()


def test_good_zero_flat_and_half_flat_epochs() -> None:
    good = noise(rate=100, seconds=30)
    half = np.r_[good[:1499], np.full(1501, 7.0)]
    fine = np.r_[good[:1500], np.full(1500, 7.0)]
    twice = np.r_[np.full(1400, 7.0), good[:200], np.full(1400, 7.0)]
    weak = noise(rate=100, seconds=30, amplitude=0.05)
    epochs = np.stack([good, np.zeros(3000), np.full(3000, 42.0), half, fine, twice, weak])
    flat, zero = Flag.FLAT, Flag.FLAT | Flag.ZERO
    assert flags(epochs) == [0, zero, flat, flat, 0, 0, flat]


@pytest.mark.parametrize(
    ("low", "high"), [(-192, 192), (-197, 196), (-3429.6, 134.4), (-1198.9, 1690.8)]
)
@pytest.mark.parametrize("side", [0, -1])
def test_clipping_is_seen_at_limits_that_floats_round(low: float, high: float, side: int) -> None:
    gain = (high - low) / 65535
    digital = np.random.default_rng(0).integers(-20000, 20000, 3000)
    digital[:200] = (-32768, 32767)[side]
    samples = (digital * gain + (high - 32767 * gain)).astype(np.float32)
    for share, wanted in ((0.05, Flag.CLIPPED), (0.5, Flag.GOOD)):
        found = clipped_flags(samples[None], limits=(low, high), step=gain, fraction=share)
        assert found.tolist() == [wanted]


def test_out_of_range_is_a_share_of_samples() -> None:
    epochs = np.zeros((3, 1000))
    epochs[1, :100] = 251
    epochs[2, :101] = -251
    found = range_flags(epochs, limits=(-250, 250), fraction=0.1)
    assert found.tolist() == [0, 0, Flag.OUT_OF_RANGE]


@pytest.mark.parametrize("rate", [128, 125, 200, 256, 250.3, 512])
@pytest.mark.parametrize("hertz", [50, 60, 49.5, 60.4])
def test_line_noise_is_a_share_of_the_power(rate: float, hertz: float) -> None:
    brain = noise(rate=rate, seconds=30, amplitude=10)
    line = sine(hertz=hertz, rate=rate, seconds=30, amplitude=10 * np.sqrt(2))
    epochs = 300 + np.stack([brain, brain + line, 1e-6 * line])
    found = line_noise_share(epochs.astype(np.float32), sampling_rate=rate)
    assert found is not None
    assert found[0] < 0.06
    assert found[1] == pytest.approx(0.5, abs=0.06)
    alone = line_noise_share(line[None].astype(np.float32), sampling_rate=rate)
    assert alone is not None
    assert alone[0] == pytest.approx(1, abs=0.01)


def test_line_noise_is_not_told_apart_where_the_rate_is_too_low() -> None:
    epochs = noise(rate=100, seconds=30)[None]
    assert line_noise_share(epochs, sampling_rate=100) is None
    constant = line_noise_share(np.full((1, 6000), 7.0), sampling_rate=200)
    assert constant is not None
    assert constant.tolist() == [0]


def test_disconnected_are_long_runs_only() -> None:
    bad = np.array([1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 1, 1], bool)
    found = disconnected_flags(bad, least=3)
    assert (found > 0).tolist() == [*[True] * 3, *[False] * 5, *[True] * 4]
    assert not disconnected_flags(np.zeros(0, bool), least=3).size


def test_a_flat_line_is_disconnected_and_a_zero_line_is_not() -> None:
    flat, zero = int(Flag.FLAT), int(Flag.FLAT | Flag.ZERO)
    quality = Quality(disconnected_epochs=3)
    found = join_flags(
        np.array([flat] * 3 + [zero] * 3 + [flat] * 2, np.uint8), line_share=None, quality=quality
    )
    assert (found & Flag.DISCONNECTED > 0).tolist() == [*[True] * 3, *[False] * 5]


def test_noisy_epochs_are_usable_and_epochs_without_a_signal_are_not() -> None:
    usable = {flag for flag in Flag if flag and not flag & UNUSABLE}
    assert usable == {Flag.OUT_OF_RANGE, Flag.LINE_NOISE}


@pytest.mark.parametrize(
    ("known", "spellings"),
    [("uV", ["uV", "µV", "\u03bcV", "\u00b5V", "uVolt", "microV", "microvolts", " u V ", "UV"]),
     ("mV", ["mV", "millivolt", "mVolts"]), ("V", ["V", "Volts", "volt"]), ("nV", ["nV", "nanoV"]),
     ("%", ["%", "percent"]), ("a.u.", ["", "  ", "a.u.", "AU"]),
     (None, ["bar", "?V", "kV", "l/s", "Volt uV"])],
)  # fmt: skip
def test_spellings_of_units(known: str | None, spellings: list[str]) -> None:
    assert {known_unit(text) for text in spellings} == {known}


@pytest.mark.parametrize(
    ("unit", "channel", "size", "factor"),
    [("uV", "EEG_C4", 14, 1), ("mV", "EOG_L", 0.02, 1e3), ("V", "EMG_CHIN", 2e-6, 1e6),
     ("nV", "EEG_C4", 14000, 1e-3), ("uV", "ECG", 50, 1e-3), ("mV", "ECG", 0.05, 1),
     ("%", "SPO2", 96, 1), ("", "SPO2", 96, 1), ("l/s", "THORAX", 3, 1)],
)  # fmt: skip
def test_units_are_converted(unit: str, channel: str, size: float, factor: float) -> None:
    found = resolve_unit(unit, channel=channel, size=size)
    assert (found.factor, found.remark) == (pytest.approx(factor), "")


@pytest.mark.parametrize(
    ("unit", "channel", "size", "named"),
    [("", "EEG_C4", 14, "uV"), ("", "EEG_C4", 0.014, "mV"), ("?V", "EOG_L", 1.4e-5, "V"),
     ("", "ECG", 50, "uV"), ("a.u.", "ECG", 0.05, "mV"), ("", "EMG_CHIN", 4e-6, "V")],
)  # fmt: skip
def test_a_unit_that_is_not_told_makes_the_amplitude_plausible(
    unit: str, channel: str, size: float, named: str
) -> None:
    found = resolve_unit(unit, channel=channel, size=size)
    assert f"unit '{unit}' taken as {named}: typical amplitude" in found.remark
    low, high = STORAGE[channel.split("_", maxsplit=1)[0]].plausible or (0, 0)
    assert low <= size * found.factor <= high


def test_no_amplitude_is_plausible_in_two_units() -> None:
    for storage in STORAGE.values():
        if storage.plausible is not None:
            assert storage.plausible[1] < 1000 * storage.plausible[0]


@pytest.mark.parametrize(
    ("unit", "channel", "size"),
    [("", "EEG_C4", 500), ("", "EEG_C4", 0), ("%", "EEG_C4", 14), ("mV", "SPO2", 96)],
)
def test_a_unit_that_nothing_tells_is_refused(unit: str, channel: str, size: float) -> None:
    with pytest.raises(Rejection, match="unit not usable") as caught:
        resolve_unit(unit, channel=channel, size=size)
    assert "units" in caught.value.advice


def test_a_declared_unit_stays_with_a_remark() -> None:
    found = resolve_unit("mV", channel="EEG_C4", size=14)
    assert found.factor == 1000
    assert found.remark == (
        "typical amplitude 1.4e+04 uV, wanted 1.5 to 120; is the unit 'mV' right? Else say the "
        "true one under `units` in dataset.yaml"
    )
    assert resolve_unit("mV", channel="EEG_C4", size=0).remark == ""


def test_amplitude_is_the_deviation_of_the_middle_of_the_signal() -> None:
    epochs = noise(rate=100, seconds=300).reshape(10, 3000)
    epochs[:, :300] = 5000  # artefacts do not count
    everywhere = np.ones(10, bool)
    assert amplitude(epochs, has_signal=everywhere, channel="EEG_C4") == pytest.approx(22, rel=0.1)
    half = np.arange(10) < 5
    epochs[5:] = 0
    assert amplitude(epochs, has_signal=half, channel="EEG_C4") == pytest.approx(22, rel=0.1)
    assert amplitude(epochs, has_signal=~everywhere, channel="EEG_C4") == 0
    steady = np.full((10, 30), 96.0)
    assert amplitude(steady, has_signal=everywhere, channel="SPO2") == 96


def test_thresholds_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="line_only_fraction is"):
        Quality(line_only_fraction=0.3)
    with pytest.raises(ValueError, match="range of EEG is"):
        Quality(ranges={"EEG": (5, -5)})
