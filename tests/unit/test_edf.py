"""Recordings are read as they are, or refused with the reason; a header is not believed blindly."""

from collections.abc import Callable
from pathlib import Path

import edfio
import numpy as np
import pytest
from tests.recordings import (
    START,
    make_signal,
    noise,
    patch,
    sine,
    write_recording,
    write_scoring,
)

from somnoflow.io.edf import open_recording, read_annotations
from somnoflow.io.rejection import Rejection

START_DATE, START_TIME, HEADER_BYTES, RECORDS, RECORD_SECONDS, SIGNALS = (
    168,
    176,
    184,
    236,
    244,
    252,
)
RESERVED = 192


def two_signals() -> list[edfio.EdfSignal]:
    return [
        make_signal(sine(hertz=3, rate=100, seconds=60), label="EEG C4"),
        make_signal(noise(rate=10, seconds=60), label="Flow", rate=10, unit=""),
    ]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_recording(tmp_path / "night.edf", two_signals(), record_seconds=1)


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
        eeg.physical(), sine(hertz=3, rate=100, seconds=60), atol=0.5001 * eeg.step
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
    before = open_recording(recording).signals[0].physical()
    recording.write_bytes(recording.read_bytes() + b"\x7f" * 219)
    with pytest.warns(UserWarning, match="Incomplete data record"):
        source = open_recording(recording)
    assert source.seconds == 60
    np.testing.assert_array_equal(source.signals[0].physical(), before)


def test_record_durations_that_floats_cannot_hold_lose_no_epoch(tmp_path: Path) -> None:
    seconds, records = 0.072, 6250
    assert seconds * records < 450, "the product must be a little too small for this test"
    signal = make_signal(noise(rate=125, seconds=450), rate=125)
    path = write_recording(tmp_path / "night.edf", [signal], record_seconds=seconds)
    assert open_recording(path).seconds == 450


def write_plus(path: Path, *, gap: bool, name: bytes) -> Path:
    write_recording(path, record_seconds=1, plus=True, seconds=60)
    content = path.read_bytes()
    if gap:
        at = content.index(b"+30\x14")
        content = content[:at] + b"+90\x14" + content[at + 4 :]
    path.write_bytes(content)
    return patch(path, RESERVED, name, width=44)


@pytest.mark.parametrize("name", [b"EDF+C", b"EDF+D", b""])
def test_gaps_are_found_by_the_clock_and_not_by_the_name(tmp_path: Path, name: bytes) -> None:
    rejection = refused(write_plus(tmp_path / "gap.edf", gap=True, name=name))
    assert rejection.problem == "the recording has gaps (EDF+D)"
    assert "data record 31 begins 90 s" in rejection.found


def test_an_edf_plus_d_without_a_gap_is_read(tmp_path: Path) -> None:
    source = open_recording(write_plus(tmp_path / "whole.edf", gap=False, name=b"EDF+D"))
    assert source.seconds == 60
    assert [signal.label for signal in source.signals] == ["EEG"]


def test_a_clock_that_is_none_is_refused(tmp_path: Path) -> None:
    path = write_plus(tmp_path / "night.edf", gap=False, name=b"EDF+C")
    at = path.read_bytes().index(b"+30\x14")
    rejection = refused(patch(path, at, b"????"))
    assert rejection.problem == "damaged EDF header"


def test_the_scoring_is_not_taken_for_a_recording(tmp_path: Path) -> None:
    scoring = write_scoring(tmp_path / "s.edf", [(0, 30, "Sleep stage W")])
    assert refused(scoring).problem == "no signals"


def test_signals_of_one_label_are_all_given(tmp_path: Path) -> None:
    signals = [make_signal(noise(rate=100, seconds=60, seed=seed)) for seed in (1, 2)]
    source = open_recording(write_recording(tmp_path / "night.edf", signals))
    assert [signal.label for signal in source.signals] == ["EEG", "EEG"]
    assert not np.allclose(source.signals[0].physical(), source.signals[1].physical())


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
    assert len(good.physical()) == 6000


def test_a_signal_without_samples_costs_that_signal_only(recording: Path) -> None:
    header = 256 * 3
    content = bytearray(recording.read_bytes())
    content[256 + 2 * 216 + 8 : 256 + 2 * 216 + 16] = b"0".ljust(8)
    data = np.frombuffer(bytes(content[header:]), np.int16).reshape(60, 110)[:, :100]
    recording.write_bytes(bytes(content[:header]) + data.tobytes())
    eeg, flow = open_recording(recording).signals
    assert len(eeg.physical()) == 6000
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


def test_annotations_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    path = write_scoring(tmp_path / "s.edf", [(0, 30, "Gerausch")])
    at = path.read_bytes().index(b"Gerausch")
    with pytest.raises(Rejection, match="cannot be read") as caught:
        read_annotations(patch(path, at + 3, b"\xe4"))
    assert "UTF-8" in caught.value.wanted


def test_a_recording_is_not_taken_for_a_scoring(recording: Path) -> None:
    with pytest.raises(Rejection, match="no annotations"):
        read_annotations(recording)
