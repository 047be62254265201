"""One door to recordings of every format; names and sizes are checked before MNE sees them."""

import gzip
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import mne
import numpy as np
import pytest
from tests.recordings import (
    START,
    HeaderSignal,
    patch,
    ramp,
    write_brainvision,
    write_by_hand,
    write_fif,
    write_recording,
)

from somnoflow.io import fif_directory
from somnoflow.io.recordings import RECORDING_SUFFIXES, open_recording
from somnoflow.io.rejection import Rejection
from somnoflow.io.source import Segment


def refused(path: Path) -> Rejection:
    with pytest.raises(Rejection) as caught:
        open_recording(path)
    assert all(caught.value.row().values()), "found, wanted and advice must all say something"
    return caught.value


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_every_suffix_is_opened_by_its_reader(tmp_path: Path) -> None:
    edf, bdf = HeaderSignal(ramp(60, 100), label="C4"), HeaderSignal(ramp(60, 100), label="C4")
    files = {
        ".edf": write_by_hand(tmp_path / "NIGHT.EDF", [edf]),
        ".rec": write_by_hand(tmp_path / "night.rec", [edf]),
        ".bdf": write_by_hand(tmp_path / "night.bdf", [bdf], family="BDF"),
        ".fif": write_fif(tmp_path / "night_eeg.fif"),
        ".fif.gz": write_fif(tmp_path / "night_eeg.fif.gz"),
        ".vhdr": write_brainvision(tmp_path),
    }
    assert tuple(files) == RECORDING_SUFFIXES
    for path in files.values():
        source = open_recording(path)
        assert source.path == path
        assert source.start == START
        assert source.seconds == 60
        assert source.segments == (Segment(0, 60),)
        first = source.signals[0]
        assert (first.label, first.sampling_rate) == ("C4", 100)
        (samples,) = first.physical()
        assert samples.shape == (6000,)
        assert samples.dtype == np.float32


@pytest.mark.parametrize("suffix", [".edf", ".fif", ".fif.gz", ".vhdr", ".bdf", ".txt", ""])
@pytest.mark.parametrize("content", [b"", b"onset\tduration\n" * 99, bytes(range(256)) * 9])
def test_what_is_no_recording_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"night{suffix}"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("suffix", RECORDING_SUFFIXES)
def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"night{suffix}"
    assert refused(path).problem == "cannot be opened"
    path.mkdir()
    assert refused(path).problem == "cannot be opened"


def test_brainvision_is_read_as_mne_reads_it(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path)
    source = open_recording(path)
    raw = mne.io.read_raw_brainvision(path, verbose="ERROR")
    eeg, flow = source.signals
    assert [(one.label, one.unit) for one in source.signals] == [("C4", "V"), ("Flow", "")]
    assert eeg.step == pytest.approx(1e-7)
    assert eeg.limits == pytest.approx((-32768e-7, 32767e-7))
    np.testing.assert_allclose(eeg.physical()[0], raw.get_data()[0], rtol=1e-6)
    np.testing.assert_allclose(flow.physical()[0], raw.get_data()[1], rtol=1e-6)
    assert np.ptp(flow.physical()[0]) == pytest.approx(4095 / 2)


def test_new_segments_of_brainvision_are_gaps_by_their_dates(tmp_path: Path) -> None:
    markers = [
        "New Segment,,1,1,0,20210304223000000000",
        "Stimulus,S 1,500,1,0",
        "New Segment,,1001,1,0,20210304223010000500",
        "New Segment,,3001,1,0,20210304223130250000",
    ]
    source = open_recording(write_brainvision(tmp_path, markers=markers))
    assert source.segments == (Segment(0, 30), Segment(90.25, 30))
    assert source.seconds == 120.25
    assert source.notes == ("1 gap, 60.25 s in all",)
    assert [len(part) for part in source.signals[0].physical()] == [3000, 3000]


@pytest.mark.parametrize(
    ("markers", "problem"),
    [
        (["New Segment,,1,1,0", "New Segment,,1001,1,0"], "gaps of unknown length"),
        (
            ["New Segment,,1,1,0,20210304223000000000", "New Segment,,1001,1,0"],
            "gaps of unknown length",
        ),
        (
            [
                "New Segment,,1,1,0,20210304223000000000",
                "New Segment,,1001,1,0,20210304223005000000",
            ],
            "segments overlap",
        ),
        (["New Segment,,1,1,0", "New Segment,,7000,1,0"], "damaged BrainVision file"),
        (["New Segment,,9,1,0", "New Segment,,1,1,0"], "damaged BrainVision file"),
    ],
)
def test_segments_at_unknown_or_impossible_times_are_refused(
    tmp_path: Path, markers: list[str], problem: str
) -> None:
    assert refused(write_brainvision(tmp_path, markers=markers)).problem == problem


def test_a_brainvision_without_markers_has_no_start_and_says_why(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path)
    (tmp_path / "night.vmrk").unlink()
    source = open_recording(path)
    assert source.start is None
    assert source.notes == (
        "marker file 'night.vmrk' missing: no start, and gaps would not be seen",
    )


@pytest.mark.parametrize("what", ["DataFile=night.eeg", "MarkerFile=night.vmrk"])
@pytest.mark.parametrize(
    "form", ["{path}", "../{folder}/{name}", "./{name}", "..\\{name}", "..", ""]
)
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, what: str, form: str) -> None:
    folder, secret = tmp_path / "a", tmp_path / "secret"
    folder.mkdir()
    path = write_brainvision(folder)
    key, name = what.split("=")
    shutil.copytree(folder, secret)
    new = form.format(path=secret / name, folder="secret", name=name)
    replace(path, what, f"{key}={new}")
    if key == "MarkerFile" and not new:
        assert open_recording(path).start is None
        return
    assert refused(path).problem.endswith("file is not beside the header")


def test_the_name_of_the_header_may_stand_for_itself(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path)
    replace(path, "DataFile=night.eeg", "DataFile=$b.eeg")
    assert open_recording(path).seconds == 60


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        pytest.param(
            lambda folder: (folder / "night.eeg").write_bytes(bytes(999)), "truncated file",
            id="half a sample",
        ),
        pytest.param(
            lambda folder: (folder / "night.eeg").write_bytes(b""), "truncated file", id="no data"
        ),
        pytest.param(
            lambda folder: (folder / "night.eeg").unlink(), "cannot be opened", id="data missing"
        ),
        pytest.param(
            lambda folder: replace(folder / "night.vhdr", "INT_16", "FLOAT_99"),
            "damaged BrainVision file", id="format",
        ),
        pytest.param(
            lambda folder: replace(folder / "night.vhdr", "BINARY", "ASCII"),
            "damaged BrainVision file", id="ASCII",
        ),
        pytest.param(
            lambda folder: replace(folder / "night.vhdr", "MULTIPLEXED", "SHUFFLED"),
            "damaged BrainVision file", id="orientation",
        ),
        pytest.param(
            lambda folder: replace(folder / "night.vhdr", "nels=2", "nels=99999999999999"),
            "damaged BrainVision file", id="channels",
        ),
        pytest.param(
            lambda folder: replace(folder / "night.vhdr", "nels=2", "nels=3"),
            "not a valid BrainVision file", id="more channels than are described",
        ),
        pytest.param(
            lambda folder: replace(folder / "night.vhdr", "val=10000", "val=0"),
            "damaged BrainVision file", id="interval",
        ),
        pytest.param(
            lambda folder: replace(folder / "night.vhdr", "val=10000", "val=1"),
            "implausible header", id="rate",
        ),
        pytest.param(
            lambda folder: replace(folder / "night.vhdr", "val=10000", "val=1e12"),
            "implausible header", id="years",
        ),
        pytest.param(
            lambda folder: replace(folder / "night.vhdr", "[Binary Infos]", "[Binary]"),
            "damaged BrainVision file", id="section",
        ),
        pytest.param(
            lambda folder: replace(folder / "night.vhdr", "[Channel Infos]", "[Channels]"),
            "not a valid BrainVision file", id="no channels",
        ),
        pytest.param(
            lambda folder: replace(folder / "night.vhdr", "0.1,µV", "tenth,µV"),
            "not a valid BrainVision file", id="resolution",
        ),
    ],
)  # fmt: skip
def test_a_spoilt_brainvision_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], problem: str
) -> None:
    path = write_brainvision(tmp_path)
    spoil(tmp_path)
    assert refused(path).problem == problem


def test_a_brainvision_of_other_length_than_its_header_says_is_refused(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path, infos="DataPoints=6000\n")
    assert open_recording(path).seconds == 60
    replace(path, "DataPoints=6000", "DataPoints=6001")
    assert refused(path).problem == "truncated file"


@pytest.mark.parametrize("suffix", [".fif", ".fif.gz"])
def test_fif_is_read_as_mne_reads_it(tmp_path: Path, suffix: str) -> None:
    path = write_fif(tmp_path / f"night_eeg{suffix}")
    source = open_recording(path)
    raw = mne.io.read_raw_fif(path, verbose="ERROR")
    assert [(one.label, one.unit) for one in source.signals] == [("C4", "V"), ("Flow", "")]
    for number, signal in enumerate(source.signals):
        np.testing.assert_allclose(signal.physical()[0], raw.get_data()[number], rtol=1e-6)
        assert signal.limits == (-np.inf, np.inf)
        assert signal.step == 0
    assert source.notes == ("the start is in UTC, as FIF keeps it",)


def test_a_fif_that_begins_late_starts_late(tmp_path: Path) -> None:
    path = write_fif(tmp_path / "night_eeg.fif", first_seconds=10)
    assert open_recording(path).start == START + timedelta(seconds=10)


def test_skips_in_fif_are_gaps(tmp_path: Path) -> None:
    path = write_fif(tmp_path / "night_eeg.fif", skip=(20, 30))
    source = open_recording(path)
    assert source.segments == (Segment(0, 20), Segment(30, 30))
    assert source.seconds == 60
    assert "1 gap, 10 s in all" in source.notes
    whole = mne.io.read_raw_fif(path, verbose="ERROR").get_data()[0]
    before, after = source.signals[0].physical()
    np.testing.assert_allclose(before, whole[:2000], rtol=1e-6)
    np.testing.assert_allclose(after, whole[3000:], rtol=1e-6)
    assert not whole[2000:3000].any(), "MNE gives zeros for what was not recorded"


def test_samples_that_are_no_numbers_cost_the_channel(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path, seconds=60)
    replace(path, "INT_16", "IEEE_FLOAT_32")
    samples = np.zeros((3000, 2), "<f4")
    samples[7, 0] = np.nan
    samples[8:10, 0] = np.inf
    (tmp_path / "night.eeg").write_bytes(samples.tobytes())
    eeg, flow = open_recording(path).signals
    with pytest.raises(Rejection, match="found 3 in 'C4'"):
        eeg.physical()
    assert not flow.physical()[0].any()


def test_parts_of_a_split_fif_are_refused_before_mne_opens_the_others(tmp_path: Path) -> None:
    path = write_fif(tmp_path / "night_eeg.fif", split="10MB", seconds=6000, rate=1000)
    parts = sorted(tmp_path.glob("*.fif"))
    assert len(parts) > 1
    parts[1].unlink()
    assert refused(path).problem == "one part of a recording in several files"


def test_truncated_fif_is_refused(tmp_path: Path) -> None:
    path = write_fif(tmp_path / "night_eeg.fif")
    content = path.read_bytes()
    for size in (1, 20, 100, 5000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        assert refused(path).problem in ("truncated or damaged FIF file", "not a FIF file")


def add_directory(path: Path) -> list[int]:
    """Add the directory that other programs write; give where its entries of data buffers are."""
    content = path.read_bytes()
    entries, position, following = [], 0, 0
    while following >= 0:
        kind, form, size, following = struct.unpack_from(">iIii", content, position)
        entries.append((kind, form, size, position))
        position += 16 + size
    pointer = 16 + 20 + 16
    directory = b"".join(struct.pack(">iIii", *entry) for entry in entries)
    path.write_bytes(
        content[:pointer]
        + struct.pack(">i", len(content))
        + content[pointer + 4 :]
        + struct.pack(">iIii", 102, 32, len(directory), -1)
        + directory
    )
    return [
        len(content) + 16 * number for number, entry in enumerate(entries, 1) if entry[0] == 300
    ]


def test_a_fif_with_a_directory_is_read(tmp_path: Path) -> None:
    path = write_fif(tmp_path / "night_eeg.fif")
    (before,) = open_recording(path).signals[0].physical()
    add_directory(path)
    np.testing.assert_array_equal(open_recording(path).signals[0].physical()[0], before)


@pytest.mark.parametrize(
    ("field", "value"), [(0, 302), (4, 99), (8, -1), (8, 1 << 30), (12, 0), (12, -5), (12, 1 << 30)]
)
def test_a_fif_directory_that_does_not_fit_the_file_is_refused(
    tmp_path: Path, field: int, value: int
) -> None:
    path = write_fif(tmp_path / "night_eeg.fif")
    entry = add_directory(path)[-1]
    patch(path, entry + field, struct.pack(">i", value))
    assert refused(path).problem == "truncated or damaged FIF file"


@pytest.mark.parametrize(("field", "value"), [(8, -16), (8, 1 << 30), (12, 1), (12, 1 << 30)])
def test_pieces_of_a_fif_that_lead_astray_are_refused(
    tmp_path: Path, field: int, value: int
) -> None:
    path = write_fif(tmp_path / "night_eeg.fif")
    second = 16 + 20
    third = second + 16 + 4
    patch(path, third + field, struct.pack(">i", value))
    assert refused(path).problem == "truncated or damaged FIF file"


def test_what_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fif_directory, "MOST_UNPACKED", 1 << 22)
    path = tmp_path / "night_eeg.fif.gz"
    path.write_bytes(gzip.compress(bytes((1 << 22) + 1)))
    assert refused(path).problem == "unpacks to too much"


@pytest.mark.parametrize("name", ["night_eeg.fif", "night_eeg.fif.gz", "night.vhdr", "night.bdf"])
def test_random_damage_is_refused_or_read_but_never_a_traceback(tmp_path: Path, name: str) -> None:
    if name.endswith(".vhdr"):
        path = write_brainvision(tmp_path, seconds=2)
    elif name.endswith(".bdf"):
        path = write_by_hand(tmp_path / name, [HeaderSignal(ramp(3, 100))], family="BDF")
    else:
        path = write_fif(tmp_path / name, seconds=2)
    whole = path.read_bytes()
    rng = np.random.default_rng(4)
    for _ in range(60):
        content = bytearray(whole)
        for at in rng.integers(0, min(len(whole), 8000), 3):
            content[at] = rng.integers(0, 256)
        path.write_bytes(content)
        try:
            for signal in open_recording(path).signals:
                signal.physical()
        except Rejection:
            continue


def test_edf_is_read_without_mne(tmp_path: Path) -> None:
    """Importing MNE costs a second, which each of thousands of jobs would pay."""
    path = write_recording(tmp_path / "night.edf")
    code = (
        "import sys\nfrom pathlib import Path\nfrom somnoflow.io.recordings import open_recording\n"
        f"open_recording(Path({str(path)!r})).signals[0].physical()\nprint('mne' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True)
    assert done.stdout.strip() == "False"
