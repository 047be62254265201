"""The simulated nights: determinism, plausibility, and that an independent reader reads them."""

import csv
import runpy
from itertools import pairwise
from pathlib import Path

import mne
import numpy as np
import pytest
from scipy.signal import welch

from somnoflow.simulate.edf import write_night
from somnoflow.simulate.events import LABELS
from somnoflow.simulate.hypnogram import simulate_hypnogram
from somnoflow.simulate.night import Night, simulate_night, simulate_traits
from somnoflow.simulate.subject import make_rng

RATES = {
    "EEG C4-M1": 128.0,
    "EEG C3-M2": 128.0,
    "EOG E1-M2": 128.0,
    "EOG E2-M2": 128.0,
    "EMG Chin": 128.0,
    "ECG": 256.0,
    "Airflow": 16.0,
    "SpO2": 1.0,
}
ROOT = Path(__file__).parents[2]
TABLES = ROOT / "src" / "somnoflow" / "simulate"
EVENT_LABELS = {*LABELS, "Oxygen desaturation", "Arousal"}
COHORT = [f"T{k:02d}" for k in range(6)]


@pytest.fixture(scope="module")
def cohort() -> list[Night]:
    return [simulate_night(name, seed=3, hours=1.0) for name in COHORT]


def epochs_of(night: Night, label: str) -> np.ndarray:
    signal = next(s for s in night.signals if s.label == label)
    return signal.samples.reshape(len(night.stages), -1)


def pooled(cohort: list[Night], label: str, stage: int) -> np.ndarray:
    return np.concatenate([epochs_of(night, label)[night.stages == stage] for night in cohort])


def band_power(epochs: np.ndarray, low: float, high: float) -> float:
    frequency, psd = welch(epochs, 128.0, nperseg=512, axis=1)
    inside = (frequency >= low) & (frequency < high)
    return float(np.median(psd[:, inside].mean(axis=1)))


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    files = []
    for run in range(2):
        night = simulate_night("S0001", seed=1, hours=0.25)
        paths = tmp_path / f"{run}.edf", tmp_path / f"{run}-annotations.edf"
        write_night(night, recording=paths[0], annotations=paths[1])
        files.append([path.read_bytes() for path in paths])
    assert files[0] == files[1]
    assert b"simulated" in files[0][0][:256]


def test_subject_does_not_depend_on_others_but_on_name_and_seed() -> None:
    alone = simulate_night("S0002", seed=1, hours=0.2)
    simulate_night("S0003", seed=1, hours=0.2)
    again = simulate_night("S0002", seed=1, hours=0.2)
    other = simulate_night("S0003", seed=1, hours=0.2)
    reseeded = simulate_night("S0002", seed=2, hours=0.2)
    eeg = alone.signals[0].samples
    np.testing.assert_array_equal(eeg, again.signals[0].samples)
    assert not np.array_equal(eeg, other.signals[0].samples)
    assert not np.array_equal(eeg, reseeded.signals[0].samples)


def test_traits_are_the_same_at_any_length_and_differ_between_subjects() -> None:
    assert simulate_traits("A", seed=1).alpha_hz == simulate_traits("A", seed=1).alpha_hz
    indices = [simulate_traits(f"S{k:04d}", seed=1).apnea_index for k in range(60)]
    assert min(indices) == 0.0
    assert max(indices) > 30.0


@pytest.mark.parametrize("hours", [0.1, 0.51, 1.0])
def test_channels_have_their_rates_and_whole_epochs(hours: float) -> None:
    night = simulate_night("S0009", seed=1, hours=hours)
    assert night.stages.dtype == np.int8
    assert len(night.stages) == round(hours * 120)
    assert {s.label: s.sampling_rate for s in night.signals} == RATES
    for signal in night.signals:
        assert len(signal.samples) == len(night.stages) * 30 * signal.sampling_rate
        assert np.isfinite(signal.samples).all()


def test_too_short_a_night_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 0\.1 h"):
        simulate_night("S0001", seed=1, hours=0.05)


def test_one_hour_holds_all_stages_in_plausible_proportions(cohort: list[Night]) -> None:
    counts = np.array([np.bincount(night.stages, minlength=5) for night in cohort])
    assert (counts > 0).all(axis=1).mean() >= 5 / 6
    share = counts.sum(axis=0) / counts.sum()
    low, high = np.array([[0.10, 0.05, 0.20, 0.03, 0.05], [0.45, 0.30, 0.60, 0.30, 0.35]])
    assert ((share > low) & (share < high)).all(), share


def test_full_nights_resemble_the_fitted_ones() -> None:
    nights = [
        simulate_hypnogram(make_rng(f"H{k}", 1, "hypnogram"), simulate_traits(f"H{k}", seed=1), 900)
        for k in range(40)
    ]
    share = np.bincount(np.concatenate(nights), minlength=5) / (40 * 900)
    np.testing.assert_allclose(share, [0.18, 0.11, 0.42, 0.11, 0.18], atol=0.05)
    deep = np.mean([[np.mean(part == 3) for part in np.array_split(n, 3)] for n in nights], axis=0)
    rem = np.mean([[np.mean(part == 4) for part in np.array_split(n, 3)] for n in nights], axis=0)
    assert deep[0] > 2 * deep[2]
    assert rem[2] > rem[0]


def test_events_lie_in_the_night_and_breathing_events_do_not_overlap(cohort: list[Night]) -> None:
    assert {label for night in cohort for _, _, label in night.events} <= EVENT_LABELS
    for night in cohort:
        assert night.events == sorted(night.events)
        for onset, duration, _ in night.events:
            assert 0 <= onset < onset + duration <= len(night.stages) * 30
        breathing = [event for event in night.events if event[2] in LABELS]
        for (onset, duration, _), after in pairwise(breathing):
            assert duration >= 10
            assert onset + duration <= after[0]


def test_desaturations_follow_respiratory_events_and_lower_spo2(cohort: list[Night]) -> None:
    found = 0
    for night in cohort:
        starts = np.array([o for o, _, label in night.events if label in LABELS])
        spo2 = night.signals[-1].samples
        for onset, duration, label in night.events:
            if label == "Oxygen desaturation":
                found += 1
                before = onset - starts[starts < onset]
                assert before.min() < 60
                # A fall may begin while SpO2 still recovers from the one before.
                piece = spo2[max(0, int(onset) - 2) : int(onset + duration) + 3]
                deepest = np.max(np.maximum.accumulate(piece) - piece)
                assert deepest >= 2 or piece.min() == 0
    assert found > 10


def test_apneas_take_the_flow_away(cohort: list[Night]) -> None:
    ratios = []
    for night in cohort:
        flow = next(s for s in night.signals if s.label == "Airflow").samples
        for onset, duration, label in night.events:
            if "apnea" in label:
                inside = flow[int((onset + 2) * 16) : int((onset + duration - 2) * 16)]
                ratios.append(np.std(inside) / np.std(flow))
    assert np.median(ratios) < 0.15


def test_chin_tone_is_lower_in_rem(cohort: list[Night]) -> None:
    ratios = []
    for night in cohort:
        tone = np.median(np.abs(epochs_of(night, "EMG Chin")), axis=1)
        if (tone > 0).all():
            ratios.append(np.median(tone[night.stages == 4]) / np.median(tone[night.stages == 0]))
    assert np.median(ratios) < 0.5


def test_delta_rises_from_wake_to_n3(cohort: list[Night]) -> None:
    delta = [band_power(pooled(cohort, "EEG C4-M1", s), 0.5, 4.0) for s in (0, 2, 3)]
    assert delta[0] < delta[1] < 0.5 * delta[2]


def test_spindles_make_a_peak_in_n2(cohort: list[Night]) -> None:
    peaks = []
    for night in cohort:
        epochs = epochs_of(night, "EEG C4-M1")[night.stages == 2]
        sigma = band_power(epochs, 12, 15)
        peaks.append(sigma / np.sqrt(band_power(epochs, 9, 11) * band_power(epochs, 17, 20)))
    wake = pooled(cohort, "EEG C4-M1", 0)
    flat = band_power(wake, 12, 15) / np.sqrt(band_power(wake, 9, 11) * band_power(wake, 17, 20))
    assert np.median(peaks) > 1.3
    assert np.median(peaks) > 1.3 * flat


def test_heart_rate_is_plausible(cohort: list[Night]) -> None:
    for night in cohort:
        ecg = next(s for s in night.signals if s.label == "ECG").samples
        beats = np.count_nonzero(np.diff((ecg > 0.6 * np.quantile(ecg, 0.999)).astype(int)) == 1)
        assert 35 < beats / (len(ecg) / 256 / 60) < 110


def test_mne_reads_the_night_back(tmp_path: Path) -> None:
    night = simulate_night("S0011", seed=1, hours=0.5)
    recording, annotations = tmp_path / "a.edf", tmp_path / "a-annotations.edf"
    write_night(night, recording=recording, annotations=annotations)
    raw = mne.io.read_raw_edf(recording, include=["EEG C4-M1", "EOG E1-M2"], verbose="error")
    assert raw.info["sfreq"] == 128.0
    step_uv = 2000 / 65535
    np.testing.assert_allclose(
        1e6 * raw.get_data(picks=["EEG C4-M1"])[0], night.signals[0].samples, atol=step_uv
    )
    read = mne.read_annotations(annotations)
    stages = np.full(len(night.stages), -1)
    names = ["W", "N1", "N2", "N3", "R"]
    events = []
    for onset, duration, text in zip(read.onset, read.duration, read.description, strict=True):
        if text.startswith("Sleep stage "):
            first = round(onset / 30)
            stages[first : first + round(duration / 30)] = names.index(text.split()[-1])
        else:
            events.append((round(float(onset), 2), round(float(duration), 2), str(text)))
    np.testing.assert_array_equal(stages, night.stages)
    assert sorted(events) == night.events


def test_the_night_that_models_are_judged_on_is_no_source() -> None:
    fit = runpy.run_path(str(ROOT / "benchmarks" / "fit_simulation.py"))
    assert fit["HELD_OUT"] == "ucddb018"
    names = ["ucddb017", "ucddb018", "ucddb018.edf", "ucddb/ucddb018_stage.txt", "ucddb019.edf"]
    assert fit["select_recordings"](names) == ["ucddb017", "ucddb019.edf"]


def test_tables_have_no_spectrum_of_a_stage_only_the_held_out_night_holds() -> None:
    with (TABLES / "eeg_spectrum.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    recordings = {row["stage"]: int(row["recordings"]) for row in rows}
    assert recordings == {"W": 23, "N1": 0, "N2": 0, "N3": 21, "R": 0}
    for path in [*TABLES.glob("*.tsv"), *TABLES.glob("*.py")]:
        assert "ucddb018" not in path.read_text(), path.name


@pytest.mark.parametrize("position", [(0.7, 0.6), (0.45, 0.3)])
def test_derived_spectra_have_the_wanted_widths(position: tuple[float, float]) -> None:
    fit = runpy.run_path(str(ROOT / "benchmarks" / "fit_simulation.py"))
    frequencies = np.arange(0.5, 45, 0.5)
    wake, deep = 1 - np.log10(frequencies), 3 - 2.2 * np.log10(frequencies)
    derived = fit["derive_spectrum"](frequencies, wake, deep, np.array(position))
    low, found, high = (fit["compute_widths"](frequencies, p) for p in (deep, derived, wake))
    np.testing.assert_allclose((found - low) / (high - low), position, atol=1e-6)
