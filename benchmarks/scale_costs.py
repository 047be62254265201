"""What a night costs in each rule, from Snakemake's own records, for benchmarks/scale_plan.py.

Two finished simulated runs are read: a short one (`config/tiny.yaml`, minutes of signal), whose
jobs do little but start, and a long one (the default configuration with eight nights of four
hours). A job is thought of as `start + nights x passes x unit`; `start` is that of the fastest of
its kind in the short run, `unit` what the long run took beyond it; where a start's own variation
hides the work, it comes out as 0. `most` is what the long run took in all: more than that a night
does not cost. Seconds are those of the CPU, so that little depends on what else the machine did.
Kinds that the long run has not got take the rates of docs/benchmarks.md and of `RATES`, or none
where their work does not grow with the cohort.

Usage: ``snakemake --cores 2 all --config results=results/long "simulate={hours: 4}"``, then
``python benchmarks/scale_costs.py --short results/tiny --long results/long --hours 4 [--out
docs/benchmarks]`` writes `scale_costs.tsv` and `scale_storage.tsv` there.
"""

import argparse
import csv
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from measuring import ROOT
from scale_plan import Job, model_of, nights_of, passes_of
from somnoflow.config.files import load_values
from somnoflow.config.root import Config, read_config

Kind = tuple[str, str]

# Seconds a night and pass that the long run does not tell, from docs/benchmarks.md: 960 epochs over
# the labelled epochs a second of a step (one pass of each of DeepSleepNet's trainings), and a night
# scored.
RATES: dict[Kind, float] = {
    ("train", "deepsleepnet/published"): 960 / 682 + 960 / 758,
    ("train", "tinysleepnet/published"): 960 / 1032,
    ("train", "seresnet_bilstm/published"): 960 / 462,
    ("score_tuned", "deepsleepnet/published"): 0.5,
    ("score_tuned", "tinysleepnet/published"): 0.4,
    ("score_tuned", "seresnet_bilstm/published"): 0.13,
}
KEPT = ("raw", "signals", "packed", "embeddings", "scores")


def read_jobs(run: Path) -> list[tuple[Job, float]]:
    """Give the jobs of a finished run and their CPU seconds; memory in `mem_mb`."""
    folder = run / "benchmarks"
    jobs = []
    for path in sorted(folder.rglob("*.tsv")):
        rule, *named = path.relative_to(folder).with_suffix("").parts
        wildcards = dict(name.split("=", 1) for name in named if "=" in name)
        with path.open(encoding="utf-8") as file:
            row = list(csv.DictReader(file, delimiter="\t"))[-1]
        job = Job(rule, wildcards, [], [], round(float(row["max_rss"])), 0)
        # Snakemake looks at the processor's time now and then, and for a short job not once.
        jobs.append((job, float(row["cpu_time"]) or float(row["s"])))
    if not jobs:
        raise SystemExit(f"{folder} has no records of Snakemake; wanted those of a finished run")
    return jobs


def by_kind(jobs: Iterable[tuple[Job, float]]) -> dict[Kind, list[tuple[Job, float]]]:
    """Gather jobs of one kind."""
    kinds: dict[Kind, list[tuple[Job, float]]] = defaultdict(list)
    for job, seconds in jobs:
        kinds[job.rule, model_of(job)].append((job, seconds))
    return kinds


def night_equivalents(config: Config) -> float:
    """Give how many nights of eight hours a simulated cohort has."""
    return config.simulate.subjects * config.simulate.hours / 8


def units(
    short: list[tuple[Job, float]], long: list[tuple[Job, float]], *, config: Config
) -> dict[Kind, tuple[float, float, float, int]]:
    """Give start, seconds a night and pass, the most of them, and MiB of each kind of job."""
    starts, found = by_kind(short), {}
    nights = night_equivalents(config)
    shards = {job.wildcards["shard"] for job, _ in long if "shard" in job.wildcards}
    dealt = Counter({int(shard): nights / len(shards) for shard in shards})  # type: ignore[dict-item]
    for kind, jobs in by_kind(long).items():
        start = _start(kind, starts)
        job = jobs[0][0]
        work = nights_of(job, nights=nights, dealt=dealt, config=config) * passes_of(job, config)
        taken = median(seconds for _, seconds in jobs)
        peak = max(one.mem_mb for one, _ in jobs)
        found[kind] = (start, max(taken - start, 0.0) / work, taken / work, peak)
    for kind, jobs in starts.items():
        peak, rate = max(one.mem_mb for one, _ in jobs), RATES.get(kind, 0.0)
        found.setdefault(kind, (_start(kind, starts), rate, rate, peak))
    return found


def _start(kind: Kind, starts: dict[Kind, list[tuple[Job, float]]]) -> float:
    same = starts.get(kind) or [
        one for (rule, _), jobs in starts.items() if rule == kind[0] for one in jobs
    ]
    return min((seconds for _, seconds in same), default=0.0)


def main() -> None:
    """Write both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", type=Path, required=True)
    parser.add_argument("--long", type=Path, required=True)
    parser.add_argument("--hours", type=float, required=True, help="of the long run's nights")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    arguments = parser.parse_args()
    values = load_values(default=ROOT / "config.yaml")
    values["simulate"]["hours"] = arguments.hours
    config = read_config(values)
    found = units(read_jobs(arguments.short), read_jobs(arguments.long), config=config)
    header = ("rule", "model", "start_s", "s_per_night_and_pass", "most", "peak_mib")
    rows = [
        (*kind, f"{start:.1f}", f"{unit:.3f}", f"{most:.3f}", peak)
        for kind, (start, unit, most, peak) in sorted(found.items())
    ]
    _write(arguments.out / "scale_costs.tsv", [header, *rows])
    nights = night_equivalents(config)
    sizes = []
    for name in KEPT:
        files = (path for path in (arguments.long / name).rglob("*") if path.is_file())
        total = sum(path.stat().st_size for path in files)
        sizes.append((name, f"{total / nights / 1e6:.2f}"))
    _write(arguments.out / "scale_storage.tsv", [("folder", "mb_per_night"), *sizes])


def _write(path: Path, rows: Iterable[tuple[object, ...]]) -> None:
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
