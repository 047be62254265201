"""What people type: `somnoflow manifest` and `somnoflow config`, and a newcomer's mistakes."""

from pathlib import Path

import pytest
import yaml
from tests.laboratory import LAB

from somnoflow.cli import main
from somnoflow.config.root import Config, read_config
from somnoflow.io.manifest import read_manifest

DATASET = (
    LAB
    + r"""files:
  signal: (?P<subject>S\d+)\.edf
reading:
  channels: {EEG: EEG_C4}
"""
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a project with one dataset, and a folder of nights beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow/datasets/lab").mkdir(parents=True)
    (tmp_path / "workflow/datasets/lab/dataset.yaml").write_text(DATASET)
    (tmp_path / "config.yaml").write_text("shards: 2\nsplit: {folds: 3}\n")
    (tmp_path / "nights").mkdir()
    for name in ("S2.edf", "S1.edf", "readme.txt"):
        (tmp_path / "nights" / name).write_text(name)
    return tmp_path


def succeed(*arguments: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0


def fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return [line for line in captured.err.splitlines() if "%|" not in line and line]


def test_a_manifest_is_written_beside_the_dataset(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    succeed("manifest", "nights", "--dataset", "lab")
    rows = read_manifest(project / "workflow/datasets/lab/manifest.tsv")
    assert [row.file for row in rows] == ["S1.edf", "S2.edf"]
    out = capsys.readouterr().out
    assert "2 files, 2 recordings of 2 subjects" in out
    assert "not taken (no pattern of dataset.yaml fits): readme.txt" in out


def test_a_manifest_can_go_elsewhere_and_is_replaced(project: Path) -> None:
    for _ in range(2):
        succeed("manifest", "nights", "--dataset", "lab", "--output", "m.tsv")
    assert len(read_manifest(project / "m.tsv")) == 2
    assert not (project / "workflow/datasets/lab/manifest.tsv").exists()


def test_a_manifest_is_written_from_sums_alone(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "sums").write_text("a" * 64 + "  S1.edf\n" + "b" * 64 + "  notes.txt\n")
    (project / "RECORDS").write_text("S1.edf\n")
    succeed("manifest", "--dataset", "lab", "--sums", "sums", "--records", "RECORDS")
    rows = read_manifest(project / "workflow/datasets/lab/manifest.tsv")
    assert [(row.file, row.bytes, row.sha256) for row in rows] == [("S1.edf", None, "a" * 64)]
    (project / "RECORDS").write_text("S1.edf\nS2.edf\n")
    capsys.readouterr()
    said = fail(capsys, "manifest", "--dataset", "lab", "--sums", "sums", "--records", "RECORDS")
    assert "S2.edf" in said[0]


def test_a_folder_is_compared_with_its_manifest(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    succeed("manifest", "nights", "--dataset", "lab")
    capsys.readouterr()
    succeed("manifest", "nights", "--dataset", "lab", "--check")
    assert "0 files are not as they should be; 1 others fit no" in capsys.readouterr().out
    (project / "nights/S1.edf").write_text("short")
    (project / "nights/S2.edf").unlink()
    (project / "nights/S3.edf").write_text("new")
    with pytest.raises(SystemExit) as caught:
        main(["manifest", "nights", "--dataset", "lab", "--check"])
    assert caught.value.code == 1
    assert capsys.readouterr().out.splitlines()[:3] == [
        "wrong size (5 bytes, wanted 6): S1.edf",
        "missing: S2.edf",
        "not in the manifest: S3.edf",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("manifest", "nihgts", "--dataset", "lab"), "nihgts is not a folder"),
     (("manifest", "nights", "--dataset", "lap"), "no dataset 'lap'"),
     (("manifest", "workflow", "--dataset", "lab"), "no recording in workflow fits"),
     (("manifest", "nights", "--dataset", "lab", "--output", "config.yaml/m.tsv"), "config.yaml"),
     (("manifest", "--dataset", "lab"), "wanted FOLDER"),
     (("manifest", "--dataset", "lab", "--check"), "wanted FOLDER"),
     (("manifest", "nights", "--dataset", "lab", "--check"), "manifest.tsv is missing"),
     (("manifest", "--dataset", "lab", "--sums", "nothing"), "nothing"),
     (("config", "--configfile", "nothing.yaml"), "nothing.yaml does not exist"),
     (("config", "--configfile", "nights/S1.edf"), "holds a str")],
)  # fmt: skip
@pytest.mark.usefixtures("project")
def test_a_mistake_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    lines = fail(capsys, *arguments)
    assert len(lines) == 1
    assert lines[0].startswith(f"somnoflow {arguments[0]}: ")
    assert said in lines[0]


def test_a_failed_manifest_leaves_the_old_one(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    succeed("manifest", "nights", "--dataset", "lab")
    manifest = project / "workflow/datasets/lab/manifest.tsv"
    before = manifest.read_bytes()
    (project / "empty").mkdir()
    capsys.readouterr()
    fail(capsys, "manifest", "empty", "--dataset", "lab")
    assert manifest.read_bytes() == before


@pytest.mark.parametrize("arguments", [(), ("manifst",), ("manifest", "nights"), ("config", "-x")])
def test_a_wrong_command_line_shows_the_usage(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert fail(capsys, *arguments)[0].startswith("usage: somnoflow")


def test_config_prints_what_is_meant(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "mine.yaml").write_text("split: {seed: 9}\n")
    succeed("config", "--configfile", "mine.yaml")
    printed = read_config(yaml.safe_load(capsys.readouterr().out))
    assert (printed.shards, printed.split.folds, printed.split.seed) == (2, 3, 9)
    assert printed.pretrain == Config().pretrain


def test_config_names_a_typo_and_what_was_meant(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "mine.yaml").write_text("split: {fold: 9}\n")
    lines = fail(capsys, "config", "--configfile", "mine.yaml")
    assert lines[1:] == [
        "  split.fold: no such key. Did you mean 'folds'? Known here: "
        "external, folds, seed, unlabelled, validation"
    ]
