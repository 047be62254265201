"""How long it takes to score a night, from its EDF to stages on disk, beside YASA.

A simulated night of some hours. `somnoflow score` runs in a fresh process each time, with the night
alone and with a folder of four, which tells what each further night takes; YASA's stager
(the same EEG; with EOG and EMG; both read by MNE) in a fresh process too, cold, and a second time
in the same process, warm. All in turn, again and again; the table has medians. The models have
their published sizes and random weights, which take as long as trained ones; the shipped bundle is
the one that `somnoflow score` takes by itself, once as CSV and once with all exports and the page.

Then ways to compute NeuroNet with a Mamba head: seconds for the night's epochs, once they are read,
and the share of epochs that get the same stage as in float32. There the encoder is random and the
head is trained on the night's stages, so that its answers are not all alike.

Usage: ``python benchmarks/night_scoring.py [--hours 8] [--threads 2] [--repeats 5]
[--sizes T B] [--epochs 960] [--ways float32 ...]``
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from measuring import Cost, run, table

HERE = Path(__file__).parent
# Options of `somnoflow score`; None: the bundle that comes with the package.
WRITTEN: dict[str, tuple[str | None, list[str]]] = {
    "deepsleepnet": ("deepsleepnet", ["--formats", "csv"]),
    "tinysleepnet": ("tinysleepnet", ["--formats", "csv"]),
    "seresnet_bilstm": ("seresnet_bilstm", ["--formats", "csv"]),
    "shipped bundle": (None, ["--formats", "csv"]),
    "shipped bundle, all files": (None, []),
}
SIGNALS = {"EEG": ["EEG C4-M1"], "EEG, EOG, EMG": ["EEG C4-M1", "EOG E1-M2", "EMG Chin"]}
WAYS = ("float32", "batch 32", "batch 512", "malloc as it is", "folded norms", "int8", "bfloat16")
# In a folder, to see what a night costs beside the start.
NIGHTS = 4
SCORE = "import sys; from somnoflow.cli import main; main()"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", nargs="*", default=["T", "B"], help="of NeuroNet; none: without")
    parser.add_argument("--epochs", type=int, default=960, help="of the night, for its ways")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="float32 comes first")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    print(
        f"{date.today():%Y-%m-%d}, {platform.processor() or platform.machine()}, "
        f"{os.cpu_count()} cores, {options.threads} threads; "
        f"`python {' '.join(sys.argv)}`; medians of {options.repeats}\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        part("make", folder=folder, options=options)
        (folder / "nights").mkdir()
        for number in range(NIGHTS):
            (folder / "nights" / f"night{number}.edf").hardlink_to(folder / "night.edf")
        if options.repeats:
            print(compare_nights(folder, options))
        if options.sizes:
            print("\n" + compare_ways(folder, options))


def part(name: str, *more: str, folder: Path, options: argparse.Namespace) -> str:
    """Run a part of `night_parts.py` in a fresh process; give the last line that it prints."""
    command = [sys.executable, str(HERE / "night_parts.py"), name, str(folder), *more]
    for option in ("hours", "threads", "epochs"):
        command += [f"--{option}", str(getattr(options, option))]
    return run(command, folder=folder)[1].rpartition("\n")[0].rpartition("\n")[2]


def compare_nights(folder: Path, options: argparse.Namespace) -> str:
    """Score the night by all models and by YASA, in turn; give the table."""
    found: dict[str, list[Cost]] = {}
    for number in range(options.repeats):
        for model in WRITTEN:
            one, many = (
                score(model, nights=nights, to=folder / f"{model}{number}-{nights.name}")
                for nights in (folder / "night.edf", folder / "nights")
            )
            found.setdefault(f"`somnoflow score`, {model}", []).append(one)
            more = Cost(
                (many.wall_s - one.wall_s) / (NIGHTS - 1), (many.cpu_s - one.cpu_s) / (NIGHTS - 1),
                -1, -1, -1,
            )  # fmt: skip
            found.setdefault(f"each further night, {model}", []).append(more)
        for way in SIGNALS:
            for text, cost in zip(("cold", "warm"), stage(way, folder=folder), strict=True):
                found.setdefault(f"YASA {text}, {way}", []).append(cost)
        print(f"{number + 1} of {options.repeats}", file=sys.stderr)
    wall = {name: statistics.median(cost.wall_s for cost in costs) for name, costs in found.items()}
    cpu = {name: statistics.median(cost.cpu_s for cost in costs) for name, costs in found.items()}
    own, whole = (f"YASA warm, {way}" for way in SIGNALS)
    return table(
        ["what", "seconds", "CPU seconds", "seconds, times YASA warm of three signals", "CPU",
         "seconds, times YASA warm of EEG", "CPU"],
        [
            [name, f"{wall[name]:.2f}", f"{cpu[name]:.2f}",
             *(f"{kind[name] / kind[to]:.2f}" for to in (whole, own) for kind in (wall, cpu))]
            for name in found
        ],
    )  # fmt: skip


def score(model: str, *, nights: Path, to: Path) -> Cost:
    """Score a night, or a folder of them, in a fresh process."""
    command = [sys.executable, "-c", SCORE, "score", str(nights), "--out", str(to), "--jobs", "1"]
    weights, more = WRITTEN[model]
    command += [*(["--model", str(to.parent / f"{weights}.safetensors")] if weights else []), *more]
    # In one process, as a night alone is: what a further night costs is to be seen.
    return run(command, folder=to.parent)[0]


def stage(way: str, *, folder: Path) -> list[Cost]:
    """Stage the night by YASA twice in one process; give what each took, the first cold."""
    command = [sys.executable, str(HERE / "night_yasa.py"), str(folder / "night.edf")]
    # This clock is the same in all processes.
    before = time.monotonic(), 0.0
    costs = []
    printed = run([*command, *SIGNALS[way]], folder=folder)[1].splitlines()
    for text in printed[-2:]:
        now: tuple[float, float] = tuple(json.loads(text))
        costs.append(Cost(now[0] - before[0], now[1] - before[1], -1, -1, -1))
        before = now
    return costs


def compare_ways(folder: Path, options: argparse.Namespace) -> str:
    """Predict the night in all ways by each size of NeuroNet; give the table."""
    rows = []
    for size in options.sizes:
        base = None
        part("fit", size, folder=folder, options=options)
        for way in options.ways:
            found = json.loads(part("take", f"{size}/{way}", folder=folder, options=options))
            base = base or found
            same = statistics.mean(
                one == other for one, other in zip(found["stages"], base["stages"], strict=True)
            )
            rows.append(
                [f"NeuroNet-{size}", way, f"{found['wall_s']:.1f}", f"{found['cpu_s']:.1f}",
                 f"{base['cpu_s'] / found['cpu_s']:.2f}", f"{100 * same:.2f}"]
            )  # fmt: skip
            print(rows[-1], file=sys.stderr)
    header = ["model", "way", "seconds", "CPU seconds", "times as fast, by CPU", "same stage, %"]
    return table(header, rows)


if __name__ == "__main__":
    main()
