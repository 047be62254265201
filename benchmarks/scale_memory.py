"""What trainings hold in memory with thousands of nights: tables of epochs, and embeddings.

Packed shards of 8-hour nights are written with real tables of epochs and signals that are holes in
a sparse file, so that 6,000 nights take little disk. Measured in a process of its own: opening all
subjects as a training does (`PackedEpochs`, one channel), the labels alone (`read_usable`), and the
open files. What is held beside: embeddings, 4 bytes x D for each usable epoch of the subjects read
(`EmbeddedEpochs`), which is arithmetic and stands in docs/scale.md.

Usage: ``python benchmarks/scale_memory.py [--nights 600 6000] [--a-shard 60]``
"""

import argparse
import json
import math
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl

from measuring import run, table
from somnoflow.io.digest import sha256_file

EPOCHS = 960
CHANNELS = ["ECG", "EEG_C4", "EMG_CHIN", "EOG_L"]
SAMPLES = 3000
OPEN = """
import os, sys
from pathlib import Path
from somnoflow.data.packed import PackedEpochs, read_usable
indexes = sorted(Path(sys.argv[1]).glob("*/index.json"))
what = sys.argv[2]
if what == "PackedEpochs":
    epochs = PackedEpochs(indexes, channels=["EEG_C4"], require="any")
if what == "read_usable":
    subjects = {f"simulated/S{number:06}" for number in range(int(sys.argv[3]))}
    epochs = read_usable(indexes, subjects=subjects)
print(len(os.listdir("/proc/self/fd")))
"""


def write_shards(folder: Path, *, nights: int, a_shard: int) -> None:
    """Write packed shards: real tables, signals that are holes."""
    random = np.random.default_rng(1)
    for shard in range(math.ceil(nights / a_shard)):
        numbers = range(shard * a_shard, min((shard + 1) * a_shard, nights))
        rows = len(numbers) * EPOCHS
        names = [f"S{number:06}" for number in numbers]
        night = np.repeat(np.arange(len(numbers)), EPOCHS)
        epoch = np.tile(np.arange(EPOCHS, dtype=np.int32), len(numbers))
        epochs = pl.DataFrame(
            {
                "dataset": pl.Series(["simulated"] * rows),
                "subject": pl.Series([f"simulated/{name}" for name in names])[night],
                "recording": pl.Series(names)[night],
                "epoch": epoch,
                "onset_s": epoch * 30.0,
                "stage": random.integers(0, 5, rows).astype(np.int8),
                **{name: np.zeros(rows, np.int8) for name in ("apnea", "hypopnea", "respiratory")},
                **{f"{name}_quality": np.zeros(rows, np.uint8) for name in CHANNELS},
                **{f"{name}_center": np.zeros(rows, np.float32) for name in CHANNELS},
                **{f"{name}_gain": np.ones(rows, np.float32) for name in CHANNELS},
            }
        )
        own = folder / f"shard={shard}"
        own.mkdir(parents=True)
        epochs.write_parquet(own / "epochs.parquet", compression="zstd")
        shape = (rows, len(CHANNELS), SAMPLES)
        with (own / "signals.npy").open("wb") as file:
            header = {"descr": "<i2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + 2 * math.prod(shape))
        index = {
            "channels": CHANNELS,
            "samples": SAMPLES,
            "sampling_rate": 100,
            "epochs": rows,
            "sha256": {"epochs.parquet": sha256_file(own / "epochs.parquet")},
        }
        (own / "index.json").write_text(json.dumps(index), encoding="utf-8")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nights", type=int, nargs="+", default=[600, 6000])
    parser.add_argument("--a-shard", type=int, default=60)
    arguments = parser.parse_args()
    rows = []
    for nights in arguments.nights:
        with tempfile.TemporaryDirectory() as temporary:
            # In a process of its own: the memory of this one would count as its children's.
            writing = get_context("spawn").Process(
                target=write_shards,
                args=(Path(temporary),),
                kwargs={"nights": nights, "a_shard": arguments.a_shard},
            )
            writing.start()
            writing.join()
            if writing.exitcode:
                raise SystemExit(writing.exitcode)
            for what in ("nothing", "PackedEpochs", "read_usable"):
                command = [sys.executable, "-c", OPEN, temporary, what, str(nights)]
                cost, printed = run(command, folder=Path(temporary))
                if what == "nothing":
                    start = cost
                more = cost.peak_mib - start.peak_mib
                rows.append(
                    (
                        what, f"{nights:,}", f"{math.ceil(nights / arguments.a_shard)}",
                        printed.strip(), f"{cost.cpu_s - start.cpu_s:.1f}", f"{cost.peak_mib:.0f}",
                        f"{more * 2**20 / nights / EPOCHS:.0f}",
                    )
                )  # fmt: skip
    header = (
        "opened", "nights", "shards", "open files", "CPU seconds", "peak memory, MiB",
        "bytes an epoch",
    )  # fmt: skip
    print(table(header, rows))


if __name__ == "__main__":
    main()
