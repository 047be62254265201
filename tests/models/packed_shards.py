"""Tiny packed shards, written as `pack` writes them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

T = 3000
CHANNELS = ["EEG_C4", "EOG_L"]
EVENTS = ("apnea", "hypopnea", "respiratory")


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path


def make_signal(rng: np.random.Generator, stage: int, *, rate: int = 100) -> np.ndarray:
    """Draw one epoch (T,) whose dominant frequency and amplitude tell its stage."""
    time = np.arange(30 * rate) / rate
    hertz = (10.0, 6.0, 13.0, 1.2, 4.0)[max(stage, 0)]
    phase = rng.uniform(0, 2 * np.pi)
    tone = (1.0 + (stage == 3)) * np.sin(2 * np.pi * hertz * time + phase)
    return tone + rng.normal(0, 0.5, len(time))


def describe(channels: list[str], *, missing: list[str]) -> dict[str, float | None]:
    """Give the columns of channels in an epoch table; those of missing ones are null."""
    return {
        f"{channel}_{name}": None if channel in missing else value
        for channel in channels
        for name, value in (("quality", 0), ("center", 0.0), ("gain", 0.01))
    }


def write_shard(
    folder: Path,
    *,
    dataset: str,
    shard: int,
    subjects: list[str],
    epochs: int,
    seed: int,
    rate: int = 100,
    salt: dict[str, int] | None = None,
    stages: dict[str, int] | None = None,
    unusable: tuple[int, ...] = (2,),
    unscored: tuple[int, ...] = (0, 5),
    channels: list[str] | None = None,
    absent: dict[str, list[str]] | None = None,
    events: bool = False,
) -> Path:
    """Write a shard; `salt` changes the signals of some subjects, `stages` shifts their stages.

    `unusable` epochs have no signal in the first channel; `absent` channels were never recorded of
    a subject. With `events`, breathing stops in N1.
    """
    rows, signals = [], []
    channels = channels or CHANNELS
    for name in subjects:
        key = f"{dataset}/{name}"
        extra = (salt or {}).get(key, 0)
        rng = np.random.default_rng([seed, int(hashlib.sha256(key.encode()).hexdigest()[:8], 16)])
        noise = np.random.default_rng([seed, extra, 77])
        for epoch in range(epochs):
            stage = int(rng.integers(0, 5))
            signal = make_signal(rng, stage, rate=rate)
            if extra:
                signal = signal + noise.normal(0, 2, len(signal))
            signals.append(
                np.stack(
                    [
                        np.roll(signal[:: (-1) ** place], 100 * (place // 2))
                        for place in range(len(channels))
                    ]
                )
            )
            shown = (stage + (stages or {}).get(key, 0)) % 5
            rows.append(
                {
                    "dataset": dataset,
                    "subject": key,
                    "recording": f"{name}-n1",
                    "epoch": epoch,
                    "onset_s": 30.0 * epoch,
                    "stage": -1 if epoch in unscored else shown,
                    **dict.fromkeys(EVENTS, int(stage == 1) if events else -1),
                    **describe(channels, missing=(absent or {}).get(key, [])),
                    **({f"{channels[0]}_quality": 1} if epoch in unusable else {}),
                }
            )
    folder = folder / f"dataset={dataset}" / f"shard={shard}"
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "signals.npy", np.round(np.stack(signals) * 100).astype(np.int16))
    pl.DataFrame(rows).cast(
        {
            "epoch": pl.Int32,
            **dict.fromkeys(("stage", *EVENTS), pl.Int8),
            **{f"{c}_quality": pl.UInt8 for c in channels},
            **{f"{c}_{end}": pl.Float32 for c in channels for end in ("center", "gain")},
        }
    ).write_parquet(folder / "epochs.parquet")
    return write_json(
        folder / "index.json",
        {
            "dataset": dataset,
            "shard": shard,
            "channels": channels,
            "samples": 30 * rate,
            "sampling_rate": rate,
            "epochs": len(rows),
            "sha256": {
                name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
                for name in ("epochs.parquet", "signals.npy")
            },
        },
    )


@dataclass
class Cohort:
    """Packed shards and a split of their subjects."""

    packed: list[Path]
    split: Path


ROLES = {
    "pretrain": ["sim/a", "sim/b", "sim/c"],
    "train": ["sim/a", "sim/b", "sim/c"],
    "val": ["sim/d"],
    "test": ["sim/e"],
}


def make_cohort(
    folder: Path,
    *,
    epochs: int = 14,
    salt: dict[str, int] | None = None,
    stages: dict[str, int] | None = None,
    roles: dict[str, list[str]] | None = None,
    **changes: object,
) -> Cohort:
    common = {"dataset": "sim", "epochs": epochs, "seed": 3, "salt": salt, "stages": stages}
    common.update(changes)
    packed = [
        write_shard(folder / "packed", shard=0, subjects=["a", "c", "e"], **common),
        write_shard(folder / "packed", shard=1, subjects=["d", "b"], **common),
    ]
    split = write_json(folder / "split.json", {"folds": [{"fold": 0, **(roles or ROLES)}]})
    return Cohort(packed=packed, split=split)
