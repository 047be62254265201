"""One recording without labels becomes the numbers that parse and pack make of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.recordings import make_signal, noise, patch, write_recording

from somnoflow.commands.pack import pack
from somnoflow.commands.parse import parse
from somnoflow.config.dataset import Reading
from somnoflow.config.pack import Pack
from somnoflow.config.parse import ParseSlice
from somnoflow.config.signals import Signals
from somnoflow.data.packed import PackedEpochs
from somnoflow.io.rejection import Rejection
from somnoflow.night import read_night
from somnoflow.signals.quality import UNUSABLE, Flag

CHANNELS = ["EOG_L", "EEG_C4", "EMG_CHIN", "SPO2"]


def write_night(path: Path, *, rate: float = 200, seconds: float = 330) -> Path:
    """Write EEG from two electrodes, EOG, and SpO2; the EEG is flat for two epochs; no EMG."""
    flat = noise(rate=rate, seconds=seconds, seed=1)
    flat[round(60 * rate) : round(120 * rate)] = 0
    saturation = np.round(95 + noise(rate=rate, seconds=seconds, amplitude=0.3, seed=3))
    return write_recording(
        path,
        [
            make_signal(flat, label="EEG C4", rate=rate),
            make_signal(np.zeros_like(flat), label="EEG A1", rate=rate),
            make_signal(noise(rate=rate, seconds=seconds, seed=2), label="E1-M2", rate=rate),
            make_signal(saturation, label="SpO2", rate=rate, unit="%"),
        ],
    )


@pytest.mark.parametrize("scaling", ["robust_z", "median"])
def test_the_numbers_are_those_of_parse_and_pack(tmp_path: Path, scaling: str) -> None:
    path = write_night(tmp_path / "n1.edf")
    entry = {"recording": "n1", "subject": "S1", "night": 1, "signal": "n1.edf",
             "stages": None, "events": None}  # fmt: skip
    checked = tmp_path / "recordings.json"
    checked.write_text(
        json.dumps({"dataset": "lab", "shard": 0, "folder": str(tmp_path), "recordings": [entry]})
    )
    cfg = ParseSlice(
        dataset="lab", simulated=False, reading=Reading(guess_channels=True),
        signals=Signals(channels=sorted(CHANNELS)),
    )  # fmt: skip
    part, packed = tmp_path / "part-0.parquet", tmp_path / "signals.npy"
    parse(checked=checked, part=part, index=tmp_path / "part.json", cfg=cfg)
    pack(
        part_index=tmp_path / "part.json", signals=packed, epochs=tmp_path / "epochs.parquet",
        index=tmp_path / "index.json", cfg=Pack(scaling=scaling),
    )  # fmt: skip

    night = read_night(path, channels=CHANNELS, sampling_rate=100, pack=Pack(scaling=scaling))

    assert (night.channels, night.sampling_rate) == (tuple(CHANNELS), 100)
    assert night.signals.shape == (11, 4, 3000)
    np.testing.assert_array_equal(night.onset_s, 30.0 * np.arange(11))
    whole = PackedEpochs([tmp_path / "index.json"], channels=CHANNELS, require="any")
    own = ["dataset", "subject"]
    assert night.table.columns == whole.table.columns
    assert night.table.drop(own).equals(whole.table.drop(own))
    np.testing.assert_array_equal(night.present, whole.present)
    np.testing.assert_array_equal(night.rows(scored=False), whole.rows(scored=False))
    assert not len(night.rows(scored=True))
    np.testing.assert_array_equal(night.read(np.array([4, 1])), whole.read(np.array([4, 1])))
    assert not night.signals[~night.present].any()


def test_what_was_taken_and_what_is_absent_is_told(tmp_path: Path) -> None:
    night = read_night(write_night(tmp_path / "n1.edf"), channels=CHANNELS, sampling_rate=50,
                       signals=Signals(filters={"EEG": (0.5, 20)}))  # fmt: skip
    assert night.signals.shape == (11, 4, 1500)
    assert night.present.sum(axis=0).tolist() == [11, 9, 0, 11]
    assert night.taken == {"EOG_L": "E1-M2", "EEG_C4": "EEG C4-EEG A1", "SPO2": "SpO2"}
    assert list(night.absent) == ["EMG_CHIN"]
    assert "common name" in night.absent["EMG_CHIN"]
    assert "the reference is flat all night" in " ".join(night.remarks)
    assert (night.quality[:, 2] == Flag.MISSING).all()
    np.testing.assert_array_equal(night.quality & UNUSABLE == 0, night.present)


def test_a_constant_channel_is_not_present(tmp_path: Path) -> None:
    """Two values, of which quartiles see one: no flat epoch, but nothing to scale by."""
    samples = np.zeros(33000)
    samples[::10] = 100.0
    path = write_recording(
        tmp_path / "n1.edf",
        [make_signal(samples, label="ECG", unit="mV"),
         make_signal(noise(rate=100, seconds=330), label="C4-M1")],
    )  # fmt: skip
    night = read_night(
        path, channels=["ECG", "EEG_C4"], sampling_rate=100, signals=Signals(filters={})
    )
    assert night.present.any(axis=0).tolist() == [False, True]


def test_labels_of_a_dataset_count_and_its_annotations_are_not_read(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "n1.edf", seconds=300)
    reading = Reading.model_validate(
        {"channels": {"EEG": "EEG_C4"}, "stages_inside": True,
         "stages": {"format": "edf+", "stages": {"W": "W"}}}
    )  # fmt: skip
    night = read_night(path, channels=["EEG_C4"], sampling_rate=100, reading=reading)
    assert night.taken == {"EEG_C4": "EEG"}


def test_what_cannot_be_used_is_rejected(tmp_path: Path) -> None:
    short = write_recording(tmp_path / "short.edf", seconds=60)
    with pytest.raises(Rejection, match="recording too short"):
        read_night(short, channels=["EEG_C4"], sampling_rate=100)
    other = write_night(tmp_path / "other.edf")
    with pytest.raises(Rejection, match=r"found EEG C4, .* wanted ECG or EEG_F3 under one of"):
        read_night(other, channels=["ECG", "EEG_F3"], sampling_rate=100)
    (tmp_path / "cut.edf").write_bytes(other.read_bytes()[:-1000])
    with pytest.raises(Rejection, match="truncated file"):
        read_night(tmp_path / "cut.edf", channels=["EEG_C4"], sampling_rate=100)
    with pytest.raises(Rejection, match="not an EDF file"):
        read_night(patch(other, 0, b"9"), channels=["EEG_C4"], sampling_rate=100)
    with pytest.raises(Rejection, match="cannot be opened"):
        read_night(tmp_path / "nothing.edf", channels=["EEG_C4"], sampling_rate=100)


def test_a_filter_beyond_the_sampling_rate_is_refused(tmp_path: Path) -> None:
    path = write_night(tmp_path / "n1.edf")
    with pytest.raises(ValueError, match=r"filter of EEG is 0\.5-40\.0 Hz, wanted .* 32 Hz"):
        read_night(path, channels=["EEG_C4"], sampling_rate=64)
