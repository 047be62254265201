"""Speed and memory of NeuroNet's training steps against the model written as published.

Measured: 30-s epochs per second of forward, backward and AdamW step on random signals. Against:
`published_neuronet.py` in float32, which calls the frame backbone once for each frame of an epoch
and the autoencoder once for each masking; same sizes, batch and threads. Ours computes as
`pretrain` does, in float32 and under bfloat16 autocast. Each variant is a process of its own, so
that its peak memory is its own. They take turns; the fastest step of each and the lowest peak
count. On a shared machine look at the CPU seconds, of one thread above all: they grow less than
the time does while others compute.

On a GPU, if there is one: B in bfloat16 against the same baseline in float32, and the share of the
GPU's bfloat16 matrix peak (option `--peak-tflops`) that its multiplications come to.

Usage: ``python benchmarks/pretraining.py [--presets tiny T B] [--threads 1 2] [--batch 64 64 32]
[--precisions float32 bfloat16] [--steps 2] [--rounds 2]``
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from measuring import ROOT, line, run, table

STEP = Path(__file__).with_name("pretraining_step.py")
HEADER = (
    "preset", "batch", "threads", "variant", "epochs/s", "ratio", "CPU s a step", "CPU ratio",
    "peak memory, MiB", "memory ratio",
)  # fmt: skip
# Multiplications and additions of B for an epoch, forward and backward (three times the forward):
# encoder 2 x 15 tokens, decoder 2 x 73, backbone 73 frames of 7.8 million multiplications.
GFLOP_B = 10.8


class Took(NamedTuple):
    """The fastest step of a variant and its peak memory."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def measure(
    variant: str,
    *,
    preset: str,
    batch: int,
    threads: int,
    steps: int,
    device: str,
    program: Path = STEP,
) -> Took:
    """Run a variant in a process of its own."""
    command = [
        sys.executable, str(program), variant, "--preset", preset, "--batch", str(batch),
        "--threads", str(threads), "--steps", str(steps), "--device", device,
    ]  # fmt: skip
    cost, printed = run(command, folder=ROOT)
    took = json.loads(printed.splitlines()[-1])
    return Took(took["wall_s"], took["cpu_s"], took["peak_mib"] or cost.peak_mib)


def compare(
    variants: Sequence[str],
    *,
    rounds: int,
    batch: int,
    preset: str,
    threads: int,
    steps: int,
    device: str = "cpu",
    program: Path = STEP,
) -> None:
    """Print a line for each variant; the first is what the others are compared with."""
    how = {
        "preset": preset, "batch": batch, "threads": threads, "steps": steps, "device": device,
        "program": program,
    }  # fmt: skip
    took = [[measure(variant, **how) for variant in variants] for _ in range(rounds)]
    best = [Took(*map(min, zip(*of, strict=True))) for of in zip(*took, strict=True)]
    base = best[0]
    for variant, of in zip(variants, best, strict=True):
        cells = (
            preset, batch, threads, variant, f"{batch / of.wall_s:.1f}",
            f"{base.wall_s / of.wall_s:.2f}", f"{of.cpu_s:.2f}", f"{base.cpu_s / of.cpu_s:.2f}",
            f"{of.peak_mib:.0f}", f"{of.peak_mib / base.peak_mib:.2f}",
        )  # fmt: skip
        print(line(cells), flush=True)


def compare_on_gpu(*, batch: int, peak_tflops: float) -> None:
    """Print B on the GPU, or that there is none."""
    if shutil.which("nvidia-smi") is None:
        print("\nno GPU")
        return
    how = {"preset": "B", "batch": batch, "threads": 1, "steps": 5, "device": "cuda"}
    base, ours = (measure(variant, **how) for variant in ("published", "bfloat16"))
    print(
        f"\nGPU, B, batch {batch}: {batch / ours.wall_s:.0f} epochs/s in bfloat16, "
        f"{base.wall_s / ours.wall_s:.1f} times the published form in float32, "
        f"{GFLOP_B * batch / ours.wall_s / 1000 / peak_tflops:.1%} of {peak_tflops:g} TFLOP/s, "
        f"peak {ours.peak_mib:.0f} MiB against {base.peak_mib:.0f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presets", nargs="+", default=["tiny", "T", "B"])
    parser.add_argument("--batch", type=int, nargs="+", default=[64], help="one, or one a preset")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--peak-tflops", type=float, default=989, help="bfloat16, without sparsity")
    options = parser.parse_args()
    batches = options.batch * (len(options.presets) if len(options.batch) == 1 else 1)
    print(table(HEADER), flush=True)
    for preset, batch in zip(options.presets, batches, strict=True):
        for threads in options.threads:
            compare(
                ["published", *options.precisions], rounds=options.rounds, batch=batch,
                preset=preset, threads=threads, steps=options.steps,
            )  # fmt: skip
    compare_on_gpu(batch=256, peak_tflops=options.peak_tflops)


if __name__ == "__main__":
    main()
