"""EDF is read as it is, or refused with the reason; a header is not believed blindly."""

import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import edfio
import mne
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recordings import (
    START,
    HeaderSignal,
    make_signal,
    noise,
    patch,
    ramp,
    sine,
    write_by_hand,
    write_clocked,
    write_recording,
    write_scoring,
)

from somnoflow.io.edf import open_recording, read_annotations
from somnoflow.io.edf_tal import STAMP_BYTES, read_stamps, read_tals
from somnoflow.io.rejection import Rejection
from somnoflow.io.source import Segment, SourceSignal

START_DATE, START_TIME, HEADER_BYTES, RECORDS, RECORD_SECONDS, SIGNALS = (
    168,
    176,
    184,
    236,
    244,
    252,
)


def two_signals() -> list[edfio.EdfSignal]:
    return [
        make_signal(sine(hertz=3, rate=100, seconds=60), label="EEG C4"),
        make_signal(noise(rate=10, seconds=60), label="Flow", rate=10, unit=""),
    ]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_recording(tmp_path / "night.edf", two_signals(), record_seconds=1)


def samples_of(signal: SourceSignal) -> np.ndarray:
    """Give the samples of a signal of a recording without gaps."""
    (samples,) = signal.physical()
    assert samples.dtype == np.float32
    return samples


def refused(path: Path) -> Rejection:
    with pytest.raises(Rejection) as caught:
        open_recording(path)
    rejection = caught.value
    assert all(rejection.row().values()), "found, wanted and advice must all say something"
    return rejection


def test_signals_labels_units_and_start_are_read(recording: Path) -> None:
    source = open_recording(recording)
    assert source.start == START
    assert source.seconds == 60
    assert [(signal.label, signal.unit, signal.sampling_rate) for signal in source.signals] == [
        ("EEG C4", "uV", 100),
        ("Flow", "", 10),
    ]
    eeg = source.signals[0]
    np.testing.assert_allclose(
        samples_of(eeg), sine(hertz=3, rate=100, seconds=60), atol=0.5001 * eeg.step
    )
    assert eeg.limits == (-1000, 1000)
    assert eeg.step == pytest.approx(2000 / 65535)


@pytest.mark.parametrize(
    ("spoil", "problem", "said"),
    [
        pytest.param(lambda p: p.write_bytes(b""), "empty file", "0 bytes", id="empty"),
        pytest.param(
            lambda p: p.write_text("onset\tduration\n" * 99), "not an EDF file", "onset", id="text"
        ),
        pytest.param(
            lambda p: p.write_bytes(p.read_bytes()[:100]), "not an EDF file", "100 bytes",
            id="in the fixed header",
        ),
        pytest.param(
            lambda p: p.write_bytes(p.read_bytes()[:500]), "truncated file", "500 bytes",
            id="in the signal headers",
        ),
        pytest.param(
            lambda p: p.write_bytes(p.read_bytes()[:-1]), "truncated file", "bytes",
            id="last byte missing",
        ),
        pytest.param(
            lambda p: p.write_bytes(p.read_bytes() + bytes(220)), "longer than its header says",
            "61 data records", id="a record too much",
        ),
        pytest.param(lambda p: patch(p, RECORDS, b"0", width=8), "no data", "0 data", id="no data"),
        pytest.param(
            lambda p: patch(p, RECORDS, b"-1", width=8), "no data", "-1 data", id="not closed"
        ),
        pytest.param(
            lambda p: patch(p, RECORDS, b"59", width=8), "longer than its header says", "60 data",
            id="fewer records than there are",
        ),
        pytest.param(
            lambda p: patch(p, RECORDS, b"6x", width=8), "damaged EDF header", "6x",
            id="records no number",
        ),
        pytest.param(
            lambda p: patch(p, HEADER_BYTES, b"512", width=8), "damaged EDF header", "512",
            id="header bytes",
        ),
        pytest.param(
            lambda p: patch(p, SIGNALS, b"0", width=4), "damaged EDF header", "signals is 0",
            id="no signals",
        ),
        pytest.param(
            lambda p: patch(p, SIGNALS, b"-1", width=4), "damaged EDF header", "signals is -1",
            id="signals -1",
        ),
        pytest.param(
            lambda p: patch(p, RECORD_SECONDS, b"0", width=8), "damaged EDF header", "0 seconds",
            id="records of no time",
        ),
        pytest.param(
            lambda p: patch(p, RECORD_SECONDS, b"nan", width=8), "damaged EDF header", "nan",
            id="records of nan",
        ),
        pytest.param(
            lambda p: patch(p, RECORD_SECONDS, b"-1", width=8), "damaged EDF header", "-1",
            id="records backwards",
        ),
        pytest.param(
            lambda p: patch(p, 256 + 2 * 216, b"-5", width=8), "damaged EDF header", "is -5",
            id="samples per record",
        ),
    ],
)  # fmt: skip
def test_a_spoilt_file_is_refused_with_the_reason(
    recording: Path, spoil: Callable[[Path], object], problem: str, said: str
) -> None:
    spoil(recording)
    rejection = refused(recording)
    assert rejection.problem == problem
    assert said in rejection.found


@pytest.mark.parametrize("cut", [0, 1, 8, 255, 256, 257, 700, 767, 768, 769, 5000])
def test_no_truncation_ends_in_a_traceback(recording: Path, cut: int) -> None:
    recording.write_bytes(recording.read_bytes()[:cut])
    refused(recording)


def test_random_damage_of_the_header_is_refused_or_read_but_never_a_traceback(
    recording: Path,
) -> None:
    whole = recording.read_bytes()
    rng = np.random.default_rng(4)
    read = 0
    for _ in range(300):
        content = bytearray(whole)
        for at in rng.integers(0, 768, 3):
            content[at] = rng.integers(0, 256)
        recording.write_bytes(content)
        try:
            source = open_recording(recording)
            for signal in source.signals:
                signal.physical()
        except Rejection:
            continue
        read += 1
        assert source.seconds > 0
    assert 0 < read < 300


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "nothing.edf").problem == "cannot be opened"
    assert refused(tmp_path).problem == "cannot be opened"


@pytest.fixture
def locked(recording: Path) -> Path:
    recording.chmod(0)
    return recording


@pytest.mark.usefixtures("locked", "common_user")
def test_an_unreadable_file_is_refused(recording: Path) -> None:
    assert refused(recording).problem == "cannot be opened"


def test_less_than_a_record_of_junk_after_the_data_is_ignored(recording: Path) -> None:
    before = samples_of(open_recording(recording).signals[0])
    recording.write_bytes(recording.read_bytes() + b"\x7f" * 219)
    source = open_recording(recording)
    assert source.seconds == 60
    assert source.notes == ("219 bytes after the last data record ignored",)
    np.testing.assert_array_equal(samples_of(source.signals[0]), before)


def test_record_durations_that_floats_cannot_hold_lose_no_epoch(tmp_path: Path) -> None:
    seconds, records = 0.072, 6250
    assert seconds * records < 450, "the product must be a little too small for this test"
    signal = make_signal(noise(rate=125, seconds=450), rate=125)
    path = write_recording(tmp_path / "night.edf", [signal], record_seconds=seconds)
    assert open_recording(path).seconds == 450


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("EDF+D", ("2 gaps, 64 s in all",)),
        ("", ("2 gaps, 64 s in all",)),
        (
            "EDF+C",
            ("2 gaps, 64 s in all", "the header calls the recording EDF+C, without gaps"),
        ),
    ],
)
def test_gaps_are_segments_by_the_clock_and_not_by_the_name(
    tmp_path: Path, name: str, notes: tuple[str, ...]
) -> None:
    path = write_clocked(tmp_path / "gap.edf", ["+0", "+1", "+61", "+67", "+68"], reserved=name)
    source = open_recording(path)
    assert source.segments == (Segment(0, 2), Segment(61, 1), Segment(67, 2))
    assert source.seconds == 69
    assert source.notes == notes
    (signal,) = source.signals
    parts = signal.physical()
    assert [len(part) for part in parts] == [200, 100, 200]
    (whole,) = edfio.read_edf(path).signals
    np.testing.assert_allclose(np.concatenate(parts), whole.data, atol=signal.step / 100)


def test_an_edf_plus_d_without_a_gap_is_one_segment(tmp_path: Path) -> None:
    source = open_recording(write_clocked(tmp_path / "whole.edf", ["+0", "+1", "+2"]))
    assert source.segments == (Segment(0, 3),)
    assert source.notes == ()
    assert [signal.label for signal in source.signals] == ["EEG"]


@pytest.mark.parametrize(
    ("onsets", "seconds"),
    [(["+0", "+0.333", "+0.667", "+1"], "0.333333"), (["+0", "+1.0005", "+1.9995", "+3"], "1")],
)
def test_a_clock_rounded_to_milliseconds_has_no_gaps(
    tmp_path: Path, onsets: list[str], seconds: str
) -> None:
    path = write_clocked(tmp_path / "night.edf", onsets, record_seconds=seconds)
    assert len(open_recording(path).segments) == 1


@pytest.mark.parametrize("late", ["+0.9", "+0", "-1"])
def test_a_clock_that_runs_backwards_is_refused(tmp_path: Path, late: str) -> None:
    rejection = refused(write_clocked(tmp_path / "night.edf", ["+0", late, "+2"]))
    assert rejection.problem == "the clock of the data records runs backwards"
    assert "data record 2" in rejection.found


def test_a_drifting_clock_is_noted_and_refused_from_half_an_epoch_on(tmp_path: Path) -> None:
    onsets = [f"+{1.0005 * number:.4f}" for number in range(60)]
    (note,) = open_recording(write_clocked(tmp_path / "night.edf", onsets)).notes
    assert note == "the clock departs from the sampling by up to 0.0295 s"
    onsets = [f"+{1.0009 * number:.4f}" for number in range(17_000)]
    rejection = refused(write_clocked(tmp_path / "night.edf", onsets))
    assert rejection.problem == "the clock of the data records departs from the sampling"


def test_segments_do_not_overlap_where_the_clock_is_slow(tmp_path: Path) -> None:
    onsets = [f"+{0.9995 * number:.4f}" for number in range(60)] + ["+59.9750", "+60.9750"]
    source = open_recording(write_clocked(tmp_path / "night.edf", onsets))
    assert source.segments == (Segment(0, 60), Segment(60, 2))


@pytest.mark.parametrize(
    "stamp",
    [
        b"????\x14\x14",
        b"+1\x14",
        b"",
        b"+1e0\x14\x14",
        b"+1.\x15\x14",
        b"+1.0.0\x14\x14",
        b"+.9\x14\x14",
    ],
)
def test_a_data_record_without_its_time_is_refused(tmp_path: Path, stamp: bytes) -> None:
    stamps = [b"+0\x14\x14\0", stamp, b"+2\x14\x14\0"]
    signal = HeaderSignal(ramp(3, 100))
    rejection = refused(write_by_hand(tmp_path / "night.edf", [signal], stamps=stamps))
    assert rejection.problem == "damaged EDF header"
    assert "data record 2" in rejection.found


def test_gaps_at_unknown_times_are_refused(tmp_path: Path) -> None:
    signal = HeaderSignal(ramp(3, 100))
    path = write_by_hand(tmp_path / "night.edf", [signal], reserved="EDF+D")
    assert refused(path).problem == "gaps at unknown times"


def test_the_first_clock_is_added_to_the_start(tmp_path: Path) -> None:
    half = open_recording(write_clocked(tmp_path / "half.edf", ["+0.5", "+1.5"]))
    assert half.start == START + timedelta(seconds=0.5)
    assert half.segments == (Segment(0, 2),)
    assert half.notes == ()
    late = open_recording(write_clocked(tmp_path / "late.edf", ["+3600", "+3601"]))
    assert late.start == START + timedelta(hours=1)
    assert late.notes == ("first data record begins 3600 s after the start in the header",)
    assert "-0.5 s" in refused(write_clocked(tmp_path / "before.edf", ["-0.5", "+0.5"])).found


@given(
    onsets=st.lists(
        st.decimals(min_value=-10, max_value=10**6, places=6, allow_nan=False), min_size=1
    )
)
@settings(derandomize=True, deadline=None, max_examples=30)
def test_clocks_are_read_as_annotations_are(onsets: list[Decimal]) -> None:
    stamps = [f"{onset:f}\x14\x14\0".encode() for onset in onsets]
    records = np.array([list(stamp.ljust(STAMP_BYTES, b"\0")) for stamp in stamps], np.uint8)
    singly = [read_tals(stamp)[0].onset for stamp in stamps]
    np.testing.assert_array_equal(read_stamps(records), singly)


@pytest.mark.parametrize(
    ("text", "samples", "rate", "seconds"),
    [
        ("0.333333", 85, 255, 30),  # 1/3 s
        ("0.123333", 37, 300, 11.1),  # 37/300 s
        ("10.66667", 4096, 384, 960),  # 32/3 s
        ("1.000000", 256, 256, 90),
        ("0.999985", 200, 200 / 0.999985, 89.99865),  # measured; the field is full by chance
        ("0.3333", 85, 85 / 0.3333, 29.997),  # could be meant
        ("0,5", 50, 100, 45),
    ],
)
def test_a_duration_that_was_cut_off_is_the_fraction_it_stands_for(
    tmp_path: Path, text: str, samples: int, rate: float, seconds: float
) -> None:
    signal = HeaderSignal(ramp(90, samples))
    source = open_recording(write_by_hand(tmp_path / "night.edf", [signal], record_seconds=text))
    assert source.signals[0].sampling_rate == pytest.approx(rate, rel=1e-6)
    assert source.seconds == pytest.approx(seconds, abs=5e-5)


def test_samples_are_those_of_edfio_and_mne(recording: Path) -> None:
    edfs = edfio.read_edf(recording).signals
    raw = mne.io.read_raw_edf(recording, include=["EEG C4"], verbose="ERROR")
    source = open_recording(recording)
    for signal, wanted in zip(source.signals, edfs, strict=True):
        np.testing.assert_allclose(samples_of(signal), wanted.data, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(
        samples_of(source.signals[0]), 1e6 * raw.get_data()[0], rtol=1e-6, atol=1e-4
    )


def test_samples_of_a_bdf_are_those_of_mne(tmp_path: Path) -> None:
    reach = ("-8388608", "8388607")
    eeg = HeaderSignal(
        ramp(3, 100, least=-8388608, largest=8388607),
        label="C4", physical=("-262144", "262143"), limits=reach,
    )  # fmt: skip
    status = HeaderSignal(ramp(3, 100), label="Status", unit="Boolean", limits=reach)
    path = write_by_hand(tmp_path / "night.bdf", [eeg, status], family="BDF")
    source = open_recording(path)
    (signal,) = source.signals
    assert (signal.label, signal.unit, signal.limits) == ("C4", "uV", (-262144, 262143))
    raw = mne.io.read_raw_bdf(path, verbose="ERROR")
    np.testing.assert_allclose(samples_of(signal), 1e6 * raw.get_data(picks=["C4"])[0], rtol=1e-6)
    path.write_bytes(path.read_bytes()[:-1])
    assert refused(path).problem == "truncated file"


def test_a_file_that_shrinks_after_it_was_opened_is_refused(recording: Path) -> None:
    signal = open_recording(recording).signals[0]
    recording.write_bytes(recording.read_bytes()[:-5000])
    with pytest.raises(Rejection, match="became shorter"):
        signal.physical()
    recording.unlink()
    with pytest.raises(Rejection, match="cannot be opened"):
        signal.physical()


@pytest.mark.parametrize(
    ("physical", "limits", "wanted"),
    [
        pytest.param(("100", "-100"), ("-100", "100"), [100, 0, -100], id="turned round"),
        pytest.param(("-100", "100"), ("-100", "100"), [-100, 0, 100], id="plain"),
        pytest.param(("-1,5", "1,5"), ("-100", "100"), [-1.5, 0, 1.5], id="decimal comma"),
        pytest.param(("-32768", "32768"), ("-32768", "32768"), [-100, 0, 100], id="one too many"),
    ],
)
def test_ranges_are_applied_as_written(
    tmp_path: Path, physical: tuple[str, str], limits: tuple[str, str], wanted: list[float]
) -> None:
    signal = HeaderSignal(np.array([[-100, 0, 100]]), physical=physical, limits=limits)
    (read,) = open_recording(write_by_hand(tmp_path / "night.edf", [signal])).signals
    np.testing.assert_allclose(samples_of(read), wanted, atol=1e-5)
    low, high = sorted(float(text.replace(",", ".")) for text in physical)
    assert read.limits == (low, high)
    assert read.step == pytest.approx((high - low) / (int(limits[1]) - int(limits[0])))


@pytest.mark.parametrize(
    ("physical", "limits"),
    [
        pytest.param(("0", "0"), ("-100", "100"), id="no physical range"),
        pytest.param(("1e30", "2e30"), ("-100", "100"), id="beyond float32"),
        pytest.param(("1e7", "10000001"), ("-32768", "32767"), id="steps lost in float32"),
        pytest.param(("-1", "1"), ("100", "-100"), id="digital range turned round"),
        pytest.param(("-1", "1"), ("0", "65535"), id="digital range of unsigned numbers"),
        pytest.param(("-1", "1"), ("-32769", "32767"), id="digital range below int16"),
        pytest.param(("-1", "1"), ("-1.5", "1.5"), id="digital range no integers"),
    ],
)
def test_a_range_that_cannot_be_applied_costs_the_signal(
    tmp_path: Path, physical: tuple[str, str], limits: tuple[str, str]
) -> None:
    spoilt = HeaderSignal(ramp(3, 10), label="A", physical=physical, limits=limits)
    path = write_by_hand(tmp_path / "night.edf", [spoilt, HeaderSignal(ramp(3, 10))])
    first, second = open_recording(path).signals
    with pytest.raises(Rejection, match="'A' without a usable physical and digital range"):
        first.physical()
    assert len(samples_of(second)) == 30


@pytest.mark.parametrize(
    ("seconds", "samples", "said"),
    [
        ("1000000", 1, "34.7 days"),
        ("99999999", 1, "data records of 1e+08 s"),
        ("0.000001", 1, "data records of 1e-06 s"),
        ("0.00002", 3, "'EEG' at 150000 Hz"),
    ],
)
def test_what_is_no_sleep_recording_is_refused(
    tmp_path: Path, seconds: str, samples: int, said: str
) -> None:
    signal = HeaderSignal(ramp(3, samples))
    path = write_by_hand(tmp_path / "night.edf", [signal], record_seconds=seconds)
    rejection = refused(path)
    assert rejection.problem == "implausible header"
    assert said in rejection.found


def test_gaps_of_weeks_are_refused(tmp_path: Path) -> None:
    rejection = refused(write_clocked(tmp_path / "night.edf", ["+0", "+9999999"]))
    assert rejection.problem == "implausible header"
    assert "115.7 days with its gaps" in rejection.found


def test_a_header_that_lies_about_sizes_is_refused_before_memory_is_asked_for(
    recording: Path,
) -> None:
    content = recording.read_bytes()
    tracemalloc.start()
    for at, value in ((RECORDS, b"99999999"), (256 + 2 * 216, b"99999999")):
        recording.write_bytes(content)
        assert refused(patch(recording, at, value)).problem == "truncated file"
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_the_scoring_is_not_taken_for_a_recording(tmp_path: Path) -> None:
    scoring = write_scoring(tmp_path / "s.edf", [(0, 30, "Sleep stage W")])
    assert refused(scoring).problem == "no signals"


def test_signals_of_one_label_are_all_given(tmp_path: Path) -> None:
    signals = [make_signal(noise(rate=100, seconds=60, seed=seed)) for seed in (1, 2)]
    source = open_recording(write_recording(tmp_path / "night.edf", signals))
    assert [signal.label for signal in source.signals] == ["EEG", "EEG"]
    assert not np.allclose(*map(samples_of, source.signals))


@pytest.mark.parametrize(
    ("at", "value"),
    [(START_DATE, b"99.99.99"), (START_DATE, b"unknown "), (START_TIME, b"25.61.00")],
)
def test_a_start_that_is_no_date_costs_the_start_and_not_the_night(
    tmp_path: Path, at: int, value: bytes
) -> None:
    path = patch(write_recording(tmp_path / "night.edf"), at, value)
    source = open_recording(path)
    assert source.start is None
    assert source.seconds == 300


@pytest.mark.parametrize(
    ("date", "recording", "year"),
    [
        ("01.01.85", "", 1985),
        ("31.12.84", "", 2084),
        ("04.03.21", "Startdate 04-MAR-2021 X X X", 2021),
        ("04.03.21", "Startdate 04-MAR-1921 X X X", None),
        ("04.03.85", "Startdate 04-MAR-2085 X X X", None),
        ("04.03.21", "Startdate X X X X", None),
        ("04.03.21", "Startdate yesterday X X X", 2021),
        ("04.03.21", "Startdate 31-FEB-2021 X X X", 2021),
    ],
)
def test_years_are_read_as_the_specification_has_them(
    tmp_path: Path, date: str, recording: str, year: int | None
) -> None:
    signal = HeaderSignal(ramp(3, 10))
    path = write_by_hand(tmp_path / "night.edf", [signal], date=date, recording=recording)
    start = open_recording(path).start
    assert (start.year if start else None) == year


def test_of_two_start_dates_that_of_edf_plus_is_taken_with_a_note(tmp_path: Path) -> None:
    path = write_by_hand(
        tmp_path / "night.edf", [HeaderSignal(ramp(3, 10))], recording="Startdate 05-mar-2021 X"
    )
    source = open_recording(path)
    assert source.start == START + timedelta(days=1)
    assert source.notes == ("two start dates in the header; '05-mar-2021' taken, not '04.03.21'",)


def test_an_anonymised_start_is_unknown(tmp_path: Path) -> None:
    assert open_recording(write_recording(tmp_path / "night.edf", start=None)).start is None


@pytest.mark.parametrize(
    ("label", "unit", "wanted_label"),
    [(b"EEG \xfc", b"\xb5V", "EEG ü"), (b"EEG \xc3\xbc", b"\xc2\xb5V", "EEG ü"),
     (b"EEG\0\0", b"uV\0", "EEG")],
)  # fmt: skip
def test_header_texts_outside_ascii_are_read(
    tmp_path: Path, label: bytes, unit: bytes, wanted_label: str
) -> None:
    path = patch(write_recording(tmp_path / "night.edf"), 256, label, width=16)
    signal = open_recording(patch(path, 256 + 16 + 80, unit, width=8)).signals[0]
    assert signal.label == wanted_label
    assert signal.unit in ("µV", "uV")


@pytest.mark.parametrize(
    ("field", "value"),
    [("physical_max", b"-1000"), ("physical_max", b"high"), ("physical_max", b"nan"),
     ("digital_max", b"-32768"), ("digital_max", b"3x")],
)  # fmt: skip
def test_a_signal_without_a_range_is_not_taken_for_microvolts(
    tmp_path: Path, field: str, value: bytes
) -> None:
    signals = [make_signal(noise(rate=100, seconds=60), label=label) for label in ("A", "B")]
    path = write_recording(tmp_path / "night.edf", signals)
    before = {"physical_max": 16 + 80 + 8 + 8, "digital_max": 16 + 80 + 8 + 8 + 8 + 8}[field]
    patch(path, 256 + 2 * before, value, width=8)
    spoilt, good = open_recording(path).signals
    with pytest.raises(Rejection, match="'A' without a usable physical and digital range"):
        spoilt.physical()
    assert len(samples_of(good)) == 6000


def test_a_signal_without_samples_costs_that_signal_only(recording: Path) -> None:
    header = 256 * 3
    content = bytearray(recording.read_bytes())
    content[256 + 2 * 216 + 8 : 256 + 2 * 216 + 16] = b"0".ljust(8)
    data = np.frombuffer(bytes(content[header:]), np.int16).reshape(60, 110)[:, :100]
    recording.write_bytes(bytes(content[:header]) + data.tobytes())
    eeg, flow = open_recording(recording).signals
    assert len(samples_of(eeg)) == 6000
    with pytest.raises(Rejection, match="0 samples"):
        flow.physical()


def test_annotations_and_their_start_are_read(tmp_path: Path) -> None:
    wanted = [(0.0, 30.0, "Sleep stage W"), (30.5, 0.0, "Lights off"), (60.0, 12.25, "Hypopnea")]
    path = write_scoring(
        tmp_path / "s.edf", [(0, 30, "Sleep stage W"), (30.5, None, "Lights off"), wanted[2]]
    )
    start, found = read_annotations(path)
    assert start == START
    assert found == wanted


def test_annotations_beside_signals_count_from_the_first_sample(tmp_path: Path) -> None:
    stamps = [
        b"+0.5\x14\x14Lights off\x14\0+1.5\x150.25\x14Apnea\x14Snore\x14\0",
        b"+1.5\x14\x14\0",
        b"+90.5\x14\x14\0+91.5\x1430\x14\0  ",
    ]
    path = write_by_hand(tmp_path / "night.edf", [HeaderSignal(ramp(3, 10))], stamps=stamps)
    start, found = read_annotations(path)
    assert start == START + timedelta(seconds=0.5) == open_recording(path).start
    assert found == [
        (0.0, 0.0, "Lights off"), (1.0, 0.25, "Apnea"), (1.0, 0.25, "Snore"), (91.0, 0.0, "30"),
    ]  # fmt: skip


def test_an_annotation_in_the_place_of_the_clock_is_not_lost(tmp_path: Path) -> None:
    stamps = [b"+0\x1530\x14Sleep stage W\x14\0+30\x1530\x14Sleep stage 1\x14\0"]
    path = write_by_hand(tmp_path / "s.edf", [HeaderSignal(ramp(1, 10))], stamps=stamps)
    _, found = read_annotations(path)
    assert found == [(0, 30, "Sleep stage W"), (30, 30, "Sleep stage 1")]


@pytest.mark.parametrize(
    "spoilt",
    [
        b"+30\x1530\x14Sleep stage W\0",
        b"+30\x15thirty\x14Sleep stage W\x14\0",
        b"+3O\x1530\x14Sleep stage W\x14\0",
        b"+30\x15\x14Sleep stage W\x14\0",
        b"+1e2\x14Sleep stage W\x14\0",
        b"Sleep stage W\x14\0",
        b"+30\x14\0",
        b"+30\x1530\x14Sleep stage W\x14",
        b"+" + b"9" * 400 + b"\x14Sleep stage W\x14\0",
    ],
)
def test_a_malformed_annotation_among_good_ones_refuses_the_file(
    tmp_path: Path, spoilt: bytes
) -> None:
    good = b"+1\x14\x14\0+1\x1530\x14Sleep stage W\x14\0"
    second = good + b"\0" * (len(good + spoilt) % 2) + spoilt
    path = write_by_hand(
        tmp_path / "s.edf", [HeaderSignal(ramp(2, 10))], stamps=[b"+0\x14\x14\0", second]
    )
    with pytest.raises(Rejection, match="cannot be read") as caught:
        read_annotations(path)
    assert "in data record 2 of s.edf" in caught.value.found


@pytest.mark.parametrize(
    ("written", "text"), [(b"Ger\xc3\xa4usch", "Geräusch"), (b"Ger\xe4usch", "Geräusch")]
)
def test_annotations_are_utf_8_or_latin_1(tmp_path: Path, written: bytes, text: str) -> None:
    stamps = [b"+0\x14\x14\0+0\x14" + written + b"\x14\0"]
    path = write_by_hand(tmp_path / "s.edf", [HeaderSignal(ramp(1, 10))], stamps=stamps)
    assert read_annotations(path)[1] == [(0, 0, text)]


def test_a_recording_is_not_taken_for_a_scoring(recording: Path) -> None:
    with pytest.raises(Rejection, match="no annotations"):
        read_annotations(recording)
