"""A small bundle whose weights are a few bytes: what is tested is all around them."""

import hashlib
from pathlib import Path
from typing import Any

from somnoflow.bundles.about import BundleAbout
from somnoflow.bundles.bundle import write_bundle
from somnoflow.config.pack import Pack
from somnoflow.config.signals import Signals

WEIGHTS = b"weights"
DATASET = {
    "name": "simulated",
    "title": "Simulated nights",
    "licence": "Apache-2.0",
    "citation": "none",
    "simulated": True,
}


def describe(**changes: Any) -> BundleAbout:
    """Give the description of a model that stages one EEG channel; `changes` replace fields."""
    return BundleAbout.model_validate(
        {
            "name": "tiny",
            "title": "TinySleepNet, EEG_C4",
            "somnoflow": "0.1.0",
            "task": "staging",
            "classes": ["W", "N1", "N2", "N3", "REM"],
            "row": {
                "encoder": "tinysleepnet",
                "channel": "EEG_C4",
                "method": "published",
                "task": "staging",
                "labels": "all",
            },
            "channels": ["EEG_C4"],
            "modalities": ["EEG"],
            "sampling_rate": 100,
            "stride": 1,
            "signals": Signals(channels=["EEG_C4"]),
            "pack": Pack(),
            "training": {
                "datasets": [DATASET],
                "subjects": 3,
                "recordings": 4,
                "epochs": 480,
                "fold": 0,
                "folds": 2,
                "statement": "Fold 0 of 2.",
            },
            "metrics": {
                "statement": "All folds.",
                "subjects": 5,
                "recordings": 6,
                "epochs": 720,
                "confidence": 0.95,
                "values": {
                    "accuracy": {"value": 0.81, "interval": [0.75, 0.86]},
                    "macro_f1": {"value": 0.7},
                    "kappa": {"value": 0.72, "interval": [0.6, 0.8]},
                },
                "per_class": {"N1": {"value": None, "epochs": 0}},
            },
            "calibration": {
                "temperature": 1.2,
                "ece_before": 0.1,
                "ece_after": 0.05,
                "val_epochs": 240,
            },
            "threshold": None,
            "weights": {"model.safetensors": hashlib.sha256(WEIGHTS).hexdigest()},
            "code": "c" * 64,
            "config": "d" * 64,
            **changes,
        }
    )


def make_bundle(path: Path, **changes: Any) -> Path:
    """Write a bundle as a zip file."""
    weights = path.with_name("weights")
    path.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(WEIGHTS)
    write_bundle(path, describe(**changes), {"model.safetensors": weights}, "# The card\n")
    return path
