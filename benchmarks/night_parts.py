"""Parts of `night_scoring.py` that run in processes of their own.

`make` writes the night and the models, `fit` a NeuroNet of a size, and `take` predicts the night
with it in one way and prints what it took, as JSON.
"""

import argparse
import contextlib
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from somnoflow.data.packed import Rows
from somnoflow.models.context import ContextHead
from somnoflow.models.neuronet import neuronet
from somnoflow.models.stager import Stager, describe_stager
from somnoflow.models.supervised import MODELS, describe_supervised
from somnoflow.models.tuned import load_tuned
from somnoflow.models.weights import write_weights
from somnoflow.night import Night, read_night
from somnoflow.simulate.edf import write_night
from somnoflow.simulate.night import simulate_night
from somnoflow.training import predicting
from somnoflow.training.allocation import keep_memory
from somnoflow.training.device import prepare
from somnoflow.training.encoding import embed_rows

CPU = torch.device("cpu")
SUBJECT = "S0001"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["make", "fit", "take"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("which", nargs="?", help="size, or size/way")
    parser.add_argument("--hours", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    options = parser.parse_args()
    {"make": make, "fit": fit, "take": take}[options.part](options)


def make(options: argparse.Namespace) -> None:
    """Write the night and the models."""

    folder = options.folder
    night = simulate_night(SUBJECT, seed=1, hours=options.hours)
    write_night(night, recording=folder / "night.edf", annotations=folder / "stages.edf")
    (folder / "stages.json").write_text(json.dumps([int(stage) for stage in night.stages]))
    torch.manual_seed(1)
    for name, kind in MODELS.items():
        model = kind(sampling_rate=100, samples=3000, preset="published")
        about = describe_supervised(model, {"channel": "EEG_C4"})
        write_weights(folder / f"{name}.safetensors", model.state_dict(), about)


def fit(options: argparse.Namespace) -> None:
    """Write a fine-tuned NeuroNet of a size: a random encoder, and a head that knows the night."""

    prepare(CPU, threads=options.threads)
    torch.manual_seed(1)
    encoder = neuronet(options.which).eval()
    night, rows = _read(options)
    features = torch.from_numpy(embed_rows(encoder, night, rows, batch_size=128, device=CPU))
    head = ContextHead(encoder.dimension, context="mamba")
    stages = json.loads((options.folder / "stages.json").read_text())
    targets = torch.tensor(np.array(stages)[rows])
    usable = len(rows) // 20 * 20
    windows = features[:usable].reshape(-1, 20, encoder.dimension)
    valid = torch.ones(windows.shape[:2], dtype=torch.bool)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    for _ in range(100):
        optimizer.zero_grad()
        logits = head(windows, valid)
        nn.functional.cross_entropy(logits.flatten(0, 1), targets[:usable]).backward()
        optimizer.step()
    model = Stager(encoder, head, tuning="full").eval()
    path = options.folder / f"neuronet-{options.which}.safetensors"
    write_weights(path, model.state_dict(), describe_stager(model, {"channel": "EEG_C4"}))


def take(options: argparse.Namespace) -> None:
    """Predict the night in one way; print what it took and the stages."""

    size, _, way = options.which.partition("/")
    torch.set_num_threads(options.threads)
    if way != "malloc as it is":
        keep_memory()
    model, _ = load_tuned(options.folder / f"neuronet-{size}.safetensors")
    encoder = model.encoder
    mixed: Any = contextlib.nullcontext()
    if way.startswith("batch"):
        predicting.BATCH = int(way.split()[1])
    if way == "folded norms":
        fold_norms(encoder.frame_backbone)
    if way == "int8":
        warnings.filterwarnings("ignore")
        encoder = torch.ao.quantization.quantize_dynamic(encoder, {torch.nn.Linear})
    if way == "bfloat16":
        mixed = torch.autocast("cpu", torch.bfloat16)
    night, rows = _read(options)

    def predict(rows: Rows) -> Any:
        with mixed:
            return predicting.predict_rows(encoder, model.head, night, rows, stride=20, device=CPU)

    predict(rows[:8])
    begin, before = time.perf_counter(), time.process_time()
    probabilities = predict(rows)
    wall, cpu = time.perf_counter() - begin, time.process_time() - before
    stages = probabilities.argmax(axis=1).tolist()
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "stages": stages}))


def _read(options: argparse.Namespace) -> tuple[Night, Rows]:
    """Give the night, and the rows of its usable epochs, as many as asked for."""

    night = read_night(options.folder / "night.edf", channels=["EEG_C4"], sampling_rate=100)
    return night, night.rows(scored=False)[: options.epochs]


def fold_norms(backbone: Any) -> None:
    """Fold the batch norms of a frame backbone into its convolutions."""

    def fold(owner: Any, convolution: str, norm: str) -> None:
        parts = owner._modules
        parts[convolution] = fuse_conv_bn_eval(parts[convolution], parts[norm])
        parts[norm] = nn.Identity()

    fold(backbone, "conv1", "bn1")
    for block in (block for branch in backbone.branches for block in branch):
        fold(block, "conv1", "bn1")
        fold(block, "conv2", "bn2")
        if isinstance(block.shortcut, nn.Sequential):
            fold(block.shortcut, "0", "1")
    backbone.to(memory_format=torch.channels_last)


if __name__ == "__main__":
    main()
