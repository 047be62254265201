"""Hundreds of short nights, three of them damaged, through the whole workflow with one small model.

Simulated nights of minutes go through all rules up to the report, on one core. Once they are
written, three recordings are damaged: one is cut short, one has another byte in its middle, and
one, whose manifest row is rewritten to fit, holds no EDF header. Watched: the jobs that ran (their
logs) against those that the plan names, `rejected.tsv` against the three, and that every other
night arrived. Printed beside it: seconds, files and bytes of the results, Snakemake's own records,
and the report's size.

Usage: ``python benchmarks/scale_stress.py [--nights 400] [--shards 20] [--hours 0.1]``
"""

import argparse
import csv
import hashlib
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from measuring import Cost, run, table
from somnoflow.config.files import load_values
from somnoflow.io.manifest import read_manifest, write_manifest
from somnoflow.io.run_file import RUN_FILE
from somnoflow.plan import Plan
from workflow_overhead import copy_project

SMALL = {
    "signals": {"channels": ["EEG_C4", "EOG_L", "EMG_CHIN", "ECG"]},
    "pretrain": {"passes": 1, "frame_step": 3.0},
    "heads": {"names": ["linear"], "linear": {"passes": 5}},
    "finetune": {"names": []},
    "unimodal": {"channels": ["EEG_C4"]},
    "synthsleepnet": {"channels": [], "methods": [], "tasks": []},
    "supervised": {"names": []},
}
CONFIG = "stress.yaml"


def snakemake(*targets: str, folder: Path) -> Cost:
    """Run Snakemake on one core."""
    options = ["--cores", "1", "--nocolor", "--quiet", "all", "--configfile", CONFIG]
    return run([sys.executable, "-m", "snakemake", *targets, *options], folder=folder)[0]


def make_plan(folder: Path) -> Plan:
    """Give the plan of the folder's configuration."""
    return Plan(
        load_values([folder / CONFIG], default=folder / "config.yaml"),
        datasets=folder / "workflow" / "datasets",
    )


def damage(folder: Path, plan: Plan) -> list[str]:
    """Damage three recordings, each in a shard of its own and in its own way; give their files."""
    raw = folder / plan.paths.raw_folder.format(dataset="simulated")
    damaged = []
    for shard, way in zip(plan.shards("simulated"), ("cut", "byte", "header"), strict=False):
        manifest = folder / plan.paths.raw_manifest.format(dataset="simulated", shard=shard)
        rows = read_manifest(manifest)
        place, row = next((n, row) for n, row in enumerate(rows) if row.role == "signal")
        path = raw / row.file
        content = bytearray(path.read_bytes())
        if way == "cut":
            path.write_bytes(content[: len(content) // 2])
        elif way == "byte":
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
        else:
            content[:256] = b"?" * 256
            path.write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            write_manifest(
                manifest, [*rows[:place], row._replace(sha256=digest), *rows[place + 1 :]]
            )
            # Says that the change is meant: a manifest that is not what was written is refused.
            manifest.with_name(RUN_FILE).unlink()
        damaged.append(row.file)
    return damaged


def jobs_run(folder: Path, plan: Plan) -> Counter[str]:
    """Count the jobs that left a log, by rule."""
    logs = folder / plan.config.results / "logs"
    return Counter(path.relative_to(logs).parts[0] for path in logs.rglob("*.log"))


def size(folder: Path) -> tuple[int, int]:
    """Give how many files are below a folder, and their bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def main() -> None:
    """Run it and print what was found; stop where it is not what was wanted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nights", type=int, default=400)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--hours", type=float, default=0.1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_project(folder)
        simulate = {"subjects": arguments.nights, "hours": arguments.hours}
        values = {**SMALL, "shards": arguments.shards, "simulate": simulate}
        (folder / CONFIG).write_text(json.dumps(values), encoding="utf-8")
        plan = make_plan(folder)
        written = snakemake(*plan.all_shards(plan.paths.raw_manifest), folder=folder)
        damaged = damage(folder, plan)
        done = snakemake("all", folder=folder)
        planned = Counter(artefact.rule for artefact in plan.artefacts())
        ran = jobs_run(folder, plan)
        with (folder / plan.paths.rejected).open(encoding="utf-8") as file:
            rejected = sorted(row["file"] for row in csv.DictReader(file, delimiter="\t"))
        with (folder / plan.paths.recordings).open(encoding="utf-8") as file:
            nights = sum(1 for _ in csv.DictReader(file, delimiter="\t"))
        if planned != ran:
            raise SystemExit(f"planned {dict(planned)}, but {dict(ran)} ran")
        if rejected != sorted(damaged) or nights != arguments.nights - len(damaged):
            raise SystemExit(f"damaged {damaged}, rejected {rejected}; {nights} nights are left")
        files, in_bytes = size(folder / plan.config.results)
        records, of_bytes = size(folder / ".snakemake")
        page = (folder / plan.paths.report).stat().st_size
        rows = [
            (
                "nights, damaged, rejected, used",
                f"{arguments.nights}, 3, {len(rejected)}, {nights}",
            ),
            ("jobs planned and run", f"{planned.total()}, {ran.total()}"),
            ("simulate, CPU seconds", f"{written.cpu_s:.0f}"),
            ("all other jobs, CPU seconds", f"{done.cpu_s:.0f}"),
            ("files and MB in the results", f"{files:,}, {in_bytes / 1e6:.0f}"),
            ("files and MB in .snakemake", f"{records:,}, {of_bytes / 1e6:.1f}"),
            ("the report, MB", f"{page / 1e6:.2f}"),
        ]
        print(table(("what", "found"), rows))


if __name__ == "__main__":
    main()
