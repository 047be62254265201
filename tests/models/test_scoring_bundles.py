"""Bundles bring all that scoring needs; several models score a night together."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.models.scored_nights import write_channels, write_model_bundle, write_weights_of
from tests.models.test_score_night import rejected, score

from somnoflow.bundles import bundle as module
from somnoflow.cli import main
from somnoflow.config.base import ConfigError
from somnoflow.config.signals import Signals
from somnoflow.evaluate.calibration import apply_temperature
from somnoflow.models.errors import WeightsError
from somnoflow.scoring import api

UNCALIBRATED = {"temperature": None, "ece_before": None, "ece_after": None, "val_epochs": 0}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_channels(tmp_path_factory.mktemp("night") / "n1.edf", ["C4-M1", "Airflow"])


def scaled(temperature: float) -> dict[str, Any]:
    return {"temperature": temperature, "ece_before": 0.1, "ece_after": 0.05, "val_epochs": 100}


def test_a_bundle_is_its_weights_with_a_temperature(night: Path, tmp_path: Path) -> None:
    bundle = write_model_bundle(tmp_path / "b.zip", calibration=scaled(2.5))
    plain = api.score(night, model=tmp_path / "b.safetensors", stride=2)
    found = api.score(night, model=bundle)
    assert found.stages == plain.stages
    wanted = apply_temperature(plain.probabilities, 2.5)
    np.testing.assert_allclose(found.probabilities, wanted, atol=5e-6)
    assert np.abs(found.probabilities - plain.probabilities).max() > 1e-3
    assert (found.made_by["stride"], found.made_by["temperature"]) == (2, 2.5)
    assert found.made_by["model"] == "b"


def test_a_bundle_says_how_signals_are_made(night: Path, tmp_path: Path) -> None:
    slow = Signals(channels=["EEG_C4"], filters={"EEG": (0.5, 5)})
    one = api.score(night, model=write_model_bundle(tmp_path / "a.zip", calibration=UNCALIBRATED))
    other = api.score(
        night, model=write_model_bundle(tmp_path / "b.zip", calibration=UNCALIBRATED, signals=slow)
    )
    assert np.abs(one.probabilities - other.probabilities).max() > 1e-3
    settings = tmp_path / "mine.yaml"
    settings.write_text("signals: {filters: {}}\n")
    given = (night, "--model", tmp_path / "a.zip", "--out", tmp_path / "out")
    assert score(*given, "--configfile", settings) == 2
    assert not (tmp_path / "out").exists()


def test_folders_are_bundles_and_files_lie_in_them(night: Path, tmp_path: Path) -> None:
    bundle = write_model_bundle(tmp_path / "b.zip")
    shutil.unpack_archive(bundle, tmp_path / "folder")
    found = api.score(night, model=tmp_path / "folder")
    assert found.table.equals(api.score(night, model=bundle).table)
    (tmp_path / "folder" / "model.safetensors").write_bytes(b"other")
    with pytest.raises(WeightsError, match="is not the file that"):
        api.score(night, model=tmp_path / "folder")


def test_without_a_model_the_shipped_one_is_taken(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "shipped")
    with pytest.raises(WeightsError, match="installation of Somnoflow brings none"):
        api.score(night)
    write_model_bundle(tmp_path / "shipped" / f"{module.DEFAULT}.zip")
    found = api.score(night)
    assert found.made_by["model"] == module.DEFAULT
    assert found.table.equals(api.score(night, model=module.DEFAULT).table)


def test_weights_that_are_not_as_described_are_refused(night: Path, tmp_path: Path) -> None:
    bundle = write_model_bundle(tmp_path / "b.zip", channels=["EEG_C3"])
    with pytest.raises(WeightsError, match="from EEG_C4, its description says staging from EEG_C3"):
        api.score(night, model=bundle)


def test_a_threshold_goes_with_the_temperature(night: Path, tmp_path: Path) -> None:
    """The same epochs have the event before and after calibration."""
    plain = api.score(
        night, model=write_weights_of(tmp_path / "w.safetensors", task="apnea"), stride=2
    )
    threshold = float(np.median(plain.probabilities[:, 1])) + 1e-4
    wanted = plain.probabilities[:, 1] >= threshold
    assert 0 < wanted.sum() < len(wanted)
    bundle = write_model_bundle(
        tmp_path / "b.zip", task="apnea", threshold=threshold, calibration=scaled(4.0)
    )
    found = api.score(night, model=bundle)
    assert [name == "apnea" for name in found.classes] == wanted.tolist()
    assert found.threshold == pytest.approx(
        apply_temperature([[1 - threshold, threshold]], 4)[0, 1]
    )
    assert abs(found.threshold - threshold) > 1e-3
    # What a person asks for is compared with the probabilities that are written.
    own = api.score(night, model=bundle, threshold=found.threshold)
    assert own.classes == found.classes
    with pytest.raises(ValueError, match="gives no stages"):
        _ = found.stages


def test_stages_and_events_are_scored_together(night: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stages = write_model_bundle(tmp_path / "stages.zip")
    apnea = write_model_bundle(tmp_path / "apnea.zip", channel="AIRFLOW", task="apnea")
    given = ("--model", apnea, "--model", stages, "--formats", "csv,html", "--out", out)
    assert score(night, *given) == 0
    assert {path.name for path in out.iterdir()} == {
        "n1.csv", "n1-apnea.csv", "n1.html", "n1.json", "rejected.tsv"
    }  # fmt: skip
    alone = api.score(night, model=apnea).table
    found = pl.read_csv(out / "n1-apnea.csv")
    assert found["p_apnea"].to_list() == pytest.approx(alone["p_apnea"].to_list())
    about = json.loads((out / "n1.json").read_text(encoding="utf-8"))
    assert [one["model"] for one in about["made_by"]] == ["stages", "apnea"]
    assert set(about["night"]) == {"staging", "apnea"}
    assert about["statistics"]["tib"] == 6.5
    assert "n1-apnea.csv" in (out / "n1.html").read_text(encoding="utf-8")


def test_a_night_without_what_one_model_reads_is_scored_by_the_other(tmp_path: Path) -> None:
    out = tmp_path / "out"
    night = write_channels(tmp_path / "n1.edf", ["C4-M1"])
    stages = write_model_bundle(tmp_path / "stages.zip")
    apnea = write_model_bundle(tmp_path / "apnea.zip", channel="AIRFLOW", task="apnea")
    assert score(night, "--model", stages, "--model", apnea, "--out", out) == 1
    assert (out / "n1.csv").exists()
    assert not (out / "n1-apnea.csv").exists()
    [row] = rejected(out)
    assert row["problem"] == "apnea: no usable channel"


def test_an_encoder_goes_with_no_bundle(night: Path, tmp_path: Path) -> None:
    bundle = write_model_bundle(tmp_path / "b.zip")
    with pytest.raises(ConfigError, match="has its own encoder"):
        api.score(night, model=bundle, encoder=bundle)


def test_a_bundle_is_explained_with_its_own_settings(night: Path, tmp_path: Path) -> None:
    bundle = write_model_bundle(tmp_path / "b.zip")
    words = ["explain", str(night), "--model", str(bundle), "--epochs", "2", "--out"]
    with pytest.raises(SystemExit) as caught:
        main([*words, str(tmp_path / "out")])
    assert not caught.value.code
    assert "the bundle b" in (tmp_path / "out" / "n1.html").read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        main([*words, str(tmp_path / "other"), "--configfile", "mine.yaml"])
    assert caught.value.code == 2
