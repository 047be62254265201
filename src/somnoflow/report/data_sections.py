"""What the report says about the data: cohort, rejected and flagged files, split."""

from typing import Any

import polars as pl

from somnoflow.report.sources import ROLES, Cohort
from somnoflow.report.tables import NOTHING, Table, count, make_table, plural, share
from somnoflow.stages import STAGE_NAMES

MAX_GRID = 60


def cohort_tables(cohort: Cohort) -> list[Table]:
    """List the recordings, and the source of each channel."""
    mixed = cohort.simulated == "partly simulated"
    rows = []
    for row in cohort.recordings.iter_rows(named=True):
        stages = [share(row[name] or 0, row["scored"] or 0) for name in STAGE_NAMES]
        hours = NOTHING if row["hours"] is None else f"{row['hours']:.1f}"
        start = (row["start"] or NOTHING).replace("T", " ")[:16]
        rows.append(
            [row["recording"], row["subject"], row["night"] or NOTHING, start, hours,
             count(row["epochs"]), count(row["scored"]), count(row["unscored"]), *stages,
             *(["yes" if row["simulated"] else "no"] if mixed else [])]
        )  # fmt: skip
    numbers = ["Hours", "Epochs", "Scored", "Unscored", *STAGE_NAMES]
    recordings = make_table(
        f"{plural(len(rows), 'recording')}. Stages in % of the scored epochs; an epoch is 30 s.",
        columns=[
            "Recording", "Subject", "Night", "Start", *numbers, *(["Simulated"] if mixed else []),
        ],
        numeric=numbers,
        rows=rows,
        simulated=cohort.simulated,
    )  # fmt: skip
    taken = cohort.channels.filter(pl.col("problem") == "")
    by_channel = (
        cohort.channels.group_by("dataset", "channel")
        .agg(
            asked=pl.len(),
            taken=(pl.col("problem") == "").sum(),
        )
        .join(
            taken.group_by("dataset", "channel").agg(
                pl.col("source", "unit", "sampling_rate").unique().sort().str.join(", ")
            ),
            on=["dataset", "channel"],
            how="left",
        )
        .sort("dataset", "channel")
    )
    channels = make_table(
        "Where each channel comes from.",
        columns=["Channel", "Data set", "Recordings with it", "Label in the file", "Unit",
                 "Recorded at (Hz)"],
        numeric=["Recordings with it"],
        rows=[
            [row["channel"], row["dataset"], f"{row['taken']:,} of {row['asked']:,}",
             *(row[name] or NOTHING for name in ("source", "unit", "sampling_rate"))]
            for row in by_channel.iter_rows(named=True)
        ],
        simulated=cohort.simulated,
    )  # fmt: skip
    return [recordings, channels]


def rejected_table(cohort: Cohort) -> Table | None:
    """List the files that were not used, each with its reason and what to do; None for none."""
    rows = [
        [row["file"] or row["recording"], row["dataset"], row["stage"], row["problem"],
         row["found"] or NOTHING, row["wanted"] or NOTHING, row["advice"] or NOTHING]
        for row in cohort.rejected.iter_rows(named=True)
    ]  # fmt: skip
    if not rows:
        return None
    return make_table(
        f"{plural(len(rows), 'file')} not used.",
        columns=["File", "Data set", "Found at", "Problem", "Found", "Wanted", "What to do"],
        prose=["Problem", "Found", "Wanted", "What to do"],
        rows=rows,
    )


def extra_table(cohort: Cohort) -> Table | None:
    """List files in the folders that no manifest row names; None for none."""
    if not cohort.extra.height:
        return None
    return make_table(
        f"{plural(cohort.extra.height, 'file')} in the folders that no row of a manifest names.",
        columns=["File", "Data set", "What to do"],
        prose=["What to do"],
        rows=[
            [row["file"], row["dataset"], row["advice"]]
            for row in cohort.extra.iter_rows(named=True)
        ],
    )


def flagged_tables(cohort: Cohort) -> list[Table]:
    """List recordings and channels that were used, or only partly, and deserve a look."""
    tables = []
    noted = cohort.recordings.filter((pl.col("notes") != "") | (pl.col("flat") > 0))
    if noted.height:
        tables.append(
            make_table(
                f"{plural(noted.height, 'recording')} used, with remarks.",
                columns=["Recording", "Data set", "Flat epochs", "Of epochs", "Remark"],
                numeric=["Flat epochs", "Of epochs"],
                prose=["Remark"],
                rows=[
                    [row["recording"], row["dataset"], count(row["flat"]), count(row["epochs"]),
                     row["notes"] or NOTHING]
                    for row in noted.iter_rows(named=True)
                ],
                simulated=cohort.simulated,
            )
        )  # fmt: skip
    bad = cohort.channels.filter(
        (pl.col("problem") != "") | (pl.col("flat") > 0) | (pl.col("clipped") > 0)
    )
    if bad.height:
        tables.append(
            make_table(
                f"{plural(bad.height, 'channel')} missing or with flat or clipped epochs. A zero "
                "line (nothing was recorded) is flat too.",
                columns=["Recording", "Data set", "Channel", "Label in the file", "Epochs",
                         "Zero line", "Flat", "Clipped", "Why missing"],
                numeric=["Epochs", "Zero line", "Flat", "Clipped"],
                prose=["Why missing"],
                rows=[
                    [row["recording"], row["dataset"], row["channel"], row["source"] or NOTHING,
                     *(count(row[name]) for name in ("epochs", "zero", "flat", "clipped")),
                     row["problem"] or NOTHING]
                    for row in bad.iter_rows(named=True)
                ],
                simulated=cohort.simulated,
            )
        )  # fmt: skip
    return tables


def split_tables(cohort: Cohort) -> list[Table]:
    """Say who is where: numbers of each fold, and the role of each subject in each fold."""
    counts = make_table(
        f"Subjects in each of {plural(len(cohort.folds), 'fold')}. Pre-training reads signals "
        "only, never stages.",
        columns=["Fold", "Pre-training", "Training", "Validation", "Test"],
        numeric=["Pre-training", "Training", "Validation", "Test"],
        rows=[
            [str(fold["fold"]), *(count(len(fold[role])) for role in ROLES)]
            for fold in cohort.folds
        ],
    )
    subjects = sorted({name for fold in cohort.folds for role in ROLES for name in fold[role]})
    if len(subjects) > MAX_GRID:
        return [counts]
    grid = make_table(
        "Role of each subject in each fold.",
        columns=["Subject", *(f"Fold {fold['fold']}" for fold in cohort.folds)],
        rows=[[name, *(role_of(name, fold) for fold in cohort.folds)] for name in subjects],
    )
    return [counts, grid]


def role_of(subject: str, fold: dict[str, Any]) -> str:
    """Name the role of a subject in a fold; two roles that exclude each other are both named."""
    roles = [name for name in ("test", "val", "train") if subject in fold[name]]
    if subject in fold["pretrain"]:
        # Training subjects are pre-trained on as well: no second role.
        roles += ["pretrain"] if roles and roles != ["train"] else []
        roles = roles or ["pretrain only"]
    return " + ".join(roles) or NOTHING


def leaks(cohort: Cohort) -> list[str]:
    """Find subjects whose roles in one fold exclude each other."""
    found = []
    for fold in cohort.folds:
        roles = {role: set(fold[role]) for role in ROLES}
        learned = roles["pretrain"] | roles["train"]
        both = (roles["test"] & (learned | roles["val"])) | (roles["val"] & learned)
        found += [f"fold {fold['fold']}: {subject}" for subject in sorted(both)]
    return found
