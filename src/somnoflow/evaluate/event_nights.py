"""One number per night: epochs with the event per hour of sleep, and the AHI estimated from them.

Only judged epochs that the scorer calls N1, N2, N3 or REM count, in the numerator and as sleep, so
that a night with lost signals is compared over what is left of it.

The apnea-hypopnea index (AHI) counts events per hour of sleep, a model positive epochs; an epoch
may hold two events, and one event may reach into two epochs. What stands behind one predicted epoch
is learned from the validation recordings of the same fold: their true events (AHI times hours of
sleep) over their predicted epochs, a ratio of sums. The estimate of a test recording is this ratio
times its predicted epochs per hour.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from somnoflow.evaluate.events import NIGHT_KEY, Epochs, Events
from somnoflow.io.table import read_table
from somnoflow.stages import EPOCH_SECONDS

NAN = float("nan")
# Borders between the classes of the AHI (AASM): none, mild, moderate, severe.
SEVERITY = (5.0, 15.0, 30.0)
SEVERITY_NAMES = ("under 5", "5 to 15", "15 to 30", "30 and more")


@dataclass(frozen=True)
class Nights:
    """Test recordings by themselves, and what validation recordings say of them.

    Attributes
    ----------
    table
        One row per test recording, in the order of `Epochs.recordings`: as `night_table`, with
        `estimated_ahi`, and the constant answers `usual_per_hour` and `usual_ahi`, the rates of
        all validation recordings of the fold together. NaN where not known.
    calibration
        One row per fold, as `calibrate`.
    """

    table: pl.DataFrame
    calibration: pl.DataFrame

    def of_dataset(self, dataset: str) -> "Nights":
        """Keep the recordings of one data set."""
        return Nights(self.table.filter(pl.col("dataset") == dataset), self.calibration)

    def notes(self) -> list[str]:
        """Say in which folds the AHI cannot be estimated, and why."""
        ratios = dict(self.calibration.select("fold", "events_per_epoch").iter_rows())
        notes = []
        for fold in self.table["fold"].unique().sort():
            if fold not in ratios:
                notes.append(f"AHI: fold {fold} has no validation recording with a known AHI.")
            elif np.isnan(ratios[fold]):
                notes.append(
                    f"AHI: no epoch of the validation recordings of fold {fold} is predicted to "
                    "have the event."
                )
        return notes


def judge_nights(found: Events, *, cohort: Path) -> Nights:
    """Give the numbers of each test night.

    Parameters
    ----------
    found
        Predictions of the event.
    cohort
        TSV table of the recordings, with the column `ahi`.

    Raises
    ------
    ValueError
        Where the table is not as wanted, or lacks a recording.
    """
    ahi = read_ahi(cohort)
    val = night_table(found.val, ahi=ahi, cohort=cohort)
    calibration = calibrate(val)
    usual = val.group_by("fold").agg(
        usual_per_hour=pl.col("true_epochs").sum() / pl.col("sleep_hours").sum()
    )
    table = (
        night_table(found.test, ahi=ahi, cohort=cohort)
        .join(usual, on="fold", how="left", maintain_order="left")
        .join(
            calibration.select("fold", "events_per_epoch", usual_ahi="per_hour"),
            on="fold",
            how="left",
            maintain_order="left",
        )
        .with_columns(estimated_ahi=pl.col("events_per_epoch") * pl.col("predicted_per_hour"))
        .drop("events_per_epoch")
        .with_columns(pl.col("usual_per_hour", "usual_ahi", "estimated_ahi").fill_null(NAN))
    )
    return Nights(table, calibration)


def read_ahi(path: Path) -> dict[tuple[str, str], float]:
    """Read the true AHI of each recording, by data set and recording; unknown ones are NaN.

    Raises
    ------
    ValueError
        Where a column is missing or an AHI is no number of at least 0.
    """
    known: dict[tuple[str, str], float] = {}
    for row in read_table(path):
        missing = [name for name in ("dataset", "recording", "ahi") if name not in row]
        if missing:
            raise ValueError(
                f"{path} lacks the columns {missing}, found {list(row)}. Make it again with the "
                "rule index."
            )
        try:
            value = float(row["ahi"] or NAN)
        except ValueError as error:
            raise ValueError(
                f"{path}: {row['ahi']!r} in column ahi of {row['recording']}, wanted a number or "
                "nothing. Make it again with the rule index."
            ) from error
        if value < 0:
            raise ValueError(
                f"{path}: AHI of {row['recording']} is {value:g}, wanted 0 or more. Make it again "
                "with the rule index."
            )
        known[row["dataset"], row["recording"]] = value
    return known


def night_table(
    epochs: Epochs, *, ahi: Mapping[tuple[str, str], float], cohort: Path
) -> pl.DataFrame:
    """Give each recording's hours of sleep, positive epochs, rates per hour and true AHI.

    Returns
    -------
    DataFrame
        The key of `epochs.recordings`, `sleep_hours`, `true_epochs`, `predicted_epochs`,
        `true_per_hour` and `predicted_per_hour` (NaN without sleep) and `ahi` (NaN where unknown).

    Raises
    ------
    ValueError
        Where a recording is not in the cohort's table.
    """
    n = epochs.recordings.height
    sleep, true, predicted = (
        np.bincount(epochs.row[epochs.asleep & which], minlength=n)
        for which in (np.ones(len(epochs.row), bool), epochs.label, epochs.predicted)
    )
    hours = sleep * EPOCH_SECONDS / 3600
    keys = list(epochs.recordings.select("dataset", "recording").iter_rows())
    if absent := [recording for dataset, recording in keys if (dataset, recording) not in ahi]:
        raise ValueError(
            f"{cohort} has no row for recording {absent[0]} ({len(absent)} of {n}), wanted each "
            "recording that has predictions. Make the scores again with the rule score."
        )
    with np.errstate(invalid="ignore"):
        return epochs.recordings.select(NIGHT_KEY).with_columns(
            sleep_hours=hours,
            true_epochs=true,
            predicted_epochs=predicted,
            true_per_hour=true / hours,
            predicted_per_hour=predicted / hours,
            ahi=np.array([ahi[key] for key in keys], dtype=np.float64),
        )


def calibrate(nights: pl.DataFrame) -> pl.DataFrame:
    """Learn how many events stand behind a predicted epoch, from validation recordings.

    Parameters
    ----------
    nights
        From `night_table`, of the validation recordings.

    Returns
    -------
    DataFrame
        For each fold with a known AHI: `recordings`, `events`, `predicted_epochs`, `per_hour` (the
        AHI of all together) and `events_per_epoch` (NaN where no epoch is predicted).
    """
    known = nights.filter(pl.col("ahi").is_not_nan(), pl.col("sleep_hours") > 0)
    events, epochs = pl.col("events").sum(), pl.col("predicted_epochs").sum()
    return (
        known.with_columns(events=pl.col("ahi") * pl.col("sleep_hours"))
        .group_by("fold")
        .agg(
            recordings=pl.len(),
            events=events,
            predicted_epochs=epochs,
            per_hour=events / pl.col("sleep_hours").sum(),
            events_per_epoch=pl.when(epochs > 0).then(events / epochs).otherwise(NAN),
        )
        .sort("fold")
    )
