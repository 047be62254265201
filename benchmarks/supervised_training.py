"""Training steps of the supervised models, in epochs a second, and what a stride is worth.

Each step is forward, backward and Adam on random signals of 100 Hz, at the published batch: 100
single epochs (DeepSleepNet's first step), 10 windows of 25 (its second), 15 of 20 (TinySleepNet),
128 labelled epochs with the two before and after them (SE-ResNet-BiLSTM).

SE-ResNet-BiLSTM is trained in two ways. Ours encodes each epoch of a block once, for all windows
that it is in; the published way, read straightforwardly, gives each labelled epoch five epochs of
its own. A training stride of 8 takes every eighth labelled epoch: no two windows meet then, so
both ways are the same step.

All steps are taken in turn, again and again, in one process; the fastest of each counts.

Usage: ``python benchmarks/supervised_training.py [--presets tiny published] [--threads 2]
[--repeats 5]``
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import date
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from measuring import table
from somnoflow.data.windows import pad
from somnoflow.models.deepsleepnet import DeepSleepNet
from somnoflow.models.recurrent import NightModel
from somnoflow.models.seresnet_bilstm import SeResNetBiLstm
from somnoflow.models.supervised import MODELS
from somnoflow.training.centres import TRAINING_BLOCK, Blocks
from somnoflow.training.device import prepare

SAMPLES = 3000
LABELLED = 128
STRIDE = 8
# Labelled epochs of a pass, for the table of passes: about those of Sleep-EDF-20.
PASS = 40_000
COPIES = "five copies for each labelled epoch"
ONCE = "each epoch encoded once"


class Step(NamedTuple):
    """A training step, and how many epochs are labelled and encoded in it."""

    take: Callable[[], None]
    labelled: int
    encoded: int


class Spent(NamedTuple):
    """Seconds and CPU seconds."""

    wall: float
    cpu: float


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--presets", nargs="+", choices=["tiny", "published"], default=["tiny", "published"]
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    prepare(torch.device("cpu"), threads=options.threads)
    print(
        f"{date.today():%Y-%m-%d}, {platform.processor() or platform.machine()}, "
        f"{os.cpu_count()} cores, {options.threads} threads; "
        f"`python {' '.join(sys.argv)}`; fastest of {options.repeats}"
    )
    for preset in options.presets:
        steps = make_steps(preset)
        spent = measure(steps, repeats=options.repeats)
        print(f"\nSizes: {preset}\n\n{describe_steps(steps, spent)}\n\n{describe_passes(spent)}")


def make_steps(preset: str) -> dict[str, Step]:
    """Give the steps of all models."""
    torch.manual_seed(1)
    models = {
        name: model(sampling_rate=100, samples=SAMPLES, preset=preset)
        for name, model in MODELS.items()
    }
    whole, centred = models["deepsleepnet"], models["seresnet_bilstm"]
    assert isinstance(whole, DeepSleepNet)
    assert isinstance(centred, SeResNetBiLstm)
    return {
        "DeepSleepNet, CNNs": windows_step(whole.cnn_stage(), windows=100, length=1),
        "DeepSleepNet, sequences": windows_step(whole, windows=10, length=25),
        "TinySleepNet": windows_step(models["tinysleepnet"], windows=15, length=20),
        f"SE-ResNet-BiLSTM, {ONCE}": blocks_step(centred, stride=1),
        f"SE-ResNet-BiLSTM, {COPIES}": copies_step(centred),
        f"SE-ResNet-BiLSTM, {ONCE}, stride {STRIDE}": blocks_step(centred, stride=STRIDE),
    }


def windows_step(model: NightModel, *, windows: int, length: int) -> Step:
    """Give a step on windows whose epochs are all labelled."""
    every = torch.ones(windows, length, dtype=torch.bool)
    return make_step(model, valid=every, asked=every)


def copies_step(model: NightModel) -> Step:
    """Give a step on a window for each labelled epoch, the one in its middle."""
    every = torch.ones(LABELLED, model.head.window, dtype=torch.bool)
    asked = torch.zeros_like(every)
    asked[:, model.head.window // 2] = True
    return make_step(model, valid=every, asked=asked)


def blocks_step(model: NightModel, *, stride: int) -> Step:
    """Give a step on the blocks that our training makes of every `stride`-th epoch of a night."""
    centres = np.arange(model.head.window, LABELLED * stride + model.head.window, stride)
    runs = np.array([[0, centres[-1] + model.head.window]])
    blocks = Blocks(centres, runs=runs, window=model.head.window, span=TRAINING_BLOCK)
    draw = blocks.draw(np.arange(len(blocks.sizes)))
    _, valid = pad(draw.windows)
    return make_step(model, valid=torch.from_numpy(valid), asked=torch.from_numpy(draw.asked))


def make_step(model: NightModel, *, valid: Tensor, asked: Tensor) -> Step:
    """Give a step of a model on random signals: (B, L) of which are there, and which are asked."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    signals = torch.randn(*valid.shape, SAMPLES)
    targets = torch.randint(5, (int(asked.sum()),))

    def take() -> None:
        optimizer.zero_grad()
        logits, _ = model(signals, valid)
        nn.functional.cross_entropy(logits[asked], targets).backward()
        optimizer.step()

    return Step(take, labelled=len(targets), encoded=int(valid.sum()))


def measure(steps: dict[str, Step], *, repeats: int) -> dict[str, Spent]:
    """Take all steps in turn, the first time to warm up; give the least of each."""
    found: dict[str, list[Spent]] = {name: [] for name in steps}
    for _ in range(1 + repeats):
        for name, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step.take()
            spent = Spent(time.perf_counter() - wall, time.process_time() - cpu)
            found[name].append(spent)
    return {name: Spent(*map(min, zip(*all_[1:], strict=True))) for name, all_ in found.items()}


def describe_steps(steps: dict[str, Step], spent: dict[str, Spent]) -> str:
    """Give the table of steps."""
    return table(
        ["step", "labelled", "encoded", "seconds", "CPU seconds", "labelled epochs/s",
         "labelled epochs per CPU second"],
        [
            [name, steps[name].labelled, steps[name].encoded, f"{one.wall:.2f}", f"{one.cpu:.2f}",
             f"{steps[name].labelled / one.wall:.0f}", f"{steps[name].labelled / one.cpu:.0f}"]
            for name, one in spent.items()
        ],
    )  # fmt: skip


def describe_passes(spent: dict[str, Spent]) -> str:
    """Give the table of passes of SE-ResNet-BiLSTM, in CPU seconds."""
    copies, once, apart = (
        spent[f"SE-ResNet-BiLSTM, {name}"].cpu
        for name in (COPIES, ONCE, f"{ONCE}, stride {STRIDE}")
    )
    rows = [
        (COPIES, 1, copies), (COPIES, STRIDE, copies), (ONCE, 1, once), (ONCE, STRIDE, apart),
    ]  # fmt: skip
    passes = [(way, stride, PASS / stride / LABELLED * step) for way, stride, step in rows]
    first = {way: seconds for way, stride, seconds in passes if stride == 1}
    return table(
        ["SE-ResNet-BiLSTM", "stride", f"CPU seconds a pass of {PASS} labelled epochs",
         "passes, times those of stride 1", f"times those of {COPIES} at stride 1"],
        [
            [way, stride, f"{seconds:.0f}", f"{first[way] / seconds:.2f}",
             f"{first[COPIES] / seconds:.2f}"]
            for way, stride, seconds in passes
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
