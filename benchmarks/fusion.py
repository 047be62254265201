"""Speed and memory of SynthSleepNet's fusion against the model written as published.

Measured: 30-s epochs of four channels per second of forward, backward and AdamW step on random
signals, encoders frozen and adapted. Against: `published_synthsleepnet.py` in float32, which calls
the frame backbone once for each frame of a channel and keeps the frozen encoders in training mode;
same sizes, batch and threads, adapters of peft in both. Ours computes as `fuse` does. Each variant
is a process of its own, so that its peak memory is its own. They take turns; the fastest step of
each and the lowest peak count. On a shared machine look at the CPU seconds.

Usage: ``python benchmarks/fusion.py [--presets tiny published] [--threads 1 2] [--batch 64 8]
[--precisions float32] [--steps 2] [--rounds 2]``, or on a GPU, without the loop over threads,
``python benchmarks/fusion.py --device cuda --presets published --batch 256 --precisions bfloat16``
"""

import argparse
from pathlib import Path

from measuring import table
from pretraining import HEADER, compare

STEP = Path(__file__).with_name("fusion_step.py")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presets", nargs="+", default=["tiny", "published"])
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 8], help="one a preset")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--precisions", nargs="+", default=["float32"])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    print(table(HEADER), flush=True)
    for preset, batch in zip(options.presets, options.batch, strict=True):
        for threads in options.threads:
            compare(
                ["published", *options.precisions], rounds=options.rounds, batch=batch,
                preset=preset, threads=threads, steps=options.steps, device=options.device,
                program=STEP,
            )  # fmt: skip


if __name__ == "__main__":
    main()
