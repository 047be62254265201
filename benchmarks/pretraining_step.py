"""Takes training steps with one variant of NeuroNet and prints what they took, as JSON.

A program of its own, run by `pretraining.py`, so that its peak memory is that of the variant.
"""

import argparse
import contextlib
import json
import os
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from published_neuronet import PublishedNeuroNet
from somnoflow.config.pretrain import Recipe
from somnoflow.models.neuronet import PRESETS, neuronet
from somnoflow.models.published import ARGUMENTS, BACKBONE
from somnoflow.training.allocation import keep_memory
from somnoflow.training.device import prepare
from somnoflow.training.pretraining import Pretraining

SAMPLES = 3000
RECIPE = Recipe()
Loss = Callable[[Tensor], Tensor]


def published(preset: str) -> tuple[nn.Module, Loss]:
    """Give the published model in the sizes of a preset, and its loss."""
    with torch.device("meta"):
        sizes = neuronet(preset).architecture
    model = PublishedNeuroNet(
        **{theirs: sizes[ours] for ours, theirs in ARGUMENTS.items()},
        sizes={name: PRESETS[preset].get(name, value) for name, value in BACKBONE.items()},
    )
    return model, lambda epochs: sum(model(epochs, mask_ratio=sizes["mask_ratio"]))


def ours(preset: str, *, device: torch.device, precision: str) -> tuple[nn.Module, Loss]:
    """Give our model and its loss, in a precision of `pretrain.precision`."""
    model = neuronet(preset)

    def loss(epochs: Tensor) -> Tensor:
        mixed = torch.autocast(device.type, torch.bfloat16)
        with mixed if precision == "bfloat16" else contextlib.nullcontext():
            return model(epochs).total

    return model, loss


def main() -> None:
    options = parse(__doc__)
    device = torch.device(options.device)
    torch.manual_seed(1)
    torch.set_num_threads(options.threads)
    if options.variant == "published":
        model, loss = published(options.preset)
    else:
        prepare(device, threads=options.threads)
        keep_memory()
        model, loss = ours(options.preset, device=device, precision=options.variant)
    model.to(device).train()
    trained = [values for values in model.parameters() if values.requires_grad]
    if options.variant == "published":
        optimizer = torch.optim.AdamW(trained, lr=1e-5)
    else:
        [optimizer], _ = Pretraining(model, cfg=RECIPE, batches=1).configure_optimizers()
    epochs = torch.randn(options.batch, SAMPLES, device=device)

    def step() -> None:
        optimizer.zero_grad()
        loss(epochs).backward()
        if options.variant != "published":
            nn.utils.clip_grad_norm_(trained, RECIPE.gradient_clip)
        optimizer.step()

    report(step, steps=options.steps, device=device)


def parse(title: str | None) -> argparse.Namespace:
    """Read what a variant is to be measured with."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("variant", choices=["published", "float32", "bfloat16"])
    parser.add_argument("--preset", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def report(step: Callable[[], None], *, steps: int, device: torch.device) -> None:
    """Take a training step some times and print the fastest, and the GPU's peak memory."""
    times = []
    for _ in range(1 + steps):  # the first warms up
        begin, before = time.perf_counter(), os.times()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        after = os.times()
        used = after.user - before.user + after.system - before.system
        times.append((time.perf_counter() - begin, used))
    wall, cpu = map(min, zip(*times[1:], strict=True))
    peak = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "peak_mib": peak}))


if __name__ == "__main__":
    main()
