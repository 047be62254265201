"""How fast `somnoflow score` goes through a folder of nights, and how much memory it takes.

Simulated nights of some hours, each of another subject, with the model that comes with the
package, all exports and pages. Memory is the sum over all processes, looked up every 50 ms in
/proc; pages that they share count once (PSS).

Usage: ``python benchmarks/folder_scoring.py [--nights 20] [--hours 8] [--jobs 1 2]``
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from measuring import table
from somnoflow.simulate.edf import write_night
from somnoflow.simulate.night import simulate_night

EVERY_S = 0.05
SCORE = "import sys; from somnoflow.cli import main; main()"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nights", type=int, default=20)
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    print(
        f"{date.today():%Y-%m-%d}, {platform.processor() or platform.machine()}, "
        f"{os.cpu_count()} cores; `python {' '.join(sys.argv)}`\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nights = folder / "nights"
        nights.mkdir()
        for number in range(options.nights):
            night = simulate_night(f"S{number:04d}", seed=1, hours=options.hours)
            write_night(
                night,
                recording=nights / f"S{number:04d}.edf",
                annotations=folder / "annotations.edf",
            )
        rows = []
        for jobs in options.jobs:
            seconds, peak_mib = score(nights, to=folder / f"out{jobs}", jobs=jobs)
            rows.append(
                [str(jobs), f"{seconds:.0f}", f"{60 * options.nights / seconds:.1f}",
                 f"{peak_mib:,.0f}"]
            )  # fmt: skip
        print(table(["processes", "seconds", "nights a minute", "peak memory, MiB"], rows))


def score(nights: Path, *, to: Path, jobs: int) -> tuple[float, float]:
    """Score a folder; give the seconds, and the peak memory of all processes in MiB."""
    command = [sys.executable, "-c", SCORE, "score", str(nights), "--out", str(to)]
    begin, peak = time.perf_counter(), 0.0
    with subprocess.Popen(
        [*command, "--jobs", str(jobs)], stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        while process.poll() is None:
            peak = max(peak, _memory_mib(process.pid))
            time.sleep(EVERY_S)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - begin, peak


def _memory_mib(session: int) -> float:
    """Give the proportional memory of all processes of a session."""
    total = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if int((path / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                text = (path / "smaps_rollup").read_text()
                total += int(text.partition("\nPss:")[2].split()[0])
        except (FileNotFoundError, ProcessLookupError, IndexError):
            continue  # it ended meanwhile
    return total / 1024


if __name__ == "__main__":
    main()
