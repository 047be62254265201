"""One workflow at a time on a results folder."""

import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from errno import ENOLCK
from pathlib import Path

import pytest

from somnoflow.io.rejection import Rejection
from somnoflow.one_workflow import LOCK, ResultsLock

LockOf = Callable[..., ResultsLock]

HOLDER = """
import sys, time
from somnoflow.one_workflow import ResultsLock
ResultsLock(sys.argv[1], beat_s=0.05).take()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def lock_of() -> Iterator[LockOf]:
    """Make locks that are released when the test ends."""
    made = []

    def make(folder: Path, *, patience_s: float = 3600) -> ResultsLock:
        made.append(ResultsLock(folder, beat_s=0.05, patience_s=patience_s))
        return made[-1]

    yield make
    for lock in made:
        lock.release()


def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file system be one that keeps no locks."""

    def refuse(*_: object) -> None:
        raise OSError(ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be on another machine, whose file system shares no locks."""
    monkeypatch.setattr(socket, "gethostname", lambda: "node2")
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)


def test_released_lock_leaves_nothing(lock_of: LockOf, tmp_path: Path) -> None:
    lock = lock_of(tmp_path / "new/results")
    lock.take()
    assert (tmp_path / "new/results" / LOCK).exists()
    lock.release()
    lock.release()
    assert list((tmp_path / "new/results").iterdir()) == []
    lock_of(tmp_path / "new/results").take()


def test_second_is_told_who_holds_it(
    lock_of: LockOf, tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(Rejection) as caught:
        lock_of(tmp_path).take()
    message = str(caught.value)
    for part in (
        f"{tmp_path} is not free",
        f"process {holder.pid} of ",
        f"on {socket.gethostname()}, since 20",
        f"started in {Path.cwd()}",
        f"rm -f {tmp_path}/{LOCK}",
    ):
        assert part in message


def test_lock_of_a_killed_process_is_taken_over_at_once(
    lock_of: LockOf, tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    holder.wait()
    assert (tmp_path / LOCK).exists()
    lock_of(tmp_path).take()
    assert f'"pid": {os.getpid()}' in (tmp_path / LOCK).read_text()


@pytest.mark.parametrize("machine", [without_locks, elsewhere])
def test_without_shared_locks_a_count_that_moves_is_a_run_that_lives(
    lock_of: LockOf,
    tmp_path: Path,
    holder: subprocess.Popen[str],
    monkeypatch: pytest.MonkeyPatch,
    machine,
) -> None:
    machine(monkeypatch)
    with pytest.raises(Rejection, match=f"process {holder.pid} "):
        lock_of(tmp_path).take()
    holder.kill()
    holder.wait()
    lock_of(tmp_path, patience_s=0.1).take()
    assert f'"pid": {os.getpid()}' in (tmp_path / LOCK).read_text()


@pytest.mark.parametrize("left", ["", "{", '{"host": "node9"}\n', "[]", "\0\0"])
def test_lock_that_was_not_written_whole_is_taken_over(
    lock_of: LockOf, tmp_path: Path, left: str
) -> None:
    (tmp_path / LOCK).write_text(left)
    lock_of(tmp_path, patience_s=0.1).take()
    assert f'"pid": {os.getpid()}' in (tmp_path / LOCK).read_text()


def test_lock_released_while_it_is_watched(
    lock_of: LockOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / LOCK
    path.write_text('{"host": "node9"}\n')
    monkeypatch.setattr(time, "sleep", lambda _: path.unlink(missing_ok=True))
    lock_of(tmp_path).take()
    assert f'"pid": {os.getpid()}' in path.read_text()


def test_lock_of_somebody_else_stays_when_ours_was_removed(
    lock_of: LockOf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock = lock_of(tmp_path)
    lock.take()
    (tmp_path / LOCK).unlink()
    (tmp_path / LOCK).write_text("another")
    end = time.monotonic() + 30
    while "was removed" not in caplog.text and time.monotonic() < end:
        time.sleep(0.01)
    assert "another workflow may be writing" in caplog.text
    lock.release()
    assert (tmp_path / LOCK).read_text() == "another"


@pytest.mark.parametrize("mode", [0o755, 0o775, 0o2775, 0o700])
def test_who_may_write_to_the_folder_may_take_over(
    lock_of: LockOf, tmp_path: Path, mode: int
) -> None:
    tmp_path.chmod(mode)
    before = os.umask(0o077)
    try:
        lock_of(tmp_path).take()
    finally:
        os.umask(before)
    assert (tmp_path / LOCK).stat().st_mode & 0o777 == mode & 0o666


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_lock_that_may_not_be_read(lock_of: LockOf, tmp_path: Path) -> None:
    (tmp_path / LOCK).touch(mode=0)
    with pytest.raises(Rejection, match="may not be read"):
        lock_of(tmp_path).take()
