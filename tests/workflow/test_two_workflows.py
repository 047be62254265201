"""Two workflows on one results folder: the second is refused, and one that ended hinders nobody."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from somnoflow.one_workflow import LOCK
from tests.workflow.project import Project

pytestmark = pytest.mark.workflow

# In place of the jobs' Python: waits until the test says how to go on.
PYTHON = """\
#!/bin/sh
touch {folder}/started
until [ -e {folder}/go ] || [ -e {folder}/fail ]; do sleep 0.05; done
[ -e {folder}/fail ] && exit 1
exec {python} "$@"
"""
MINUTE = 60


class Desk:
    """Two copies of the project, in `one` and `two`, that name the same results folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results"
        for name in ("one", "two"):
            Project.copy(folder / name)
        waiting = folder / "bin/python"
        waiting.parent.mkdir()
        waiting.write_text(PYTHON.format(folder=folder, python=sys.executable))
        waiting.chmod(0o755)
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """Start Snakemake for one short job."""
        process = subprocess.Popen(
            [
                sys.executable, "-m", "snakemake", "--cores", "1", "--nocolor", *arguments,
                f"{self.results}/raw/dataset=simulated/shard=0/manifest.tsv",
                "--configfile", "config/tiny.yaml", "--config", f"results={self.results}",
            ],
            cwd=self.folder / name,
            env={
                **os.environ,
                "PATH": os.pathsep.join(
                    [str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
                ),
            },
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        self._processes.append(process)
        return process

    def start_waiting(self, name: str) -> subprocess.Popen[str]:
        """Start Snakemake, and come back when its job runs."""
        process = self.start(name)
        end = time.monotonic() + 30 * MINUTE
        while not (self.folder / "started").exists():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.05)
        return process

    def run(self, name: str, *arguments: str) -> tuple[int, str]:
        """Run Snakemake to its end; give its code and what it printed."""
        process = self.start(name, *arguments)
        printed, _ = process.communicate(timeout=30 * MINUTE)
        return process.returncode, printed

    def say(self, word: str) -> None:
        """Let the waiting job go on."""
        (self.folder / word).touch()

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def test_second_is_refused_and_the_first_goes_on(desk: Desk) -> None:
    first = desk.start_waiting("one")
    code, printed = desk.run("two")
    assert code == 1
    assert f"{desk.results} is not free: found another workflow at work on it" in printed
    assert f"process {first.pid} of " in printed
    assert f"started in {desk.folder / 'one'}" in printed
    assert f"rm -f {desk.results / LOCK}" in printed
    # What only looks is not refused, and does not take the folder away.
    code, printed = desk.run("two", "--dry-run")
    assert code == 0, printed
    assert (desk.results / LOCK).exists()
    desk.say("go")
    printed, _ = first.communicate(timeout=30 * MINUTE)
    assert first.returncode == 0, printed
    assert not (desk.results / LOCK).exists()
    code, printed = desk.run("two")
    assert code == 0, printed


def test_killed_one_hinders_nobody(desk: Desk) -> None:
    first = desk.start_waiting("one")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert (desk.results / LOCK).exists()
    desk.say("go")
    code, printed = desk.run("two")
    assert code == 0, printed
    assert not (desk.results / LOCK).exists()


@pytest.mark.parametrize("end", ["error", signal.SIGINT, signal.SIGTERM])
def test_one_that_failed_or_was_stopped_leaves_no_lock(
    desk: Desk, end: str | signal.Signals
) -> None:
    first = desk.start_waiting("one")
    if isinstance(end, signal.Signals):
        os.killpg(first.pid, end)
    else:
        desk.say("fail")
    printed, _ = first.communicate(timeout=30 * MINUTE)
    assert first.returncode != 0, printed
    assert not (desk.results / LOCK).exists()
