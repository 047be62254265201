"""`somnoflow.score`: paths and MNE's recordings become the same hypnogram, of any night."""

import doctest
from pathlib import Path

import mne
import numpy as np
import pytest
from tests.models.scored_nights import write_channels, write_model_bundle, write_weights_of
from tests.models.test_score_night import score as run
from tests.recordings import make_signal, noise, write_recording

import somnoflow
from somnoflow.io.rejection import Rejection
from somnoflow.scoring import api


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_weights_of(tmp_path / "model.safetensors")


def test_the_examples_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_channels(tmp_path / "night.edf", ["C4-M1", "C3-M2"])
    write_model_bundle(tmp_path / "bundle.zip")
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(api)
    assert found.attempted > 5
    assert found.failed == 0


def test_the_package_offers_it() -> None:
    assert somnoflow.score is api.score
    with pytest.raises(AttributeError, match="no attribute 'sleep'"):
        _ = somnoflow.sleep


def test_channels_of_raw_are_in_volts_by_their_type(model: Path, tmp_path: Path) -> None:
    path = write_channels(tmp_path / "n.edf", ["C4-M1", "F4-M1"])
    raw = mne.io.read_raw_edf(path, preload=True, verbose="error")
    found, wanted = somnoflow.score(raw, model=model), somnoflow.score(path, model=model)
    # EDF is read in 32 bit here and in 64 bit there.
    np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=1e-4)
    assert found.recording == "n"
    assert found.start == wanted.start
    assert found.night["channels"] == wanted.night["channels"]


def test_a_raw_needs_no_file(model: Path) -> None:
    info = mne.create_info(["C4-M1", "trigger"], 128, ["eeg", "stim"])
    data = np.stack([noise(rate=128, seconds=100) * 1e-6, np.zeros(12800)])
    found = somnoflow.score(mne.io.RawArray(data, info, verbose="error"), model=model)
    assert (found.recording, found.start, len(found)) == ("raw", None, 3)
    assert None not in found.stages
    only = mne.io.RawArray(data[1:], mne.create_info(1, 128, "stim"), verbose="error")
    with pytest.raises(Rejection, match="set_channel_types"):
        somnoflow.score(only, model=model)


def test_what_was_not_recorded_is_a_gap(model: Path) -> None:
    info = mne.create_info(["C4-M1"], 100, "eeg")
    data = noise(rate=100, seconds=300)[None] * 1e-6
    raw = mne.io.RawArray(data, info, verbose="error")
    raw.set_annotations(mne.Annotations([65, 200], [30, 10], ["BAD_ACQ_SKIP", "bad"]))
    found = somnoflow.score(raw, model=model)
    lost = [number for number, stage in enumerate(found.stages) if stage is None]
    assert lost == [2, 3]


def test_a_hypnogram_is_kept_in_files(model: Path, tmp_path: Path) -> None:
    found = somnoflow.score(write_channels(tmp_path / "n.edf", ["C4-M1"]), model=model)
    assert found.probabilities.shape == (13, 5)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)
    written = found.save(tmp_path / "out", formats=["csv", "xml"], name="mine")
    assert [path.name for path in written] == ["mine.csv", "mine.xml"]
    assert found.statistics(lights_off_s=60).tib == 5.5


@pytest.mark.parametrize("seconds", [30, 45, 299])
def test_short_nights_are_scored(model: Path, tmp_path: Path, seconds: int) -> None:
    path = write_channels(tmp_path / "n.edf", ["C4-M1"], seconds=seconds)
    out = tmp_path / "out"
    assert run(path, "--model", model, "--out", out, "--formats", "csv,edf,xml,bids,yasa,html") == 0
    assert len(somnoflow.score(path, model=model)) == seconds // 30


def test_less_than_an_epoch_is_rejected(model: Path, tmp_path: Path) -> None:
    path = write_channels(tmp_path / "n.edf", ["C4-M1"], seconds=29)
    with pytest.raises(Rejection, match="wanted at least an epoch of 30 s"):
        somnoflow.score(path, model=model)


def test_more_than_three_days_are_scored(model: Path, tmp_path: Path) -> None:
    """The limit of `signals.maximum_hours` is for cohorts."""
    samples = np.tile(noise(rate=64, seconds=3600), 73)
    path = write_recording(tmp_path / "n.edf", [make_signal(samples, label="C4-M1", rate=64)])
    assert len(somnoflow.score(path, model=model)) == 73 * 120


def test_a_night_without_any_signal_has_files_and_a_page(model: Path, tmp_path: Path) -> None:
    samples = np.zeros(39000)
    samples[::10] = 1e-3
    path = write_recording(
        tmp_path / "n.edf",
        [make_signal(samples, label="C4-M1"),
         make_signal(noise(rate=100, seconds=390), label="Chin")],
    )  # fmt: skip
    given = ("--model", model, "--out", tmp_path / "out", "--formats")
    assert run(path, *given, "csv,edf,xml,bids,yasa,html") == 0
    assert set(somnoflow.score(path, model=model).stages) == {None}
