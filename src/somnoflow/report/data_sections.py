"""What the report says about the data: recordings, rejected files, remarks, split."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl

from somnoflow.report.sources import ROLES, Cohort
from somnoflow.report.tables import (
    MINUS,
    NOTHING,
    Table,
    alike,
    count,
    decimal,
    make_table,
    plural,
    share,
)
from somnoflow.stages import STAGE_NAMES

MAX_GRID = 60
MANY = 20
LIGHTS = {"lights_off_s": "Lights off", "lights_on_s": "Lights on"}


def recordings_table(cohort: Cohort) -> Table:
    """List the recordings."""
    mixed = cohort.simulated == "partly simulated"
    rows = []
    for row in cohort.recordings.iter_rows(named=True):
        stages = [share(row[name] or 0, row["scored"] or 0) for name in STAGE_NAMES]
        start = (row["start"] or NOTHING).replace("T", " ")[:16]
        lights = [clock(row[name], start=row["start_time"]) for name in LIGHTS]
        rows.append(
            [row["recording"], row["subject"], row["night"] or NOTHING, start,
             decimal(row["hours"], places=1), *lights, decimal(row["sleep_minutes"], places=0),
             decimal(row["ahi"], places=1), *stages, count(row["epochs"]), count(row["scored"]),
             count(row["unscored"]), *(["yes" if row["simulated"] else "no"] if mixed else [])]
        )  # fmt: skip
    numbers = ["Hours", *LIGHTS.values(), "Sleep (min)", "AHI", *STAGE_NAMES, "Epochs", "Scored",
               "Unscored"]  # fmt: skip
    return make_table(
        f"{plural(len(rows), 'recording')}. Stages in % of the scored epochs; an epoch is 30 s. "
        "AHI: apneas and hypopneas per hour of sleep as scored, where the scoring names both.",
        columns=[
            "Recording", "Subject", "Night", "Start", *numbers, *(["Simulated"] if mixed else []),
        ],
        numeric=numbers,
        rows=rows,
        simulated=cohort.simulated,
    )  # fmt: skip


def clock(seconds: float | None, *, start: datetime | None) -> str:
    """Write a moment as clock time, or as hours and minutes from a start that is not known."""
    if seconds is None:
        return NOTHING
    if start is not None:
        return f"{start + timedelta(seconds=seconds):%H:%M}"
    minutes = round(abs(seconds) / 60)
    sign = "+" if seconds >= 0 else MINUS
    return f"start {sign} {minutes // 60}:{minutes % 60:02d} h"


def rejected_tables(cohort: Cohort) -> list[Table]:
    """List the files that were not used, each with its reason and what to do.

    Where they are many, a table of the reasons comes first.
    """
    rejected = cohort.rejected
    tables = []
    if rejected.height > MANY:
        reasons = (
            rejected.group_by("dataset", "stage", "problem", alike("advice"), maintain_order=True)
            .agg(pl.len().alias("files"), pl.col("file", "recording", "advice").first())
            .sort("files", "dataset", "problem", descending=[True, False, False])
        )
        tables.append(
            make_table(
                f"{plural(rejected.height, 'file')} not used, by reason.",
                columns=["Problem", "Data set", "Found at", "Files", "For example", "What to do"],
                numeric=["Files"],
                prose=["What to do"],
                rows=[
                    [row["problem"], row["dataset"], row["stage"], count(row["files"]),
                     row["file"] or row["recording"], row["advice"] or NOTHING]
                    for row in reasons.iter_rows(named=True)
                ],
            )
        )  # fmt: skip
    if rejected.height:
        tables.append(
            make_table(
                f"{plural(rejected.height, 'file')} not used.",
                columns=["File", "Data set", "Found at", "Problem", "Found", "Wanted",
                         "What to do"],
                prose=["Problem", "Found", "Wanted", "What to do"],
                rows=[
                    [row["file"] or row["recording"], row["dataset"], row["stage"], row["problem"],
                     row["found"] or NOTHING, row["wanted"] or NOTHING, row["advice"] or NOTHING]
                    for row in rejected.iter_rows(named=True)
                ],
            )
        )  # fmt: skip
    return tables


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


def remark_tables(cohort: Cohort) -> list[Table]:
    """List the remarks on recordings that were used; where they are many, alike ones first."""
    noted = cohort.recordings.filter(pl.col("notes") != "")
    tables = []
    if noted.height > MANY:
        kinds = (
            noted.with_columns(pl.col("notes").str.split("; "))
            .explode("notes")
            .group_by("dataset", alike("notes"), maintain_order=True)
            .agg(pl.len().alias("recordings"), pl.col("recording", "notes").first())
            .sort("recordings", "dataset", "notes", descending=[True, False, False])
        )
        tables.append(
            make_table(
                f"Remarks on {plural(noted.height, 'recording')}. Remarks that differ in a number "
                "only are counted together.",
                columns=["Data set", "Recordings", "Remark", "For example"],
                numeric=["Recordings"],
                prose=["Remark"],
                rows=[
                    [row["dataset"], count(row["recordings"]), row["notes"], row["recording"]]
                    for row in kinds.iter_rows(named=True)
                ],
                simulated=cohort.simulated,
            )
        )  # fmt: skip
    if noted.height:
        tables.append(
            make_table(
                f"{plural(noted.height, 'recording')} used, with remarks.",
                columns=["Recording", "Data set", "Remark"],
                prose=["Remark"],
                rows=[
                    [row["recording"], row["dataset"], row["notes"]]
                    for row in noted.iter_rows(named=True)
                ],
                simulated=cohort.simulated,
            )
        )  # fmt: skip
    return tables


def split_tables(cohort: Cohort) -> list[Table]:
    """Say who is where: numbers of each fold, and the role of each subject in each fold."""
    external = set(cohort.external)
    numeric = ["Pre-training", "Training", "Validation", "Test"]
    numeric += ["Of these external"] if external else []
    counts = make_table(
        f"Subjects in each of {plural(len(cohort.folds), 'fold')}. Pre-training reads signals "
        "only, never stages.",
        columns=["Fold", *numeric],
        numeric=numeric,
        rows=[
            [
                str(fold["fold"]),
                *(count(len(fold[role])) for role in ROLES),
                *([count(len(external & set(fold["test"])))] if external else []),
            ]
            for fold in cohort.folds
        ],
    )
    subjects = sorted(
        {name for fold in cohort.folds for role in ROLES for name in fold[role]} | external
    )
    if len(subjects) > MAX_GRID:
        return [counts]
    grid = make_table(
        "Role of each subject in each fold.",
        columns=["Subject", *(f"Fold {fold['fold']}" for fold in cohort.folds)],
        rows=[
            [
                name + (" (external)" if name in external else ""),
                *(role_of(name, fold) for fold in cohort.folds),
            ]
            for name in subjects
        ],
    )
    return [counts, grid]


def external_sentence(cohort: Cohort) -> str:
    """Name the data sets that are tested only, with their subjects; empty where there is none."""
    if not cohort.external:
        return ""
    tested = {subject for fold in cohort.folds for subject in fold["test"]} & set(cohort.external)
    idle = len(cohort.external) - len(tested)
    names = ", ".join(cohort.external_datasets)
    return (
        f"External, tested only, never used for training, validation or pre-training: {names}, "
        f"{plural(len(tested), 'subject')}, each by the models of one fold."
        + (f" {plural(idle, 'more subject')} without usable scored epochs in no fold." if idle
           else "")
    )  # fmt: skip


def role_of(subject: str, fold: dict[str, Any]) -> str:
    """Name the role of a subject in a fold; two roles that exclude each other are both named."""
    roles = [name for name in ("test", "val", "train") if subject in fold[name]]
    if subject in fold["pretrain"]:
        # Training subjects are pre-trained on as well: no second role.
        roles += ["pretrain"] if roles and roles != ["train"] else []
        roles = roles or ["pretrain only"]
    return " + ".join(roles) or NOTHING


def leaks(cohort: Cohort) -> list[str]:
    """Find subjects whose roles in one fold exclude each other, and external ones in training."""
    found = []
    for fold in cohort.folds:
        roles = {role: set(fold[role]) for role in ROLES}
        learned = roles["pretrain"] | roles["train"]
        both = (roles["test"] & (learned | roles["val"])) | (roles["val"] & learned)
        both |= set(cohort.external) & (learned | roles["val"])
        found += [f"fold {fold['fold']}: {subject}" for subject in sorted(both)]
    return found
