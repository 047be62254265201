"""Signal quality in the report: how much of each recording is usable, and which ones are drawn.

A channel counts for a recording where at least one of its epochs is there; a channel that the
recording does not have is no fault of its signal. Of a cohort of any size one small row per
recording is kept; the epochs of the few recordings that are drawn are read again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl

from somnoflow.config.signals import Channel
from somnoflow.evaluate.predictions import RECORDING_KEY
from somnoflow.io.digest import require_sha256
from somnoflow.report.figures import Picture
from somnoflow.report.quality_figure import NightQuality, quality_picture
from somnoflow.report.sources import MONTAGE, Cohort
from somnoflow.report.tables import Table, make_table, plural, rough_share
from somnoflow.signals.quality import UNUSABLE, Flag

SUFFIX = "_quality"
# From the worst down, as in the pictures; a zero line is flat too.
SHARES = {
    "missing": "Missing", "zero": "Zero line", "flat": "Flat", "disconnected": "Disconnected",
    "clipped": "Clipped", "out_of_range": "Out of range", "line_noise": "Line noise",
}  # fmt: skip


@dataclass(frozen=True)
class DrawnNight:
    """One recording's title and the picture of its quality."""

    title: str
    picture: Picture


def read_quality(indexes: Sequence[Path]) -> pl.DataFrame:
    """Count the usable epochs of each recording.

    Parameters
    ----------
    indexes
        `index.json` of each packed shard; `epochs.parquet` stands beside it.

    Returns
    -------
    One row per recording: `dataset`, `subject`, `recording`, `cells` (epochs times channels that
    it has), `unusable` (those without a signal) and `file` (its epoch table).

    Raises
    ------
    DigestError
        When an epoch table is not the one its index names.
    """
    empty = pl.DataFrame(
        schema=dict.fromkeys(RECORDING_KEY, pl.String)
        | {"cells": pl.Int64, "unusable": pl.Int64, "file": pl.String}
    )
    return pl.concat([empty, *(_count_shard(path) for path in sorted(indexes))])


def _count_shard(index: Path) -> pl.DataFrame:
    file = index.with_name("epochs.parquet")
    digests = json.loads(index.read_text(encoding="utf-8"))["sha256"]
    require_sha256(file, digests[file.name], made_by="pack")
    epochs = pl.scan_parquet(file)
    flags = [pl.col(name + SUFFIX) for name in _channels(epochs)]
    there = [(flag & int(Flag.MISSING) == 0).any() for flag in flags]
    unusable = [(flag & int(UNUSABLE) != 0).sum() for flag in flags]
    counts = [pl.when(had).then(bad).otherwise(0) for had, bad in zip(there, unusable, strict=True)]
    return (
        epochs.group_by(RECORDING_KEY)
        .agg(
            cells=(pl.len() * pl.sum_horizontal(there)).cast(pl.Int64),
            unusable=pl.sum_horizontal(counts).cast(pl.Int64),
            file=pl.lit(str(file)),
        )
        .sort(RECORDING_KEY)
        .collect()
    )


def _channels(epochs: pl.LazyFrame) -> list[str]:
    """Give the channels of an epoch table in the order of the montage."""
    names = epochs.collect_schema().names()
    return [name for name in get_args(Channel) if name + SUFFIX in names]


def choose_worst(quality: pl.DataFrame, wanted: int) -> tuple[pl.DataFrame, str]:
    """Choose recordings to draw, the worst first, and say how.

    Returns
    -------
    tuple
        Rows of `quality` in the order of rank, and the rule in words.
    """
    ranked = quality.sort(
        pl.col("unusable") / pl.col("cells"), *RECORDING_KEY, descending=[True, *[False] * 3]
    )
    if not wanted or not ranked.height:
        return ranked.head(0), "No pictures: " + (
            "no epochs were given." if wanted else "the configuration asks for none."
        )
    if ranked.height <= wanted:
        return ranked, (
            f"All {plural(ranked.height, 'recording')}, from the largest share of epochs without "
            "a usable signal to the smallest."
        )
    worst = -(-wanted // 2)
    # From the best up, so that a single one is the best.
    others = np.linspace(ranked.height - 1, worst, wanted - worst).round().astype(int)[::-1]
    return ranked[[*range(worst), *others]], (
        f"The worst {worst} of {ranked.height:,} recordings by share of epochs without a usable "
        f"signal, and {wanted - worst} of the others at even steps of rank down to the best."
    )


def draw_nights(chosen: pl.DataFrame, cohort: Cohort) -> list[DrawnNight]:
    """Draw the quality of the chosen recordings."""
    drawn = []
    had = cohort.taken.select("dataset", "channel").unique()
    for row in chosen.iter_rows(named=True):
        channels = had.filter(pl.col("dataset") == row["dataset"])["channel"].to_list()
        known = cohort.recordings.filter(
            pl.col("dataset") == row["dataset"], pl.col("recording") == row["recording"]
        )
        title = (
            f"{row['recording']} (subject {row['subject']}; "
            f"{rough_share(row['unusable'], row['cells'])} unusable)"
        )
        night = _read_night(
            row, channels=channels, known=known.row(0, named=True) if known.height else {}
        )
        simulated = "simulated" if cohort.is_simulated(row["dataset"], row["recording"]) else ""
        drawn.append(DrawnNight(title, quality_picture(night, simulated=simulated)))
    return drawn


def _read_night(row: dict[str, str], *, channels: list[str], known: dict[str, Any]) -> NightQuality:
    """Read the epochs of a recording; `channels` are those that any recording of its kind has."""
    scan = pl.scan_parquet(row["file"])
    channels = [name for name in _channels(scan) if name in channels]
    epochs = (
        scan.filter(pl.col(name) == row[name] for name in RECORDING_KEY)
        .select("onset_s", "stage", *(name + SUFFIX for name in channels))
        .collect()
        .sort("onset_s")
    )
    return NightQuality(
        recording=row["recording"],
        onset=epochs["onset_s"].to_numpy(),
        stage=epochs["stage"].to_numpy(),
        flags={name: epochs[name + SUFFIX].to_numpy() for name in channels},
        hours=known.get("hours"),
        start=known.get("start_time"),
        lights_off=known.get("lights_off_s"),
        lights_on=known.get("lights_on_s"),
    )


def share_table(cohort: Cohort) -> Table | None:
    """Give the share of each channel's epochs with each flag; None where no channel was taken."""
    sums = (
        cohort.taken.group_by("dataset", "channel")
        .agg(
            pl.len().alias("recordings"),
            pl.col("epochs", *SHARES).sum(),
            # Line noise cannot be judged at a low sampling rate: no number there.
            *(
                pl.col("epochs").filter(pl.col(name).is_not_null()).sum().alias(f"{name}_of")
                for name in SHARES
            ),
        )
        .sort("dataset", MONTAGE, "channel")
    )
    if not sums.height:
        return None
    numeric = ["Recordings", "Epochs", *SHARES.values()]
    return make_table(
        "Epochs of each channel that carry a flag, over the recordings that have the channel. An "
        "epoch may carry several; a zero line is flat too.",
        columns=["Channel", "Data set", *numeric],
        numeric=numeric,
        rows=[
            [row["channel"], row["dataset"], f"{row['recordings']:,}", f"{row['epochs']:,}",
             *(rough_share(row[name], row[f"{name}_of"]) for name in SHARES)]
            for row in sums.iter_rows(named=True)
        ],
        simulated=cohort.simulated,
    )  # fmt: skip


def poor_recordings(quality: pl.DataFrame) -> int:
    """Count the recordings more than half of which has no usable signal."""
    return quality.filter(2 * pl.col("unusable") > pl.col("cells")).height
