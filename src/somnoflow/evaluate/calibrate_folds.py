"""Calibration of one model: a temperature per fold, and how well it does on test subjects.

A fold's temperature is fitted to its validation subjects alone; its test subjects only judge it.
Judged, and fitted to, are epochs with a label and a usable signal.

The promise of a review list is judged as a scorer would use one, night by night: in each recording
the 80 % most confident epochs are kept, the others are reviewed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from somnoflow.config.evaluate import Evaluate
from somnoflow.evaluate.bootstrap import (
    describe_intervals,
    percentile_interval,
    resample,
    too_few_subjects,
)
from somnoflow.evaluate.calibration import (
    BINS,
    Floats,
    NoTemperatureError,
    apply_temperature,
    brier_score,
    count_bins,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from somnoflow.evaluate.confusion import agreement, rounded
from somnoflow.evaluate.predictions import (
    RECORDING_KEY,
    REMAKE,
    SUM_TOLERANCE,
    impossible,
    outside,
    refuse_repeated,
    refuse_rows,
    scan_columns,
)
from somnoflow.tasks import UNKNOWN, Task

KEPT = 0.8
ROLES = ("val", "test")


class Loss:
    """Sums over epochs of what says how good their probabilities are; folds add up."""

    def __init__(self, *, event: bool) -> None:
        self._event = event
        self._bins = np.zeros((BINS, 3))
        self._epochs, self._loss, self._brier = 0, 0.0, 0.0

    def add(self, probabilities: Floats, targets: np.ndarray, predicted: np.ndarray) -> None:
        """Add epochs: probabilities (N, K), true and predicted classes (N,)."""
        if self._event:
            # Answers follow from a threshold, so the probability itself is held to the truth.
            self._bins += count_bins(probabilities[:, 1], targets == 1)
        else:
            self._bins += count_bins(_of(probabilities, predicted), targets == predicted)
        self._epochs += len(targets)
        self._loss += float(negative_log_likelihood(probabilities, targets).sum())
        self._brier += float(brier_score(probabilities, targets).sum())

    @property
    def ece(self) -> float | None:
        """Expected calibration error; None without an epoch."""
        return rounded(expected_calibration_error(self._bins))

    def summary(self) -> dict[str, Any]:
        """Give `ece`, `nll`, `brier` (None without an epoch) and the `bins` of a diagram."""
        n = self._epochs
        return {
            "ece": self.ece,
            "nll": rounded(self._loss / n) if n else None,
            "brier": rounded(self._brier / n) if n else None,
            "bins": reliability(self._bins),
        }


def calibrate(paths: Sequence[Path], *, task: Task, cfg: Evaluate) -> dict[str, Any]:
    """Give everything in `calibration.json`.

    Parameters
    ----------
    paths
        One `predictions.parquet` per fold, with rows of the roles "val" and "test".
    task
        What was asked.
    cfg
        Bootstrap resamples, confidence and seed.

    Returns
    -------
    dict
        `task`, `classes`; `folds`: temperature of each fold, None with a `reason` where it cannot
        be fitted and 1 is used, `epochs` and ECE of its validation subjects before and after;
        `test`: all test epochs, `before` and `after` (`ece`, `nll`, `brier`, `bins`) and `review`.
        The confidence of a stage is the probability of the predicted one. Of an event, diagram and
        ECE hold its own probability against how often it is there.

    Raises
    ------
    ValueError
        Where a column is missing or a value impossible, an epoch appears twice, a file holds
        several folds, or a subject has two roles in one.
    """
    before, after = Loss(event=task.rare), Loss(event=task.rare)
    folds, cells = [], []
    for path in paths:
        scan = _scan(path, task=task)
        fold = _check(scan, task=task, path=path)
        if fold is None:
            continue
        found = _fit(_judged(scan, role="val"), task=task)
        folds.append({"fold": fold} | found)
        temperature = found["temperature"] or 1.0
        test = _judged(scan, role="test")
        p, targets, predicted = _arrays(test, task=task)
        calibrated = apply_temperature(p, temperature)
        before.add(p, targets, predicted)
        after.add(calibrated, targets, predicted)
        cells.append(_review_cells(test, confidence=_of(calibrated, predicted)))
    counted = pl.concat(cells) if cells else None
    return {
        "task": task.name,
        "classes": list(task.classes),
        "folds": sorted(folds, key=lambda one: one["fold"]),
        "test": {
            "epochs": 0 if counted is None else int(counted["n"].sum()),
            "before": before.summary(),
            "after": after.summary(),
            "review": _review(counted, classes=len(task.classes), cfg=cfg),
        },
    }


def _scan(path: Path, *, task: Task) -> pl.LazyFrame:
    """Give the rows of both roles, not yet read, with the true class as `true`."""
    true = "label" if task.rare else task.column
    columns = [*RECORDING_KEY, "epoch", "fold", "role", true, "usable", "predicted"]
    scan = scan_columns(path, columns=[*columns, *task.probabilities])
    return scan.filter(pl.col("role").is_in(ROLES)).rename({true: "true"})


def _check(scan: pl.LazyFrame, *, task: Task, path: Path) -> int | None:
    """Refuse what cannot be judged; give the number of the fold, None where there is no row."""
    last = len(task.classes) - 1
    problems = {
        "usable is empty, wanted true or false": pl.col("usable").is_null(),
        f"the true class is not in -1..{last}": outside("true", UNKNOWN, last),
        f"predicted is not in 0..{last} though the epoch is usable": pl.col("usable")
        & outside("predicted", 0, last),
        f"the probabilities are not 0..1 with the sum 1 (+-{SUM_TOLERANCE:g})": impossible(
            task.probabilities
        ),
    }
    shown = ("true", "usable", "predicted", *task.probabilities)
    refuse_rows(scan, problems=problems, shown=shown, path=path)
    nights = (
        scan.group_by(*RECORDING_KEY, "role", "fold")
        .agg(epochs=pl.len(), different=pl.col("epoch").n_unique())
        .collect(engine="streaming")
        .sort(*RECORDING_KEY, "role")
    )
    refuse_repeated(nights, path=path)
    both = nights.group_by("subject").agg(pl.col("role").n_unique()).filter(pl.col("role") > 1)
    for subject in both["subject"].sort():
        raise ValueError(
            f"{path}: subject {subject} is a test and a validation subject of one fold, wanted one "
            "of them. Make the split and the scores again."
        )
    folds = nights["fold"].unique().sort().to_list()
    if len(folds) > 1:
        raise ValueError(
            f"{path}: several folds in one file ({folds[0]} and {folds[-1]}), wanted one. {REMAKE}"
        )
    return folds[0] if folds else None


def _judged(scan: pl.LazyFrame, *, role: str) -> pl.DataFrame:
    """Read the epochs of a role that have a label and a usable signal."""
    judged = (pl.col("role") == role) & pl.col("usable") & (pl.col("true") != UNKNOWN)
    names = [] if role == "val" else [*RECORDING_KEY, "epoch"]
    values = pl.selectors.by_name("true", "predicted") | pl.selectors.starts_with("p_")
    return scan.filter(judged).select(*names, values).collect(engine="streaming")


def _arrays(frame: pl.DataFrame, *, task: Task) -> tuple[Floats, np.ndarray, np.ndarray]:
    """Give probabilities (N, K), true and predicted classes (N,)."""
    p = frame.select(task.probabilities).to_numpy().astype(np.float64)
    return p, frame["true"].to_numpy().astype(np.int64), frame["predicted"].to_numpy()


def _of(probabilities: Floats, classes: np.ndarray) -> Floats:
    chosen: Floats = probabilities[np.arange(len(probabilities)), classes]
    return chosen


def _fit(val: pl.DataFrame, *, task: Task) -> dict[str, Any]:
    p, targets, predicted = _arrays(val, task=task)
    temperature, reason = None, None
    try:
        temperature = round(fit_temperature(p, targets), 6)
    except NoTemperatureError as error:
        reason = str(error)
    before, after = Loss(event=task.rare), Loss(event=task.rare)
    before.add(p, targets, predicted)
    after.add(apply_temperature(p, temperature or 1.0), targets, predicted)
    return {
        "temperature": temperature,
        "reason": reason,
        "epochs": len(targets),
        "ece_before": before.ece,
        "ece_after": after.ece,
    }


def _review_cells(test: pl.DataFrame, *, confidence: Floats) -> pl.DataFrame:
    """Count epochs by subject, whether they are kept, and true and predicted class.

    In each recording the most confident are kept; of equals, the earlier ones.
    """
    ranked = test.select(*RECORDING_KEY, "epoch", "true", "predicted").with_columns(
        confidence=pl.Series(confidence, dtype=pl.Float64)
    )
    order = [*RECORDING_KEY, "confidence", "epoch"]
    ranked = ranked.sort(order, descending=[name == "confidence" for name in order])
    kept = pl.int_range(pl.len()) < (KEPT * pl.len()).round()
    return (
        ranked.with_columns(kept=kept.over(RECORDING_KEY))
        .group_by("subject", "kept", "true", "predicted")
        .agg(n=pl.len().cast(pl.Int64))
    )


def _review(cells: pl.DataFrame | None, *, classes: int, cfg: Evaluate) -> dict[str, Any]:
    """Compare kept, reviewed and all epochs, with intervals where the same subjects are drawn."""
    subjects = np.array([] if cells is None else cells["subject"].unique().sort().to_list())
    tables = np.zeros((2, len(subjects), classes, classes), dtype=np.int64)
    if cells is not None:
        row = np.searchsorted(subjects, cells["subject"].to_list())
        is_kept, true, predicted = (
            cells[name].to_numpy().astype(np.int64) for name in ("kept", "true", "predicted")
        )
        tables[is_kept, row, true, predicted] = cells["n"].to_numpy()
    reviewed, kept = tables
    parts = {"kept": kept, "all": kept + reviewed, "review": reviewed}
    pooled = {name: agreement(table.sum(axis=0)) for name, table in parts.items()}
    result: dict[str, Any] = {
        "share": KEPT,
        "epochs": int(tables.sum()),
        "kept": int(kept.sum()),
        **{f"{name}_accuracy": rounded(found.accuracy) for name, found in pooled.items()},
        **{f"{name}_kappa": rounded(found.kappa) for name, found in pooled.items()},
        "gain": rounded(pooled["kept"].accuracy - pooled["all"].accuracy),
    }
    inside = describe_intervals(len(subjects), cfg=cfg)
    if len(subjects) < 2:
        reason = too_few_subjects(len(subjects), epochs="judged")
        nothing = dict.fromkeys((*(f"{name}_accuracy" for name in parts), "gain"))
        return result | {"intervals": inside | nothing | {"reason": reason}}
    # The same seed draws the same subjects for each part, so their differences are paired.
    drawn = {
        name: resample(table, resamples=cfg.resamples, seed=cfg.seed).accuracy
        for name, table in parts.items()
    }
    values = {f"{name}_accuracy": drawn[name] for name in parts}
    values["gain"] = drawn["kept"] - drawn["all"]
    intervals = {name: percentile_interval(one, cfg.confidence) for name, one in values.items()}
    return result | {"intervals": inside | intervals | {"reason": None}}
