"""Clocks that are wrong: contents decide what runs again, and no time of a file does."""

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.replay import RESULTS
from tests.workflow.project import Project
from tests.workflow.test_reruns import CASES

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("tiny")]

DAY_S = 86_400
Times = Callable[[list[Path]], list[float]]


def in_the_future(files: list[Path]) -> list[float]:
    """Give times of tomorrow."""
    return [time.time() + DAY_S for _ in files]


def outputs_before_inputs(files: list[Path]) -> list[float]:
    """Give times in the reverse order of those that the files have."""
    return [2 * time.time() - path.stat().st_mtime - DAY_S for path in files]


def shuffled(files: list[Path]) -> list[float]:
    """Give any times of the last year."""
    draw = random.Random(1)  # noqa: S311 - not for secrets
    return [time.time() - draw.random() * 365 * DAY_S for _ in files]


def all_the_same(files: list[Path]) -> list[float]:
    """Give the time of a clock that was never set."""
    return [float(DAY_S) for _ in files]


CLOCKS = (in_the_future, outputs_before_inputs, shuffled, all_the_same)


@pytest.fixture
def skewed(editable: Project, request: pytest.FixtureRequest) -> Iterator[Project]:
    """Give the finished project with other modification times of all results and raw files."""
    files = sorted(path for path in (editable.folder / RESULTS).rglob("*") if path.is_file())
    before = [path.stat().st_mtime_ns for path in files]
    for path, moment in zip(files, request.param(files), strict=True):
        os.utime(path, (moment, moment))
    yield editable
    for path, moment_ns in zip(files, before, strict=True):
        os.utime(path, ns=(moment_ns, moment_ns))


@pytest.mark.parametrize("skewed", CLOCKS, indirect=True, ids=lambda clock: clock.__name__)
def test_nothing_runs_again(skewed: Project) -> None:
    assert skewed.planned() == {}


@pytest.mark.parametrize("skewed", [shuffled], indirect=True)
@pytest.mark.parametrize("case", ["linear probe", "recording replaced under its old time"])
def test_what_changed_runs_again_and_nothing_else(skewed: Project, case: str) -> None:
    change, wanted = CASES[case]
    change(skewed)
    assert skewed.planned() == wanted
