"""Gather the shards' indexes into one cohort: recordings, channels, and what was turned down."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from somnoflow.io.digest import sha256_file
from somnoflow.io.table import read_table
from somnoflow.stages import STAGE_NAMES

RECORDING_COLUMNS = (
    "dataset", "subject", "recording", "night", "simulated", "start", "hours", "epochs", "scored",
    "unscored", *STAGE_NAMES, "flat", "lights_off_s", "lights_on_s", "sleep_minutes",
    "ahi", "notes",
)  # fmt: skip
CHANNEL_COLUMNS = (
    "dataset", "recording", "channel", "source", "unit", "sampling_rate", "amplitude", "epochs",
    "missing", "zero", "flat", "clipped", "out_of_range", "line_noise", "disconnected", "problem",
    "remark",
)  # fmt: skip
REJECTED_COLUMNS = (
    "dataset", "file", "recording", "stage", "problem", "found", "wanted", "advice",
)  # fmt: skip


@dataclass(frozen=True)
class Cohort:
    """All rows of the three tables, sorted, and the content of the cohort's index."""

    recordings: list[dict[str, Any]]
    channels: list[dict[str, Any]]
    rejected: list[dict[str, str]]
    index: dict[str, Any]


def gather(parts: Sequence[Path], problems: Sequence[Path], *, strict: bool) -> Cohort:
    """Merge what `parse` and `check` wrote for each shard.

    Parameters
    ----------
    parts
        index.json of each parsed shard.
    problems
        problems.tsv of each checked shard.
    strict
        Whether a rejected file is an error.

    Raises
    ------
    ValueError
        When two recordings have one name, no recording is usable, or the run is strict and a file
        was rejected.
    """
    shards = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(parts)}
    rows = [_recording(shard, row) for shard in shards.values() for row in shard["recordings"]]
    rows.sort(key=lambda row: (row["subject"], row["recording"]))
    rejected = _rejected(list(shards.values()), problems)
    _require_unique(rows)
    if strict:
        _stop_if_any(rejected)
    if not rows:
        lines = _lines(rejected) or ["  the manifests name no recording"]
        first = f"no recording is usable, as with the first 5 of {len(lines)} files:"
        raise ValueError("\n".join([first if lines[5:] else "no recording is usable:", *lines[:5]]))
    channels = [
        {"dataset": shard["dataset"], **row}
        for shard in shards.values()
        for row in shard["channels"]
    ]
    channels.sort(key=lambda row: (row["dataset"], row["recording"], row["channel"]))
    return Cohort(
        recordings=[{name: row[name] for name in RECORDING_COLUMNS} for row in rows],
        channels=channels,
        rejected=rejected,
        index={
            "parts": [_part(path, shard) for path, shard in shards.items()],
            "recordings": [
                {name: row[name] for name in ("subject", "recording", "epochs", "usable_stages")}
                for row in rows
            ],
        },
    )


def _recording(shard: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    dataset = shard["dataset"]
    return {
        **row,
        "dataset": dataset,
        "simulated": str(shard["simulated"]).lower(),
        "subject": f"{dataset}/{row['subject']}",
    }


def _part(path: Path, shard: dict[str, Any]) -> dict[str, Any]:
    return {
        "dataset": shard["dataset"],
        "shard": shard["shard"],
        "index_sha256": sha256_file(path),
        "part_sha256": shard["part"]["sha256"],
    }


def _rejected(shards: list[dict[str, Any]], problems: Sequence[Path]) -> list[dict[str, str]]:
    rows = [
        {"dataset": shard["dataset"], "stage": "parse", **row}
        for shard in shards
        for row in shard["rejected"]
    ]
    for path in problems:
        dataset = path.parent.parent.name.removeprefix("dataset=")
        rows += [{"dataset": dataset, **row} for row in read_table(path)]
    # Shards checked at different times may both report a file that is in no manifest.
    rows = [dict(row) for row in dict.fromkeys(tuple(row.items()) for row in rows)]
    return sorted(rows, key=lambda row: (row["dataset"], row["file"], row["problem"]))


def _require_unique(rows: list[dict[str, Any]]) -> None:
    count = Counter(f"{row['dataset']}/{row['recording']}" for row in rows)
    twice = sorted(name for name, times in count.items() if times > 1)
    if twice:
        raise ValueError(
            f"recordings with the same name: {', '.join(twice)}. Wanted: one file name for each "
            "recording of a dataset. Rename the files and write the manifest again"
        )


def _stop_if_any(rejected: list[dict[str, str]]) -> None:
    lines = _lines(rejected)
    if lines:
        raise ValueError("\n".join([f"strict: {len(lines)} rejections:", *lines]))


def _lines(rejected: list[dict[str, str]]) -> list[str]:
    return [
        f"  {row['file']}: {row['problem']}; found {row['found']}, wanted {row['wanted']}. "
        f"{row['advice']}"
        for row in rejected
        if row["stage"] != "extra"
    ]
