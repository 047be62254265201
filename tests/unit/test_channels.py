"""The channels of a recording: chosen, derived, converted, placed, flagged, and left out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.recordings import noise, sine

from somnoflow.config.dataset import Reading
from somnoflow.config.signals import Signals
from somnoflow.data.channels import Channels, read_channels
from somnoflow.data.cohort import CHANNEL_COLUMNS
from somnoflow.io.rejection import Rejection
from somnoflow.io.source import Segment, SourceRecording, SourceSignal
from somnoflow.signals.channels import STORAGE
from somnoflow.signals.epochs import Grid
from somnoflow.signals.quality import Flag

UNFILTERED = Signals(channels=["EEG_C4"], filters={})
EEG = Signals(channels=["EEG_C4"])


def signal(
    *pieces: np.ndarray, label: str = "EEG", rate: float = 100, unit: str = "uV",
    reach: float = 1000.0, step: float | None = None,
) -> SourceSignal:  # fmt: skip
    return SourceSignal(
        label=label,
        unit=unit,
        sampling_rate=rate,
        limits=(-reach, reach),
        step=reach / 32768 if step is None else step,
        physical=lambda: tuple(piece.astype(np.float32) for piece in pieces),
    )


def read(
    *signals: SourceSignal,
    channels: Mapping[str, Any] | None = None,
    config: Signals = EEG,
    segments: Sequence[tuple[float, float]] = ((0, 300),),
    grid: Grid | None = None,
    **reading: Any,
) -> Channels:
    end = segments[-1][0] + segments[-1][1]
    return read_channels(
        SourceRecording(
            path=Path("n1.edf"),
            start=None,
            seconds=end,
            signals=signals,
            segments=tuple(Segment(*segment) for segment in segments),
            notes=(),
        ),
        reading=Reading(channels={"EEG": "EEG_C4"} if channels is None else channels, **reading),
        signals=config,
        grid=grid or Grid(onset=0.0, epochs=int(end // 30)),
    )


def physical(found: Channels, channel: str = "EEG_C4") -> np.ndarray:
    epochs = found.epochs[channel]
    assert epochs.samples is not None
    return epochs.samples.astype(np.float64) * epochs.scale


def row(found: Channels, channel: str = "EEG_C4") -> Mapping[str, Any]:
    return next(row for row in found.rows if row["channel"] == channel)


def test_rows_have_the_columns_of_the_table() -> None:
    found = read(
        signal(noise(rate=100, seconds=300)), signal(noise(rate=1, seconds=300), label="X")
    )
    for one in found.rows:
        assert ("dataset", "recording", *one) == CHANNEL_COLUMNS


# Where epochs lie in the recording


@pytest.mark.parametrize("rate", [100, 128, 50])
@pytest.mark.parametrize(
    "grid", [Grid(0, 10), Grid(7, 9), Grid(0, 4, first=3), Grid(7.25, 2, first=5)]
)
def test_epochs_begin_where_the_grid_says(rate: int, grid: Grid) -> None:
    # A chirp is like itself nowhere else.
    time = np.arange(300 * rate) / rate
    chirp = 50 * np.sin(2 * np.pi * (1 + time / 60) * time)
    wanted_times = grid.onset + 30 * grid.first + np.arange(grid.epochs * 3000) / 100
    wanted = 50 * np.sin(2 * np.pi * (1 + wanted_times / 60) * wanted_times)
    found = physical(read(signal(chirp, rate=rate), config=UNFILTERED, grid=grid))
    inner = slice(50, -50)
    np.testing.assert_allclose(found.reshape(-1)[inner], wanted[inner], atol=0.5)


def test_the_whole_recording_is_filtered_before_it_is_cut() -> None:
    samples = noise(rate=100, seconds=300) + np.linspace(0, 500, 30000)
    whole = physical(read(signal(samples)))
    part = physical(read(signal(samples), grid=Grid(0, 3, first=4)))
    np.testing.assert_array_equal(part, whole[4:7])


def test_flags_belong_to_the_shifted_epochs() -> None:
    samples = noise(rate=100, seconds=300)
    samples[3700:6700] = 0
    found = read(signal(samples), grid=Grid(7, 9))
    assert found.epochs["EEG_C4"].quality.tolist() == [0, Flag.FLAT | Flag.ZERO, *[0] * 7]


def test_epochs_that_touch_a_gap_are_missing() -> None:
    pieces = [
        sine(hertz=10, rate=100, seconds=95), sine(hertz=10, rate=100, seconds=20),
        sine(hertz=10, rate=100, seconds=80),
    ]  # fmt: skip
    found = read(signal(*pieces), segments=[(0, 95), (100, 20), (220, 80)])
    missing = Flag.MISSING
    assert found.epochs["EEG_C4"].quality.tolist() == [
        0, 0, 0, *[missing] * 5, 0, 0,
    ]  # fmt: skip
    assert (row(found)["missing"], row(found)["epochs"]) == (5, 10)
    samples = physical(found)
    assert not samples[3:8].any()
    np.testing.assert_allclose(samples[1], sine(hertz=10, rate=100, seconds=30), atol=0.5)
    # The third segment begins 20 s before its first whole epoch.
    np.testing.assert_allclose(samples[8, 100:], pieces[2][2000:5000][100:], atol=0.5)


def test_segments_are_filtered_each_by_itself() -> None:
    first, second = noise(rate=100, seconds=90), 500 + noise(rate=100, seconds=90, seed=1)
    both = physical(read(signal(first, second), segments=[(0, 90), (120, 90)]))
    alone = physical(read(signal(second), segments=[(0, 90)]))
    np.testing.assert_array_equal(both[4:7], alone)


def test_gaps_that_leave_no_whole_epoch_leave_no_channel() -> None:
    pieces = [noise(rate=100, seconds=20)] * 2
    with pytest.raises(Rejection) as caught:
        read(signal(*pieces), segments=[(0, 20), (40, 20)])
    assert "no whole epoch: found 2 stretches between gaps" in caught.value.found


def test_a_signal_that_is_shorter_than_its_header_says_is_not_used() -> None:
    with pytest.raises(Rejection) as caught:
        read(signal(noise(rate=100, seconds=200)))
    assert "signal shorter than the recording: found 20000 samples" in caught.value.found


@pytest.mark.parametrize(
    ("rate", "seconds"), [(128, 300), (256, 330), (50, 300), (100.02, 500), (250.3, 300), (3, 300)]
)
def test_other_rates_give_every_epoch(rate: float, seconds: float) -> None:
    samples = noise(rate=rate, seconds=seconds)
    config = Signals(channels=["EEG_C4"], filters={})
    found = read(signal(samples, rate=rate), segments=[(0, seconds)], config=config)
    assert row(found)["problem"] == ""
    epochs = found.epochs["EEG_C4"]
    assert epochs.samples is not None
    assert epochs.samples.shape == (seconds // 30, 3000)
    assert epochs.quality.tolist() == [0] * int(seconds // 30)


# Which signal is a channel


def test_the_first_label_of_the_dataset_wins_and_namesakes_are_noted() -> None:
    found = read(
        signal(sine(hertz=5, rate=100, seconds=300), label="C4"),
        signal(sine(hertz=10, rate=100, seconds=300), label="C4-M1"),
        signal(sine(hertz=20, rate=100, seconds=300), label="C4-M1"),
        channels={"C4-M1": "EEG_C4", "C4": "EEG_C4"},
    )
    spectrum = np.abs(np.fft.rfft(physical(found)[5]))
    assert spectrum.argmax() / 30 == pytest.approx(10)
    assert found.remarks == ["EEG_C4: 2 signals are called 'C4-M1'; the first is taken"]
    assert row(found)["remark"] == "2 signals are called 'C4-M1'; the first is taken"
    unused = [(one["source"], one["remark"]) for one in found.rows if not one["channel"]]
    assert unused == [("C4", "not used"), ("C4-M1", "not used")]


def test_a_derivation_is_the_difference_of_the_signals_as_recorded() -> None:
    brain, mains = sine(hertz=10, rate=200, seconds=300), sine(hertz=0.1, rate=200, seconds=300)
    found = read(
        signal(brain + mains, label="C4", rate=200),
        signal(mains / 1000, label="A1", rate=200, unit="mV", reach=1),
        signal(mains, label="A2", rate=200),
        channels={"C4": "C4", "A1": "M1", "A2": "M2"},
        config=UNFILTERED,
    )
    np.testing.assert_allclose(
        physical(found)[5], sine(hertz=10, rate=100, seconds=30), atol=0.1
    )  # fmt: skip
    assert (row(found)["source"], row(found)["unit"]) == ("C4-A1", "uV, mV")
    assert found.remarks == []
    assert [one["source"] for one in found.rows if not one["channel"]] == ["A2"]


def test_a_recorded_channel_comes_before_its_derivation() -> None:
    found = read(
        signal(noise(rate=100, seconds=300), label="C4"),
        signal(noise(rate=100, seconds=300, seed=1), label="M1"),
        signal(sine(hertz=10, rate=100, seconds=300), label="C4-M1"),
        channels={"C4": "C4", "M1": "M1", "C4-M1": "EEG_C4"},
    )
    assert row(found)["source"] == "C4-M1"
    np.testing.assert_allclose(physical(found)[5], sine(hertz=10, rate=100, seconds=30), atol=0.5)


def test_the_other_mastoid_is_taken_with_a_remark() -> None:
    found = read(
        signal(noise(rate=100, seconds=300), label="C4"),
        signal(noise(rate=100, seconds=300, seed=1), label="M2"),
        channels={"C4": "C4", "M1": "M1", "M2": "M2"},
    )
    assert row(found)["source"] == "C4-M2"
    assert found.remarks == ["EEG_C4: derived as C4-M2: C4-M1 is not there"]


@pytest.mark.parametrize(
    ("reference", "reason"),
    [({"rate": 50}, "electrodes of unequal sampling rates: found C4 at 100 Hz, M1 at 50 Hz"),
     ({"unit": "bar"}, "electrodes of unequal units: found C4 in 'uV', M1 in 'bar'"),
     ({"label": "Oz"}, "the recording has C4 without a reference, wanted M1 or M2")],
)  # fmt: skip
def test_electrodes_that_cannot_be_subtracted_are_no_channel(
    reference: dict[str, Any], reason: str
) -> None:
    rate = reference.get("rate", 100)
    found = read(
        signal(noise(rate=100, seconds=300), label="C4"),
        signal(noise(rate=rate, seconds=300, seed=1), **({"label": "M1"} | reference)),
        signal(noise(rate=100, seconds=300), label="EOG"),
        channels={"C4": "C4", "M1": "M1", "Oz": "Oz", "EOG": "EOG_L"},
        config=Signals(channels=["EEG_C4", "EOG_L"]),
    )
    assert row(found)["problem"].startswith(reason)
    assert found.epochs["EEG_C4"].samples is None


def test_a_derivation_is_as_bad_as_its_electrodes() -> None:
    active, reference = noise(rate=100, seconds=300), noise(rate=100, seconds=300, seed=1)
    active[3000:6000] = 7
    reference[9000:12000] = 1000
    reference[15000:18000] = 0
    found = read(
        signal(active, label="C4"),
        signal(reference, label="M1"),
        channels={"C4": "C4", "M1": "M1"},
        config=UNFILTERED,
    )
    flat, zero = Flag.FLAT, Flag.FLAT | Flag.ZERO
    assert found.epochs["EEG_C4"].quality.tolist() == [
        0, flat, 0, flat, 0, zero, 0, 0, 0, 0,
    ]  # fmt: skip


def test_a_reference_that_is_flat_all_night_is_the_recorders_own() -> None:
    samples = sine(hertz=10, rate=100, seconds=300)
    found = read(
        signal(samples, label="C4"),
        signal(np.zeros(30000), label="M1"),
        channels={"C4": "C4", "M1": "M1"},
    )
    assert found.epochs["EEG_C4"].quality.tolist() == [0] * 10
    assert found.remarks == ["EEG_C4: the reference is flat all night; taken as the recorder's own"]


def test_labels_are_guessed_only_where_that_is_asked_for() -> None:
    signals = [signal(noise(rate=100, seconds=300), label=label) for label in ("C4-A1", "C4-M1")]
    with pytest.raises(Rejection, match="no usable channel"):
        read(*signals, channels={})
    found = read(*signals, channels={}, guess_channels=True)
    assert row(found)["source"] == "C4-A1"
    assert row(found)["remark"].startswith("guessed from the label; 'C4-A1', 'C4-M1' look like")
    assert found.remarks[0] == "guessed from labels: EEG_C4"
    named = read(*signals, channels={"C4-M1": "EEG_C4"}, guess_channels=True)
    assert (row(named)["source"], named.remarks) == ("C4-M1", [])


def test_guessed_electrodes_are_derived() -> None:
    signals = [signal(noise(rate=100, seconds=300, seed=n), label=name)
               for n, name in enumerate(("EEG C4", "EEG A1"))]  # fmt: skip
    found = read(*signals, channels={}, guess_channels=True)
    assert row(found)["source"] == "EEG C4-EEG A1"


def test_missing_channels_carry_their_reasons() -> None:
    found = read(
        signal(noise(rate=100, seconds=300)),
        signal(noise(rate=1, seconds=300), label="EMG", rate=1),
        signal(noise(rate=100, seconds=300), label="Eye", unit="%"),
        config=Signals(channels=["EEG_C4", "EEG_C3", "ECG", "EMG_CHIN", "EOG_L"]),
        channels={"EEG": "EEG_C4", "C3": "EEG_C3", "C3-M2": "EEG_C3", "EMG": "EMG_CHIN",
                  "Eye": "EOG_L"},
    )  # fmt: skip
    reasons = {one["channel"]: one["problem"] for one in found.rows}
    assert reasons["EEG_C4"] == ""
    assert reasons["EEG_C3"] == "the recording has none of: C3, C3-M2"
    assert reasons["ECG"] == "the dataset has no label for this channel"
    assert "sampling rate too low: found 1 Hz, wanted at least 74 Hz" in reasons["EMG_CHIN"]
    assert "unit not usable: found '%'" in reasons["EOG_L"]
    for channel in ("EEG_C3", "ECG", "EMG_CHIN", "EOG_L"):
        epochs = found.epochs[channel]
        assert epochs.samples is None
        assert epochs.quality.tolist() == [Flag.MISSING] * 10


def test_no_channel_at_all_rejects_and_names_what_there_is() -> None:
    signals = [signal(noise(rate=100, seconds=300), label=label) for label in ("Cz", "Oz")]
    with pytest.raises(Rejection) as caught:
        read(*signals)
    assert caught.value.found.startswith("Cz, Oz")
    assert caught.value.wanted == "EEG_C4 under one of: EEG"


# Units


@pytest.mark.parametrize(("unit", "factor"), [("uV", 1.0), ("mV", 1e-3), ("V", 1e-6), ("nV", 1e3)])
def test_units_of_the_header_end_in_the_same_microvolts(unit: str, factor: float) -> None:
    samples = sine(hertz=10, rate=100, seconds=300)
    found = read(signal(samples * factor, unit=unit, reach=1000 * factor))
    wanted = samples.reshape(10, 3000)[2:8]
    np.testing.assert_allclose(physical(found)[2:8], wanted, atol=0.5)
    assert found.remarks == []
    assert found.epochs["EEG_C4"].quality.tolist() == [0] * 10


@pytest.mark.parametrize(("name", "factor"), [("uV", 1.0), ("mV", 1e-3), ("V", 1e-6)])
def test_a_unit_that_is_not_told_is_found_by_the_amplitude(name: str, factor: float) -> None:
    samples = sine(hertz=10, rate=100, seconds=300)
    samples[3000:21000] = 0  # zero lines say nothing about a unit
    found = read(signal(samples * factor, unit="", reach=1000 * factor))
    np.testing.assert_allclose(physical(found)[8], samples[24000:27000], atol=0.5)
    assert found.remarks == [f"EEG_C4: unit '' taken as {name}: typical amplitude 43.5 uV"]
    zero = Flag.FLAT | Flag.ZERO
    assert found.epochs["EEG_C4"].quality.tolist() == [0, *[zero] * 6, 0, 0, 0]


def test_a_unit_that_no_amplitude_tells_is_not_guessed() -> None:
    with pytest.raises(Rejection) as caught:
        read(signal(500 * noise(rate=100, seconds=300), unit="ADC", reach=50000))
    assert "unit not usable: found 'ADC' with a typical amplitude of 8.8" in caught.value.found
    assert "Say the true unit under `units`" in caught.value.found


def test_a_declared_unit_stays_and_a_doubtful_one_is_noted() -> None:
    samples = sine(hertz=10, rate=100, seconds=300)
    doubtful = read(signal(samples, unit="mV"))
    assert any(
        "typical amplitude 4.35e+04 uV, wanted 1.5 to 120" in one for one in doubtful.remarks
    )
    assert any("lies beyond 1638 uV" in one for one in doubtful.remarks)
    assert row(doubtful)["amplitude"] == "4.348e+04"
    right = read(signal(samples, unit="mV"), units={"EEG": "uV"})
    assert right.remarks == []
    assert physical(right)[5].std() == pytest.approx(50 / np.sqrt(2), rel=0.01)


def test_a_channel_that_is_silent_all_night_is_noted() -> None:
    found = read(signal(np.full(30000, 7.0), unit="mV"))
    assert found.remarks == ["EEG_C4: no epoch with a signal"]
    assert row(found)["flat"] == 10


def test_an_arbitrary_unit_gets_a_scale_of_the_recording() -> None:
    found = read(
        signal(sine(hertz=0.25, rate=10, seconds=300, amplitude=0.003), label="Flow", rate=10,
               unit="V/s", reach=0.01),
        config=Signals(channels=["AIRFLOW"]), channels={"Flow": "AIRFLOW"},
    )  # fmt: skip
    samples = found.epochs["AIRFLOW"].samples
    assert samples is not None
    assert 5000 < np.abs(samples[3:7]).max() < 10000
    assert np.abs(physical(found, "AIRFLOW")[3:7]).max() == pytest.approx(0.003, rel=0.02)


# Quality


def test_each_flag_is_counted() -> None:
    samples = noise(rate=200, seconds=900)
    epochs = samples.reshape(30, 6000)
    epochs[1] = 0
    epochs[2] = 13
    epochs[3, :400] = 1000
    epochs[4] *= 20
    epochs[5] += sine(hertz=50, rate=200, seconds=30, amplitude=60)
    epochs[10:] = sine(hertz=60, rate=200, seconds=600, amplitude=300).reshape(20, 6000)
    found = read(signal(samples, rate=200), segments=[(0, 900)], config=UNFILTERED)
    quality = found.epochs["EEG_C4"].quality.tolist()
    line = Flag.LINE_NOISE | Flag.DISCONNECTED
    assert quality[:6] == [
        0, Flag.FLAT | Flag.ZERO, Flag.FLAT, Flag.CLIPPED, Flag.OUT_OF_RANGE, Flag.LINE_NOISE,
    ]  # fmt: skip
    assert quality[6:10] == [0] * 4
    assert {value & line for value in quality[10:]} == {line}
    counts = {name: row(found)[name] for name in (
        "missing", "zero", "flat", "clipped", "line_noise", "disconnected")}  # fmt: skip
    assert counts == {
        "missing": 0, "zero": 1, "flat": 2, "clipped": 1, "line_noise": 21, "disconnected": 20,
    }  # fmt: skip


def test_line_noise_is_not_counted_where_the_rate_hides_it() -> None:
    assert row(read(signal(noise(rate=100, seconds=300))))["line_noise"] == ""
    assert row(read(signal(noise(rate=104, seconds=300), rate=104)))["line_noise"] == 0


def test_oxygen_is_held_and_of_constant_values_only_a_zero_line_is_bad() -> None:
    oxygen = np.repeat([97.0, 0.0, 92.0, 30.0] + [100.0] * 6, 30)
    found = read(
        signal(oxygen, label="SpO2", rate=1, unit="%", reach=100),
        config=Signals(channels=["SPO2"]), channels={"SpO2": "SPO2"},
    )  # fmt: skip
    values = physical(found, "SPO2")
    np.testing.assert_allclose(values[:, 0], oxygen[::30], atol=0.01)
    assert (values == values[:, :1]).all()
    assert found.epochs["SPO2"].quality.tolist() == [
        0, Flag.FLAT | Flag.ZERO, 0, Flag.OUT_OF_RANGE, *[0] * 6,
    ]  # fmt: skip
    assert STORAGE["SPO2"].scale == found.epochs["SPO2"].scale
    assert (row(found, "SPO2")["amplitude"], found.remarks) == ("100", [])


def test_oxygen_as_a_share_is_noted() -> None:
    found = read(
        signal(np.full(300, 0.96), label="SpO2", rate=1, unit="", reach=1),
        config=Signals(channels=["SPO2"]), channels={"SpO2": "SPO2"},
    )  # fmt: skip
    assert "typical amplitude 0.96 %, wanted 60 to 101" in found.remarks[0]


def test_a_channel_without_spread_is_told() -> None:
    rare = np.where(np.arange(30_000) % 10 == 0, 50.0, 0.0)
    found = read(signal(rare), config=UNFILTERED)
    assert row(found)["amplitude"] == "0"
    assert found.remarks == ["EEG_C4: no spread to scale it by, so it is not used for training"]
