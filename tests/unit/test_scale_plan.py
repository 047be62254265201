"""The simulation of thousands of nights: it reads a plan, and schedules it as it says."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from somnoflow.config.files import load_values
from somnoflow.plan import Plan

ROOT = Path(__file__).parents[2]
PRINTED = """
[Sun Nov 22 08:00:00 2026]
rule parse:
    input: results/check/shard=3/recordings.json
    output: results/signals/shard=3/part-0.parquet, results/signals/shard=3/index.json
    log: results/logs/parse/shard=3.log
    jobid: 2
    reason: Missing output files
    wildcards: dataset=simulated, shard=3
    resources: tmpdir=/tmp, runtime=60, mem_mb=2000, mem=2 GB

[Sun Nov 22 08:00:00 2026]
rule check:
    output: results/check/shard=3/recordings.json
    jobid: 3
    wildcards: dataset=simulated, shard=3
    threads: 2
    resources: tmpdir=/tmp, runtime=30, mem_mb=500

[Sun Nov 22 08:00:00 2026]
rule split:
    input: results/signals/shard=3/index.json
    output: results/split/split.json
    jobid: 1
    resources: tmpdir=/tmp, runtime=10, mem_mb=1000

[Sun Nov 22 08:00:00 2026]
rule all:
    input: results/split/split.json
    jobid: 0
"""


@pytest.fixture
def scale_plan(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.chdir(ROOT)
    return importlib.import_module("scale_plan")


def test_jobs_of_a_dry_run_are_read_with_what_they_need(scale_plan: ModuleType) -> None:
    parse, check, split = scale_plan.parse_jobs(PRINTED)
    assert [parse.rule, check.rule, split.rule] == ["parse", "check", "split"]
    assert parse.wildcards == {"dataset": "simulated", "shard": "3"}
    assert (parse.mem_mb, parse.runtime, check.mem_mb) == (2000, 60, 500)
    assert [parse.needs, check.needs, split.needs] == [{1}, set(), {0}]


def test_rules_of_a_shard_share_a_job_of_the_cluster(scale_plan: ModuleType) -> None:
    jobs = scale_plan.parse_jobs(PRINTED)
    for seconds, job in zip((3.0, 2.0, 1.0), jobs, strict=True):
        job.seconds = seconds
    shard, split = scale_plan.group(jobs, ("check", "parse"))
    assert (shard.seconds, shard.mem_mb, shard.runtime, shard.needs) == (5.0, 2000, 90, set())
    assert split.needs == {0}


def job(scale_plan: ModuleType, seconds: float, *needs: int) -> object:
    return scale_plan.Job("score", {}, [], [], 0, 0, needs=set(needs), seconds=seconds)


def test_ready_jobs_with_the_most_work_behind_them_go_first(scale_plan: ModuleType) -> None:
    # Three alone and a chain of two: the chain begins at once, so that two cores end after 4 s.
    jobs = [job(scale_plan, s, *needs) for s, *needs in [(1,), (1,), (2,), (2,), (2, 3)]]
    assert scale_plan.behind(jobs) == [1, 1, 2, 4, 2]
    plain = {"wait": 0.0, "fail": 0.0, "seed": 1}
    assert scale_plan.schedule(jobs, workers=1, **plain).makespan_s == 8
    assert scale_plan.schedule(jobs, workers=2, **plain).makespan_s == 4
    # On any number of cores the chain takes its time, and each of its jobs waits.
    waited = scale_plan.schedule(jobs, workers=9, wait=5.0, fail=0.0, seed=1)
    assert (waited.makespan_s, waited.cpu_s, waited.failures) == (14, 8, 0)


def test_failed_attempts_are_sent_again_and_cost(scale_plan: ModuleType) -> None:
    jobs = [job(scale_plan, 10.0) for _ in range(200)]
    run = {"workers": 4, "wait": 0.0, "fail": 0.1}
    found = scale_plan.schedule(jobs, seed=1, **run)
    assert 5 < found.failures < 40
    assert 2000 < found.cpu_s < 2000 + 10 * found.failures
    assert found == scale_plan.schedule(jobs, seed=1, **run)
    assert found != scale_plan.schedule(jobs, seed=2, **run)


def test_every_rule_of_a_plan_has_a_measured_cost(scale_plan: ModuleType) -> None:
    plan = Plan(load_values(), datasets=ROOT / "workflow" / "datasets")
    costs = scale_plan.read_costs(scale_plan.COSTS, column="s_per_night_and_pass")
    most = scale_plan.read_costs(scale_plan.COSTS, column="most")
    assert all(costs[kind].unit <= most[kind].unit for kind in costs)
    for artefact in plan.artefacts():
        one = scale_plan.Job(artefact.rule, artefact.wildcards, [], [], 0, 0)
        assert scale_plan.cost_of(one, costs).start > 0, artefact.rule
        assert scale_plan.passes_of(one, plan.config) >= 1, artefact.rule
