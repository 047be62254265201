"""Headers and annotations of EDF that want memory or time: refused, at a small price."""

import os
from pathlib import Path

import numpy as np
import pytest

from somnoflow.io.edf import open_recording
from somnoflow.io.rejection import Rejection
from tests.recordings import HeaderSignal, patch, write_by_hand, write_clocked
from tests.security.little import run_in_little_memory

HEADER_BYTES, RECORDS, SIGNALS, SAMPLES = 184, 236, 252, 472
IMPORTS = """
from pathlib import Path
import numpy as np
from somnoflow.io.edf import open_recording, read_annotations
from somnoflow.io.rejection import Rejection
"""
READ = """
path = Path(sys.argv[1])
try:
    if "scoring" in path.name:
        print("read", len(read_annotations(path)[1]))
    else:
        print("read", sum(map(len, open_recording(path).signals[0].physical())))
except Rejection as rejection:
    print(rejection.problem)
"""


def write_sparse(
    path: Path, *, samples: int, records: int, seconds: str, label: str = "EEG", reserved: str = ""
) -> Path:
    """Write a header and a hole behind it: on the disk it is nothing, and to a reader a night."""
    signal = HeaderSignal(np.zeros((1, 1)), label)
    write_by_hand(path, [signal], record_seconds=seconds, reserved=reserved)
    patch(path, RECORDS, str(records).encode(), width=8)
    patch(path, SAMPLES, str(samples).encode(), width=8)
    os.truncate(path, 512 + records * samples * 2)
    return path


def write_lists(path: Path, content: bytes) -> Path:
    signal = HeaderSignal(np.zeros((1, 1)))
    return write_by_hand(path, [signal], stamps=[b"+0\x14\x14\0" + content], reserved="EDF+C")


def write_gaps(path: Path, *, records: int) -> Path:
    """Write a file in which every data record is followed by a gap."""
    stamps = [f"+{number / 100:.2f}\x14\x14\0".encode() for number in range(0, 2 * records, 2)]
    signal = HeaderSignal(np.zeros((records, 1)))
    return write_by_hand(path, [signal], record_seconds="0.01", stamps=stamps, reserved="EDF+D")


@pytest.mark.parametrize(
    ("name", "how", "problem"),
    [
        pytest.param(
            "night.edf", {"samples": 99_999, "records": 1_036_800, "seconds": "1"},
            "implausible header", id="386 GiB of one signal",
        ),
        pytest.param(
            "night.edf", {"samples": 1, "records": 99_999_999, "seconds": "0.001"},
            "implausible header", id="1e8 data records",
        ),
        pytest.param(
            "scoring.edf",
            {"samples": 99_999_999, "records": 1, "seconds": "0", "label": "EDF Annotations",
             "reserved": "EDF+C"},
            "implausible header", id="200 MB of no annotation",
        ),
    ],
)  # fmt: skip
def test_a_hole_is_not_read(tmp_path: Path, name: str, how: dict, problem: str) -> None:
    path = write_sparse(tmp_path / name, **how)
    assert path.stat().st_blocks * 512 < 2**20, "the file system keeps no holes"
    told = run_in_little_memory(imports=IMPORTS, code=READ, arguments=(path,), mib=256)
    assert told.strip() == problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"+5\x14" + b"a" * 3_000_000, "the annotations cannot be read", id="endless"),
        pytest.param(
            b"+" + b"9" * 3_000_000 + b"\x14x\x14\0", "the annotations cannot be read",
            id="an onset of 3,000,000 digits",
        ),
        pytest.param(b"+1e9\x14x\x14\0", "the annotations cannot be read", id="an exponent"),
        pytest.param(b"+0\x14\x14\0" * 600_000, "no annotations", id="600,000 clocks"),
        pytest.param(b"+0\x14" + b"\x14" * 3_000_000 + b"\0", "no annotations", id="empty texts"),
        pytest.param(b"+9\x14x\x14\0" * 2_000_000, "implausible header", id="2e6 annotations"),
    ],
)  # fmt: skip
def test_hostile_annotations_cost_little(tmp_path: Path, content: bytes, problem: str) -> None:
    path = write_lists(tmp_path / "scoring.edf", content)
    told = run_in_little_memory(imports=IMPORTS, code=READ, arguments=(path,))
    assert told.strip() == problem


def test_a_gap_after_each_of_a_million_records_is_refused(tmp_path: Path) -> None:
    path = write_gaps(tmp_path / "night.edf", records=200_000)
    told = run_in_little_memory(imports=IMPORTS, code=READ, arguments=(path,))
    assert told.strip() == "implausible header"


def test_9999_signals_are_read_or_the_file_ends_too_early(tmp_path: Path) -> None:
    every = [HeaderSignal(np.zeros((1, 1)), f"S{number}") for number in range(9998)]
    assert len(open_recording(write_by_hand(tmp_path / "many.edf", every)).signals) == 9998
    path = write_by_hand(tmp_path / "few.edf", every[:2])
    patch(patch(path, SIGNALS, b"9999"), HEADER_BYTES, str(256 * 10_000).encode(), width=8)
    with pytest.raises(Rejection) as caught:
        open_recording(path)
    assert caught.value.problem == "truncated file"


def test_a_record_that_begins_within_another_is_refused(tmp_path: Path) -> None:
    path = write_clocked(tmp_path / "night.edf", ["+0", "+10", "+10.5"])
    with pytest.raises(Rejection, match="runs backwards"):
        open_recording(path)


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("\x1b]0;x\x07C4", "?]0;x?C4"),
        ("C4\nINFO ok", "C4?INFO ok"),
        ("C4\u202e4C", "C4?4C"),
        ("<b>C4</b>", "<b>C4</b>"),
    ],
)
def test_labels_have_no_control_characters(tmp_path: Path, written: str, label: str) -> None:
    """They are written to logs, tables and terminals; pages escape what is left."""
    padded = written.encode().ljust(16).decode()
    path = write_by_hand(tmp_path / "night.edf", [HeaderSignal(np.zeros((60, 100)))])
    patch(path, 256, padded.encode())
    assert open_recording(path).signals[0].label == label
