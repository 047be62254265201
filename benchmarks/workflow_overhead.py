"""What Snakemake and the plan cost by themselves: dry runs, and a run with nothing to do.

Measured: dry runs of 100 and of 10,000 simulated recordings (30 a shard), each from an empty
results folder, and `snakemake all` on a finished tiny run. Against: `snakemake --version` and the
dry run of the tiny configuration. All on a copy of the project in a temporary folder; the smallest
of some repeats.

Usage: ``python benchmarks/workflow_overhead.py [--repeats 3] [--recordings 100 10000]``
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

from measuring import ROOT, Cost, least, run, table

PARTS = ("Snakefile", "config.yaml", "config", "workflow", "profiles", "envs", "src")
TINY = "config/tiny.yaml"
A_SHARD = 30
_TOTAL = re.compile(r"^total\s+(\d+)$", re.MULTILINE)


def copy_project(folder: Path) -> None:
    """Copy everything that a run needs."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        else:
            shutil.copy2(ROOT / part, folder / part)


def write_config(path: Path, *, recordings: int) -> None:
    """Write a configuration of some simulated recordings; JSON is YAML."""
    path.write_text(
        json.dumps(
            {
                "results": f"results/{path.stem}",
                "shards": -(-recordings // A_SHARD),
                "simulate": {"subjects": recordings},
            }
        ),
        encoding="utf-8",
    )


def snakemake(*arguments: str, folder: Path, repeats: int = 1) -> tuple[Cost, str]:
    """Run Snakemake some times; give the smallest cost and what the last run printed."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    runs = [run(command, folder=folder) for _ in range(repeats)]
    return least(cost for cost, _ in runs), runs[-1][1]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--recordings", type=int, nargs="+", default=[100, 10_000])
    arguments = parser.parse_args()
    rows: list[tuple[str, int, Cost]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_project(folder)

        def measure(name: str, *options: str) -> str:
            cost, text = snakemake(*options, folder=folder, repeats=arguments.repeats)
            found = _TOTAL.findall(text)
            rows.append((name, int(found[-1]) if found else 0, cost))
            return text

        def options(configfile: str) -> tuple[str, ...]:
            return ("all", "--cores", "2", "--nocolor", "--configfile", configfile)

        measure("`snakemake --version`", "--version")
        measure("dry run, tiny configuration", *options(TINY), "--dry-run")
        for recordings in arguments.recordings:
            path = folder / f"{recordings}.yaml"
            write_config(path, recordings=recordings)
            measure(f"dry run, {recordings:,} recordings", *options(path.name), "--dry-run")
        snakemake(*options(TINY), folder=folder)
        text = measure("run with nothing to do, tiny", *options(TINY))
        if "Nothing to be done" not in text:
            raise SystemExit(f"the finished tiny run was to do nothing more:\n{text}")
    start, tiny = rows[0][2], rows[1][2]
    header = (
        "what", "jobs", "seconds", "CPU seconds", "times the start", "times the tiny dry run",
        "peak memory, MiB",
    )  # fmt: skip
    lines = (
        (
            name, jobs, f"{cost.wall_s:.2f}", f"{cost.cpu_s:.2f}",
            f"{cost.cpu_s / start.cpu_s:.1f}", f"{cost.cpu_s / tiny.cpu_s:.1f}",
            f"{cost.peak_mib:.0f}",
        )
        for name, jobs, cost in rows
    )  # fmt: skip
    print(table(header, lines))


if __name__ == "__main__":
    main()
