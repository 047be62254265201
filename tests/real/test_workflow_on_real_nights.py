"""The whole workflow on the 24 real nights of ucddb, with one short pass of training."""

import csv
import json
from pathlib import Path

import pytest

from tests.workflow.project import Project

pytestmark = [pytest.mark.real, pytest.mark.workflow, pytest.mark.xdist_group("ucddb")]

RESULTS = "results/ucddb"
SHORT = """\
split:
  folds: 2
pretrain:
  passes: 1
heads:
  linear:
    passes: 5
  context:
    passes: 1
finetune:
  passes: 1
"""


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def finished(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.copy(tmp_path_factory.mktemp("ucddb"), configfile="config/ucddb.yaml")
    path = project.folder / project.configfile
    path.write_text(path.read_text(encoding="utf-8") + SHORT, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOMNOFLOW_REAL_DATA", str(real_data))
        project.snakemake("all")
    return project


def test_epoch_counts_are_the_publishers(finished: Project, real_data: Path) -> None:
    wanted = {
        row["recording"]: (int(row["epochs"]), int(row["epochs_with_signal"]))
        for row in read_table(real_data / "ucddb/recordings.tsv")
    }
    rows = read_table(finished.folder / RESULTS / "signals/channels.tsv")
    found = {
        row["recording"]: (int(row["epochs"]), int(row["epochs"]) - int(row["zero"]))
        for row in rows
    }
    assert found == wanted
    assert len(found) == 24


def test_every_epoch_is_judged_or_counted_as_not(finished: Project, real_data: Path) -> None:
    epochs = sum(int(row["epochs"]) for row in read_table(real_data / "ucddb/recordings.tsv"))
    model = "neuronet/EEG_C4/linear/task=staging/labels=all"
    metrics = finished.folder / RESULTS / "metrics" / model / "metrics.json"
    counts = json.loads(metrics.read_text(encoding="utf-8"))["counts"]
    assert counts["epochs"] == epochs
    assert counts["scored"] + counts["unscored"] + counts["unusable"] == epochs


def test_nothing_is_rejected(finished: Project) -> None:
    rows = read_table(finished.folder / RESULTS / "signals/rejected.tsv")
    assert rows == []


def test_the_report_shows_the_nights_and_does_not_call_them_simulated(finished: Project) -> None:
    page = (finished.folder / RESULTS / "report/index.html").read_text(encoding="utf-8")
    assert "SIMULATED DATA" not in page
    for row in read_table(finished.folder / RESULTS / "signals/recordings.tsv"):
        assert row["recording"] in page
        assert f"{int(row['epochs']):,}" in page


def test_without_the_variable_the_config_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOMNOFLOW_REAL_DATA", raising=False)
    project = Project.copy(tmp_path, configfile="config/ucddb.yaml")
    assert "export SOMNOFLOW_REAL_DATA=" in project.snakemake("all", "-n", check=False)
