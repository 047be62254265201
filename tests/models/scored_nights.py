"""Small nights and models for tests of scoring: random weights, whose answers differ by channel."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tests.bundles import describe
from tests.recordings import make_signal, noise, write_recording

from somnoflow.bundles.bundle import write_bundle
from somnoflow.config.pack import Pack
from somnoflow.config.signals import Signals
from somnoflow.io.digest import sha256_file
from somnoflow.models.supervised import MODELS, describe_supervised
from somnoflow.models.weights import write_weights
from somnoflow.tasks import TASKS

SECONDS = 400


def write_channels(
    path: Path, labels: Mapping[str, float] | list[str], *, seconds: float = SECONDS
) -> Path:
    """Write a recording of noise, another one for each label, at 100 Hz where no rate is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rates = labels if isinstance(labels, Mapping) else dict.fromkeys(labels, 100.0)
    signals = [
        make_signal(noise(rate=rate, seconds=seconds, seed=seed), label=label, rate=rate)
        for seed, (label, rate) in enumerate(rates.items())
    ]
    return write_recording(path, signals)


def write_weights_of(
    path: Path, *, channel: str = "EEG_C4", task: str = "staging", kind: str = "tinysleepnet"
) -> Path:
    """Write a small supervised model of one channel with random weights."""
    torch.manual_seed(1)
    build: Any = MODELS[kind]
    model = build(sampling_rate=100, samples=3000, preset="tiny", window=5, task=task)
    about = describe_supervised(model, {"channel": channel, "sampling_rate": 100})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_weights(path, model.eval().state_dict(), about)
    return path


def write_model_bundle(
    path: Path, *, channel: str = "EEG_C4", task: str = "staging", **changes: Any
) -> Path:
    """Write a small model of one channel as a bundle."""
    weights = write_weights_of(path.with_suffix(".safetensors"), channel=channel, task=task)
    about = describe(
        **{
            "name": path.stem,
            "task": task,
            "classes": list(TASKS[task].classes),
            "channels": [channel],
            "stride": 2,
            "signals": Signals(channels=[channel]),
            "pack": Pack(),
            "threshold": 0.5 if TASKS[task].rare else None,
            "weights": {"model.safetensors": sha256_file(weights)},
            **changes,
        }
    )
    write_bundle(path, about, {"model.safetensors": weights}, "# A card\n")
    return path
