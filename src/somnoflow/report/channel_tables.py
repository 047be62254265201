"""What the report says about channels: what the recordings offer, what was taken, what is missing.

Tables per data set and channel stay small for any cohort; the table with a row for each recording
and channel is cut like all long tables and begins with the rows that need a look.
"""

from collections import defaultdict

import polars as pl

from somnoflow.report.sources import CHANNEL_NUMBERS, MONTAGE, Cohort
from somnoflow.report.tables import (
    NOTHING,
    Table,
    alike,
    count,
    make_table,
    plural,
    tally,
)

OF = ["dataset", "channel"]


def channel_remarks(cohort: Cohort) -> Table | None:
    """Give what is doubtful about channels that were taken, alike remarks together."""
    remarks = (
        cohort.taken.filter(pl.col("remark") != "")
        .sort(MONTAGE, maintain_order=True)
        .group_by("dataset", alike("remark"), maintain_order=True)
        .agg(
            pl.col("recording").n_unique().alias("recordings"),
            pl.col("channel").unique(maintain_order=True).alias("channels"),
            pl.col("recording", "remark").first(),
        )
        .sort("recordings", "dataset", "remark", descending=[True, False, False])
    )
    if not remarks.height:
        return None
    return make_table(
        "Channels that are used, with a remark. Remarks that differ in a number only are counted "
        "together.",
        columns=["Data set", "Recordings", "Remark", "Channels", "For example"],
        numeric=["Recordings"],
        prose=["Remark", "Channels"],
        rows=[
            [row["dataset"], count(row["recordings"]), row["remark"], ", ".join(row["channels"]),
             row["recording"]]
            for row in remarks.iter_rows(named=True)
        ],
        simulated=cohort.simulated,
    )  # fmt: skip


def channel_table(cohort: Cohort) -> Table:
    """Say where each channel comes from, and why some recordings do not have it."""
    asked = cohort.channels.filter(pl.col("channel") != "")
    totals = (
        asked.group_by(OF)
        .agg(pl.len().alias("asked"), (pl.col("problem") == "").sum().alias("taken"))
        .sort("dataset", MONTAGE, "channel")
    )
    said = {name: _tallies(cohort.taken, name) for name in ("source", "unit", "sampling_rate")}
    missing = _tallies(asked.filter(pl.col("problem") != ""), "problem")
    rows = []
    for dataset, channel, offered, taken in totals.filter(pl.col("taken") > 0).iter_rows():
        key = (dataset, channel)
        rows.append(
            [channel, dataset, f"{taken:,} of {offered:,}",
             *(tally(said[name].get(key, [])) for name in said),
             tally(missing.get(key, []), most=3)]
        )  # fmt: skip
    return make_table(
        "Where each channel comes from. In brackets, where recordings differ, how many of them.",
        columns=["Channel", "Data set", "Recordings with it", "Label in the file", "Unit",
                 "Recorded at (Hz)", "Why not in the others"],
        numeric=["Recordings with it"],
        prose=["Label in the file", "Unit", "Recorded at (Hz)", "Why not in the others"],
        rows=rows,
        simulated=cohort.simulated,
    )  # fmt: skip


def absent_channels(cohort: Cohort) -> list[str]:
    """Say which channels that were asked for no recording of a data set has, and why."""
    wanted = cohort.channels.filter(pl.col("channel") != "")
    absent = (
        wanted.join(cohort.taken, on=OF, how="anti")
        .group_by(*OF, alike("problem"))
        .agg(pl.col("problem").min(), pl.len().alias("recordings"))
        .sort("dataset", "recordings", MONTAGE, "problem", descending=[False, True, False, False])
        .group_by("dataset", "problem", "recordings", maintain_order=True)
        .agg(pl.col("channel"))
    )
    return [
        f"{dataset}: not in {plural(recordings, 'recording')}: {', '.join(names)} ({problem})."
        for dataset, problem, recordings, names in absent.iter_rows()
    ]


def _tallies(rows: pl.DataFrame, name: str) -> dict[tuple[str, str], list[tuple[str, int]]]:
    """Count the texts of a column for each data set and channel, alike ones together."""
    counted = (
        rows.group_by(*OF, alike(name) if name == "problem" else pl.col(name).alias("alike"))
        .agg(pl.col(name).min(), pl.len().alias("recordings"))
        .sort(*OF, name)
    )
    found: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    for row in counted.iter_rows(named=True):
        found[row["dataset"], row["channel"]].append((row[name], row["recordings"]))
    return found


def unused_table(cohort: Cohort) -> Table | None:
    """List the labels that recordings offer and that were not taken; None for none."""
    labels = (
        cohort.channels.filter(pl.col("channel") == "")
        .group_by("dataset", "source", "unit", "sampling_rate")
        .agg(pl.col("recording").n_unique().alias("recordings"), pl.col("recording").min())
        .sort(
            "recordings", "dataset", "source", "unit", "sampling_rate",
            descending=[True, *[False] * 4],
        )
    )  # fmt: skip
    if not labels.height:
        return None
    return make_table(
        f"{plural(labels['source'].n_unique(), 'label')} that recordings offer and that no "
        "channel was taken from.",
        columns=["Label in the file", "Data set", "Recordings", "Unit", "Recorded at (Hz)",
                 "For example"],
        numeric=["Recordings", "Recorded at (Hz)"],
        rows=[
            [row["source"] or NOTHING, row["dataset"], count(row["recordings"]),
             row["unit"] or NOTHING, row["sampling_rate"] or NOTHING, row["recording"]]
            for row in labels.iter_rows(named=True)
        ],
        simulated=cohort.simulated,
    )  # fmt: skip


def all_channels_table(cohort: Cohort) -> Table:
    """Give one row for each recording and channel, those that need a look first."""
    flags = CHANNEL_NUMBERS[1:]
    rows = cohort.channels.filter(pl.col("channel") != "").sort(
        pl.col("problem") == "",
        pl.col("remark") == "",
        pl.sum_horizontal(flags) / pl.col("epochs"),
        "dataset",
        "recording",
        MONTAGE,
        descending=[False, False, True, False, False, False],
        nulls_last=True,
    )
    numeric = ["Epochs", "Missing", "Zero line", "Flat", "Clipped", "Out of range", "Line noise",
               "Disconnected"]  # fmt: skip
    return make_table(
        f"{plural(rows.height, 'channel')} of all recordings, those that are missing, have a "
        "remark or carry flags first. The numbers are epochs; a zero line is flat too.",
        columns=["Recording", "Data set", "Channel", "Label in the file", "Unit",
                 "Recorded at (Hz)", "Amplitude", *numeric, "Why missing, or remark"],
        numeric=["Recorded at (Hz)", "Amplitude", *numeric],
        prose=["Why missing, or remark"],
        rows=[
            [row["recording"], row["dataset"], row["channel"],
             *(row[name] or NOTHING for name in ("source", "unit", "sampling_rate", "amplitude")),
             *(count(row[name]) for name in CHANNEL_NUMBERS),
             row["problem"] or row["remark"] or NOTHING]
            for row in rows.iter_rows(named=True)
        ],
        simulated=cohort.simulated,
    )  # fmt: skip
