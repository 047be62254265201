"""What tests of more than one folder share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.project import Project


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Give the folder with real recordings that the environment names."""
    named = os.environ.get("SOMNOFLOW_REAL_DATA")
    if not named:
        pytest.skip("SOMNOFLOW_REAL_DATA is not set")
    return Path(named).resolve()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Give one finished tiny run, for tests that only look at it or plan from it.

    They belong to the xdist group `tiny`: it takes minutes.
    """
    project = Project.copy(tmp_path_factory.mktemp("tiny"))
    project.snakemake("all")
    return project


@pytest.fixture
def editable(finished: Project) -> Iterator[Project]:
    """Give the finished project; what a test changes in it is put back afterwards."""

    def watched() -> set[Path]:
        return {
            path
            for path in finished.folder.rglob("*")
            if path.is_file() and ".snakemake" not in path.parts and "__pycache__" not in path.parts
        }

    before = {path: path.read_bytes() for path in watched()}
    yield finished
    for path in watched() - before.keys():
        path.unlink()
    for path, content in before.items():
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


@pytest.fixture
def common_user(tmp_path: Path) -> Iterator[None]:
    """Let file permissions bind the test, also where root runs it; ask for it as the last one."""
    if os.geteuid() != 0:
        yield
        return
    nobody = 65534
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o011 != 0o011:
            folder.chmod(folder.stat().st_mode | 0o055)
    os.seteuid(nobody)
    yield
    os.seteuid(0)
