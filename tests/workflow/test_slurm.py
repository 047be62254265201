"""The tiny workflow on a real Slurm that breaks on the way, beside the run on one machine.

One run suffers everything: a cancelled job, a node that dies, Snakemake killed. What it leaves has
to be what the undisturbed run on one machine left, byte for byte, with nothing done twice.

Some of the tiny workflow's models are left out, since each job on Slurm starts Snakemake anew; with
SOMNOFLOW_SLURM=whole none is.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from snakemake.utils import update_config

from somnoflow.one_workflow import LOCK
from tests.cluster.node import Job, Node, missing, one_node
from tests.workflow.project import Project
from tests.workflow.test_run import RESULTS, artefacts

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.xdist_group("tiny"),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

WHOLE = os.environ.get("SOMNOFLOW_SLURM") == "whole"
FEWER = {
    "heads": {"names": ["linear"]},
    "finetune": {"names": []},
    "supervised": {"names": ["tinysleepnet"]},
    "synthsleepnet": {"tasks": ["staging"]},
    "label_efficiency": {"methods": []},
    "baselines": {"yasa": []},
}


class Call:
    """Snakemake at work beside the cluster."""

    def __init__(self, node: Node, project: Project, *arguments: str) -> None:
        self._node = node
        # Not a pipe: nobody reads it while the test waits for something else.
        self._printed = node.folder / f"snakemake-{len(list(node.folder.glob('snakemake-*')))}.log"
        # It may not heed SIGTERM while it waits for jobs.
        limited = ("timeout", "--kill-after=5", "3600", sys.executable, "-m", "snakemake")
        command = node.inside(
            *limited, "--workflow-profile", "profiles/slurm-test", "--nocolor", *arguments,
            "--configfile", project.configfile, cwd=project.folder,
        )  # fmt: skip
        with self._printed.open("w") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)

    def until(self, so: Callable[[], bool]) -> None:
        """Return when it is so; fail when Snakemake ends before."""

        def look() -> bool:
            assert self._process.poll() is None, self._printed.read_text()
            return so()

        self._node.wait_until(look)

    def finish(self) -> None:
        assert self._process.wait() == 0, self._printed.read_text()

    def kill(self) -> None:
        (timeout,) = psutil.Process(self._process.pid).children()
        (snakemake,) = timeout.children()
        snakemake.kill()
        self._process.wait()


def states(project: Project) -> dict[str, tuple[int, int]]:
    """Give what tells of each artefact whether it was written again."""
    # A Snakemake that was killed has left the mark that says who works on the results.
    found = {name: path.stat() for name, path in artefacts(project).items() if name != LOCK}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


@dataclass(frozen=True)
class Survivor:
    """A finished run, what Slurm says of its jobs, and what was there before the last call."""

    project: Project
    jobs: list[Job]
    kept: dict[str, tuple[int, int]]
    finished: int
    left: int


def survive(folder: Path, *targets: str) -> Survivor:
    """Run the tiny workflow through a cancelled job, a dying node and Snakemake's death."""
    project = Project.copy(folder / "project")
    if not WHOLE:
        configuration = project.folder / project.configfile
        values = yaml.safe_load(configuration.read_text(encoding="utf-8"))
        update_config(values, FEWER)
        configuration.write_text(yaml.safe_dump(values), encoding="utf-8")
    results = project.folder / RESULTS
    with one_node(folder / "cluster") as node:
        data = Call(node, project, "data")
        data.until(lambda: bool(node.running()))
        node.run("scancel", str(node.running()[0].number))
        data.finish()

        everything = Call(node, project, *targets)
        everything.until(lambda: any(results.glob("logs/pretrain/**/*.log")))
        node.fail()
        node.recover()
        everything.until(lambda: any(results.glob("logs/head/**/*.log")))
        everything.kill()
        # Its jobs do not know that it died.
        node.rest()
        kept, runs = states(project), len(list(results.rglob("run.json")))
        left = sum(project.planned(*targets).values())
        Call(node, project, "--unlock").finish()
        Call(node, project, *targets).finish()
        return Survivor(project=project, jobs=node.jobs(), kept=kept, finished=runs, left=left)


@pytest.fixture(scope="module")
def survivor(tmp_path_factory: pytest.TempPathFactory) -> Survivor:
    return survive(tmp_path_factory.mktemp("slurm"), "all")


def test_all_artefacts_are_those_of_one_machine(finished: Project, survivor: Survivor) -> None:
    here, there = artefacts(finished), artefacts(survivor.project)
    if WHOLE:
        assert set(there) == set(here)
    else:
        # A table of all models is another one where some are left out.
        there = {name: path for name, path in there.items() if not name.startswith("comparison/")}
    assert set(there) <= set(here)
    assert len(there) >= 96
    different = [name for name in there if here[name].read_bytes() != there[name].read_bytes()]
    assert not different


def test_what_was_finished_is_not_done_again(survivor: Survivor) -> None:
    now = states(survivor.project)
    assert {name: now[name] for name in survivor.kept} == survivor.kept
    assert survivor.finished > 0
    assert survivor.left > 0
    assert survivor.finished + survivor.left == len(list(survivor.project.folder.rglob("run.json")))
    assert "Nothing to be done" in survivor.project.snakemake("all")


def test_a_cancelled_job_is_sent_again_with_twice_as_much(survivor: Survivor) -> None:
    (cancelled,) = (job for job in survivor.jobs if job.state == "CANCELLED")
    again = [job for job in survivor.jobs if job.what == cancelled.what][-1]
    assert again.state == "COMPLETED"
    assert (again.memory_mb, again.minutes) == (2 * cancelled.memory_mb, 2 * cancelled.minutes)


def test_slurm_starts_again_what_ran_on_a_lost_node(survivor: Survivor) -> None:
    restarted = [job for job in survivor.jobs if job.restarts]
    assert any("pretrain" in job.what for job in restarted)
    assert {job.state for job in restarted} == {"COMPLETED"}


def test_trainings_are_sent_to_the_gpus_and_nothing_else_is(survivor: Survivor) -> None:
    kinds = {(job.partition, job.gpus) for job in survivor.jobs}
    assert kinds == {("gpu", "gres:gpu:1"), ("main", "")}
    sent = {job.what.removeprefix("rule_").split("_")[0] for job in survivor.jobs if job.gpus}
    assert sent == {"encoder", "fuse", "embed", "tuned", "ablate"}
