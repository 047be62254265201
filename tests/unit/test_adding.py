"""docs/adding.md: its diffs fit the project as it is, and do what the page says."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.test_docs import ROOT, blocks
from tests.workflow.project import Project

MODEL, DATASET, TASK = blocks(ROOT / "docs/adding.md", "diff")
TINY = {"results": "out", "pretrain": {"passes": 1}, "finetune": {"names": []},
        "synthsleepnet": {"channels": []}, "label_efficiency": {"methods": []},
        "supervised": {"names": []}}  # fmt: skip


def apply(diff: str, folder: Path) -> Project:
    """Copy the project and apply a diff to the copy."""
    project = Project.copy(folder)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("docs/datasets.md", "pyproject.toml"):
        (folder / part).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / part, folder / part)
    done = subprocess.run(
        ["git", "apply", "-"], cwd=folder, input=diff, capture_output=True, text=True, check=False,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)},
    )  # fmt: skip
    assert done.returncode == 0, (
        f"a diff of docs/adding.md no longer fits; make it again (git diff -U1):\n{done.stderr}"
    )
    return project


def run_tests(project: Project, *arguments: str) -> None:
    """Run tests of the copy on its own code."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
         *arguments],
        cwd=project.folder, text=True, capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": str(project.folder / "src"), "PYTEST_ADDOPTS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def plan(project: Project, **sections: object) -> dict[str, int]:
    """Give the jobs of a configuration, by rule."""
    path = project.folder / "new.json"
    path.write_text(json.dumps({**TINY, **sections}), encoding="utf-8")
    return Project(project.folder, "new.json").planned("all")


@pytest.mark.workflow
def test_a_model(tmp_path: Path) -> None:
    project = apply(MODEL, tmp_path / "project")
    jobs = plan(project, supervised={"names": ["epochnet"]}, split={"folds": 2})
    assert (jobs["train"], jobs["score_tuned"], jobs["explain"]) == (2, 2, 1)
    run_tests(project, "tests/models/test_epochnet.py")


@pytest.mark.workflow
def test_a_dataset(tmp_path: Path) -> None:
    project = apply(DATASET, tmp_path / "project")
    run_tests(project, "tests/unit/test_dataset_clinic.py", "tests/unit/test_docs_datasets.py")


@pytest.mark.workflow
def test_a_task(tmp_path: Path) -> None:
    project = apply(TASK, tmp_path / "project")
    jobs = plan(project, heads={"names": ["linear"], "tasks": ["obstructive"]})
    assert jobs["evaluate_events"] == 1
    run_tests(project, "tests/unit/test_parquet_and_packing.py", "-k", "labelled or looked")
