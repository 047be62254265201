"""One rule, several processes: what is granted to pre-training on the command line."""

import shutil

import numpy as np
import polars as pl
import pytest

from tests.workflow.project import Project

HOME = "results/tiny/pretrain/neuronet/EEG_C4/fold=0"
LOG = "results/tiny/logs/pretrain"
ONE_SHARD = ("--config", "shards=1")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.copy(tmp_path_factory.mktemp("processes"))


@pytest.fixture(scope="module")
def alone(project: Project) -> pl.DataFrame:
    return pretrain(project)


def pretrain(project: Project, *granted: str) -> pl.DataFrame:
    """Train anew, with the same data; give the rows of training.csv."""
    for made in (HOME, "results/tiny/resume"):
        shutil.rmtree(project.folder / made, ignore_errors=True)
    project.snakemake(f"{HOME}/encoder.safetensors", *ONE_SHARD, *granted)
    return pl.read_csv(project.folder / HOME / "training.csv")


def read_log(project: Project) -> str:
    (log,) = (project.folder / LOG).rglob("*.log")
    return log.read_text()


@pytest.mark.parametrize(
    ("granted", "said"),
    [
        ("processes=2", "2 processes have a part of every batch each"),
        (
            "launch='torchrun --standalone --nproc-per-node=2 --no-python -- python'",
            "process 1 of 2 on 1 machines",
        ),
    ],
)
def test_processes_are_granted_to_the_rule(
    project: Project, alone: pl.DataFrame, granted: str, said: str
) -> None:
    together = pretrain(
        project, "--set-resources", f"pretrain:{granted}", "--set-threads", "pretrain=2"
    )
    assert said in read_log(project)
    assert together["best"].to_list() == alone["best"].to_list()
    for column in alone.columns:
        if alone[column].null_count() == 0:
            np.testing.assert_allclose(together[column], alone[column], rtol=0, atol=1e-4)
    assert not project.planned(f"{HOME}/encoder.safetensors", *ONE_SHARD)
