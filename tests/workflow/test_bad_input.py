"""A folder of good and spoilt nights: the good ones go through, each other one gets a reason."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from somnoflow.simulate.edf import write_night
from somnoflow.simulate.night import simulate_night
from tests.workflow.project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("bad")]

GOOD = ("A01", "A02", "A03", "A04")
CONFIG = """\
results: results/lab
datasets: [lab]
folders:
  lab: $LAB_NIGHTS
shards: 2
split:
  folds: 3
"""


def dataset_yaml() -> str:
    simulated = Path(__file__).parents[2] / "workflow/datasets/simulated/dataset.yaml"
    text = simulated.read_text(encoding="utf-8")
    return (
        text.replace("name: simulated", "name: lab")
        .replace("source: simulate", "source: folder")
        .replace(r"S\d{4})\.edf", r"[A-Z]\d\d)\.edf")
        .replace(r"S\d{4})-annotations", r"[A-Z]\d\d)-annotations")
    )


def write_nights(folder: Path) -> None:
    folder.mkdir()
    first, second = (simulate_night(f"S000{n}", seed=1, hours=0.1) for n in (1, 2))
    for name in (*GOOD, "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08"):
        write_night(
            first if name != "A02" else second,
            recording=folder / f"{name}.edf",
            annotations=folder / f"{name}-annotations.edf",
        )
    (folder / "B01.edf").write_bytes(b"")
    content = (folder / "B02.edf").read_bytes()
    (folder / "B02.edf").write_bytes(content[: len(content) // 2])
    (folder / "B03.edf").write_bytes(b"this is no EDF file\n" * 100)
    (folder / "B04.edf").write_bytes(content[:236] + b"0       " + content[244:])
    (folder / "B05-annotations.edf").unlink()
    unknown = (folder / "B06-annotations.edf").read_bytes().replace(b"stage W", b"stage Q")
    (folder / "B06-annotations.edf").write_bytes(unknown)
    renamed = (folder / "B07.edf").read_bytes()
    for label in (b"EEG C4-M1", b"EEG C3-M2", b"EOG E1-M2", b"EOG E2-M2", b"EMG Chin", b"ECG",
                  b"Airflow", b"SpO2"):  # fmt: skip
        renamed = renamed.replace(label.ljust(16), (b"X" + label[1:]).ljust(16))
    (folder / "B07.edf").write_bytes(renamed)
    (folder / "notes.txt").write_text("not a recording")


def spoil_after_the_manifest(folder: Path) -> None:
    content = bytearray((folder / "B08.edf").read_bytes())
    content[-1] ^= 1
    (folder / "B08.edf").write_bytes(bytes(content))
    (folder / "A04-annotations.edf").unlink()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Project:
    base = tmp_path_factory.mktemp("bad")
    project = Project.copy(base / "project", configfile="config/lab.yaml")
    folder = project.folder / "workflow/datasets/lab"
    folder.mkdir()
    (folder / "dataset.yaml").write_text(dataset_yaml(), encoding="utf-8")
    (project.folder / "config/lab.yaml").write_text(CONFIG, encoding="utf-8")
    write_nights(base / "nights")
    made = project.somnoflow("manifest", str(base / "nights"), "--dataset", "lab")
    assert made.returncode == 0, made.stderr
    assert "not taken (no pattern of dataset.yaml fits): notes.txt" in made.stdout
    spoil_after_the_manifest(base / "nights")
    return project


@pytest.fixture(scope="module")
def printed(lab: Project) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_NIGHTS", str(lab.folder.parent / "nights"))
        return lab.snakemake("data")


def rejected(project: Project) -> dict[str, list[str]]:
    with (project.folder / "results/lab/signals/rejected.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert all(row["found"] and row["wanted"] and row["advice"] for row in rows)
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["file"], []).append(row["problem"])
    return found


def test_each_spoilt_file_has_its_reason(lab: Project, printed: str) -> None:
    assert rejected(lab) == {
        "A04-annotations.edf": ["missing file"],
        "A04.edf": ["annotation missing"],
        "B01.edf": ["empty file"],
        "B02.edf": ["truncated file"],
        "B03.edf": ["not an EDF file"],
        "B04.edf": ["no data"],
        "B05.edf": ["annotation missing"],
        "B06.edf": ["unknown stage label"],
        "B07.edf": ["no usable channel"],
        "B08.edf": ["wrong checksum"],
        "notes.txt": ["not in the manifest"],
    }


def test_the_good_ones_go_through(lab: Project, printed: str) -> None:
    index = json.loads((lab.folder / "results/lab/signals/index.json").read_text())
    assert [row["recording"] for row in index["recordings"]] == ["A01", "A02", "A03"]


def test_nothing_is_lost(lab: Project, printed: str) -> None:
    """Every signal file of the manifest is either a recording or has a reason."""
    with (lab.folder / "workflow/datasets/lab/manifest.tsv").open() as file:
        signals = {
            row["file"] for row in csv.DictReader(file, delimiter="\t") if row["role"] == "signal"
        }
    index = json.loads((lab.folder / "results/lab/signals/index.json").read_text())
    taken = {f"{row['recording']}.edf" for row in index["recordings"]}
    assert signals - set(rejected(lab)) == taken
    assert not taken & set(rejected(lab))


def test_strict_stops_and_names_them(
    lab: Project, printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_NIGHTS", str(lab.folder.parent / "nights"))
    stopped = lab.snakemake("data", "--config", "strict=true", check=False)
    assert "strict: 10 rejections" in stopped
    assert "B08.edf: wrong checksum; found sha256" in stopped


def test_an_unset_variable_is_named(
    lab: Project, printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB_NIGHTS", raising=False)
    stopped = lab.snakemake("data", check=False)
    assert "needs the environment variable LAB_NIGHTS" in stopped
    assert "export LAB_NIGHTS=" in stopped


def test_a_missing_folder_is_named(
    lab: Project, printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_NIGHTS", "/nowhere/at/all")
    stopped = lab.snakemake("data", check=False)
    assert "/nowhere/at/all: no such folder" in stopped


def test_a_typo_in_the_config_is_named(lab: Project, tmp_path: Path) -> None:
    typo = tmp_path / "typo.yaml"
    typo.write_text("pretrain:\n  learnin_rate: 0.1\n", encoding="utf-8")
    copy = Project(lab.folder, configfile=str(typo))
    stopped = copy.snakemake("data", check=False)
    assert "pretrain.learnin_rate: no such key. Did you mean 'learning_rate'?" in stopped


def test_an_unknown_dataset_names_the_known_ones(lab: Project, tmp_path: Path) -> None:
    unknown = tmp_path / "unknown.yaml"
    unknown.write_text("datasets: [ucdb]\n", encoding="utf-8")
    copy = Project(lab.folder, configfile=str(unknown))
    stopped = copy.snakemake("data", check=False)
    assert "no dataset 'ucdb'" in stopped
    assert "ucddb" in stopped


def test_a_recording_mended_later_comes_in(
    lab: Project, printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = lab.folder.parent / "nights"
    monkeypatch.setenv("LAB_NIGHTS", str(nights))
    kept = (nights / "B08.edf").read_bytes()
    mended = bytearray(kept)
    mended[-1] ^= 1
    (nights / "B08.edf").write_bytes(bytes(mended))
    assert lab.planned("data") == {"check": 1, "parse": 1, "pack": 1, "index": 1, "split": 1}
    lab.snakemake("data")
    assert "B08.edf" not in rejected(lab)
    assert lab.planned("data") == {}
    shutil.rmtree(lab.folder / "results/lab")


def test_a_folder_of_an_unknown_dataset_is_named(lab: Project, tmp_path: Path) -> None:
    typo = tmp_path / "typo.yaml"
    typo.write_text("folders:\n  labb: /data\n", encoding="utf-8")
    copy = Project(lab.folder, configfile=str(typo))
    stopped = copy.snakemake("data", check=False)
    assert "folders.labb: no such dataset. Known here: " in stopped
    assert ", lab, " in stopped
