"""`somnoflow models`: which bundles there are, and what is in the way of a damaged one."""

import json
import zipfile
from pathlib import Path

import pytest
from tests.bundles import describe, make_bundle

from somnoflow.bundles import bundle as module
from somnoflow.cli import main


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a project with one bundle, beside one that is shipped."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "shipped")
    make_bundle(tmp_path / "shipped/small.zip", name="small", training=trained("dreem", "real"))
    make_bundle(tmp_path / "results/bundles/a/bundle.zip")
    return tmp_path


def trained(name: str, title: str) -> dict[str, object]:
    dataset = {"name": name, "title": title, "licence": "CC0", "citation": "x", "simulated": False}
    return {**describe().training.model_dump(), "datasets": [dataset]}


def say(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["models", *arguments])
    assert caught.value.code == code
    captured = capsys.readouterr()
    return captured.err if code == 2 else captured.out


def test_shipped_bundles_and_those_of_the_workflow_are_listed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, small, tiny = say(capsys).splitlines()
    assert head.split()[:3] == ["name", "task", "channels"]
    assert small.split() == [
        *("small", "staging", "EEG_C4", "dreem", "kappa", "0.72", "0.0", "MB", "(shipped)"),
    ]
    assert tiny.split()[:4] == ["tiny", "staging", "EEG_C4", "simulated"]
    assert tiny.endswith("results/bundles/a/bundle.zip")


def test_a_simulated_dataset_of_another_name_is_told(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = trained("lab", "A lab")
    training["datasets"][0]["simulated"] = True  # type: ignore[index]
    make_bundle(project / "own/b.zip", training=training)
    assert "lab (simulated)" in say(capsys, "own")


def test_an_event_is_told_by_its_average_precision(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = {**describe().metrics.model_dump(), "values": {"average_precision": {"value": 0.4}}}
    make_bundle(
        project / "own/b.zip", task="apnea", classes=["none", "apnea"], threshold=0.3,
        metrics=metrics,
    )  # fmt: skip
    assert "AP 0.40" in say(capsys, "own")


def test_a_damaged_bundle_is_a_row_with_its_problem(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "results/bundles/broken.zip").write_bytes(b"no zip")
    out = say(capsys, code=1)
    assert len(out.splitlines()) == 5
    assert "cannot be used: results/bundles/broken.zip is no whole zip file" in out
    assert "0.72" in out


def test_folders_are_bundles_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(project / "shipped/small.zip") as archive:
        archive.extractall(project / "own/small")
    assert say(capsys, "own").splitlines()[2].endswith("own/small")


def test_the_list_for_machines_has_everything(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "results/bundles/broken.zip").write_bytes(b"no zip")
    small, tiny, broken = json.loads(say(capsys, "--json", code=1))
    assert (small["shipped"], tiny["shipped"]) == (True, False)
    assert tiny["about"] == describe().model_dump(mode="json")
    assert broken["about"] is None
    assert "broken.zip" in broken["problem"]


@pytest.mark.parametrize("named", ["small", "tiny", "results/bundles/a/bundle.zip"])
def test_the_card_of_a_bundle_is_printed(
    project: Path, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    assert say(capsys, named, "--card") == "# The card\n"


def test_mistakes_are_explained(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere is not there" in say(capsys, "nowhere", code=2)
    assert "or one of: small" in say(capsys, "nobody", "--card", code=2)
    assert "--card wants a bundle" in say(capsys, "--card", code=2)


def test_nothing_to_list_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "none")
    assert "no bundle" in say(capsys)
