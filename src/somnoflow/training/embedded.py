"""Embedded epochs, read part by part and checked against their index."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from somnoflow.io.digest import require_sha256
from somnoflow.tasks import UNKNOWN, Task
from somnoflow.training.roles import require_subjects


@dataclass(frozen=True)
class Labelled:
    """Usable epochs that have a label of a task.

    Attributes
    ----------
    embeddings
        (N, D).
    targets
        Numbers of their classes, (N,).
    task
        What was labelled.
    of
        How many there are, of which these N may be seen.
    """

    embeddings: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]
    task: Task
    of: int

    def __len__(self) -> int:
        return len(self.targets)


def read_dimension(index: Path) -> int:
    """Read the size D of the embeddings."""
    return int(json.loads(index.read_text(encoding="utf-8"))["dimension"])


def read_parts(index: Path, *, subjects: Collection[str]) -> Iterator[pl.DataFrame]:
    """Give the rows of some subjects, one part at a time, in the order of the index.

    Raises
    ------
    DigestError
        When a part is not the one that the index names.
    """
    content = json.loads(index.read_text(encoding="utf-8"))
    for part in content["parts"]:
        path = index.parent / part["file"]
        require_sha256(path, part["sha256"], made_by=content["made_by"])
        # hive_partitioning: the folder dataset=... repeats the column dataset.
        table = pl.scan_parquet(path, hive_partitioning=False)
        yield table.filter(pl.col("subject").is_in(sorted(subjects))).collect()


def read_labelled(
    index: Path, *, subjects: Collection[str], task: Task, labels: pl.DataFrame | None = None
) -> Labelled:
    """Read the usable epochs of some subjects that have a label of a task.

    Only those of `labels` where it is given (`dataset`, `subject`, `recording`, `epoch`). Raises
    `ValueError` where a subject is missing.
    """
    dimension = read_dimension(index)
    embeddings, targets, of = [], [], 0
    found: set[str] = set()
    for part in read_parts(index, subjects=subjects):
        found.update(part["subject"])
        table = part.filter(pl.col("usable") & (pl.col(task.column) != UNKNOWN))
        of += len(table)
        if labels is not None:
            table = table.join(labels, on=labels.columns, how="semi", maintain_order="left")
        embeddings.append(to_matrix(table["embedding"], dimension=dimension))
        targets.append(table[task.column].to_numpy().astype(np.int64))
    require_subjects(subjects, found, where=str(index))
    return Labelled(np.concatenate(embeddings), np.concatenate(targets), task, of)


class EmbeddedEpochs:
    """All embedded epochs of some subjects, held in memory for windows over them.

    A million usable epochs (about a thousand nights) of D = 768 values take 3 GB.

    Parameters
    ----------
    index
        `index.json` of the embeddings.
    subjects
        Subject keys (`dataset/subject`).

    Attributes
    ----------
    table
        One row per epoch, sorted by dataset, subject, recording and epoch: these, `onset_s`, the
        tasks' columns (-1 unknown) and `usable`.
    dimension
        D.

    Raises
    ------
    ValueError
        When a subject is not embedded.
    DigestError
        When a part is not the one that the index names.
    """

    def __init__(self, index: Path, *, subjects: Collection[str]) -> None:
        self.dimension = read_dimension(index)
        tables, matrices = [], []
        for part in read_parts(index, subjects=subjects):
            tables.append(part.drop("embedding"))
            matrices.append(to_matrix(part.filter("usable")["embedding"], dimension=self.dimension))
        self._embeddings = np.concatenate(matrices)
        table = pl.concat(tables).with_columns(place=pl.col("usable").cum_sum().cast(pl.Int64) - 1)
        require_subjects(subjects, table["subject"].unique(), where=str(index))
        table = table.sort("dataset", "subject", "recording", "epoch")
        self._place = table["place"].to_numpy()
        self.table = table.drop("place")

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Give the embeddings (B, D) of usable epochs, rows (B,) of `table`."""
        return self._embeddings[self._place[rows]]


def to_matrix(embeddings: pl.Series, *, dimension: int) -> npt.NDArray[np.float32]:
    """Give embeddings without nulls as an array (N, D)."""
    return np.array(embeddings.explode().to_numpy(), np.float32).reshape(-1, dimension)
