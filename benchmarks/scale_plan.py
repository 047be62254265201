"""Plan thousands of nights: jobs, hours, storage and files, SIMULATED from measured costs.

The graph of jobs with what each is granted is that of a real dry run of Snakemake with the default
models on a simulated cohort of that many nights. A job's seconds are `start + nights x passes x
unit` of `docs/benchmarks/scale_costs.tsv`, which benchmarks/scale_costs.py took from small runs;
storage is that of `scale_storage.tsv`. Everything beyond a night is thus extrapolated in a straight
line. The schedule is simulated too: each job has one core, jobs that are ready go first that have
the most work behind them, a job of the cluster waits `--wait` seconds before it begins, a share of
the attempts fails at a moment drawn with a seed and is sent again, and the rules of a shard share a
job of the cluster.

Usage: ``python benchmarks/scale_plan.py [--nights 6000 100000] [--a-shard 60 250] [--workers 16 64
256] [--faster 1] [--fail 0.01] [--seed 1] [--most] [--printed FILE FILE]``

With `--most` a night costs the most that it can by the measured runs, their starts counted as work;
the truth lies between. `--printed` reads what `snakemake --dry-run all` printed, one file for each
size, and makes none.
"""

import argparse
import csv
import heapq
import json
import random
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from measuring import ROOT, run, table
from somnoflow.config.files import load_values
from somnoflow.config.root import Config, read_config
from somnoflow.io.manifest import shard_of
from workflow_overhead import copy_project

COSTS = ROOT / "docs" / "benchmarks" / "scale_costs.tsv"
STORAGE = ROOT / "docs" / "benchmarks" / "scale_storage.tsv"
SHARD_RULES = ("simulate", "fetch", "check", "parse", "pack")
TRAININGS = ("pretrain", "fuse", "head", "finetune", "finetune_fused", "train")
ON_SIGNALS = ("pretrain", "fuse", "finetune", "finetune_fused", "train")
# Rules without a measured cost, and the one whose cost stands in.
LIKE = {
    "evaluate_events": "evaluate", "evaluate_ablation": "index", "bundle": "index",
    "compare": "index", "report": "evaluate", "finetune_fused": "finetune",
}  # fmt: skip
FILES_PER_JOB = 6  # outputs, run.json, log, benchmark, and Snakemake's own record
_BLOCK = re.compile(r"^( *)(?:local)?rule (\w+):\n((?:\1 {4}.*\n)+)", re.MULTILINE)
_LINE = re.compile(r"^ +(input|output|wildcards|resources): (.*)$", re.MULTILINE)


@dataclass
class Job:
    """One job of the plan, or some that share a job of the cluster.

    Attributes
    ----------
    rule, wildcards
        What runs.
    inputs, outputs
        Files.
    mem_mb, runtime
        What it is granted: MB and minutes.
    needs
        Numbers of the jobs that go before.
    seconds
        What it takes, by the costs.
    """

    rule: str
    wildcards: dict[str, str]
    inputs: list[str]
    outputs: list[str]
    mem_mb: int
    runtime: int
    needs: set[int] = field(default_factory=set)
    seconds: float = 0.0


@dataclass(frozen=True)
class Unit:
    """What a kind of job costs: seconds at its start, and for each night and pass; MiB."""

    start: float
    unit: float
    peak_mib: float


@dataclass(frozen=True)
class Schedule:
    """What a simulated run came to."""

    makespan_s: float
    cpu_s: float
    failures: int


def parse_jobs(printed: str) -> list[Job]:
    """Read the jobs of a dry run and link them by their files."""
    jobs = []
    for block in _BLOCK.finditer(printed):
        lines = {found[1]: found[2].split(", ") for found in _LINE.finditer(block[3])}
        resources = dict(pair.split("=", 1) for pair in lines.get("resources", []))
        jobs.append(
            Job(
                rule=block[2],
                wildcards=dict(pair.split("=", 1) for pair in lines.get("wildcards", [])),
                inputs=lines.get("input", []),
                outputs=lines.get("output", []),
                mem_mb=int(resources.get("mem_mb", 0)),
                runtime=int(resources.get("runtime", 0)),
            )
        )
    jobs = [job for job in jobs if job.rule != "all"]
    makers = {path: number for number, job in enumerate(jobs) for path in job.outputs}
    for number, job in enumerate(jobs):
        job.needs = {makers[path] for path in job.inputs if path in makers} - {number}
    return jobs


def read_costs(path: Path, *, column: str) -> dict[tuple[str, str], Unit]:
    """Read the measured costs by rule and model, a night's from a column."""
    with path.open(encoding="utf-8") as file:
        return {
            (row["rule"], row["model"]): Unit(
                float(row["start_s"]),
                float(row[column]),
                float(row["peak_mib"]),
            )
            for row in csv.DictReader(file, delimiter="\t")
        }


def model_of(job: Job) -> str:
    """Name the kind of a job as the table of costs does."""
    names = job.wildcards
    if job.rule in ("pretrain", "embed"):
        return f"{names['encoder']}/{names['channel']}"
    if job.rule in ("head", "score"):
        return f"{names['encoder']}/{names['head']}"
    if job.rule in ("train", "score_tuned"):
        method = names.get("method") or f"{names['tuning']}-{names['head']}"
        return f"{names['encoder']}/{method}"
    return "-"


def cost_of(job: Job, costs: Mapping[tuple[str, str], Unit]) -> Unit:
    """Give the measured cost of a job's kind; the dearest of its rule where it has none."""
    rule = LIKE.get(job.rule, job.rule)
    if (rule, model_of(job)) in costs:
        return costs[rule, model_of(job)]
    kinds = [unit for (name, _), unit in costs.items() if name == rule]
    if not kinds:
        raise SystemExit(f"{COSTS} has no row of the rule {rule}. Make it with scale_costs.py")
    return max(kinds, key=lambda unit: unit.unit)


def passes_of(job: Job, config: Config) -> float:  # noqa: PLR0911
    """Give how many passes a training makes; 1 for anything else."""
    names = job.wildcards
    if job.rule == "pretrain":
        return (config.unimodal if names["encoder"] == "unimodal" else config.pretrain).passes
    if job.rule == "fuse":
        return config.synthsleepnet.passes
    if job.rule == "finetune":
        return config.finetune.passes
    if job.rule == "finetune_fused":
        return config.synthsleepnet.finetune.passes
    if job.rule == "train":
        recipe = getattr(config.supervised, names["encoder"])
        # The measured pass of DeepSleepNet is one of each of its two trainings.
        return (recipe.passes + getattr(recipe, "cnn_passes", recipe.passes)) / 2
    if job.rule == "head" and names["head"] == "linear":
        own = config.synthsleepnet.linear if names["encoder"] == "synthsleepnet" else None
        return (own or config.heads.linear).passes
    if job.rule == "head" and names["head"] not in ("knn", "boosting"):
        return config.heads.context.passes
    return 1


def nights_of(job: Job, *, nights: int, dealt: Mapping[int, int], config: Config) -> float:
    """Give how many nights a job works on."""
    if "shard" in job.wildcards:
        return dealt[int(job.wildcards["shard"])]
    test = nights / config.split.folds
    validation = (nights - test) * config.split.validation
    if job.rule in TRAININGS:
        return nights - test - validation + validation / 3
    if job.rule.startswith("score"):
        return test + validation
    return nights


def group(jobs: Sequence[Job], rules: Sequence[str]) -> list[Job]:
    """Let the jobs of some rules with the same shard share one job of the cluster."""
    place: dict[int, int] = {}
    grouped: list[Job] = []
    of_shard: dict[str, int] = {}
    for number, job in enumerate(jobs):
        shard = job.wildcards.get("shard") if job.rule in rules else None
        if shard is None or shard not in of_shard:
            if shard is not None:
                of_shard[shard] = len(grouped)
            place[number] = len(grouped)
            grouped.append(Job(job.rule, job.wildcards, [], [], job.mem_mb, job.runtime))
        else:
            place[number] = of_shard[shard]
            whole = grouped[place[number]]
            whole.mem_mb = max(whole.mem_mb, job.mem_mb)
            whole.runtime += job.runtime
        grouped[place[number]].seconds += job.seconds
    for number, job in enumerate(jobs):
        own = place[number]
        grouped[own].needs |= {place[needed] for needed in job.needs} - {own}
    return grouped


def behind(jobs: Sequence[Job]) -> list[float]:
    """Give the seconds of the longest way from each job to the end, its own among them."""
    followers: dict[int, list[int]] = defaultdict(list)
    open_followers = Counter(needed for job in jobs for needed in job.needs)
    for number, job in enumerate(jobs):
        for needed in job.needs:
            followers[needed].append(number)
    longest = [0.0] * len(jobs)
    ready = [number for number in range(len(jobs)) if not open_followers[number]]
    while ready:
        number = ready.pop()
        after = max((longest[other] for other in followers[number]), default=0.0)
        longest[number] = jobs[number].seconds + after
        for needed in jobs[number].needs:
            open_followers[needed] -= 1
            if not open_followers[needed]:
                ready.append(needed)
    return longest


def schedule(jobs: Sequence[Job], *, workers: int, wait: float, fail: float, seed: int) -> Schedule:
    """Simulate a run on some cores, one for each job; a failed attempt is sent again."""
    draw = random.Random(seed)  # noqa: S311 - a simulation
    followers: dict[int, list[int]] = defaultdict(list)
    missing = [len(job.needs) for job in jobs]
    for number, job in enumerate(jobs):
        for needed in job.needs:
            followers[needed].append(number)
    longest = behind(jobs)
    ready = [(-longest[number], number) for number in range(len(jobs)) if not missing[number]]
    heapq.heapify(ready)
    running: list[tuple[float, int, bool]] = []
    now, used, failures, done = 0.0, 0.0, 0, 0
    while done < len(jobs):
        while ready and len(running) < workers:
            _, number = heapq.heappop(ready)
            fails = draw.random() < fail
            taken = jobs[number].seconds * (draw.random() if fails else 1.0)
            used += taken
            heapq.heappush(running, (now + wait + taken, number, fails))
        now, number, fails = heapq.heappop(running)
        if fails:
            failures += 1
            heapq.heappush(ready, (-longest[number], number))
            continue
        done += 1
        for follower in followers[number]:
            missing[follower] -= 1
            if not missing[follower]:
                heapq.heappush(ready, (-longest[follower], follower))
    return Schedule(now, used, failures)


def dry_run(*, nights: int, shards: int) -> str:
    """Give what a dry run of the default models prints."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_project(folder)
        values = {"shards": shards, "simulate": {"subjects": nights, "hours": 8.0}}
        (folder / "cohort.yaml").write_text(json.dumps(values), encoding="utf-8")
        return run(
            [
                sys.executable, "-m", "snakemake", "all", "--cores", "2", "--dry-run", "--nocolor",
                "--configfile", "cohort.yaml",
            ],
            folder=folder,
        )[1]  # fmt: skip


def describe(
    printed: str, arguments: argparse.Namespace, *, nights: int, shards: int
) -> Iterator[str]:
    """Give the tables of one size of cohort."""
    config = read_config(load_values(default=ROOT / "config.yaml"))
    column = "most" if arguments.most else "s_per_night_and_pass"
    jobs, costs = parse_jobs(printed), read_costs(COSTS, column=column)
    names = (f"S{number:04d}" for number in range(1, nights + 1))
    dealt = Counter(shard_of("simulated", name, shards) for name in names)
    for job in jobs:
        unit = cost_of(job, costs)
        work = nights_of(job, nights=nights, dealt=dealt, config=config)
        job.seconds = unit.start + unit.unit * work * passes_of(job, config)
        if job.rule in ON_SIGNALS:
            job.seconds /= arguments.faster
    shared = group(jobs, SHARD_RULES)
    runs = {
        size: schedule(
            shared, workers=size, wait=arguments.wait, fail=arguments.fail, seed=arguments.seed
        )
        for size in arguments.workers
    }
    first = next(iter(runs.values()))
    yield (
        f"{nights:,} nights in {shards} shards; trainings on signals {arguments.faster:g} times as "
        "fast as measured\n"
    )
    rows: list[tuple[object, ...]] = [
        ("jobs", len(jobs)),
        ("jobs of the cluster, a shard's in one", len(shared)),
        ("core hours (extrapolated)", f"{sum(job.seconds for job in jobs) / 3600:,.0f}"),
        ("more core hours for failures (simulated)", f"{_lost(first, jobs):,.1f}"),
        ("attempts that fail (simulated)", first.failures),
        ("longest way through the jobs, hours (simulated)", f"{max(behind(shared)) / 3600:,.1f}"),
        *(
            (f"hours on {size} cores (simulated)", f"{found.makespan_s / 3600:,.1f}")
            for size, found in runs.items()
        ),
        ("files (estimated)", f"{nights * 2 + len(jobs) * FILES_PER_JOB:,}"),
    ]
    with STORAGE.open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            size = float(row["mb_per_night"]) * nights / 1e6
            rows.append((f"`{row['folder']}`, TB (extrapolated)", f"{size:.3f}"))
    yield table(("what", "found"), rows) + "\n"
    yield table(
        ("rule", "jobs", "core hours, all", "longest job, hours", "granted, hours", "granted, MB"),
        _by_rule(jobs),
    )


def _lost(found: Schedule, jobs: Sequence[Job]) -> float:
    return (found.cpu_s - sum(job.seconds for job in jobs)) / 3600


def _by_rule(jobs: Sequence[Job]) -> Iterator[tuple[object, ...]]:
    by_rule: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        by_rule[job.rule].append(job)
    for rule, own in by_rule.items():
        hours = [job.seconds / 3600 for job in own]
        granted = max(job.runtime for job in own) / 60
        longest = f"{max(hours):,.2f}" + (" (too long)" if max(hours) > granted else "")
        memory = max(job.mem_mb for job in own)
        yield f"`{rule}`", len(own), f"{sum(hours):,.1f}", longest, f"{granted:g}", memory


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nights", type=int, nargs="+", default=[6_000, 100_000])
    parser.add_argument("--a-shard", type=int, nargs="+", default=[60, 250])
    parser.add_argument("--workers", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--wait", type=float, default=60.0)
    parser.add_argument("--faster", type=float, default=1.0)
    parser.add_argument("--fail", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", action="store_true")
    parser.add_argument("--printed", type=Path, nargs="+", default=[])
    arguments = parser.parse_args()
    for number, nights in enumerate(arguments.nights):
        shards = -(-nights // arguments.a_shard[number])
        if arguments.printed:
            printed = arguments.printed[number].read_text(encoding="utf-8")
        else:
            printed = dry_run(nights=nights, shards=shards)
        for text in describe(printed, arguments, nights=nights, shards=shards):
            print(text)


if __name__ == "__main__":
    main()
