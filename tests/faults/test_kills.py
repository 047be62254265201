"""A process that is killed loses nothing, and leaves nothing that passes for a result."""

import itertools
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from somnoflow.commands.check import check
from somnoflow.commands.simulate import simulate
from somnoflow.config.files import load_values
from somnoflow.config.simulate import SimulateSlice
from somnoflow.entry import command
from somnoflow.io.table import read_table
from somnoflow.plan import Plan
from somnoflow.training.resume import Resume
from tests.faults.kills import (
    SNAKEMAKE,
    Assassin,
    deterministic,
    differences,
    jobs_in,
    lifetimes,
    not_fresh,
    outputs_by_stage,
    planned_outputs,
    read_kills,
    remove,
    results_of,
    storm,
    temporary_files,
    top_up,
    write_page,
)
from tests.faults.replay import LIBRARIES
from tests.workflow.project import ROOT, Project

KILLS = 20
# What lies between the two is made again, too.
EARLY = ("check/dataset=simulated/shard=1/recordings.json", "split/split.json")
# None of these is made from another.
LATE = (
    "pretrain/unimodal/ECG/fold=1/encoder.safetensors",
    "heads/neuronet/EEG_C4/mamba/task=staging/labels=all/fold=0/head.safetensors",
    "scores/tinysleepnet/EEG_C4/published/task=staging/labels=all/fold=1/predictions.parquet",
    "metrics/majority/none/constant/task=staging/labels=all/metrics.json",
    "bundles/deepsleepnet/EEG_C4/published/task=staging/labels=all/bundle.zip",
)
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([*LIBRARIES, __name__])
CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}


def killed_before(number: int, folder: Path, work: Callable[[Path], None]) -> bool:
    """Work in a process that is killed when it is about to touch the folder for the n-th time."""
    process = FORKS.Process(target=work_until, args=(number, folder, work))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def work_until(number: int, folder: Path, work: Callable[[Path], None]) -> None:
    count = itertools.count(1)

    def hook(event: str, values: tuple[object, ...]) -> None:
        touches = event in CHANGES and str(values[0]).startswith(str(folder))
        if touches and next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    work(folder)


def check_a_shard(folder: Path) -> None:
    values = load_values([ROOT / "config/tiny.yaml"], default=ROOT / "config.yaml")
    plan = Plan(
        {**values, "results": str(folder), "shards": 1}, datasets=ROOT / "workflow/datasets"
    )
    shard = {"dataset": "simulated", "shard": "0"}
    raw = plan.paths.raw_folder.format(**shard)
    manifest = plan.paths.raw_manifest.format(**shard)
    command(check, [
        "--shard-manifest", manifest, "--manifest", f"{raw}/manifest.tsv",
        "--recordings", plan.paths.checked.format(**shard),
        "--problems", plan.paths.problems.format(**shard),
        "--state", plan.paths.raw_state.format(**shard),
        "--threads", "1", "--cfg", plan.cfg("check")(shard),
    ])  # fmt: skip


def finish_a_training(folder: Path) -> None:
    """Do what is left to do when the last pass is over."""
    kept = Resume(folder / "fold=0", "key")
    if not kept.finished:
        for state in ("key/last.ckpt", "key/best-1.safetensors", "key/step/last.ckpt", "old/x"):
            path = folder / "fold=0" / state
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(state.encode())
        kept.finish(kept.folder / "best-1.safetensors", [{"pass": 1, "best": 1}])
    kept.copy(weights=folder / "encoder.safetensors", training=folder / "training.csv")


@pytest.mark.parametrize("work", [check_a_shard, finish_a_training])
def test_a_kill_between_any_two_steps_leaves_nothing_behind(
    work: Callable[[Path], None], tmp_path: Path
) -> None:
    start = tmp_path / "start"
    start.mkdir()
    if work is check_a_shard:
        (raw := start / "raw/dataset=simulated/shard=0").mkdir(parents=True)
        cfg = SimulateSlice(subjects=["S0001"], hours=0.1, seed=22)
        simulate(manifest=raw / "manifest.tsv", folder=raw.parent, cfg=cfg)
    # The same place each time: paths stand in some results.
    place, wanted = tmp_path / "place", tmp_path / "wanted"
    shutil.copytree(start, place)
    work(place)
    place.rename(wanted)
    for number in itertools.count(1):
        shutil.copytree(start, place)
        if not killed_before(number, place, work):
            break
        work(place)
        assert not differences(wanted, place), number
        assert not temporary_files(place), number
        shutil.rmtree(place)
    assert number > 15


def brought_to_an_end(project: Project, targets: list[str], *, kills: int, seed: int) -> Assassin:
    results = results_of(project)
    outputs = {
        stage: [job for job in jobs if set(job) & set(targets)]
        for stage, jobs in outputs_by_stage(results).items()
    }
    outputs = {stage: jobs for stage, jobs in outputs.items() if jobs}
    assassin = Assassin(
        project, results=results, outputs=planned_outputs(project),
        lifetime=lifetimes(results), times=3, seed=seed, tell=lambda kills: None,
    )  # fmt: skip
    remove(project, [path for jobs in outputs.values() for job in jobs for path in job])
    assassin.start()
    try:
        storm(project, targets, assassin=assassin)
        top_up(project, outputs=outputs, assassin=assassin, kills=kills, seed=seed)
    finally:
        assassin.stop()
    # By name: Snakemake makes nothing again whose results are all there, and here they are.
    planned = [path for paths in planned_outputs(project).values() for path in paths]
    if lacking := [path for path in planned if not (project.folder / path).exists()]:
        project.snakemake(*lacking)
    return assassin


@pytest.fixture
def undisturbed(editable: Project, tmp_path: Path) -> Path:
    """Copy the results before anything is killed."""
    return shutil.copytree(results_of(editable), tmp_path / "undisturbed")


@pytest.mark.workflow
@pytest.mark.xdist_group("tiny")
def test_kills_of_a_running_workflow_change_nothing(editable: Project, undisturbed: Path) -> None:
    results = results_of(editable)
    folder = results.relative_to(editable.folder)
    kills = []
    for seed, targets in enumerate((EARLY, LATE)):
        asked = [f"{folder}/{name}" for name in targets]
        kills += brought_to_an_end(editable, asked, kills=KILLS // 2, seed=seed).kills
    assert len(kills) >= KILLS
    assert {kill.stage for kill in kills} >= {
        "check", "split", "pretrain", "head", "score_tuned", "evaluate", "bundle",
    }  # fmt: skip
    assert not differences(undisturbed, results)
    assert not temporary_files(results)
    assert not not_fresh(editable)
    assert not editable.planned()


@pytest.mark.workflow
@pytest.mark.xdist_group("tiny")
def test_a_training_killed_between_passes_goes_on(editable: Project, undisturbed: Path) -> None:
    results = results_of(editable)
    made = "pretrain/neuronet/EEG_C4/fold=0"
    target = f"{results.relative_to(editable.folder)}/{made}/encoder.safetensors"
    remove(editable, [target])
    state = results / "resume" / made
    with subprocess.Popen(
        editable.command(target), cwd=editable.folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as snakemake:  # fmt: skip
        while not list(state.rglob("last.ckpt")):
            assert snakemake.poll() is None
            time.sleep(0.01)
        (job,) = jobs_in(editable.folder)
        os.kill(job, signal.SIGKILL)
        assert snakemake.wait() == 1
    editable.snakemake(target)
    (log,) = (results / "logs/pretrain").rglob("encoder=neuronet/channel=EEG_C4/fold=0.log")
    text = log.read_text(encoding="utf-8")
    assert "continuing after the last finished pass" in text
    assert re.findall(r"pass (\d) of 2", text) == ["2"]
    assert not differences(undisturbed, results)


def test_two_results_that_differ_are_told(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name / "split").mkdir(parents=True)
        (tmp_path / name / "split/split.json").write_text("{}")
        (tmp_path / name / "split/run.json").write_text(name)
    one, other = tmp_path / "one", tmp_path / "other"
    assert list(deterministic(one)) == ["split/split.json"]
    assert not differences(one, other)
    (other / "split/.partial-12ab-split.json").write_text("{")
    (one / "split/split.json").write_text("{} ")
    assert differences(one, other) == ["split/.partial-12ab-split.json", "split/split.json"]
    assert temporary_files(other) == [other / "split/.partial-12ab-split.json"]


def test_the_documentation_shows_the_counts_of_the_tables(tmp_path: Path) -> None:
    folder, page = ROOT / "docs/reliability", ROOT / "docs/reliability.md"
    kills, stages = read_kills(folder / "kills.tsv"), read_table(folder / "stages.tsv")
    assert len(kills) >= 200
    assert all(int(row["kills"]) and not int(row["unequal"]) for row in stages)
    assert Counter(kill.stage for kill in kills if kill.stage != SNAKEMAKE) == {
        row["stage"]: int(row["kills"]) for row in stages
    }
    again = tmp_path / page.name
    shutil.copyfile(page, again)
    write_page(again, folder)
    assert again.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
