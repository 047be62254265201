"""Speed of NeuroNet's training steps: all frames in one backbone call against a loop over frames.

Measured: 30-s epochs per second of forward, backward and AdamW step on random signals, for each
preset and number of threads, with the settings that `pretrain` computes with on the CPU. Against:
the same model whose frame backbone is called once for each frame of an epoch, as the published
code does it. The two take turns; the fastest step of each counts. On a shared machine look at the
CPU seconds too: those of the system are the kernel's, which hands out memory page by page.

Usage: ``python benchmarks/pretraining.py [--presets tiny T B] [--threads 1 2] [--steps 2]``
"""

import argparse
import os
import time
from typing import NamedTuple

import torch
from torch import Tensor

from measuring import line, table
from somnoflow.config.pretrain import Pretrain
from somnoflow.models.neuronet import NeuroNet
from somnoflow.training.device import prepare
from somnoflow.training.pretraining import build_neuronet

RATE = 100
WARM_UP = 1


class Step(NamedTuple):
    """Seconds of a step: passed, of the CPU in the program, of the CPU in the kernel."""

    wall_s: float
    user_s: float
    system_s: float


class Training:
    """A model and its optimiser."""

    def __init__(self, preset: str, *, loop: bool) -> None:
        cfg = Pretrain.model_validate({"preset": preset})
        self.clip = cfg.gradient_clip
        self.model = build_neuronet(cfg, sampling_rate=RATE).train()
        if loop:
            backbone = self.model.frame_backbone
            self.model.embed_frames = lambda frames: torch.stack(  # type: ignore[method-assign]
                [backbone(frames[:, number]) for number in range(frames.shape[1])], dim=1
            )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5)
        self.generator = torch.Generator().manual_seed(1)

    def step(self, epochs: Tensor) -> Step:
        """Take a step on a batch (B, T)."""
        begin, before = time.perf_counter(), os.times()
        self.optimizer.zero_grad()
        noise = self.model.draw_noise(len(epochs), generator=self.generator)
        self.model(epochs, noise=noise).total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        after = os.times()
        return Step(
            time.perf_counter() - begin,
            after.user - before.user,
            after.system - before.system,
        )


def parameters(model: NeuroNet) -> float:
    """Count the trained numbers of a model, in millions."""
    return sum(values.numel() for values in model.parameters()) / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presets", nargs="+", default=["tiny", "T", "B"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2)
    arguments = parser.parse_args()
    epochs = torch.randn(arguments.batch, 30 * RATE, generator=torch.Generator().manual_seed(1))
    print(
        table(
            (
                "preset", "parameters", "threads", "loop over frames, epochs/s",
                "one call, epochs/s", "one call / loop", "loop, CPU s a step",
                "one call, CPU s a step",
            )
        )
    )  # fmt: skip
    for preset in arguments.presets:
        ways = [Training(preset, loop=loop) for loop in (True, False)]
        for threads in arguments.threads:
            prepare(torch.device("cpu"), threads=threads)
            steps = [[way.step(epochs) for way in ways] for _ in range(WARM_UP + arguments.steps)]
            loop, batched = map(min, zip(*steps[WARM_UP:], strict=True))
            cells = (
                preset, f"{parameters(ways[0].model):.1f} M", threads,
                *(f"{arguments.batch / way.wall_s:.1f}" for way in (loop, batched)),
                f"{loop.wall_s / batched.wall_s:.2f}",
                *(f"{way.user_s:.1f} + {way.system_s:.1f}" for way in (loop, batched)),
            )  # fmt: skip
            print(line(cells), flush=True)


if __name__ == "__main__":
    main()
