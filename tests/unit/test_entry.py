"""Commands: outputs are whole or absent, the log tells why, run.json tells from what."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from somnoflow.entry import _raise_limit_of_open_files
from somnoflow.io.atomic import atomic

COMMAND = '''
import os
import resource
import signal

import somnoflow.provenance

somnoflow.provenance.fingerprint = lambda module: "code of today"

from pydantic import BaseModel

from somnoflow.entry import Input, Inputs, Output, command


class Cfg(BaseModel):
    how: str
    size: int = 10


def work(
    *, source: Input, more: Inputs, first: Output, second: Output, count: int, cfg: Cfg,
    times: int = 1
) -> None:
    """Copy the source in some way."""
    if cfg.how == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    first.write_bytes(source.read_bytes() * count * times)
    if cfg.how == "value":
        raise ValueError("the night is empty: found 0 bytes, wanted some. Copy it again")
    if cfg.how == "defect":
        raise KeyError("a defect of ours")
    if cfg.how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.how == "memory":
        first.write_bytes(bytes(2**62))
    if cfg.how == "forget":
        return
    second.write_bytes(b"2" * cfg.size)


command(work)
'''


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "command.py").write_text(COMMAND)
    (tmp_path / "source").write_bytes(b"content ")
    return tmp_path / "command.py"


def run(
    script: Path, how: str, *, out: Path | None = None, more: tuple[str, ...] = (), **cfg: object
) -> subprocess.CompletedProcess[str]:
    folder = script.parent
    out = out or folder / "out"
    return subprocess.run(
        [sys.executable, script, "--source", folder / "source", "--more", folder / "command.py",
         "--first", out / "first", "--second", out / "second", "--count", "2",
         "--cfg", json.dumps({"how": how, **cfg}), "--log", folder / "logs/work.log",
         *more],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_run_leaves_its_outputs_and_a_record(script: Path) -> None:
    done = run(script, "well")
    out = script.parent / "out"
    assert done.returncode == 0, done.stderr
    assert names(out) == ["first", "run.json", "second"]
    assert (out / "first").read_bytes() == b"content content "
    record = json.loads((out / "run.json").read_text())
    assert record["code"] == "code of today"
    assert record["arguments"]["cfg"] == {"how": "well", "size": 10}
    assert record["arguments"]["count"] == 2
    for kind, files in (("inputs", [script.parent / "source", script]),
                        ("outputs", [out / "first", out / "second"])):  # fmt: skip
        assert record[kind] == {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        }
    assert {"started", "seconds", "peak_memory_mib", "device", "platform"} <= set(record)
    assert record["versions"]["edfio"]


def test_one_of_several_processes_is_refused_or_leaves_the_writing_to_the_first(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    done = run(script, "well")
    assert done.returncode == 1
    assert "process 2 of 2 (RANK, WORLD_SIZE), but __main__ works alone" in done.stderr
    script.write_text(COMMAND.replace("command(work)", "command(work, together=True)"))
    done = run(script, "forget")  # this function writes its first output itself
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr
    assert names(script.parent) == ["command.py", "source"]
    monkeypatch.setenv("RANK", "0")
    run(script, "well")
    assert names(script.parent / "out") == ["first", "run.json", "second"]


def test_an_argument_with_a_default_may_be_left_out(script: Path) -> None:
    run(script, "well")
    assert (script.parent / "out/first").read_bytes() == b"content " * 2
    run(script, "well", more=("--times", "3"))
    assert (script.parent / "out/first").read_bytes() == b"content " * 6


def test_bad_input_is_one_line_on_stderr_and_a_traceback_in_the_log(script: Path) -> None:
    done = run(script, "value")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "ERROR __main__: ValueError: the night is empty: found 0 bytes, wanted some. Copy it again"
    ]
    log = (script.parent / "logs/work.log").read_text()
    assert "the night is empty" in log
    assert "Traceback" in log
    assert names(script.parent / "out") == []


def test_a_defect_shows_its_traceback_in_both(script: Path) -> None:
    done = run(script, "defect")
    assert done.returncode == 1
    for text in (done.stderr, (script.parent / "logs/work.log").read_text()):
        assert text.count("Traceback") == 1
        assert "a defect of ours" in text
    assert names(script.parent / "out") == []


def test_a_command_may_open_a_file_for_each_of_many_shards() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        _raise_limit_of_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(hard, 8192), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_little_memory_is_one_line_with_what_to_do(script: Path) -> None:
    done = run(script, "memory")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "out of memory" in done.stderr
    assert "--retries 2" in done.stderr
    assert "Traceback" in (script.parent / "logs/work.log").read_text()
    assert names(script.parent / "out") == []


def test_a_wrong_slice_of_the_configuration_is_one_line(script: Path) -> None:
    done = run(script, "well", size="much")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "Cfg: size: Input should be a valid integer" in done.stderr


def test_a_missing_input_is_one_line(script: Path) -> None:
    (script.parent / "source").unlink()
    done = run(script, "well")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "No such file or directory" in done.stderr


def test_an_output_that_was_forgotten_leaves_none(script: Path) -> None:
    done = run(script, "forget")
    assert done.returncode == 1
    assert "did not write its output 'second'" in done.stderr
    assert names(script.parent / "out") == []


def test_a_failed_run_leaves_the_old_outputs_as_they_were(script: Path) -> None:
    assert run(script, "well").returncode == 0
    out = script.parent / "out"
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (script.parent / "source").write_bytes(b"other")
    for how in ("value", "forget", "defect"):
        assert run(script, how).returncode == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_killed_run_leaves_no_file_under_its_name_and_the_next_cleans_up(script: Path) -> None:
    assert run(script, "kill").returncode == -signal.SIGKILL
    out = script.parent / "out"
    left = names(out)
    assert len(left) == 1
    assert left[0].startswith(".partial-")
    assert run(script, "well").returncode == 0
    assert names(out) == ["first", "run.json", "second"]


def test_a_file_that_grows_too_large_leaves_nothing(script: Path) -> None:
    done = run(script, "limit", size=5000)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "out/second was not written: it is larger than a file may be here" in done.stderr
    assert names(script.parent / "out") == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk: {mounted.stderr.decode().strip()}")
    yield place  # type: ignore[misc]
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_leaves_nothing(script: Path, small_disk: Path) -> None:
    done = run(script, "well", out=small_disk, size=200_000)
    assert done.returncode == 1
    assert "second was not written: the disk is full" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert names(small_disk) == []


def test_packing_on_a_full_disk_is_an_error_and_no_bus_error(
    tmp_path: Path, small_disk: Path
) -> None:
    from tests.unit.test_parquet_and_packing import parse_shard

    index = parse_shard(tmp_path, ["S1"])
    done = subprocess.run(
        [sys.executable, "-m", "somnoflow.commands.pack", "--part-index", index,
         *(part for name in ("signals", "epochs", "index")
           for part in (f"--{name}", small_disk / name)), "--cfg", "{}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "signals was not written: the disk is full" in done.stderr
    assert names(small_disk) == []


def test_atomic_keeps_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"

    def fail() -> None:
        with atomic(path) as partial:
            partial.write_text("half")
            raise RuntimeError("stop")

    with atomic(path) as partial:
        assert partial.suffix == ".json"
        partial.write_text("old")
        assert not path.exists()
    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert names(path.parent) == ["a.json"]


def test_atomic_removes_only_what_a_killed_writer_of_this_file_left(tmp_path: Path) -> None:
    own = tmp_path / ".partial-12ab-a[1].json"
    others = [".partial-12-b-a[1].json", ".partial-12-a1.json", ".partial-a[1].json"]
    for name in (own.name, *others):
        (tmp_path / name).touch()
    with atomic(tmp_path / "a[1].json") as partial:
        partial.write_text("new")
    assert names(tmp_path) == sorted([*others, "a[1].json"])
