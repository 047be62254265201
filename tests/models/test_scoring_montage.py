"""Which channels of a recording a model is given, and what becomes of several."""

from pathlib import Path

import numpy as np
import pytest
from tests.models.scored_nights import write_channels, write_weights_of
from tests.recordings import make_signal, noise, write_recording

from somnoflow.config.dataset import Reading
from somnoflow.io.recordings import open_recording
from somnoflow.io.rejection import Rejection
from somnoflow.scoring.api import score
from somnoflow.scoring.montage import Montage, choose_montage

COMMON = Reading(guess_channels=True)


def montage(path: Path, *wanted: str, **options: object) -> Montage:
    return choose_montage(wanted, source=open_recording(path), reading=COMMON, **options)


def test_each_eeg_is_given_by_itself_the_own_one_first(tmp_path: Path) -> None:
    path = write_channels(tmp_path / "n.edf", ["C3-M2", "C4-M1", "E1-M2", "Chin", "F3-M2"])
    found = montage(path, "EEG_C4")
    assert found.ways[0] == ("EEG_C4",)
    assert set(found.ways) == {("EEG_C4",), ("EEG_C3",), ("EEG_F3",)}
    assert found.remarks == (
        "the mean of what is said of EEG_C4, EEG_C3 and EEG_F3, each by itself",
    )
    assert montage(path, "EEG_C4", vote=False) == Montage((("EEG_C4",),), ())
    limited = montage(path, "EEG_C4", allowed=["EEG_F3", "EOG_L"])
    assert limited.ways == (("EEG_F3",),)
    assert limited.remarks == ("the model was trained on EEG_C4; without EEG_C4, EEG_F3 stands in",)


def test_an_eog_stands_in_where_there_is_no_eeg(tmp_path: Path) -> None:
    path = write_channels(tmp_path / "n.edf", ["E1-M2", "Chin"])
    found = montage(path, "EEG_C4")
    assert found.ways == (("EOG_L",),)
    assert found.remarks[0].endswith("without EEG_C4 and any other EEG, EOG_L stands in")
    with pytest.raises(Rejection, match="no usable channel"):
        montage(path, "EEG_C4", allowed=["EEG_C3"])


def test_a_model_of_several_channels_gets_what_is_there(tmp_path: Path) -> None:
    path = write_channels(tmp_path / "n.edf", ["C3-M2", "E1-M2", "Airflow"])
    assert montage(path, "EEG_C4", "EOG_L", "ECG").ways == (("EEG_C3", "EOG_L", "ECG"),)
    # One of its kind is there: nothing stands in for the other.
    assert montage(path, "EEG_C4", "EEG_C3").ways == (("EEG_C4", "EEG_C3"),)
    assert montage(path, "SPO2", "AIRFLOW").ways == (("SPO2", "AIRFLOW"),)
    with pytest.raises(Rejection):
        montage(path, "SPO2")


def test_slow_channels_are_not_used_and_others_are(tmp_path: Path) -> None:
    path = write_channels(tmp_path / "n.edf", {"C4-M1": 50, "C3-M2": 64})
    assert montage(path, "EEG_C4").ways == (("EEG_C3",),)
    slow = write_channels(tmp_path / "slow.edf", {"C4-M1": 50, "Leg": 100})
    with pytest.raises(Rejection) as caught:
        montage(slow, "EEG_C4")
    assert "'C4-M1', 'Leg'; of these are known: none" in caught.value.found
    assert "C4-M1 is sampled at 50 Hz, wanted at least 64 Hz" in caught.value.found


def test_what_a_file_has_and_how_to_name_it_is_said(tmp_path: Path) -> None:
    path = write_channels(tmp_path / "n.edf", ["Brain", "C4", "Chin"])
    with pytest.raises(Rejection) as caught:
        montage(path, "EEG_C4")
    said = str(caught.value)
    assert "'Brain', 'C4', 'Chin'; of these are known: EMG_CHIN" in said
    assert "C4 without a reference, wanted M1 or M2" in said
    assert "wanted EEG_C4, or another EEG or EOG channel" in said
    assert "--map 'LABEL=EEG_C4'" in said


@pytest.mark.parametrize("rate", [64, 100, 200, 256, 499])
def test_any_rate_from_64_hz_on_is_scored(tmp_path: Path, rate: int) -> None:
    path = write_channels(tmp_path / "n.edf", {"C4-M1": rate}, seconds=100)
    found = score(path, model=write_weights_of(tmp_path / "model.safetensors"))
    assert len(found) == 3
    assert None not in found.stages


def test_the_vote_is_the_mean_over_channels_usable_in_an_epoch(tmp_path: Path) -> None:
    model = write_weights_of(tmp_path / "model.safetensors")
    eeg, other = (noise(rate=100, seconds=400, seed=seed) for seed in (1, 2))
    eeg[3000:6000] = other[9000:12000] = 0
    eeg[18000:21000] = other[18000:21000] = 0
    labels = ("C4-M1", "F3-M2")
    path = write_recording(
        tmp_path / "both.edf",
        [make_signal(one, label=label) for one, label in zip((eeg, other), labels, strict=True)],
    )
    both = score(path, model=model)
    alone = [score(path, model=model, channels=[name], vote=False).probabilities
             for name in ("EEG_C4", "EEG_F3")]  # fmt: skip
    with np.errstate(invalid="ignore"):
        mean = np.nansum(alone, axis=0) / np.isfinite(alone).sum(axis=0)
    np.testing.assert_allclose(both.probabilities, mean, atol=2e-6)
    assert [number for number, stage in enumerate(both.stages) if stage is None] == [6]
    assert np.isnan(alone[0][1]).all()
    assert not np.isnan(alone[1][1]).any()
    assert np.abs(alone[0] - alone[1])[[0, 2]].max() > 1e-3
    assert "the mean of what is said of EEG_C4 and EEG_F3, each by itself" in both.night["remarks"]
    assert both.night["channels"] == {"EEG_C4": "C4-M1", "EEG_F3": "F3-M2"}


def test_labels_can_be_named(tmp_path: Path) -> None:
    model = write_weights_of(tmp_path / "model.safetensors")
    path = write_channels(tmp_path / "n.edf", ["Brain", "Chin"])
    with pytest.raises(Rejection, match="no usable channel"):
        score(path, model=model)
    assert score(path, model=model, names={"Brain": "EEG_C4"}).night["channels"] == {
        "EEG_C4": "Brain"
    }


def test_an_eeg_of_unknown_place_is_used_where_there_is_no_other(tmp_path: Path) -> None:
    model = write_weights_of(tmp_path / "model.safetensors")
    path = write_channels(tmp_path / "n.edf", {"EEGX": 100, "EEG 2": 50, "EEG": 128, "Chin": 100})
    found = score(path, model=model)
    assert found.night["channels"] == {"EEG_C4": "EEG"}
    assert "'EEG' names no place on the head; it is taken for EEG_C4" in found.night["remarks"][0]
    assert found.table.equals(score(path, model=model, names={"EEG": "EEG_C4"}).table)
    known = write_channels(tmp_path / "known.edf", ["EEG", "F3-M2"])
    assert score(known, model=model).night["channels"] == {"EEG_F3": "F3-M2"}
