"""Pre-training on a folder of recordings that nobody has scored."""

from pathlib import Path

import pytest

from somnoflow.simulate.edf import write_night
from somnoflow.simulate.night import simulate_night
from tests.workflow.project import Project

pytestmark = pytest.mark.workflow

CONFIG = """\
results: results/mine
datasets: [folder]
folders:
  folder: {folder}
split:
  folds: 1
pretrain:
  channels: [{channel}]
  passes: 1
synthsleepnet:
  channels: []
"""


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nights")
    for number in range(3):
        night = simulate_night(f"P{number}", seed=number, hours=0.15)
        write_night(
            night,
            recording=folder / f"patient{number}.edf",
            annotations=folder.with_name("not-given.edf"),
        )
    return folder


def project(tmp_path: Path, nights: Path, *, channel: str) -> Project:
    copy = Project.copy(tmp_path, configfile="mine.yaml")
    (copy.folder / "mine.yaml").write_text(CONFIG.format(folder=nights, channel=channel))
    done = copy.somnoflow("manifest", str(nights), "--dataset", "folder")
    assert done.returncode == 0, done.stderr
    return copy


def test_a_folder_of_unlabelled_recordings_becomes_an_encoder(tmp_path: Path, nights: Path) -> None:
    mine = project(tmp_path, nights, channel="EMG_CHIN")
    mine.snakemake("pretrained")
    made = mine.folder / "results/mine/pretrain/neuronet/EMG_CHIN/fold=0"
    assert (made / "encoder.safetensors").exists()
    assert (made / "training.csv").read_text().count("\n") == 2
    assert len(CONFIG.splitlines()) <= 15


def test_asking_for_an_evaluation_without_labels_says_what_to_do(
    tmp_path: Path, nights: Path
) -> None:
    mine = project(tmp_path, nights, channel="EEG_C4")
    printed = mine.snakemake("all", "--dry-run", check=False)
    assert "nobody is tested, so no model can be judged" in printed
    assert "ask for the target 'pretrained'" in printed
    printed = mine.snakemake(
        "results/mine/labels/task=staging/labels=all/fold=0/labels.parquet", check=False
    )
    assert "no training subject has a scored epoch" in printed
