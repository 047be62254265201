"""Scorings: every label and second is where the file says, or the recording is turned down."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.recordings import START, write_scoring

from somnoflow.config.annotation import Annotation
from somnoflow.data.labels import EVENT_NAMES, event_seconds, stage_per_epoch
from somnoflow.io.annotations import read_scoring
from somnoflow.io.rejection import Rejection
from somnoflow.stages import Stage

CODES = Annotation(format="codes", stages={0: "W", 1: "REM", 2: "N1", 6: "unscored"})
EDF = Annotation(
    format="edf+",
    stages={"Sleep stage W": "W", "Sleep stage N2": "N2", "Sleep stage ?": "unscored"},
    events={"Hypopnea": "hypopnea", "Arousal": "arousal"},
)
TSV = Annotation(format="bids-tsv", stages={"W": "W", "N2": "N2"}, events={"HYP-C": "hypopnea"})


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path, annotation: Annotation) -> Rejection:
    with pytest.raises(Rejection) as caught:
        read_scoring(path, annotation)
    assert all(caught.value.row().values())
    return caught.value


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\r\n"])
def test_codes_one_line_is_one_epoch(tmp_path: Path, end: str) -> None:
    scoring = read_scoring(write(tmp_path / "s.txt", "0\n 2\n6\n1" + end), CODES)
    assert scoring.stages == [
        (0, 30, Stage.W), (30, 30, Stage.N1), (60, 30, Stage.UNSCORED), (90, 30, Stage.REM)
    ]  # fmt: skip
    assert not scoring.has_clock


@pytest.mark.parametrize(
    ("text", "line"), [("0\n\n1\n", "line 2"), ("\n0\n", "line 1"), ("0\n9\n", "'9' in line 2")]
)
def test_codes_a_gap_or_unknown_code_is_refused_and_never_shifts_epochs(
    tmp_path: Path, text: str, line: str
) -> None:
    rejection = refused(write(tmp_path / "s.txt", text), CODES)
    assert rejection.problem == "unknown stage label"
    assert line in rejection.found
    assert "'0', '1', '2', '6'" in rejection.wanted


def test_codes_of_pages_of_20_seconds_in_any_case(tmp_path: Path) -> None:
    codes = Annotation(format="codes", page_seconds=20, vocabulary=["rk"])
    scoring = read_scoring(write(tmp_path / "s.txt", "w\r\nS4 \r\n\tmt\rrem\n"), codes)
    assert scoring.stages == [
        (0, 20, Stage.W), (20, 20, Stage.N3), (40, 20, Stage.UNSCORED), (60, 20, Stage.REM)
    ]  # fmt: skip


@pytest.mark.parametrize("sign", ["\x0c", "\x1c", "\x85", "\u2028", "\0"])
def test_codes_only_line_ends_part_lines(tmp_path: Path, sign: str) -> None:
    assert refused(write(tmp_path / "s.txt", f"0\n1{sign}2\n0\n"), CODES)


def test_edf_plus_the_signal_that_a_label_belongs_to_is_cut_off(tmp_path: Path) -> None:
    annotation = Annotation(
        format="edf+", vocabulary=["edf+"], events={"Hypopnea@@Flow": "hypopnea"}
    )
    path = write_scoring(
        tmp_path / "s.edf",
        [(0, 30, "Sleep stage R@@EEG C4"), (5, None, "Lights off@@EEG F4-A1"),
         (9, 10, "Hypopnea@@Flow"), (30, 30, "Snore@@Flow")],
    )  # fmt: skip
    scoring = read_scoring(path, annotation)
    assert scoring.stages == [(0, 30, Stage.REM)]
    assert scoring.marks == [(5, "lights_off")]
    assert scoring.events == [(9, 10, "hypopnea")]
    assert scoring.unused == {"Snore": 1}


def test_edf_plus_the_length_of_a_page_may_be_told(tmp_path: Path) -> None:
    annotation = Annotation(format="edf+", vocabulary=["edf+"], page_seconds=30)
    path = write_scoring(
        tmp_path / "s.edf", [(0, None, "Sleep stage W"), (30, 60, "Sleep stage 2")]
    )
    assert read_scoring(path, annotation).stages == [(0, 30, Stage.W), (30, 60, Stage.N2)]


def test_negative_onsets_and_overlapping_stages_are_kept(tmp_path: Path) -> None:
    path = write_scoring(
        tmp_path / "s.edf", [(-15, 60, "Sleep stage W"), (0, 30, "Sleep stage N2")]
    )
    assert read_scoring(path, EDF).stages == [(-15, 60, Stage.W), (0, 30, Stage.N2)]


def test_edf_plus_stages_events_and_other_labels(tmp_path: Path) -> None:
    path = write_scoring(
        tmp_path / "s.edf",
        [(0, 60, "Sleep stage W"), (60, 30, "Sleep stage ?"), (70, 12.5, "Hypopnea"),
         (75, None, "Arousal"), (80, 5, "Lights off"), (90, None, "Lights off")],
    )  # fmt: skip
    scoring = read_scoring(path, EDF)
    assert scoring.stages == [(0, 60, Stage.W), (60, 30, Stage.UNSCORED)]
    assert scoring.events == [(70, 12.5, "hypopnea"), (75, 0, "arousal")]
    assert scoring.unused == {"Lights off": 2}
    assert scoring.start == START
    assert scoring.has_clock


@pytest.mark.parametrize("label", ["Sleep stage N9", "sleep stage 1", "Stage 2", "N4", "REM", "S1"])
def test_a_label_that_looks_like_a_stage_is_refused_when_unknown(
    tmp_path: Path, label: str
) -> None:
    path = write_scoring(tmp_path / "s.edf", [(0, 30, "Sleep stage W"), (30, 30, label)])
    rejection = refused(path, EDF)
    assert rejection.problem == "unknown stage label"
    assert label in rejection.found
    assert "dataset.yaml" in rejection.advice


def test_a_stage_without_duration_is_refused_and_not_lost(tmp_path: Path) -> None:
    path = write_scoring(
        tmp_path / "s.edf", [(0, 30, "Sleep stage W"), (30, None, "Sleep stage N2")]
    )
    rejection = refused(path, EDF)
    assert rejection.problem == "stage without a duration"
    assert "'Sleep stage N2' at 30 s" in rejection.found


def test_bids_tsv_by_column_name_with_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "e.tsv"
    path.write_bytes(
        b'\xef\xbb\xbftrial_type\tonset\tduration\nW\t0\t30\nHYP-C\t12.5\t10\n"odd\t40\t1\nN2\t30\t30\n'
    )
    scoring = read_scoring(path, TSV)
    assert scoring.stages == [(0, 30, Stage.W), (30, 30, Stage.N2)]
    assert scoring.events == [(12.5, 10, "hypopnea")]
    assert scoring.unused == {'"odd': 1}


@pytest.mark.parametrize(
    ("row", "problem"),
    [("x\t30\tW", "not a time"), ("0\tn/a\tW", "without a duration"), ("0", "not a row"),
     ("n/a\t30\tW", "not a time"), ("1_0\t30\tW", "not a time"), ("1,5\t30\tW", "not a time"),
     ("0\t30\tW\tmore", "not a row"), ("1e300\t30\tW", "not a time"),
     ("0\t1e300\tW", "not a time"), ("nan\t30\tW", "not a time"),
     ("0\tinf\tW", "not a time"), ("0\t-30\tHYP-C", "not a time"),
     ("0\t0\tW", "without a duration"), ("0\t30\tN4", "unknown stage")],
)  # fmt: skip
def test_bids_tsv_a_wrong_row_is_refused(tmp_path: Path, row: str, problem: str) -> None:
    path = write(tmp_path / "e.tsv", f"onset\tduration\ttrial_type\n{row}\n")
    assert problem in refused(path, TSV).problem


@pytest.mark.parametrize("text", ["onset\tduration\n", "onset,duration,trial_type\n0,30,W\n"])
def test_bids_tsv_columns_are_needed(tmp_path: Path, text: str) -> None:
    rejection = refused(write(tmp_path / "e.tsv", text), TSV)
    assert rejection.problem == "columns missing in the annotation file"


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_bytes(b"\xff\xfe0\x00\n")
    assert "cannot be read" in refused(tmp_path / "s.txt", CODES).problem
    assert "cannot be read" in refused(tmp_path / "nothing.txt", CODES).problem
    assert "cannot be opened" in refused(tmp_path / "nothing.edf", EDF).problem


def test_half_an_epoch_is_enough_and_less_is_not() -> None:
    stages = [(0.0, 15.0, Stage.N1), (30.0, 14.9, Stage.N2), (60.0, 30.0, Stage.UNSCORED)]
    assert stage_per_epoch(stages, epochs=4).tolist() == [Stage.N1, -1, -1, -1]


def test_the_stage_that_covers_more_wins() -> None:
    stages = [(0.0, 10.0, Stage.W), (10.0, 40.0, Stage.N3), (50.0, 10.0, Stage.W)]
    assert stage_per_epoch(stages, epochs=2).tolist() == [Stage.N3, Stage.N3]


def test_a_contradiction_is_unscored_and_agreement_is_not() -> None:
    stages = [(0.0, 60.0, Stage.W), (0.0, 30.0, Stage.N1), (30.0, 30.0, Stage.W)]
    assert stage_per_epoch(stages, epochs=2).tolist() == [-1, Stage.W]


def test_onsets_before_the_signal_and_ends_after_it() -> None:
    stages = [(-60.0, 75.0, Stage.W), (15.0, 1000.0, Stage.REM)]
    assert stage_per_epoch(stages, epochs=3).tolist() == [-1, Stage.REM, Stage.REM]
    assert stage_per_epoch(stages, epochs=3, offset=5).tolist() == [Stage.W, Stage.REM, Stage.REM]
    assert stage_per_epoch([(-30.0, 30.0, Stage.W)], epochs=1).tolist() == [-1]
    assert stage_per_epoch(stages, epochs=0).shape == (0,)


def test_events_over_borders_keep_their_seconds() -> None:
    seconds = event_seconds([(25.0, 40.0, "hypopnea"), (29.5, 1.0, "arousal")], epochs=3)
    assert seconds["hypopnea"].tolist() == [5, 30, 5]
    assert seconds["arousal"].tolist() == [0.5, 0.5, 0]
    assert set(seconds) == set(EVENT_NAMES)


def test_events_outside_add_nothing_and_overlaps_stay_below_an_epoch() -> None:
    seconds = event_seconds(
        [(-20.0, 10.0, "arousal"), (95.0, 5.0, "arousal"), (-5.0, 7.0, "hypopnea"),
         (30.0, 30.0, "hypopnea"), (30.0, 30.0, "hypopnea")],
        epochs=3,
    )  # fmt: skip
    assert seconds["arousal"].tolist() == [0, 0, 0]
    assert seconds["hypopnea"].tolist() == [2, 30, 0]


@given(
    st.lists(
        st.tuples(st.integers(-400, 4000), st.integers(0, 900)).map(
            lambda t: (t[0] / 10, t[1] / 10)
        )
    ),
    st.integers(1, 10),
)
def test_event_seconds_equal_a_count_of_tenths(
    spans: list[tuple[float, float]], epochs: int
) -> None:
    spans = spans[:1]  # one event: overlaps are capped
    seconds = event_seconds([(*span, "arousal") for span in spans], epochs=epochs)["arousal"]
    covered = np.zeros(epochs * 300, bool)
    for onset, duration in spans:
        begin = round(onset * 10)
        covered[max(begin, 0) : max(begin + round(duration * 10), 0)] = True
    np.testing.assert_allclose(seconds, covered.reshape(epochs, 300).sum(1) / 10, atol=1e-4)
