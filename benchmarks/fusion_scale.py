"""Peak memory of a pass of SynthSleepNet over few and over many packed nights.

The nights are packed shards of 30 nights of 1,000 epochs and four channels, whose signals are
sparse files: they have their size, hold zeros, and take no room on the disk; the tables of epochs
are whole. Measured: opening the shards as `fuse` does, and a pass over all epochs in shuffled
batches, each read and scaled; every `--every`-th batch goes through forward and backward of the
preset `tiny`, since what that takes does not depend on where in the pass it is. Each size is a
process of its own. What grows with the nights is the table of epochs: a row for each is held.

Usage: ``python benchmarks/fusion_scale.py [--nights 10 100 1000] [--batch 64] [--every 100]``
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from measuring import ROOT, run, table

SHARD = 30  # nights
CHANNELS = ["ECG", "EEG_C4", "EMG_CHIN", "EOG_L"]  # as pack sorts them


def write_cohort(folder: Path, *, nights: int) -> None:
    """Write sparse shards."""
    from packed_reading import NIGHT, write_shard  # noqa: PLC0415 - not in the parent's memory

    for first in range(0, nights, SHARD):
        own = folder / f"shard={first // SHARD}"
        own.mkdir()
        epochs = NIGHT * min(SHARD, nights - first)
        write_shard(own, epochs=epochs, channels=CHANNELS, first=first, sparse=True)


def go_through(folder: Path, *, batch: int, every: int) -> None:
    """Read all epochs of the shards once, and print how many there were and what it took."""
    import torch  # noqa: PLC0415 - as above

    from fusion_step import our_loss, ours  # noqa: PLC0415
    from somnoflow.data.packed import PackedEpochs  # noqa: PLC0415
    from somnoflow.training.batches import PassOrder  # noqa: PLC0415
    from somnoflow.training.device import prepare  # noqa: PLC0415

    prepare(torch.device("cpu"), threads=1)
    model = ours("tiny").train()
    begin = time.perf_counter()
    epochs = PackedEpochs(
        sorted(folder.glob("*/index.json")), channels=model.channels, require="any"
    )
    opened = time.perf_counter() - begin
    order = PassOrder(epochs.rows(scored=False), batch_size=batch, seed=1)
    for number, rows in enumerate(order):
        signals = torch.from_numpy(epochs.read(rows))
        if number % every == 0:
            # Zeros have no spread, and a batch norm of them no gradient that is finite.
            our_loss(model, signals + torch.randn_like(signals), mixed=False).backward()
            model.zero_grad()
    print(f"{len(epochs)} {opened:.1f} {time.perf_counter() - begin:.0f}")


def main() -> None:
    """Print the table, or measure one size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nights", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_cohort(options.write, nights=options.nights[0])
        return
    if options.read:
        go_through(options.read, batch=options.batch, every=options.every)
        return
    lines = []
    for nights in options.nights:
        with tempfile.TemporaryDirectory() as temporary:
            own = [sys.executable, __file__, "--nights", str(nights)]
            run([*own, "--write", temporary], folder=ROOT)
            size = sum(file.stat().st_size for file in Path(temporary).rglob("*")) / 2**30
            reading = ["--read", temporary, "--batch", str(options.batch)]
            cost, printed = run([*own, *reading, "--every", str(options.every)], folder=ROOT)
        epochs, opened, took = printed.split()[-3:]
        lines.append(
            (nights, epochs, f"{size:.1f}", opened, took, f"{cost.peak_mib:.0f}",
             f"{cost.own_mib:.0f}")
        )  # fmt: skip
        print(f"{nights} nights: {took} s", file=sys.stderr)
    header = (
        "nights", "epochs", "packed, GiB", "opened, s", "pass, s", "peak memory, MiB",
        "its own, MiB",
    )  # fmt: skip
    print(table(header, lines))


if __name__ == "__main__":
    main()
