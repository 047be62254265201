"""Speed of NeuroNet's training steps: all frames in one backbone call against a loop over frames.

Measured: 30-s epochs per second of forward, backward and AdamW step on random signals, for each
preset and number of threads, with the settings that `pretrain` computes with on the CPU. Against:
the same model whose frame backbone is called once for each frame of an epoch, as the published
code does it. The two take turns; the fastest step of each counts.

Usage: ``python benchmarks/pretraining.py [--presets tiny T B] [--threads 1 2] [--steps 3]``
"""

import argparse
import time

import torch
from torch import Tensor

from measuring import table
from somnoflow.config.pretrain import Pretrain
from somnoflow.models.neuronet import NeuroNet
from somnoflow.training.device import prepare
from somnoflow.training.pretraining import build_neuronet

RATE = 100
WARM_UP = 1


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

    def step(self, epochs: Tensor) -> float:
        """Take a step on a batch (B, T); give its seconds."""
        begin = time.perf_counter()
        self.optimizer.zero_grad()
        self.model(epochs, generator=self.generator).total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return time.perf_counter() - begin


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
    parser.add_argument("--steps", type=int, default=3)
    arguments = parser.parse_args()
    epochs = torch.randn(arguments.batch, 30 * RATE, generator=torch.Generator().manual_seed(1))
    rows = []
    for preset in arguments.presets:
        ways = [Training(preset, loop=loop) for loop in (True, False)]
        for threads in arguments.threads:
            prepare(torch.device("cpu"), threads=threads)
            steps = [[way.step(epochs) for way in ways] for _ in range(WARM_UP + arguments.steps)]
            loop, batched = map(min, zip(*steps[WARM_UP:], strict=True))
            rows.append(
                (
                    preset, f"{parameters(ways[0].model):.1f} M", threads,
                    f"{arguments.batch / loop:.1f}", f"{arguments.batch / batched:.1f}",
                    f"{loop / batched:.2f}",
                )
            )  # fmt: skip
    header = (
        "preset", "parameters", "threads", "loop over frames, epochs/s", "one call, epochs/s",
        "one call / loop",
    )  # fmt: skip
    print(table(header, rows))


if __name__ == "__main__":
    main()
