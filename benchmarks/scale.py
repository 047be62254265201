"""What 100,000 recordings cost before anything is computed, beside 10,000.

Each recording has a signal, a stages and an events file (of ten bytes) in a folder of its own, so
100,000 recordings are 300,000 rows of a manifest; all are dealt into 400 shards. Measured: `Plan`,
which each job of a cluster makes anew; the search for changed raw files after all were checked; the
comparison of sizes; and a dry run of everything in that state, nothing parsed yet. Then a subject
is added, and the jobs whose slice of the configuration changes are counted.

Usage: ``python benchmarks/scale.py [--recordings 10000 100000] [--repeats 1]``
"""

import argparse
import hashlib
import json
import sys
import tempfile
from collections import defaultdict
from multiprocessing import get_context
from pathlib import Path

from measuring import Cost, least, run, table
from somnoflow.io.manifest import Row, shard_of, write_manifest
from somnoflow.io.rawstate import note, signatures
from workflow_overhead import copy_project

SHARDS = 400
CONTENT = b"0123456789"
FILES = (("psg.edf", "signal"), ("stages.txt", "stages"), ("events.tsv", "events"))
DATASET = r"""
name: scale
title: As many recordings as a large cohort has
source: folder
licence: none
citation: none
how_to_get: made by benchmarks/scale.py
files:
  signal: (?P<subject>S\d+)/psg\.edf
  stages: (?P<subject>S\d+)/stages\.txt
  events: (?P<subject>S\d+)/events\.tsv
reading:
  channels: {EEG: EEG_C4}
  stages: {format: codes, stages: {"0": W}}
  events: {format: bids-tsv, events: {hypopnea: hypopnea}}
"""
PLAN = """
import json
from pathlib import Path
from somnoflow.config.files import load_values
from somnoflow.plan import Plan

def make():
    return Plan(load_values([Path("scale.yaml")]), datasets=Path("workflow/datasets"))

plan = make()
"""
CHANGES = """
shards = [{"dataset": "scale", "shard": str(shard)} for shard in plan.shards("scale")]
assert not any(plan.raw_changes(shard) for shard in shards)
"""
ADD = """
RULES = ("fetch", "check", "parse", "pack")

def slices(plan):
    shards = [{"dataset": "scale", "shard": str(shard)} for shard in plan.shards("scale")]
    return {(rule, s["shard"]): plan.cfg(rule)(s) for rule in RULES for s in shards}

before = slices(plan)
manifest = Path("workflow/datasets/scale/manifest.tsv")
text = manifest.read_text()
manifest.write_text(text + f"S9999999/psg.edf\\t10\\t{'0' * 64}\\tS9999999\\t1\\tsignal\\n")
after = slices(make())
manifest.write_text(text)
changed = [key for key in after if after[key] != before.get(key)]
print(json.dumps([changed, len(before)]))
"""


def prepare(folder: Path, *, recordings: int) -> None:
    """Make a project with a dataset, its files, and the notes of `check` on them."""
    copy_project(folder)
    rows = [
        Row(f"S{number:07}/{name}", 10, _sha256(number, name), f"S{number:07}", 1, role)
        for number in range(recordings)
        for name, role in FILES
    ]
    dataset = folder / "workflow/datasets/scale"
    dataset.mkdir()
    (dataset / "dataset.yaml").write_text(DATASET, encoding="utf-8")
    write_manifest(dataset / "manifest.tsv", rows)
    dealt: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        path = folder / "raw" / row.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
        dealt[shard_of("scale", row.subject, SHARDS)].append(row)
    for shard, own in dealt.items():
        note(
            folder / f"results/raw/dataset=scale/shard={shard}/state.json",
            seen=signatures([row.file for row in own], folder=folder / "raw"),
            observed={row.file: row.sha256 for row in own},
        )
    config = {"datasets": ["scale"], "folders": {"scale": str(folder / "raw")}, "shards": SHARDS}
    (folder / "scale.yaml").write_text(json.dumps(config), encoding="utf-8")


def _sha256(number: int, name: str) -> str:
    return hashlib.sha256(f"{number}/{name}".encode()).hexdigest()


def measure(folder: Path, *, repeats: int) -> tuple[dict[str, Cost], str]:
    """Give what each thing took, the smallest of some repeats; and what one subject changes."""
    commands = {
        "`Plan`, in each job": ["-c", PLAN],
        "`Plan` and a look at all raw files": ["-c", PLAN + CHANGES],
        "`somnoflow manifest --check`": [
            "-m", "somnoflow.cli", "manifest", "raw", "--dataset", "scale", "--check",
        ],
        "`snakemake --dry-run all`": [
            "-m", "snakemake", "all", "--cores", "2", "--dry-run", "--quiet", "all",
            "--configfile", "scale.yaml",
        ],
    }  # fmt: skip
    costs = {
        name: least(run([sys.executable, *command], folder=folder)[0] for _ in range(repeats))
        for name, command in commands.items()
    }
    _, printed = run([sys.executable, "-c", PLAN + ADD], folder=folder)
    changed, jobs = json.loads(printed)
    shards = len({shard for _, shard in changed})
    return costs, f"{shards} shard ({', '.join(rule for rule, _ in changed)}) of {jobs} jobs"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recordings", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    found: dict[int, dict[str, Cost]] = {}
    for recordings in sorted(arguments.recordings):
        with tempfile.TemporaryDirectory() as temporary:
            # In a process of its own: the memory of this one would count as its children's.
            making = get_context("spawn").Process(
                target=prepare, args=(Path(temporary),), kwargs={"recordings": recordings}
            )
            making.start()
            making.join()
            if making.exitcode:
                raise SystemExit(making.exitcode)
            found[recordings], one = measure(Path(temporary), repeats=arguments.repeats)
            print(f"{recordings:,} recordings and one subject more: other slices in {one}\n")
    first = next(iter(found.values()))
    header = (
        "what", "recordings", "seconds", "CPU seconds", "CPU, times the first size",
        "peak memory, MiB",
    )  # fmt: skip
    lines = (
        (
            name, f"{recordings:,}", f"{cost.wall_s:.1f}", f"{cost.cpu_s:.1f}",
            f"{cost.cpu_s / first[name].cpu_s:.1f}", f"{cost.peak_mib:.0f}",
        )
        for name in first
        for recordings, costs in found.items()
        for cost in [costs[name]]
    )  # fmt: skip
    print(table(header, lines))


if __name__ == "__main__":
    main()
