"""Labels: where epochs begin, which stage each has, lights, cropping and AHI."""

import datetime
from pathlib import Path
from typing import Any

import edfio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recordings import START, make_signal, noise, write_recording, write_scoring

from somnoflow.config.annotation import Annotation
from somnoflow.config.dataset import Reading
from somnoflow.data.labels import Labels, event_seconds, read_labels, stage_per_epoch
from somnoflow.io.recordings import open_recording
from somnoflow.stages import Stage

STAGES = {"W": "W", "N1": "N1", "N2": "N2", "N3": "N3", "R": "REM", "?": "unscored"}
EDF = Annotation(
    format="edf+",
    stages={f"Sleep stage {name}": stage for name, stage in STAGES.items()},
    events={"Hypopnea": "hypopnea", "Obstructive apnea": "obstructive_apnea"},
    marks={"Lights off": "lights_off", "Lights on": "lights_on"},
)


def labels(
    folder: Path,
    annotations: list[tuple[float, float | None, str]],
    *,
    seconds: float = 600,
    annotation: Annotation = EDF,
    start: datetime.datetime = START,
    wake_margin_minutes: float | None = None,
) -> Labels:
    signals = [make_signal(noise(rate=10, seconds=seconds), rate=10)]
    recording = write_recording(folder / "n1.edf", signals, seconds=seconds)
    write_scoring(folder / "n1-scoring.edf", annotations, start=start)
    return read_labels(
        {"stages": "n1-scoring.edf", "events": None},
        folder=folder,
        reading=Reading(channels={"EEG": "EEG_C4"}, stages=annotation),
        source=open_recording(recording),
        wake_margin_minutes=wake_margin_minutes,
    )


def pages(
    names: str, *, onset: float = 0.0, page: float = 30
) -> list[tuple[float, float | None, str]]:
    stages = {"W": "W", "1": "N1", "2": "N2", "3": "N3", "R": "R", "?": "?"}
    return [
        (onset + number * page, page, f"Sleep stage {stages[name]}")
        for number, name in enumerate(names)
    ]


def names(found: Labels) -> str:
    return "".join("?" if stage < 0 else "W123R"[stage] for stage in found.stage)


@pytest.mark.parametrize(
    ("onset", "begins"), [(0, 0), (7, 7), (37, 7), (-5, 25), (0.05, 0), (29.95, 0), (90, 0)]
)
def test_epochs_begin_where_the_pages_of_the_scorer_do(
    tmp_path: Path, onset: float, begins: float
) -> None:
    night = "W1223WW2R3" * 2
    later = datetime.timedelta(seconds=float(np.floor(onset)))
    found = labels(tmp_path, pages(night, onset=onset % 1), start=START + later)
    assert found.grid.onset == begins
    whole = round((onset - begins) / 30)
    wanted = ("?" * whole + night if whole >= 0 else night[-whole:]) + "?" * 20
    assert names(found) == wanted[: found.grid.epochs]
    assert found.grid.epochs == (600 - begins) // 30
    assert any("epochs begin" in note for note in found.notes) == bool(begins)


def test_twenty_second_pages_give_the_stage_that_lies_wholly_inside(tmp_path: Path) -> None:
    found = labels(tmp_path, pages("W12" + "3RW" + "22W", page=20))
    # 0-30 s holds W and half of 1, 30-60 s half of 1 and 2, and so on.
    assert names(found)[:6] == "W23W2W"
    assert not any("grid" in note for note in found.notes)


def test_twenty_second_pages_may_begin_late(tmp_path: Path) -> None:
    found = labels(tmp_path, pages("W12", page=20, onset=13))
    assert found.grid.onset == 13
    assert names(found)[:3] == "W2?"


def test_stages_on_no_grid_are_noted_and_laid_over_epochs_by_overlap(tmp_path: Path) -> None:
    ragged = [(0.0, 41.0, "Sleep stage W"), (41.0, 60.0, "Sleep stage N2")]
    found = labels(tmp_path, ragged)
    assert found.grid.onset == 0
    assert names(found)[:4] == "W22?"
    assert any("no grid of 30 or 20 s" in note for note in found.notes)


def test_an_unscored_page_does_not_move_the_grid(tmp_path: Path) -> None:
    found = labels(tmp_path, [*pages("W2"), (61.7, 30.0, "Sleep stage ?")])
    assert found.grid.onset == 0
    assert names(found)[:3] == "W2?"


def test_overlapping_stages_are_unscored_and_counted(tmp_path: Path) -> None:
    found = labels(tmp_path, [*pages("W22W"), (30.0, 30.0, "Sleep stage N3")])
    assert names(found)[:4] == "W?2W"
    assert "stages overlap in 1 epoch" in found.notes


@pytest.mark.parametrize(
    ("night", "minutes", "kept", "first"),
    [
        ("WWWWWW22RWWWWWWWWWWW", 1, "WW22RWW", 4),
        ("W2" + "W" * 18, 2, "W2WWWW", 0),
        ("WWW2" + "W" * 16, 0, "2", 3),
    ],
)
def test_wake_far_from_sleep_is_dropped_and_epochs_keep_their_number(
    tmp_path: Path, night: str, minutes: float, kept: str, first: int
) -> None:
    found = labels(tmp_path, pages(night), wake_margin_minutes=minutes)
    assert names(found) == kept
    assert (found.grid.first, found.grid.epochs) == (first, len(kept))
    assert all(
        len(seconds) == len(kept) for seconds in found.events.values() if seconds is not None
    )
    assert any("dropped (signals.wake_margin_minutes)" in note for note in found.notes)


def test_a_night_without_sleep_is_not_cropped(tmp_path: Path) -> None:
    found = labels(tmp_path, pages("W" * 20), wake_margin_minutes=1)
    assert found.grid.epochs == 20
    assert "no sleep was scored, so no wake is cropped" in found.notes


def test_events_that_nobody_looked_for_are_not_zero(tmp_path: Path) -> None:
    found = labels(tmp_path, [*pages("W22"), (40.0, 10.0, "Hypopnea")])
    assert found.events["arousal"] is None
    assert found.events["hypopnea"] is not None
    assert found.events["hypopnea"][:3].tolist() == [0, 10, 0]
    assert found.events["obstructive_apnea"] is not None
    assert not found.events["obstructive_apnea"].any()


def test_ahi_counts_the_events_of_sleep_per_hour_of_sleep(tmp_path: Path) -> None:
    night = pages("W" * 5 + "2" * 10 + "W" * 5)
    events: list[tuple[float, float | None, str]] = [
        (140.0, 12.0, "Hypopnea"),  # its middle is awake
        (145.0, 12.0, "Hypopnea"),
        (200.0, 20.0, "Obstructive apnea"),
        (550.0, 10.0, "Obstructive apnea"),  # awake
    ]
    found = labels(tmp_path, [*night, *events])
    assert found.summary["sleep_minutes"] == 5
    assert found.summary["ahi"] == 24


def test_lights_bound_the_sleep_that_counts(tmp_path: Path) -> None:
    night = pages("2" * 20)
    marks: list[tuple[float, float | None, str]] = [
        (60.0, None, "Lights off"),
        (360.0, None, "Lights on"),
    ]
    found = labels(tmp_path, [*night, *marks, (30.0, 10.0, "Hypopnea"), (90.0, 10.0, "Hypopnea")])
    assert found.summary == {
        "lights_off_s": 60,
        "lights_on_s": 360,
        "sleep_minutes": 5,
        "ahi": 12,
    }


def test_no_ahi_where_hypopneas_were_not_looked_for(tmp_path: Path) -> None:
    apneas = EDF.model_copy(update={"events": {"Obstructive apnea": "obstructive_apnea"}})
    found = labels(tmp_path, [*pages("22"), (0.0, 10.0, "Obstructive apnea")], annotation=apneas)
    assert found.summary["ahi"] == ""


CSV = Annotation(
    format="csv", stages={"W": "W", "N2": "N2"}, times="clock", columns={"label": "stage"}
)


@pytest.mark.parametrize(
    ("first", "start", "offset"),
    [
        ("22:30:00", "22:30:00", 0),
        ("22:31:30", "22:30:00", 90),
        ("00:00:15", "23:59:00", 75),
        ("23:59:00", "00:00:15", -75),
    ],
)
def test_times_of_day_are_laid_over_the_night_of_the_signal(
    tmp_path: Path, first: str, start: str, offset: float
) -> None:
    begin = datetime.datetime.combine(START.date(), datetime.time.fromisoformat(start))
    recording = write_recording(
        tmp_path / "n1.edf", [make_signal(noise(rate=10, seconds=600), rate=10)], start=begin
    )
    clock = datetime.datetime.combine(START.date(), datetime.time.fromisoformat(first))
    rows = [
        f"{(clock + datetime.timedelta(seconds=30 * number)).time()},30,{stage}"
        for number, stage in enumerate(["W", "N2", "W", "N2", "N2", "W"])
    ]
    (tmp_path / "n1.csv").write_text("\n".join(["onset,duration,stage", *rows]))
    found = read_labels(
        {"stages": "n1.csv", "events": None},
        folder=tmp_path,
        reading=Reading(channels={"EEG": "EEG_C4"}, stages=CSV),
        source=open_recording(recording),
        wake_margin_minutes=None,
    )
    night = "W2W22W"
    onset = offset % 30
    whole = int((offset - onset) / 30)
    assert found.grid.onset == onset
    assert names(found).rstrip("?") == ("?" * whole + night if whole >= 0 else night[-whole:])
    shifted = [note for note in found.notes if "shifted by that" in note]
    assert len(shifted) == bool(offset)


def test_stages_may_be_annotations_of_the_recording_itself(tmp_path: Path) -> None:
    signals = [make_signal(noise(rate=10, seconds=120), rate=10)]
    stages = [edfio.EdfAnnotation(*annotation) for annotation in pages("W12?")]
    edfio.Edf(signals, starttime=START.time(), annotations=stages).write(tmp_path / "n1.edf")
    found = read_labels(
        {"signal": "n1.edf", "stages": None, "events": None},
        folder=tmp_path,
        reading=Reading(channels={"EEG": "EEG_C4"}, stages=EDF, stages_inside=True),
        source=open_recording(tmp_path / "n1.edf"),
        wake_margin_minutes=None,
    )
    assert names(found) == "W12?"


def test_another_clock_that_onsets_do_not_count_from_is_noted_only(tmp_path: Path) -> None:
    recording = write_recording(
        tmp_path / "n1.edf", [make_signal(noise(rate=10, seconds=300), rate=10)]
    )
    (tmp_path / "n1.xml").write_text(
        "<PSGAnnotation><EpochLength>30</EpochLength><ScoredEvents>"
        "<ScoredEvent><EventType></EventType><EventConcept>Recording Start Time</EventConcept>"
        "<Start>0</Start><Duration>300</Duration><ClockTime>00.00.00 22.30.02</ClockTime>"
        "</ScoredEvent><ScoredEvent><EventType>Stages|Stages</EventType>"
        "<EventConcept>Wake|0</EventConcept><Start>0</Start><Duration>300</Duration></ScoredEvent>"
        "</ScoredEvents></PSGAnnotation>"
    )
    found = read_labels(
        {"stages": "n1.xml", "events": None},
        folder=tmp_path,
        reading=Reading(
            channels={"EEG": "EEG_C4"}, stages=Annotation(format="nsrr-xml", vocabulary=["nsrr"])
        ),
        source=open_recording(recording),
        wake_margin_minutes=None,
    )
    assert names(found) == "W" * 10
    assert found.grid.onset == 0
    assert any("begins +2 s from the signal's" in note for note in found.notes)


Span = st.tuples(st.floats(-100, 400), st.floats(0, 300))


@settings(derandomize=True, deadline=None)
@given(st.lists(Span, max_size=8), st.integers(1, 8), st.floats(-50, 50))
def test_seconds_in_an_epoch_are_those_that_lie_in_it(
    spans: list[tuple[float, float]], epochs: int, offset: float
) -> None:
    events = [(onset, length, "hypopnea") for onset, length in spans]
    found = event_seconds(events, epochs=epochs, offset=offset)["hypopnea"]
    for number in range(epochs):
        begin, end = 30.0 * number, 30.0 * (number + 1)
        inside = [
            max(0.0, min(onset + length + offset, end) - max(onset + offset, begin))
            for onset, length in spans
        ]
        assert found[number] == pytest.approx(min(sum(inside), 30), abs=1e-4)


def test_a_million_stages_are_laid_over_a_night() -> None:
    stages: Any = [(1e300, 30.0, Stage.N2), (-1e9, 30.0, Stage.W)] * 500_000
    assert (stage_per_epoch(stages, epochs=960) == Stage.UNSCORED).all()
