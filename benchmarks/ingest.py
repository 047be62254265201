"""Cost of `parse` for a night like those of SHHS, against the straight way with MNE.

A night of 8 hours with 13 signals at 125, 50, 10 and 1 Hz and NSRR annotations is made (noise with
the spectrum of an EEG, beats, breaths) and parsed to 7 channels, with the dataset.yaml of `shhs`
and the default filters. The start of the command (`parse` of no recording) is measured alone and
subtracted. Against: the whole file by `mne.io.read_raw_edf`, `filter` and `resample`, kept as
float32 in an npz, less the import of MNE.

Then 1, 4 and 8 nights in one process, and 8 nights in two processes at once. All with one thread
for each process; the smallest of some repeats, since other users of a machine only add.

Usage: ``python benchmarks/ingest.py [--repeats 5] [--hours 8] [--nights 1 4 8]``
"""

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from measuring import ROOT, Cost, least, run, table
from somnoflow.config.dataset_file import read_dataset
from somnoflow.config.parse import ParseSlice
from somnoflow.config.signals import Signals

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
CHANNELS = ("EEG_C4", "EEG_C3", "EOG_L", "EOG_R", "EMG_CHIN", "ECG", "AIRFLOW")
TAKEN = ("EEG", "EEG(sec)", "EOG(L)", "EOG(R)", "EMG", "ECG", "NEW AIR")

WRITE = """
import sys
from pathlib import Path
import edfio
import numpy as np

folder, hours = Path(sys.argv[1]), float(sys.argv[2])
seconds = round(hours * 120) * 30
rng = np.random.default_rng(0)

def brain(rate, size):
    count = seconds * rate
    spectrum = np.fft.rfft(rng.normal(0, 1, count).astype(np.float32))
    hertz = np.fft.rfftfreq(count, 1 / rate)
    spectrum *= (1 / np.maximum(hertz, 0.5)).astype(np.float32)
    samples = np.fft.irfft(spectrum, count)
    return samples * (size / samples.std()) + rng.normal(0, size / 10, count)

def beats(rate):
    time = np.arange(seconds * rate) / rate
    phase = 1.1 * time + np.sin(time / 7) / 9
    return 1.2 * np.exp(-(((phase % 1) - 0.5) ** 2) / 4e-4) + rng.normal(0, 0.02, len(time))

def breaths(rate, size):
    time = np.arange(seconds * rate) / rate
    samples = np.sin(2 * np.pi * 0.25 * time + np.sin(time / 11))
    return size * (samples + rng.normal(0, 0.1, len(time)))

def values(rate, middle):
    return np.round(middle + 2 * np.sin(np.arange(seconds * rate) / 300))

signals = [
    ("SaO2", 1, "%", 100, values(1, 95)), ("H.R.", 1, "bpm", 250, values(1, 66)),
    ("EEG(sec)", 125, "uV", 125, brain(125, 18)), ("ECG", 125, "mV", 1.25, beats(125)),
    ("EMG", 125, "uV", 31.5, rng.normal(0, 4, seconds * 125)),
    ("EOG(L)", 50, "uV", 125, brain(50, 25)), ("EOG(R)", 50, "uV", 125, brain(50, 25)),
    ("EEG", 125, "uV", 125, brain(125, 18)), ("THOR RES", 10, "", 1, breaths(10, 0.3)),
    ("ABDO RES", 10, "", 1, breaths(10, 0.3)), ("POSITION", 1, "", 3, values(1, 0) % 3),
    ("LIGHT", 1, "", 1, np.zeros(seconds)), ("NEW AIR", 10, "", 1, breaths(10, 0.4)),
]
edfio.Edf([
    edfio.EdfSignal(samples.clip(-reach, reach), rate, label=label, physical_dimension=unit,
                    physical_range=(-reach, reach))
    for label, rate, unit, reach, samples in signals
]).write(folder / "night.edf")
names = ["Wake|0", "Stage 1 sleep|1", "Stage 2 sleep|2", "Stage 3 sleep|3", "REM sleep|5"]
events = [("Stages|Stages", names[at // 90 % 5], at, 30) for at in range(0, seconds, 30)]
hypopnea = "Hypopnea|Hypopnea"
events += [("Respiratory|Respiratory", hypopnea, at, 15) for at in range(60, seconds, 120)]
rows = "".join(
    f"<ScoredEvent><EventType>{kind}</EventType><EventConcept>{name}</EventConcept>"
    f"<Start>{onset}</Start><Duration>{duration}</Duration></ScoredEvent>"
    for kind, name, onset, duration in events
)
(folder / "night.xml").write_text(
    "<PSGAnnotation><EpochLength>30</EpochLength>"
    f"<ScoredEvents>{rows}</ScoredEvents></PSGAnnotation>"
)
"""
IMPORT_MNE = "import mne, numpy, scipy.signal; from mne.io import read_raw_edf"
STRAIGHT = f"""
import sys
import mne, numpy as np
taken = {TAKEN!r}
raw = mne.io.read_raw_edf(sys.argv[1], preload=True, verbose="ERROR").pick(list(taken))
for labels, band in (
    (["EEG", "EEG(sec)", "EOG(L)", "EOG(R)"], (0.5, 40)), (["EMG"], (25, 49)), (["ECG"], (3, 30)),
    (["NEW AIR"], (0.05, 1)),
):
    raw.filter(*band, picks=labels, verbose="ERROR")
raw.resample(100, verbose="ERROR")
np.savez(sys.argv[2], signals=raw.get_data().astype(np.float32).reshape(len(taken), -1, 3000))
"""


@dataclass(frozen=True)
class Job:
    """A `parse` of some nights: its command, and the part that it writes."""

    command: list[str]
    part: Path


def make_job(folder: Path, *, nights: int, name: str) -> Job:
    """Describe the nights as `check` does, each a name of its own for the one file."""
    work = folder / name
    work.mkdir()
    for number in range(nights):
        for suffix in ("edf", "xml"):
            os.link(folder / f"night.{suffix}", work / f"n{number}.{suffix}")
    checked = {
        "dataset": "shhs",
        "shard": "0",
        "folder": str(work),
        "recordings": [
            {"recording": f"n{number}", "subject": f"n{number}", "night": 1,
             "signal": f"n{number}.edf", "stages": f"n{number}.xml", "events": None}
            for number in range(nights)
        ],
    }  # fmt: skip
    (work / "checked.json").write_text(json.dumps(checked), encoding="utf-8")
    cfg = ParseSlice(
        dataset="shhs",
        simulated=False,
        reading=read_dataset(ROOT / "workflow" / "datasets" / "shhs").reading,
        signals=Signals(channels=list(CHANNELS)),
    )
    part = work / "part-0.parquet"
    command = [
        sys.executable, "-m", "somnoflow.commands.parse", "--checked", str(work / "checked.json"),
        "--part", str(part), "--index", str(work / "index.json"), "--cfg", cfg.model_dump_json(),
    ]  # fmt: skip
    return Job(command, part)


def measure(command: list[str], *, folder: Path, repeats: int) -> Cost:
    """Give the smallest cost of some repeats of a command."""
    return least([run(command, folder=folder)[0] for _ in range(repeats)])


def measure_together(jobs: list[Job], *, folder: Path, repeats: int) -> Cost:
    """Run jobs at the same time; give wall seconds of all, and CPU seconds of all together."""
    costs = []
    for _ in range(repeats):
        begin = time.perf_counter()
        with ThreadPoolExecutor(len(jobs)) as pool:
            each = list(pool.map(lambda job: run(job.command, folder=folder)[0], jobs))
        costs.append(
            Cost(
                time.perf_counter() - begin,
                sum(cost.cpu_s for cost in each),
                max(cost.peak_mib for cost in each),
                max(cost.own_mib for cost in each),
                max(cost.mapped_mib for cost in each),
            )
        )
    return least(costs)


def megabytes(path: Path) -> str:
    """Give the size of a file in MB."""
    return f"{path.stat().st_size / 1e6:.1f}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--nights", type=int, nargs="+", default=[1, 4, 8])
    arguments = parser.parse_args()
    os.environ.update(dict.fromkeys(THREADS, "1"))
    repeats = arguments.repeats
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run([sys.executable, "-c", WRITE, temporary, str(arguments.hours)], folder=folder)
        empty = make_job(folder, nights=0, name="empty")
        start = measure(empty.command, folder=folder, repeats=repeats)
        jobs = {nights: make_job(folder, nights=nights, name=f"{nights}-nights")
                for nights in sorted({1, *arguments.nights})}  # fmt: skip
        costs = {
            nights: measure(job.command, folder=folder, repeats=repeats)
            for nights, job in jobs.items()
        }
        npz = folder / "night.npz"
        mne_start = measure([sys.executable, "-c", IMPORT_MNE], folder=folder, repeats=repeats)
        straight = measure(
            [sys.executable, "-c", STRAIGHT, str(folder / "night.edf"), str(npz)],
            folder=folder,
            repeats=repeats,
        )
        own, other = costs[1].cpu_s - start.cpu_s, straight.cpu_s - mne_start.cpu_s
        rows = [
            ("`parse`", f"{own:.2f}", f"{start.cpu_s:.2f}", f"{costs[1].peak_mib:.0f}",
             megabytes(jobs[1].part), "1"),
            ("MNE, the straight way", f"{other:.2f}", f"{mne_start.cpu_s:.2f}",
             f"{straight.peak_mib:.0f}", megabytes(npz), f"{other / own:.1f}"),
        ]  # fmt: skip
        header = ("one night", "CPU s beyond start-up", "start-up, CPU s", "peak MiB",
                  "MB on disk", "CPU, ratio")  # fmt: skip
        print(f"EDF: {megabytes(folder / 'night.edf')} MB\n")
        print(table(header, rows), end="\n\n")
        header = ("nights, one process", "CPU s beyond start-up", "a night", "peak MiB")
        print(table(header, (
            (nights, f"{cost.cpu_s - start.cpu_s:.2f}",
             f"{(cost.cpu_s - start.cpu_s) / nights:.2f}", f"{cost.peak_mib:.0f}")
            for nights, cost in costs.items()
        )), end="\n\n")  # fmt: skip
        most = max(costs)
        halves = [make_job(folder, nights=most // 2, name=f"half-{n}") for n in range(2)]
        both = measure_together(halves, folder=folder, repeats=repeats)
        alone = measure(halves[0].command, folder=folder, repeats=repeats)
        header = ("two processes at once against one", "one", "two", "efficiency")
        print(table(header, [
            (f"CPU s, {most // 2} nights each", f"{2 * alone.cpu_s:.2f}", f"{both.cpu_s:.2f}",
             f"{2 * alone.cpu_s / both.cpu_s:.2f}"),
            (f"wall s, {most // 2} nights each", f"{alone.wall_s:.2f}", f"{both.wall_s:.2f}",
             f"{alone.wall_s / both.wall_s:.2f}"),
        ]))  # fmt: skip


if __name__ == "__main__":
    main()
