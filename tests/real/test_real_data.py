"""Real recordings and scorings: read as independent tools read them, epoch by epoch."""

import csv
from collections import Counter
from itertools import pairwise
from pathlib import Path

import mne
import numpy as np
import pytest

from somnoflow.config.dataset import Dataset
from somnoflow.config.dataset_file import read_dataset
from somnoflow.config.signals import Signals
from somnoflow.data.labels import stage_per_epoch
from somnoflow.data.parsing import Parsed, parse_recording
from somnoflow.io.annotations import read_scoring
from somnoflow.io.manifest import identify, read_manifest
from somnoflow.io.recordings import open_recording
from somnoflow.signals.quality import Flag
from somnoflow.stages import Stage

pytestmark = pytest.mark.real

DATASETS = Path(__file__).parents[2] / "workflow" / "datasets"
RK = {"W": Stage.W, "1": Stage.N1, "2": Stage.N2, "3": Stage.N3, "4": Stage.N3, "R": Stage.REM}
UCDDB_CODES = {"0": "W", "1": "REM", "2": "N1", "3": "N2", "4": "N3", "5": "N3"}


@pytest.fixture(scope="session")
def sleep_edfx() -> Dataset:
    return read_dataset(DATASETS / "sleep-edfx")


@pytest.fixture(scope="session")
def ucddb() -> Dataset:
    return read_dataset(DATASETS / "ucddb")


def test_the_hypnograms_give_the_stages_that_mne_reads(
    real_data: Path, sleep_edfx: Dataset
) -> None:
    files = sorted((real_data / "sleep-edfx/hypnograms").glob("*.edf"))
    assert len(files) == 39
    assert sleep_edfx.reading.stages is not None
    for file in files:
        scoring = read_scoring(file, sleep_edfx.reading.stages)
        wanted: list[int] = []
        for one in mne.read_annotations(file):
            name = one["description"].removeprefix("Sleep stage ")
            wanted += [RK.get(name, Stage.UNSCORED)] * round(one["duration"] / 30)
        found = stage_per_epoch(scoring.stages, epochs=len(wanted))
        assert found.tolist() == wanted, file.name
        assert not scoring.unused


def test_the_files_of_sleep_edfx_pair_up(real_data: Path, sleep_edfx: Dataset) -> None:
    patterns = sleep_edfx.patterns()
    records = (real_data / "sleep-edfx/RECORDS").read_text().split()
    signals = {identify(file, patterns) for file in records}
    assert None not in signals
    assert len(signals) == len(records)
    hypnograms = sorted((real_data / "sleep-edfx/hypnograms").glob("*.edf"))
    for file in hypnograms:
        role, subject, night = identify(f"sleep-cassette/{file.name}", patterns) or ("", "", 0)
        assert role == "stages"
        assert ("signal", subject, night) in signals


@pytest.fixture
def excerpt(real_data: Path) -> Path:
    return real_data / "sleep-edfx/SC4001E0-first300s.edf"


def test_the_excerpt_is_parsed_and_slow_channels_are_explained(
    excerpt: Path, sleep_edfx: Dataset
) -> None:
    parsed = parse_recording(
        {"recording": "SC4001E0", "subject": "SC400", "night": 1, "signal": excerpt.name,
         "stages": None, "events": None},
        folder=excerpt.parent,
        reading=sleep_edfx.reading,
        signals=Signals(channels=["EEG_Fpz", "EEG_Pz", "EOG_L", "EMG_CHIN", "AIRFLOW"]),
    )  # fmt: skip
    rows = {row["channel"]: row for row in parsed.channels if row["channel"]}
    unused = [row["source"] for row in parsed.channels if not row["channel"]]
    assert unused == ["Temp rectal", "Event marker"]
    taken = [channel for channel, row in rows.items() if not row["problem"]]
    assert taken == ["EEG_Fpz", "EEG_Pz", "EOG_L"]
    for channel in taken:
        assert rows[channel]["epochs"] == 10
        assert parsed.epochs.channels[channel].quality.tolist() == [Flag.GOOD] * 10
    for channel in ("EMG_CHIN", "AIRFLOW"):
        assert "sampling rate too low: found 1 Hz" in rows[channel]["problem"]
        assert parsed.epochs.channels[channel].samples is None
    assert parsed.row["start"] == "1989-04-24T16:13:00"


def test_the_excerpt_equals_what_mne_reads(excerpt: Path) -> None:
    raw = mne.io.read_raw_edf(excerpt, preload=True, verbose="ERROR")
    signals = [signal for signal in open_recording(excerpt).signals if signal.sampling_rate == 100]
    assert len(signals) == 3
    for signal in signals:
        wanted = raw.get_data(picks=[signal.label])[0] * 1e6
        np.testing.assert_allclose(signal.physical()[0], wanted, atol=signal.step / 2)


@pytest.fixture(scope="module")
def nights(real_data: Path, ucddb: Dataset) -> dict[str, Parsed]:
    """Parse all nights at the rate of the files, unfiltered: labels and flags are tested here."""
    manifest = read_manifest(DATASETS / "ucddb" / "manifest.tsv")
    signals = Signals(channels=["EEG_C4"], sampling_rate=128, filters={})
    return {
        row.subject: parse_recording(
            {"recording": row.subject, "subject": row.subject, "night": 1, "signal": row.file,
             "stages": f"{row.subject}_stage.txt", "events": f"{row.subject}_events.tsv"},
            folder=real_data / "ucddb",
            reading=ucddb.reading,
            signals=signals,
        )
        for row in manifest
        if row.role == "signal"
    }  # fmt: skip


def test_ucddb_epochs_and_zero_lines_are_the_published_ones(
    real_data: Path, nights: dict[str, Parsed]
) -> None:
    with (real_data / "ucddb/recordings.tsv").open(newline="") as file:
        wanted = {row["recording"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert len(wanted) == 24
    assert nights.keys() == wanted.keys()
    for name, night in nights.items():
        zero = int((night.epochs.channels["EEG_C4"].quality & Flag.ZERO > 0).sum())
        assert night.row["epochs"] == int(wanted[name]["epochs"]), name
        assert night.row["epochs"] - zero == int(wanted[name]["epochs_with_signal"]), name


def test_ucddb_stages_are_those_of_the_text_files(
    real_data: Path, nights: dict[str, Parsed]
) -> None:
    for name, night in nights.items():
        codes = (real_data / f"ucddb/{name}_stage.txt").read_text().split()
        wanted = [
            Stage[UCDDB_CODES[code]] if code in UCDDB_CODES else Stage.UNSCORED
            for code in codes[: night.row["epochs"]]
        ]
        wanted += [Stage.UNSCORED] * (night.row["epochs"] - len(wanted))
        assert night.epochs.stage.tolist() == wanted, name
        assert Counter(wanted)[Stage.N2] == night.row["N2"]


def test_ucddb_events_are_all_there_with_all_their_seconds(
    real_data: Path, nights: dict[str, Parsed], ucddb: Dataset
) -> None:
    with (real_data / "ucddb/recordings.tsv").open(newline="") as file:
        wanted = {row["recording"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert ucddb.reading.events is not None
    for name, night in nights.items():
        path = real_data / f"ucddb/{name}_events.tsv"
        events = read_scoring(path, ucddb.reading.events).events
        assert len(events) == int(wanted[name]["respiratory_events"]), name
        looked_for = {kind: seconds for kind, seconds in night.epochs.events.items()
                      if seconds is not None}  # fmt: skip
        assert set(night.epochs.events) - set(looked_for) == {"desaturation", "arousal"}
        kinds = list(looked_for)
        tenths = np.zeros((len(looked_for), night.row["epochs"] * 300), bool)
        for onset, duration, kind in events:
            begin = round(onset * 10)
            tenths[kinds.index(kind), begin : begin + round(duration * 10)] = True
        for kind, covered in zip(kinds, tenths, strict=True):
            wanted_seconds = covered.reshape(-1, 300).sum(axis=1) / 10
            found = looked_for[kind]
            assert (found >= wanted_seconds - 1e-3).all(), (name, kind)
            if not _overlap([event for event in events if event[2] == kind]):
                np.testing.assert_allclose(found, wanted_seconds, atol=1e-3)


def _overlap(events: list[tuple[float, float, str]]) -> bool:
    ordered = sorted(events)
    return any(after[0] < before[0] + before[1] for before, after in pairwise(ordered))
