"""One recording through the parser: channels, units, labels, events, and what is left out."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import edfio
import pytest
from tests.recordings import START, make_signal, noise, patch, write_recording, write_scoring

from somnoflow.config.annotation import Annotation
from somnoflow.config.dataset import Reading
from somnoflow.config.signals import Signals
from somnoflow.data.parsing import Parsed, parse_recording
from somnoflow.io.rejection import Rejection
from somnoflow.stages import Stage

CODES = Annotation(format="codes", stages={"0": "W", "2": "N2"})
EDF = Annotation(
    format="edf+",
    stages={"Sleep stage W": "W", "Sleep stage N2": "N2"},
    events={"Hypopnea": "hypopnea", "Arousal": "arousal"},
)
TSV = Annotation(format="bids-tsv", events={"HYP": "hypopnea", "OA": "obstructive_apnea"})
EEG = Signals(channels=["EEG_C4"])


def parse(
    folder: Path,
    signals: Sequence[edfio.EdfSignal] | None = None,
    *,
    config: Signals = EEG,
    channels: Mapping[str, Any] | None = None,
    stages: Annotation | None = None,
    events: Annotation | None = None,
    stages_file: str | None = None,
    events_file: str | None = None,
    **recording: Any,
) -> Parsed:
    if not (folder / "n1.edf").exists():
        write_recording(folder / "n1.edf", signals, **recording)
    return parse_recording(
        {"recording": "n1", "subject": "S1", "night": 1, "signal": "n1.edf",
         "stages": stages_file, "events": events_file},
        folder=folder,
        reading=Reading(
            channels=dict(channels or {"EEG": "EEG_C4"}), stages=stages,
            events=events,
        ),
        signals=config,
    )  # fmt: skip


def refused(folder: Path, *arguments: Any, **named: Any) -> Rejection:
    with pytest.raises(Rejection) as caught:
        parse(folder, *arguments, **named)
    assert all(caught.value.row().values())
    return caught.value


def test_a_recording_becomes_epochs_and_two_kinds_of_rows(tmp_path: Path) -> None:
    parsed = parse(tmp_path, seconds=315)
    assert parsed.row == {
        "subject": "S1", "recording": "n1", "night": 1, "start": START.isoformat(),
        "hours": 0.0875, "epochs": 10, "scored": 0, "unscored": 10,
        "W": 0, "N1": 0, "N2": 0, "N3": 0, "REM": 0, "flat": 0, "notes": "",
        "lights_off_s": "", "lights_on_s": "", "sleep_minutes": "", "ahi": "",
        "usable_stages": {"W": 0, "N1": 0, "N2": 0, "N3": 0, "REM": 0},
    }  # fmt: skip
    assert parsed.channels == [
        {"recording": "n1", "channel": "EEG_C4", "source": "EEG", "unit": "uV",
         "sampling_rate": "100", "amplitude": "17.63", "epochs": 10, "missing": 0, "zero": 0,
         "flat": 0, "clipped": 0, "out_of_range": 0, "line_noise": "", "disconnected": 0,
         "problem": "", "remark": ""}
    ]  # fmt: skip
    assert parsed.epochs.channels["EEG_C4"].samples.shape == (10, 3000)  # type: ignore[union-attr]


@pytest.mark.parametrize(("seconds", "wanted"), [(299, None), (300, 10), (329, 10)])
def test_less_than_five_minutes_are_rejected(
    tmp_path: Path, seconds: float, wanted: int | None
) -> None:
    if wanted is None:
        rejection = refused(tmp_path, seconds=seconds)
        assert rejection.problem == "recording too short"
        assert (rejection.found, rejection.wanted) == ("5.0 minutes", "at least 5 minutes")
    else:
        assert parse(tmp_path, seconds=seconds).row["epochs"] == wanted


def test_quality_comes_from_the_first_eeg_channel_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("0\n" * 10)
    parsed = parse(
        tmp_path,
        config=Signals(channels=["EEG_C3", "EOG_L", "EEG_C4"]),
        channels={"C3": "EEG_C3", "EEG": "EEG_C4"},
        stages=CODES,
        stages_file="s.txt",
    )
    assert parsed.row["usable_stages"]["W"] == 10


def test_zero_epochs_are_counted_and_keep_their_label(tmp_path: Path) -> None:
    samples = noise(rate=100, seconds=300)
    samples[3000:9000] = 0
    (tmp_path / "s.txt").write_text("2\n" * 10)
    parsed = parse(tmp_path, [make_signal(samples)], stages=CODES, stages_file="s.txt")
    assert (parsed.row["flat"], parsed.channels[0]["zero"]) == (2, 2)
    assert parsed.row["N2"] == 10
    assert parsed.row["usable_stages"]["N2"] == 8


@pytest.mark.parametrize(
    ("lines", "scored", "note"),
    [(10, 10, ""), (7, 7, "ends 3 epochs before"), (12, 10, "goes on 2 epochs after")],
)
def test_an_annotation_of_another_length_is_noted(
    tmp_path: Path, lines: int, scored: int, note: str
) -> None:
    (tmp_path / "s.txt").write_text("0\n" * lines)
    parsed = parse(tmp_path, stages=CODES, stages_file="s.txt")
    assert parsed.row["scored"] == scored
    assert note in parsed.row["notes"]
    assert bool(note) == bool(parsed.row["notes"])
    assert parsed.epochs.stage.tolist() == [Stage.W] * scored + [-1] * (10 - scored)


def test_the_clock_of_the_annotation_shifts_its_labels(tmp_path: Path) -> None:
    write_scoring(
        tmp_path / "s.edf",
        [(0, 60, "Sleep stage W"), (60, 300, "Sleep stage N2"), (70, 10, "Hypopnea")],
        start=START - datetime.timedelta(seconds=30),
    )
    parsed = parse(tmp_path, stages=EDF, stages_file="s.edf")
    assert parsed.epochs.stage.tolist() == [Stage.W] + [Stage.N2] * 9
    assert parsed.epochs.events["hypopnea"].tolist() == [0, 10, *[0] * 8]
    assert "starts -30 s from the signal" in parsed.row["notes"]


def test_each_file_has_its_own_clock(tmp_path: Path) -> None:
    write_scoring(
        tmp_path / "s.edf",
        [(0, 330, "Sleep stage W")],
        start=START - datetime.timedelta(seconds=30),
    )
    (tmp_path / "e.tsv").write_text(
        "onset\tduration\ttrial_type\n65\t10\tHYP\n298\t10\tOA\n301\t5\tOA\n-9\t3\tOA\n40\t0\tHYP\n"
    )
    parsed = parse(tmp_path, stages=EDF, stages_file="s.edf", events=TSV, events_file="e.tsv")
    assert parsed.epochs.stage.tolist() == [Stage.W] * 10
    assert parsed.epochs.events["hypopnea"].tolist() == [0, 0, 10, *[0] * 7]
    assert parsed.epochs.events["obstructive_apnea"].tolist() == [*[0] * 9, 2]
    assert "2 events lie outside the recording" in parsed.row["notes"]
    assert "1 events have no duration" in parsed.row["notes"]


def test_an_annotation_of_another_night_is_rejected(tmp_path: Path) -> None:
    write_scoring(
        tmp_path / "s.edf",
        [(0, 300, "Sleep stage W")],
        start=START + datetime.timedelta(days=1),
    )
    rejection = refused(tmp_path, stages=EDF, stages_file="s.edf")
    assert rejection.problem == "annotation of another time"
    assert "86400" in rejection.found


def test_an_unknown_start_is_noted_and_shifts_nothing(tmp_path: Path) -> None:
    write_scoring(tmp_path / "s.edf", [(0, 300, "Sleep stage W")])
    write_recording(tmp_path / "n1.edf")
    patch(tmp_path / "n1.edf", 168, b"99.99.99")
    parsed = parse(tmp_path, stages=EDF, stages_file="s.edf")
    assert parsed.row["scored"] == 10
    assert parsed.row["start"] == ""
    assert "start of the signal not known" in parsed.row["notes"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty annotation file"),
        ("\n\n", "empty annotation file"),
        ("onset\tduration\ttrial_type\n1\t9\tHYP\n", "no stages in the annotation file"),
    ],
)
def test_a_stages_file_without_a_stage_is_rejected(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "s.txt").write_text(text)
    stages = TSV if "\t" in text else CODES
    rejection = refused(tmp_path, stages=stages, stages_file="s.txt")
    assert rejection.problem == problem


def test_labels_that_are_not_used_are_counted(tmp_path: Path) -> None:
    write_scoring(
        tmp_path / "s.edf",
        [(0, 300, "Sleep stage W"), (5, 1, "Lights off"), (9, 1, "Lights off"), (50, 5, "Arousal")],
    )
    parsed = parse(tmp_path, stages=EDF, stages_file="s.edf")
    assert parsed.row["notes"] == "annotation 'Lights off' not used (2 times)"
    assert parsed.epochs.events["arousal"].tolist() == [0, 5, *[0] * 8]
