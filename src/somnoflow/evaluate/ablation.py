"""Stages scored with every subset of the modalities: what each subset reaches, and what it costs.

A subset can score the epochs in which any of its modalities has a usable signal, so a small one may
score fewer. The difference to all modalities is paired: the same subjects are drawn for both, and
only those count whom both can score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from somnoflow.config.evaluate import Evaluate
from somnoflow.config.unimodal import JOINT, join_modalities
from somnoflow.evaluate.bootstrap import intervals, percentile_interval, resample
from somnoflow.evaluate.confusion import N_STAGES, Counted, agreement, rounded
from somnoflow.evaluate.metrics import majority_baseline, pooled
from somnoflow.evaluate.predictions import (
    RECORDING_KEY,
    note_tested,
    outside,
    scan_columns,
)
from somnoflow.stages import STAGE_NAMES

COLUMNS = ["modalities", *RECORDING_KEY, "true", "predicted", "n"]
REMAKE = "Make it again with the rule ablate."


@dataclass(frozen=True)
class Ablation:
    """Test recordings counted with every subset of the modalities.

    Attributes
    ----------
    modalities
        All there are, in their order.
    counted
        What each subset scored: the largest subset first, then in the order of `modalities`. Each
        has the same recordings and epochs.
    """

    modalities: tuple[str, ...]
    counted: dict[tuple[str, ...], Counted]


def read_ablation(paths: Sequence[Path]) -> Ablation:
    """Read each fold's counts and check them.

    Parameters
    ----------
    paths
        One `counts.parquet` per fold: rows of `modalities` ("EEG+ECG"), dataset, subject,
        recording, `true` (-1: no stage), `predicted` (-1: no usable signal) and `n`.

    Raises
    ------
    ValueError
        Where a column is missing or a value impossible, a row appears twice, a subject is in two
        files, no subset holds all modalities, or a subset does not have all epochs.
    """
    frames = []
    tested: dict[str, Path] = {}
    files: dict[str, Path] = {}  # one that has them, for messages
    for path in paths:
        frame = scan_columns(path, columns=COLUMNS, remake=REMAKE).collect()
        _check_rows(frame, path)
        note_tested(frame["subject"].unique(), path=path, tested=tested)
        files.update(dict.fromkeys(frame["modalities"].unique(), path))
        frames.append(frame)
    whole = pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(COLUMNS, pl.Int8))
    if whole.is_empty():
        raise ValueError(
            f"no row in {len(paths)} file(s) of counts, wanted at least one test epoch with a "
            "stage. Look at the split, each fold needs test subjects, and at their scoring."
        )
    names = sorted(files)
    modalities = tuple(max(names, key=lambda name: name.count(JOINT)).split(JOINT))
    subsets = {name: _subset(name, modalities, files[name]) for name in names}
    order = sorted(
        set(subsets.values()),
        key=lambda subset: (-len(subset), [modalities.index(name) for name in subset]),
    )
    counted = {}
    for subset in order:
        mine = [name for name, found in subsets.items() if found == subset]
        counted[subset] = _count(whole.filter(pl.col("modalities").is_in(mine)))
    _require_same_epochs(counted, modalities, paths[0])
    return Ablation(modalities, counted)


def _check_rows(frame: pl.DataFrame, path: Path) -> None:
    last = N_STAGES - 1
    problems = {
        "modalities is empty": pl.col("modalities").fill_null("") == "",
        "true is not in -1..4": outside("true", -1, last),
        "predicted is not in -1..4": outside("predicted", -1, last),
        "n is not 1 or more": ~(pl.col("n") >= 1).fill_null(value=False),
        "a row appears more than once": pl.struct(COLUMNS[:-1]).is_duplicated(),
    }
    for problem, condition in problems.items():
        for row in frame.filter(condition).head(1).iter_rows(named=True):
            raise ValueError(f"{path}: {problem}, in the row {row}. {REMAKE}")


def _subset(name: str, modalities: tuple[str, ...], path: Path) -> tuple[str, ...]:
    """Give the modalities of a name, in the order of all."""
    parts = name.split(JOINT)
    if len(set(parts)) != len(parts) or not set(parts) <= set(modalities):
        raise ValueError(
            f"{path}: modalities '{name}', wanted some of {join_modalities(modalities)}, each "
            f"once: the largest subset holds all. {REMAKE}"
        )
    return tuple(part for part in modalities if part in parts)


def _count(rows: pl.DataFrame) -> Counted:
    n = pl.col("n").cast(pl.Int64)
    has_stage, usable = pl.col("true") >= 0, pl.col("predicted") >= 0
    table = (
        rows.group_by(RECORDING_KEY)
        .agg(
            epochs=n.sum(),
            scored=n.filter(has_stage & usable).sum(),
            unscored=n.filter(~has_stage).sum(),
            unusable=n.filter(has_stage & ~usable).sum(),
        )
        .sort(RECORDING_KEY)
        .with_row_index("row")
    )
    cells = rows.filter(has_stage & usable).join(table.select("row", *RECORDING_KEY),
                                                 on=RECORDING_KEY)  # fmt: skip
    confusion = np.zeros((table.height, N_STAGES, N_STAGES), dtype=np.int64)
    np.add.at(confusion, tuple(cells[name].to_numpy() for name in ("row", "true", "predicted")),
              cells["n"].to_numpy())  # fmt: skip
    return Counted(table.drop("row"), confusion)


def _require_same_epochs(
    counted: dict[tuple[str, ...], Counted], modalities: tuple[str, ...], path: Path
) -> None:
    columns = [*RECORDING_KEY, "epochs", "unscored"]
    whole = counted[modalities].table.select(columns)
    for subset, one in counted.items():
        mine = one.table.select(columns)
        if not mine.equals(whole):
            raise ValueError(
                f"{path.name} of {join_modalities(subset)} counts {mine['epochs'].sum()} epochs of "
                f"{mine.height} recordings, wanted the {whole['epochs'].sum()} of {whole.height} "
                f"that {join_modalities(modalities)} has, unusable ones with predicted -1. {REMAKE}"
            )


def summarise_ablation(found: Ablation, *, cfg: Evaluate) -> dict[str, Any]:
    """Give everything in `metrics.json`.

    Parameters
    ----------
    found
        The counted subsets.
    cfg
        Bootstrap resamples, confidence and seed.

    Returns
    -------
    dict
        `modalities`, `stages`, `baseline` (the most frequent true stage, on the epochs that all
        modalities together score), and `subsets`, the largest first, each with `modalities`,
        `subjects`, `recordings`, `counts`, `pooled`, `intervals` and `difference`: macro F1 less
        that of all modalities, None for these themselves.
    """
    whole = found.counted[found.modalities]
    return {
        "modalities": list(found.modalities),
        "stages": list(STAGE_NAMES),
        "baseline": majority_baseline(whole.confusion.sum(axis=0)),
        "subsets": [
            {
                "modalities": list(subset),
                "subjects": one.table["subject"].n_unique(),
                "recordings": one.table.height,
                "counts": {
                    name: int(one.table[name].sum())
                    for name in ("epochs", "scored", "unscored", "unusable")
                },
                "pooled": pooled(one.confusion.sum(axis=0)),
                "intervals": intervals(one.per_subject(), cfg=cfg),
                "difference": None if one is whole else paired_difference(one, whole, cfg=cfg),
            }
            for subset, one in found.counted.items()
        ],
    }


def paired_difference(one: Counted, whole: Counted, *, cfg: Evaluate) -> dict[str, Any]:
    """Give macro F1 less that of all modalities, over the subjects whom both can score.

    Returns
    -------
    dict
        `macro_f1`, `interval`, `subjects`, and `reason` where there is no interval.
    """
    mine, other = one.per_subject(), whole.per_subject()
    both = mine.any(axis=(-2, -1)) & other.any(axis=(-2, -1))
    subjects = int(both.sum())
    gap = agreement(mine[both].sum(axis=0)).macro_f1 - agreement(other[both].sum(axis=0)).macro_f1
    result: dict[str, Any] = {"macro_f1": rounded(gap), "subjects": subjects}
    if subjects < 2:
        reason = f"{subjects} subject(s) whom both can score, wanted at least 2"
        return result | {"interval": None, "reason": reason}
    # The same seed and number of subjects is the same draws.
    gaps = (
        resample(mine[both], resamples=cfg.resamples, seed=cfg.seed).macro_f1
        - resample(other[both], resamples=cfg.resamples, seed=cfg.seed).macro_f1
    )
    return result | {"interval": percentile_interval(gaps, cfg.confidence), "reason": None}
