"""How many random epochs a core reads from a packed shard, and what bounds it.

Measured: `PackedEpochs.read` with batches of random epochs, int16 to float32, the file in the page
cache. Against: the same batches through `np.memmap` and its fancy indexing, scaled in the same way;
and the two halves of a read alone, the copy from the page cache and the arithmetic.
Epochs per CPU second; the largest of some turns, since other users of the machine only take away.

Usage: ``python benchmarks/packed_reading.py [--epochs 8000] [--channels 4] [--repeats 20]``
"""

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from measuring import table
from somnoflow.data.packed import PackedEpochs

T = 3000
NIGHT = 1000  # epochs of a recording
BATCHES = 8
MEMMAP = "`np.memmap`, fancy indexing, scaled"


def write_shard(
    folder: Path, *, epochs: int, channels: list[str], first: int = 0, sparse: bool = False
) -> Path:
    """Write a packed shard of noise as `pack` does; give its index.json.

    Recordings are numbered from `first`. Where `sparse`, the file has its size and holds zeros
    that take no room on the disk.
    """
    rng = np.random.default_rng(0)
    header = {"descr": "<i2", "fortran_order": False, "shape": (epochs, len(channels), T)}
    with (folder / "signals.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for begin in range(0, 0 if sparse else epochs, NIGHT):
            size = (min(NIGHT, epochs - begin), len(channels), T)
            file.write(rng.integers(-2000, 2000, size, np.int16).data)
        if sparse:
            file.truncate(file.tell() + 2 * epochs * len(channels) * T)
    number = np.arange(epochs)
    night = first + number // NIGHT
    columns = {
        "dataset": "noise",
        "subject": [f"noise/S{row}" for row in night],
        "recording": [f"S{row}" for row in night],
        "epoch": (number % NIGHT).astype(np.int32),
        "onset_s": 30.0 * (number % NIGHT),
        **dict.fromkeys(("stage", "apnea", "hypopnea", "respiratory"), 0),
        **dict.fromkeys((f"{channel}_quality" for channel in channels), 0),
        **dict.fromkeys((f"{channel}_center" for channel in channels), 3.0),
        **dict.fromkeys((f"{channel}_gain" for channel in channels), 0.01),
    }
    types = {
        **dict.fromkeys((f"{channel}_quality" for channel in channels), pl.UInt8),
        **dict.fromkeys(("stage", "apnea", "hypopnea", "respiratory"), pl.Int8),
        **dict.fromkeys((f"{channel}_center" for channel in channels), pl.Float32),
        **dict.fromkeys((f"{channel}_gain" for channel in channels), pl.Float32),
    }
    pl.DataFrame(columns).cast(types).write_parquet(folder / "epochs.parquet")
    digest = hashlib.sha256((folder / "epochs.parquet").read_bytes()).hexdigest()
    index = folder / "index.json"
    content = {
        "channels": channels,
        "samples": T,
        "sampling_rate": 100,
        "epochs": epochs,
        "sha256": {"epochs.parquet": digest},
    }
    index.write_text(json.dumps(content), encoding="utf-8")
    return index


def rates(
    ways: dict[str, Callable[[np.ndarray], object]], batches: list[np.ndarray], *, repeats: int
) -> dict[str, float]:
    """Give epochs per CPU second of each way: the best of some turns that all take in turn."""
    best = dict.fromkeys(ways, 0.0)
    for _ in range(repeats):
        for name, read in ways.items():
            begin = time.process_time()
            for rows in batches:
                read(rows)
            rate = sum(map(len, batches)) / (time.process_time() - begin)
            best[name] = max(best[name], rate)
    return best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=8000)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    channels = [f"C{number}" for number in range(arguments.channels)]
    rng = np.random.default_rng(1)
    batches = [rng.integers(0, arguments.epochs, arguments.batch) for _ in range(BATCHES)]
    with tempfile.TemporaryDirectory() as temporary:
        index = write_shard(Path(temporary), epochs=arguments.epochs, channels=channels)
        path = index.with_name("signals.npy")
        packed = PackedEpochs([index], channels=channels)
        one = PackedEpochs([index], channels=channels[1:2])
        two = PackedEpochs([index], channels=[channels[-1], channels[0]])
        mapped = np.load(path, mmap_mode="r")
        shape = (arguments.batch, len(channels), T)
        samples = np.empty(shape, np.int16)
        center = np.full((arguments.batch, len(channels), 1), 3.0, np.float32)
        gain = np.full_like(center, 0.01)
        size = samples[0].nbytes
        begin = path.stat().st_size - arguments.epochs * size

        def scale(batch: np.ndarray) -> np.ndarray:
            scaled = np.subtract(batch, center, dtype=np.float32)
            scaled *= gain
            return scaled

        rows = batches[0]
        np.testing.assert_array_equal(packed.read(rows), scale(mapped[rows]))
        with path.open("rb", buffering=0) as file:

            def copy(rows: np.ndarray) -> None:
                for place, row in zip(samples, rows.tolist(), strict=True):
                    os.preadv(file.fileno(), [place.data], begin + row * size)

            ways = {
                MEMMAP: lambda rows: scale(mapped[rows]),
                "`PackedEpochs.read`, all channels": packed.read,
                "`PackedEpochs.read`, one channel": one.read,
                "`PackedEpochs.read`, the last and the first channel": two.read,
                "copy from the page cache alone": copy,
                "arithmetic alone": lambda _: scale(samples),
            }
            found = rates(ways, batches, repeats=arguments.repeats)
    header = ("what", "epochs per CPU second", "times memmap")
    lines = (
        (name, f"{value:,.0f}", f"{value / found[MEMMAP]:.2f}") for name, value in found.items()
    )
    print(table(header, lines))


if __name__ == "__main__":
    main()
