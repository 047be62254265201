"""Folders of nights: side by side, resumable, and nothing half-written."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.models.scored_nights import write_channels, write_model_bundle
from tests.models.test_score_night import rejected, score

from somnoflow.scoring import night_files


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_bundle(tmp_path_factory.mktemp("model") / "b.zip")


@pytest.fixture
def nights(tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        write_channels(tmp_path / "nights" / f"n{number}.edf", ["C4-M1"], seconds=100 * number)
    return tmp_path / "nights"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_several_processes_write_what_one_does(nights: Path, model: Path, tmp_path: Path) -> None:
    (nights / "bad.edf").write_bytes((nights / "n1.edf").read_bytes()[:-700])
    for jobs in (1, 2):
        given = (nights, "--model", model, "--out", tmp_path / str(jobs), "--jobs", jobs)
        assert score(*given, "--formats", "csv,edf") == 1
    one, two = contents(tmp_path / "1"), contents(tmp_path / "2")
    assert one == two
    assert set(one) == {
        "n1.csv", "n1.json", "n1-annotations.edf", "n2.csv", "n2.json", "n2-annotations.edf",
        "n3.csv", "n3.json", "n3-annotations.edf", "rejected.tsv",
    }  # fmt: skip
    assert [Path(row["file"]).name for row in rejected(tmp_path / "2")] == ["bad.edf"]


def test_only_what_is_not_whole_is_made_again(
    nights: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    given = (nights, "--model", model, "--out", out)
    assert score(*given) == 0
    whole = contents(out)
    # As after a kill: one was begun, and of another one a file was lost.
    about = json.loads(whole["n1.json"])
    (out / "n1.json").write_text(json.dumps({**about, "whole": False}))
    (out / "n1.csv").write_text("epoch,onset_s\n0,")
    (out / "n2.csv").unlink()
    capsys.readouterr()
    assert score(*given) == 0
    assert contents(out) == whole
    assert capsys.readouterr().out.count("is there already") == 1
    # Further formats are further files.
    assert score(*given, "--formats", "csv,xml") == 0
    assert (out / "n3.xml").exists()
    assert score(*given) == 0
    assert "is there already" in capsys.readouterr().out


def test_files_of_others_are_left_alone(nights: Path, model: Path, tmp_path: Path) -> None:
    """A laboratory may keep its own scoring under such a name."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "n2.xml").write_text("<mine/>")
    assert score(nights, "--model", model, "--out", out, "--formats", "csv,xml") == 2
    assert contents(out) == {"n2.xml": b"<mine/>"}
    assert score(nights, "--model", model, "--out", out) == 0
    assert (out / "n2.xml").read_text() == "<mine/>"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_folder_that_takes_no_more_ends_the_run(  # noqa: PLR0917
    nights: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], number: int,
) -> None:  # fmt: skip
    export = night_files.export_night

    def full(*given: Any, name: str, **options: Any) -> Any:
        if name == "n2":
            raise OSError(number, os.strerror(number), str(tmp_path / "out" / "n2.csv"))
        return export(*given, name=name, **options)

    monkeypatch.setattr(night_files, "export_night", full)
    given = (nights, "--model", model, "--out", tmp_path / "out")
    assert score(*given) == 2
    said = capsys.readouterr().err
    assert f"n2.csv cannot be written: {os.strerror(number)}" in said
    assert ("Make room" if number == errno.ENOSPC else "Make the folder writable") in said
    found = contents(tmp_path / "out")
    assert set(found) == {"n1.csv", "n1.json", "n2.json"}
    assert json.loads(found["n2.json"])["whole"] is False
    monkeypatch.undo()
    assert score(*given) == 0


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that even root cannot write")
def test_where_nothing_can_be_written_no_model_is_loaded(
    nights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(nights, "--model", nights / "n1.edf", "--out", "/proc/scored") == 2
    assert "/proc" in capsys.readouterr().err


def test_ctrl_c_leaves_whole_nights_and_the_rest_can_be_done(
    nights: Path, model: Path, tmp_path: Path
) -> None:
    for number in range(10, 130):
        shutil.copy(nights / "n1.edf", nights / f"n{number}.edf")
    out = tmp_path / "out"
    words = ["score", nights, "--model", model, "--out", out, "--formats", "csv", "--jobs", 2]
    command = [sys.executable, "-m", "somnoflow.cli", *map(str, words)]
    # A session of its own: the whole of it hears the Ctrl-C, as at a terminal.
    running = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 400
    while not list(out.glob("*.csv")) and time.monotonic() < until:
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=400)
    assert running.returncode == 130
    assert "Traceback" not in said
    assert "the same command goes on with the others" in said
    done = {path.stem for path in out.glob("*.csv")}
    assert 0 < len(done) < 123
    assert {path.name for path in out.iterdir()} == {
        f"{name}.{suffix}" for name in done for suffix in ("csv", "json")
    }
    assert all(json.loads((out / f"{name}.json").read_text())["whole"] for name in done)
    assert score(*words[1:6]) == 0
    assert len(list(out.glob("*.csv"))) == 123
