"""Peak memory of `parse`, `pack` and `pretrain` with few against many recordings in one shard.

The commands run one by one with the arguments and the slices of the configuration that the rules
give them, on simulated nights of one length, `pretrain` with the tiny preset for one pass. Memory
is that of the command's process: the peak that the kernel reports, and what of it is memory of its
own and what are pages of mapped files, which the kernel takes back when another needs the room.

Usage: ``python benchmarks/memory.py [--recordings 8 80] [--hours 1] [--repeats 1]``
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import ROOT, Cost, least, run, table
from somnoflow.plan import Plan, canonical

MEASURED = ("parse", "pack", "pretrain")
KINDS = {
    "peak_mib": "peak, all",
    "own_mib": "peak, its own",
    "mapped_mib": "peak, mapped files",
}


def make_plan(folder: Path, *, recordings: int, hours: float) -> Plan:
    """Plan one shard of simulated recordings."""
    values = {
        "results": str(folder / f"results-{recordings}"),
        "shards": 1,
        "simulate": {"subjects": recordings, "hours": hours},
        "pretrain": {"preset": "tiny", "passes": 1},
    }
    return Plan(values, datasets=ROOT / "workflow" / "datasets")


def arguments_of(plan: Plan) -> dict[str, dict[str, Any]]:
    """Give the commands from `simulate` to `pretrain` and their options, as the rules do."""
    paths = plan.paths
    options: dict[str, dict[str, Any]] = {
        "simulate": {"manifest": paths.raw_manifest, "folder": paths.raw_folder},
        "check": {
            "shard-manifest": paths.raw_manifest,
            "manifest": plan.manifest({"dataset": "simulated"}),
            "recordings": paths.checked,
            "problems": paths.problems,
            "state": paths.raw_state,
            "threads": 2,
        },
        "parse": {"checked": paths.checked, "part": paths.part, "index": paths.part_index},
        "pack": {
            "part-index": paths.part_index,
            "signals": paths.packed_signals,
            "epochs": paths.packed_epochs,
            "index": paths.packed_index,
        },
        "index": {
            "parts": paths.part_index,
            "problems": paths.problems,
            "index": paths.index,
            "recordings": paths.recordings,
            "rejected": paths.rejected,
            "channels": paths.channels,
        },
        "split": {"index": paths.index, "split": paths.split},
        "pretrain": {
            "packed": paths.packed_index,
            "split": paths.split,
            "encoder": paths.encoder,
            "training": paths.pretraining,
            "resume": paths.resume,
            "tensorboard": paths.tensorboard,
            "name": "{encoder}/{channel}",
            "fold": 0,
            "gpus": 0,
            "processes": 1,
            "threads": 2,
        },
    }
    wildcards = {
        "dataset": "simulated",
        "shard": "0",
        "encoder": plan.config.pretrain.encoders[0],
        "channel": plan.config.pretrain.channels[0],
        "fold": "0",
    }
    for rule, named in options.items():
        for name, value in named.items():
            named[name] = str(value).format(**wildcards)
        named["cfg"] = canonical(plan.slice(rule, wildcards))
    return options


def measure(plan: Plan, *, folder: Path, repeats: int) -> dict[str, Cost]:
    """Run all commands once, those that are measured some times; give the smallest costs."""
    costs = {}
    for rule, named in arguments_of(plan).items():
        command = [sys.executable, "-m", f"somnoflow.commands.{rule}"]
        for name, value in named.items():
            command += [f"--{name}", value]
        runs = []
        for _ in range(repeats if rule in MEASURED else 1):
            # A finished training that is kept there would be copied instead of done again.
            shutil.rmtree(plan.paths.resume, ignore_errors=True)
            runs.append(run(command, folder=folder)[0])
        costs[rule] = least(runs)
        print(f"{rule}: {costs[rule].wall_s:.0f} s", file=sys.stderr)
    return costs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recordings", type=int, nargs=2, default=[8, 80])
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    few, many = sorted(arguments.recordings)
    costs, sizes = {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for recordings in (few, many):
            plan = make_plan(folder, recordings=recordings, hours=arguments.hours)
            costs[recordings] = measure(plan, folder=folder, repeats=arguments.repeats)
            packed = Path(plan.paths.packed_signals.format(dataset="simulated", shard="0"))
            sizes[recordings] = packed.stat().st_size / 1024**2
    rows = [("packed signals on disk", "", sizes[few], sizes[many])]
    for rule in MEASURED:
        for kind, name in KINDS.items():
            least_mib, most_mib = (getattr(costs[n][rule], kind) for n in (few, many))
            rows.append((f"`{rule}`", name, least_mib, most_mib))
    header = (
        "command", "memory, MiB", f"{few} recordings", f"{many} recordings", "ratio",
        "KiB more for each recording",
    )  # fmt: skip
    lines = (
        (
            rule, name, f"{low:.0f}", f"{high:.0f}", f"{high / low:.2f}",
            f"{1024 * (high - low) / (many - few):.0f}",
        )
        for rule, name, low, high in rows
    )  # fmt: skip
    print(table(header, lines))


if __name__ == "__main__":
    main()
