"""Shares of the training labels: drawn once, nested, without replacement, and written down.

A share by subject takes the labels of the first so many subjects of a seeded order, a share by
epoch the first so many epochs. The same seed is the same order for every share, so that 5 % of the
labels contain the 1 %, and two curves differ in the model alone (defect S11).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from somnoflow.config.subset import SubsetSlice
from somnoflow.tasks import TASKS, Task

TASK_LISTS = "synthsleepnet.tasks / unimodal.tasks / heads.tasks"
KEY = ("dataset", "subject", "recording", "epoch")


def draw_labels(scored: pl.DataFrame, *, subset: SubsetSlice) -> pl.DataFrame:
    """Give the rows of `scored` whose labels may be seen, in their order.

    Parameters
    ----------
    scored
        Usable labelled epochs of the training subjects; at least `subject`, sorted.
    subset
        Task, share, what it is counted in, and the seed of the draw; at least one is drawn.
    """
    if subset.by is None:
        return scored
    # The legacy generator: its numbers are the same in every version of NumPy.
    rng = np.random.RandomState(subset.seed)
    if subset.by == "subjects":
        subjects = scored["subject"].unique().sort()
        drawn = subjects.gather(rng.permutation(len(subjects))[: _share(len(subjects), subset)])
        return scored.filter(pl.col("subject").is_in(drawn.to_list()))
    chosen = np.sort(rng.permutation(len(scored))[: _share(len(scored), subset)])
    return scored[chosen]


def nobody_looked(task: Task, *, role: str) -> str:
    """Give the message where no subject of a role has a label of an event."""
    return (
        f"no {role} subject has an epoch in which {task.name} was looked for; take it out of "
        f"{TASK_LISTS}"
    )


def _share(whole: int, subset: SubsetSlice) -> int:
    return max(1, round(whole * subset.percent / 100))


def count_labels(labels: pl.DataFrame, scored: pl.DataFrame, *, subset: SubsetSlice) -> Any:
    """Give the size of a subset and of what it was drawn from, for `counts.json`."""
    task = TASKS[subset.task]
    return {
        **subset.model_dump(),
        **_sizes(labels),
        "classes": {
            name: int((labels[task.column] == code).sum()) for code, name in enumerate(task.classes)
        },
        "of": _sizes(scored),
    }


def _sizes(table: pl.DataFrame) -> dict[str, int]:
    return {"subjects": table["subject"].n_unique(), "epochs": table.height}


def write_labels(path: Path, labels: pl.DataFrame) -> None:
    """Write the keys of the epochs whose labels may be seen."""
    labels.select(KEY).write_parquet(path, compression="zstd")


def read_labels(path: Path) -> pl.DataFrame:
    """Read the keys of the epochs whose labels may be seen: `dataset` to `epoch`."""
    # hive_partitioning: the folder labels=... would become a column.
    return pl.read_parquet(path, hive_partitioning=False)


def read_counts(path: Path) -> dict[str, Any]:
    """Read the sizes of a subset."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
