"""One finished tiny run, shared by the tests that only look at it or plan from it."""

import pytest

from tests.workflow.project import Project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.copy(tmp_path_factory.mktemp("tiny"))
    project.snakemake("all")
    return project


@pytest.fixture
def editable(finished: Project) -> Project:
    """The finished project; what a test changes in it is put back afterwards."""
    watched = [
        path
        for path in finished.folder.rglob("*")
        if path.is_file() and ".snakemake" not in path.parts and "__pycache__" not in path.parts
    ]
    before = {path: path.read_bytes() for path in watched}
    yield finished
    for path, content in before.items():
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
