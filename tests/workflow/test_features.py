"""A table of precomputed features in the place of an encoder's embeddings."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.workflow.project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("tiny")]

FOLDS, HEADS = 2, 3


def write_table(project: Project, path: Path) -> None:
    """Write each epoch's amplitude and the size of its differences, from the packed samples."""
    parts = []
    for folder in sorted((project.folder / "results/tiny/packed").glob("*/*")):
        table = pl.read_parquet(folder / "epochs.parquet", hive_partitioning=False)
        samples = np.load(folder / "signals.npy").astype(float)[:, 0]
        parts.append(
            table.select("subject", "recording", "epoch", "stage").with_columns(
                pl.Series("amplitude", samples.std(axis=1)),
                pl.Series("slope", np.diff(samples, axis=1).std(axis=1)),
            )
        )
    pl.concat(parts).write_csv(path)


def test_heads_are_trained_on_a_table_and_nothing_else_reruns(
    finished: Project, tmp_path: Path
) -> None:
    copy = shutil.copytree(finished.folder, tmp_path / "copy", symlinks=True)
    project = Project(copy, finished.configfile)
    table = tmp_path / "features.csv"
    write_table(project, table)
    with (copy / "config/tiny.yaml").open("a") as file:
        file.write(f"features:\n  mine: {{path: {table}}}\n")
    assert project.planned() == {
        "features": FOLDS,
        "head": FOLDS * HEADS,
        "score": FOLDS * HEADS,
        "evaluate": HEADS,
        "compare": 1,
        "report": 1,
    }
    project.snakemake("all")
    results = copy / "results/tiny"
    metrics = results / "metrics/features/mine/mamba/task=staging/labels=all/metrics.json"
    assert json.loads(metrics.read_text())["counts"]["scored"] > 0
    assert "mine" in (results / "report/index.html").read_text()
    assert project.planned() == {}
