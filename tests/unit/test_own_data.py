"""docs/own-data.md: what it shows is what the commands print for the nights that it tells of."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.mylab import NIGHTS, write_mylab
from tests.unit.test_datasets import rows_of
from tests.unit.test_docs import ROOT, blocks

from somnoflow.cli import main
from somnoflow.config.dataset_file import read_dataset
from somnoflow.config.root import read_config
from somnoflow.config.signals import Signals
from somnoflow.data.parsing import parse_recording
from somnoflow.io.checking import check_files
from somnoflow.io.rejection import Rejection

PAGE = ROOT / "docs/own-data.md"
TEXT = PAGE.read_text("utf-8")
_, FIRST, AGAIN, WRITTEN = blocks(PAGE, "text")
DESCRIBED, CONFIG, TRIAL = blocks(PAGE, "yaml")
Run = Callable[..., str]


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the datasets of the project, and beside them the nights of the page."""
    folder = tmp_path_factory.mktemp("laboratory")
    shutil.copytree(ROOT / "workflow/datasets", folder / "workflow/datasets")
    write_mylab(folder / "mylab")
    return folder


@pytest.fixture
def run(
    laboratory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    monkeypatch.chdir(laboratory)

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            main(list(arguments))
        assert stopped.value.code == 0
        return capsys.readouterr().out

    return run


def assert_shown(shown: str, printed: str) -> None:
    for part in shown.split("...\n"):
        assert part in printed, printed


def describe(laboratory: Path) -> Path:
    folder = laboratory / "workflow/datasets/mylab"
    folder.mkdir(exist_ok=True)
    (folder / "dataset.yaml").write_text(DESCRIBED, "utf-8")
    return folder


def test_first_look(run: Run, laboratory: Path) -> None:
    shutil.rmtree(laboratory / "workflow/datasets/mylab", ignore_errors=True)
    assert_shown(FIRST, run("inspect", "mylab"))


def test_described(run: Run, laboratory: Path) -> None:
    folder = describe(laboratory)
    assert_shown(AGAIN, run("inspect", "mylab"))
    assert run("manifest", "mylab", "--dataset", "mylab") == WRITTEN
    assert (folder / "manifest.tsv").is_file()


def test_the_configurations_are_valid() -> None:
    read_config({**yaml.safe_load(CONFIG), **yaml.safe_load(TRIAL)})


def test_three_nights_are_turned_down_as_the_table_says(laboratory: Path) -> None:
    dataset = read_dataset(describe(laboratory))
    folder = laboratory / "mylab"
    rows = rows_of(folder, dataset)
    checked = check_files(rows, folder=folder, stages_wanted=True, threads=1)
    found = [(one["file"], one["problem"]) for one in checked.problems]
    read = []
    for recording in checked.recordings:
        try:
            parse_recording(recording, folder=folder, reading=dataset.reading, signals=Signals())
            read.append(recording["recording"])
        except Rejection as rejection:
            found.append((recording["signal"], rejection.problem))
    assert read == list(NIGHTS[:5])
    assert len(found) == 3
    for file, problem in found:
        assert f"| {file} | {problem} |" in TEXT
