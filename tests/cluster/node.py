"""A Slurm cluster of one node that a test starts, breaks and leaves without a trace."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

SCRIPT = Path(__file__).with_name("one_node.sh")
NEEDED = ("slurmctld", "slurmd", "sbatch", "munged", "unshare", "nsenter")
AT_WORK = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING"}
PATIENCE_S = 1200


def missing() -> str:
    """Say why no cluster can be started here; nothing where one can."""
    if os.geteuid() != 0:
        return "a Slurm cluster of one node needs root"
    absent = [name for name in NEEDED if not shutil.which(name)]
    if absent:
        return f"a Slurm cluster of one node needs {', '.join(absent)} (slurm-wlm, munge)"
    tried = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    if subprocess.run(tried, check=False, capture_output=True).returncode:
        return "a Slurm cluster of one node needs namespaces of its own"
    return ""


@dataclass(frozen=True)
class Job:
    """What Slurm says of a job."""

    number: int
    what: str
    state: str
    restarts: int
    memory_mb: int
    minutes: int
    partition: str
    gpus: str


@dataclass(frozen=True)
class Node:
    """A running cluster; `first` is the first process of its namespace."""

    folder: Path
    first: psutil.Process

    def inside(self, *command: str, cwd: Path | None = None) -> list[str]:
        """Give the command line that runs a command beside the daemons."""
        namespace = ["nsenter", "--target", str(self.first.pid), "--mount", "--pid"]
        return [*namespace, "env", f"--chdir={cwd or self.folder}", *command]

    def run(self, *command: str) -> str:
        """Run a command beside the daemons and give what it printed."""
        done = subprocess.run(self.inside(*command), check=True, text=True, stdout=subprocess.PIPE)
        return done.stdout

    def jobs(self) -> list[Job]:
        """Give all jobs that were ever sent."""
        lines = self.run("scontrol", "show", "job", "--oneliner").splitlines()
        return [_job(line) for line in lines if line.startswith("JobId=")]

    def running(self) -> list[Job]:
        """Give the jobs that run."""
        return [job for job in self.jobs() if job.state == "RUNNING"]

    def rest(self) -> None:
        """Return when no job runs or waits."""
        self.wait_until(lambda: not any(job.state in AT_WORK for job in self.jobs()))

    def wait_until(self, so: Callable[[], bool]) -> None:
        """Return when it is so."""
        end = time.monotonic() + PATIENCE_S
        while not so():
            assert time.monotonic() < end, f"not within {PATIENCE_S} s; {self.jobs()}"
            time.sleep(0.3)

    def fail(self) -> None:
        """Kill the node's daemon and all jobs, as a power cut does; return when it is noticed."""
        for process in self.first.children():
            if process.name() in ("slurmd", "slurmstepd"):
                for one in (process, *process.children(recursive=True)):
                    one.kill()
        self.wait_until(lambda: "down" in self.run("sinfo", "--noheader", "--format=%T"))

    def recover(self) -> None:
        """Start the node's daemon again."""
        self.run("slurmd")


@contextmanager
def one_node(folder: Path) -> Iterator[Node]:
    """Start a cluster; when the block is left, all of it ends."""
    with subprocess.Popen(
        [SCRIPT, folder, "sh", "-c", "echo ready; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as script:
        assert script.stdout is not None
        try:
            said = script.stdout.readline()
            assert said == "ready\n", f"the cluster did not start; see {folder}/log"
            (first,) = psutil.Process(script.pid).children()
            yield Node(folder=folder, first=first)
        finally:
            script.kill()


def _job(line: str) -> Job:
    told = dict(part.split("=", 1) for part in line.split() if "=" in part)
    return Job(
        number=int(told["JobId"]),
        what=told.get("Comment", ""),
        state=told["JobState"],
        restarts=int(told["Restarts"]),
        memory_mb=_megabytes(told["MinMemoryNode"]),
        minutes=_minutes(told["TimeLimit"]),
        partition=told["Partition"],
        gpus=told.get("TresPerJob", ""),
    )


def _megabytes(told: str) -> int:
    """Read 500M or 8G."""
    return round(float(told[:-1]) * {"M": 1, "G": 1024}[told[-1]])


def _minutes(told: str) -> int:
    """Read 12:00:00 or 1-12:00:00."""
    days, _, clock = told.rpartition("-")
    hours, minutes, _ = clock.split(":")
    return int(days or 0) * 1440 + int(hours) * 60 + int(minutes)
