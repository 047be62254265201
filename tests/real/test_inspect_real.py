"""`somnoflow inspect` on real folders says what is there, and what is not."""

from collections import Counter
from pathlib import Path

import pytest

from somnoflow.cli import main
from somnoflow.inspect.findings import Findings, inspect_folder
from somnoflow.inspect.known import read_datasets
from somnoflow.inspect.tables import label_rows, signal_rows

DATASETS = Path(__file__).parents[2] / "workflow/datasets"

pytestmark = pytest.mark.real


def look(folder: Path) -> Findings:
    return inspect_folder(folder, datasets=read_datasets(DATASETS))


def test_ucddb_is_known_and_complete(real_data: Path) -> None:
    found = look(real_data / "ucddb")
    assert found.known
    assert found.fit is not None
    assert found.fit.dataset.name == "ucddb"
    parts = Counter(part.role for part in found.fit.parts.values())
    assert parts == {"signal": 24, "stages": 24, "events": 24}
    assert found.fit.known_labels == 24
    assert not found.unreadable
    (row,) = signal_rows(found)
    assert (row.label, row.recordings, row.meaning) == ("EEG", 24, "EEG_C4")
    meanings = {row.label: row.meaning for row in label_rows(found) if row.role == "stages"}
    assert meanings["1"] == "REM"
    assert meanings["8"] == "unscored"


def test_sleep_edfx_without_its_recordings(
    real_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = look(real_data / "sleep-edfx")
    assert found.known
    assert found.fit is not None
    assert found.fit.dataset.name == "sleep-edfx"
    assert found.fit.files("signal") == []
    assert len(found.fit.nights("stages")) == 39
    assert len({subject for subject, _ in found.fit.nights("stages")}) == 20
    stages = {row.label: row for row in label_rows(found)}
    assert "?" not in {row.meaning for row in stages.values()}
    assert stages["Sleep stage 4"].meaning == "N3"
    with pytest.raises(SystemExit) as caught:
        main(["inspect", str(real_data / "sleep-edfx")])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "Its recordings are missing." in " ".join(out.split())
    assert "Of 197 scorings of its manifest, 39 are here" in out
    assert "1 recording of another name (1 with its labels): SC4001E0-first300s.edf" in out


def test_boas_is_known_by_its_scorings(real_data: Path) -> None:
    found = look(real_data / "boas")
    assert found.fit is not None
    assert found.fit.dataset.name == "boas"
    assert {row.label: row.meaning for row in label_rows(found)} == {
        "0": "W", "1": "N1", "2": "N2", "3": "N3", "4": "REM", "8": "unscored",
    }  # fmt: skip


def test_the_folder_of_them_all_names_each(real_data: Path) -> None:
    assert look(real_data).below == {
        "boas": "boas", "sleep-edfx": "sleep-edfx", "ucddb": "ucddb",
    }  # fmt: skip
