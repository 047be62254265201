"""Tables of annotations: columns, separators, encodings, and clocks that pass midnight."""

import codecs
import datetime
from pathlib import Path
from typing import Any

import pytest

from somnoflow.config.annotation import Annotation
from somnoflow.io.annotations import Scoring, read_scoring
from somnoflow.io.rejection import Rejection
from somnoflow.stages import Stage

STAGES = {"W": "W", "N2": "N2", "?": "unscored"}
EVENTS = {"HYP": "hypopnea", "OA": "obstructive_apnea"}
MARKS = {"Lights off": "lights_off"}


def table(**options: Any) -> Annotation:
    values = {"format": "csv", "stages": STAGES, "events": EVENTS, "marks": MARKS, **options}
    return Annotation.model_validate(values)


def read(path: Path, text: str, annotation: Annotation, *, encoding: str = "utf-8") -> Scoring:
    path.write_bytes(text.encode(encoding))
    return read_scoring(path, annotation)


def refused(path: Path, text: str, annotation: Annotation, *, encoding: str = "utf-8") -> Rejection:
    with pytest.raises(Rejection) as caught:
        read(path, text, annotation, encoding=encoding)
    assert all(caught.value.row().values())
    return caught.value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.csv"


def test_csv_in_seconds(path: Path) -> None:
    text = (
        "Label,onset , DURATION,remark\r\nW,0,30,\r\n\"HYP\",12.5,1e1,\"a, b\"\r\n n2 ,30,60,x\r\n"
        "\r\n,,,\r\nLights off,-4.25,0,\r\nSnore,?,,\r\n"
    )  # fmt: skip
    scoring = read(path, text, table())
    assert scoring.stages == [(0, 30, Stage.W), (30, 60, Stage.N2)]
    assert scoring.events == [(12.5, 10, "hypopnea")]
    assert scoring.marks == [(-4.25, "lights_off")]
    assert scoring.unused == {"Snore": 1}
    assert (scoring.start, scoring.clock, scoring.has_clock) == (None, None, False)


def test_csv_with_other_columns_separator_decimal_and_encoding(path: Path) -> None:
    annotation = table(
        separator=";",
        decimal=",",
        encoding="latin-1",
        columns={"onset": "Beginn", "end": "Ende", "label": "Prüfung"},
        stages={"Wäch": "W"},
    )
    text = "Prüfung;Beginn;Ende\nWäch;0;30\nHYP;12,5;20\n"
    scoring = read(path, text, annotation, encoding="latin-1")
    assert scoring.stages == [(0, 30, Stage.W)]
    assert scoring.events == [(12.5, 7.5, "hypopnea")]
    assert "cannot be read" in refused(
        path, text, table(separator=";"), encoding="latin-1"
    ).problem  # fmt: skip


def test_pages_need_no_duration_where_their_length_is_told(path: Path) -> None:
    annotation = table(page_seconds=20, columns={"label": "stage"})
    scoring = read(path, "onset,stage\n0,W\n20,N2\n25,HYP\n", annotation)
    assert scoring.stages == [(0, 20, Stage.W), (20, 20, Stage.N2)]
    assert scoring.events == [(25, 0, "hypopnea")]
    told = read(path, "onset,duration,label\n0,60,W\n60,,N2\n", table(page_seconds=30))
    assert told.stages == [(0, 60, Stage.W), (60, 30, Stage.N2)]


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF8])
def test_a_byte_order_mark_tells_the_encoding(path: Path, mark: bytes) -> None:
    name = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_BE: "utf-16-be"}.get(mark, "utf-16-le")
    path.write_bytes(mark + "onset,duration,label\n0,30,W\n".encode(name))
    assert read_scoring(path, table(encoding="latin-1")).stages == [(0, 30, Stage.W)]
    path.write_bytes(mark + "0\r\n1\r\n".encode(name))
    codes = Annotation(format="codes", stages={"0": "W", "1": "N1"})
    assert len(read_scoring(path, codes).stages) == 2


def test_utf_16_without_a_mark_and_nul_characters(path: Path) -> None:
    text = "onset,duration,label\n0,30,W\n"
    utf_16 = table(encoding="utf-16")
    assert len(read(path, text, utf_16, encoding="utf-16-le").stages) == 1
    rejection = refused(path, text, table(), encoding="utf-16-le")
    assert "NUL characters" in rejection.found


@pytest.mark.parametrize(
    ("text", "problem", "found"),
    [("onset,duration\n0,30\n", "columns missing", "onset, duration in s.csv"),
     ("onset;duration;label\n0;30;W\n", "columns missing", "onset;duration;label"),
     ("label,onset,duration,onset\nW,0,30,60\n", "named twice", "label, onset"),
     ("onset,duration,label\n0,30\n", "not a row", "2 cells in line 2"),
     ("onset,duration,label\n0,30,W\n0,30,HYP, central\n", "not a row", "4 cells in line 3"),
     ('onset,duration,label\n0,30,"W\n30,30,N2\n', "not a table", "line"),
     ("onset,duration,label\nx,30,W\n", "not a time", "onset 'x', duration '30' in line 2"),
     ("onset,duration,label\n,30,W\n", "not a time", "onset ''"),
     ("onset,duration,label\n22:10:00,30,W\n", "not a time", "22:10:00"),
     ("onset,duration,label\n1_0,30,W\n", "not a time", "1_0"),
     ("onset,duration,label\n\u0661,30,W\n", "not a time", "onset"),
     ("onset,duration,label\n0,,W\n", "stage without a duration", "'W' at 0 s"),
     ("onset,duration,label\n0,-1,HYP\n", "not a time", "'HYP'"),
     ("onset,duration,label\n1e300,30,W\n", "not a time", "1e+300"),
     ("onset,duration,label\n0,30,N4\n", "unknown stage label", "'N4' in s.csv"),
     (" \n\n", "empty annotation file", "s.csv")],
)  # fmt: skip
def test_csv_what_cannot_be_trusted_is_refused(
    path: Path, text: str, problem: str, found: str
) -> None:
    rejection = refused(path, text, table())
    assert problem in rejection.problem
    assert found in rejection.found


def test_numbers_among_codes_are_stages_even_where_unknown(path: Path) -> None:
    annotation = Annotation(format="bids-tsv", columns={"label": "stage_hum"}, stages={"0": "W"})
    text = "onset\tduration\tstage_hum\n0\t30\t0\n30\t30\t{}\n"
    assert refused(path, text.format(7), annotation).problem == "unknown stage label"
    assert read(path, text.format("n/a"), annotation).unused == {"n/a": 1}


def test_a_bids_quotation_mark_is_a_character(path: Path) -> None:
    annotation = Annotation(format="bids-tsv", stages={"W": "W"})
    text = 'onset\tduration\ttrial_type\n0\t30\tW\n0\t1\t"odd\n30\t30\tW\n'
    assert len(read(path, text, annotation).stages) == 2


def test_elapsed_times(path: Path) -> None:
    text = "onset,duration,label\n00:00:00,00:00:30,W\n-0:00:10,10,HYP\n25:00:00.5,30,N2\n"
    scoring = read(path, text, table(times="elapsed"))
    assert scoring.stages == [(0, 30, Stage.W), (90000.5, 30, Stage.N2)]
    assert scoring.events == [(-10, 10, "hypopnea")]
    assert not scoring.has_clock
    assert refused(path, "onset,duration,label\n1:00:00 PM,30,W\n", table(times="elapsed"))


CLOCK = table(times="clock", columns={"end": "end"})


def test_a_clock_passes_midnight_in_any_order_of_rows(path: Path) -> None:
    rows = ["22:10:00,22:10:30,W", "23:59:45,00:00:15,N2", "06:30:00.5,06:31:00.5,W",
            "03:00:00,03:00:20,HYP"]  # fmt: skip
    for order in (rows, rows[::-1], rows[2:] + rows[:2]):
        scoring = read(path, "\n".join(["onset,end,label", *order]), CLOCK)
        assert sorted(scoring.stages) == [
            (0, 30, Stage.W), (6585, 30, Stage.N2), (30000.5, 60, Stage.W)
        ]  # fmt: skip
        assert scoring.events == [(17400, 20, "hypopnea")]
        assert (scoring.clock, scoring.start) == (datetime.time(22, 10), None)
        assert scoring.has_clock


@pytest.mark.parametrize(
    ("text", "first"),
    [("2021-12-31 23:59:30", None), ("2021-12-31T23:59:30.000", None),
     ("31.12.2021 23:59:30", None), ("31/12/2021 23:59:30", True),
     ("12/31/2021 11:59:30 PM", False), ("12/31/2021 11:59:30 p.m.", False)],
)  # fmt: skip
def test_dates_give_a_start(path: Path, text: str, first: bool | None) -> None:
    later = {True: "1/1/2022 0:00:00", False: "1/1/2022 12:00:00 AM"}.get(
        first, "2022-01-01 00:00:00"
    )  # fmt: skip
    annotation = table(times="clock", day_first=first)
    scoring = read(path, f"onset,duration,label\n{later},30,N2\n{text},30,W\n", annotation)
    assert scoring.start == datetime.datetime(2021, 12, 31, 23, 59, 30)
    assert scoring.clock is None
    assert scoring.has_clock
    assert scoring.stages == [(30, 30, Stage.N2), (0, 30, Stage.W)]


@pytest.mark.parametrize(
    ("row", "wanted"),
    [("3/4/2021 22:00:00,3/4/2021 22:00:30,W", "day_first"),
     ("2021-02-30 22:00:00,2021-02-30 22:00:30,W", "calendar"),
     ("24:00:00,24:00:30,W", "0 to 23"), ("22:60:00,22:60:30,W", "59"),
     ("13:00:00 PM,14:00:00 PM,W", "1 to 12"), ("22:00:00,21:59:59,HYP", "12 hours"),
     ("22:00:00,2021-02-03 22:00:30,W", "in both"), ("22:00,22:01,W", "hh:mm:ss"),
     ("2021-02-03T22:00:00Z,2021-02-03T22:00:30Z,W", "hh:mm:ss"),
     ("03.04.21 22:00:00,03.04.21 22:00:30,W", "hh:mm:ss")],
)  # fmt: skip
def test_a_clock_that_says_no_one_time_is_refused(path: Path, row: str, wanted: str) -> None:
    rejection = refused(path, f"onset,end,label\n{row}\n", CLOCK)
    assert rejection.problem == "not a time in the annotation file"
    assert wanted in rejection.wanted


def test_dates_on_some_rows_only_are_refused(path: Path) -> None:
    text = "onset,duration,label\n22:00:00,30,W\n2021-02-03 22:00:30,30,W\n"
    rejection = refused(path, text, table(times="clock"))
    assert rejection.problem == "onsets of two kinds in the annotation file"


def test_a_clock_without_a_used_row_says_nothing(path: Path) -> None:
    scoring = read(path, "onset,duration,label\n22:00:00,30,Snore\n", table(times="clock"))
    assert (scoring.unused, scoring.has_clock, scoring.clock) == ({"Snore": 1}, False, None)


FRENCH = Annotation(
    format="noxturnal-csv",
    columns={"onset": "Heure de début", "end": "Heure de fin", "label": "Événement"},
    day_first=True,
    stages={"Éveil": "W", "N1": "N1", "N2": "N2", "N3": "N3", "REM": "REM"},
    events={"Micro-éveil": "arousal", "Hypopnée": "hypopnea", "A. Obstructive": "obstructive_apnea",
            "Désat": "desaturation"},
)  # fmt: skip
ENGLISH = Annotation(
    format="noxturnal-csv",
    stages={"Wake": "W", "N2": "N2"},
    events={"Hypopnea": "hypopnea", "Desat": "desaturation"},
    day_first=False,
)


@pytest.mark.parametrize("separator", ["\t", ","])
def test_noxturnal_in_french(path: Path, separator: str) -> None:
    rows = [
        ("Heure de début", "Heure de fin", "Événement", "Durée"),
        ("[]", "[]", "[]", "[s]"),
        ("31/01/2020 23:59:30", "01/02/2020 00:00:00", "Éveil", "30"),
        ("01/02/2020 00:00:00", "01/02/2020 00:01:00", "N2", "60"),
        ("01/02/2020 00:00:10", "01/02/2020 00:00:25", "Hypopnée", "15"),
        ("01/02/2020 00:00:20", "01/02/2020 00:00:23", "Micro-Éveil", "3"),
        ("31/01/2020 23:50:00", "01/02/2020 07:00:00", "Dos", "25800"),
    ]
    text = "\r\n".join(separator.join(row) for row in rows) + "\r\n"
    scoring = read(path, text, FRENCH, encoding="utf-16")
    assert scoring.start == datetime.datetime(2020, 1, 31, 23, 59, 30)
    assert scoring.stages == [(0, 30, Stage.W), (30, 60, Stage.N2)]
    assert scoring.events == [(40, 15, "hypopnea"), (50, 3, "arousal")]
    assert scoring.unused == {"Dos": 1}


def test_noxturnal_in_english(path: Path) -> None:
    text = (
        "Start Time,End Time,Event,Duration\n1/31/2020 11:59:30 PM,2/1/2020 12:00:00 AM,Wake,30\n"
        "2/1/2020 12:00:00 AM,2/1/2020 12:00:30 AM,N2,30\n"
    )
    scoring = read(path, text, ENGLISH, encoding="utf-16")
    assert scoring.stages == [(0, 30, Stage.W), (30, 30, Stage.N2)]
    assert read(path, text, ENGLISH, encoding="utf-8-sig") == scoring


def test_many_different_labels_are_counted_together(path: Path) -> None:
    rows = [f"0,1,label {n}" for n in range(1000)]
    scoring = read(path, "\n".join(["onset,duration,label", *rows]), table())
    assert len(scoring.unused) == 51
    assert scoring.unused["(other labels)"] == 950
    assert scoring.unused.total() == 1000


def test_a_long_label_with_control_characters_fits_a_table(path: Path) -> None:
    scoring = read(path, f"onset,duration,label\n0,1,a\x07\tb\x85{'x' * 500}\n", table())
    (label,) = scoring.unused
    assert label.startswith("a b x")
    assert label.isprintable()
    assert len(label) == 80


def test_a_file_far_larger_than_a_scoring_is_refused(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(32 * 2**20 + 1)
    with pytest.raises(Rejection, match="annotation file too large"):
        read_scoring(path, table())


@pytest.mark.parametrize("label", ["HYP", "W", "Snore"])
@pytest.mark.parametrize("times", ["seconds", "clock"])
def test_more_annotations_than_a_night_can_have_are_refused(
    path: Path, label: str, times: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("somnoflow.io.scoring.MOST_ANNOTATIONS", 20)
    monkeypatch.setattr("somnoflow.io.annotation_tables.MOST_ANNOTATIONS", 20)
    onset = "22:00:00" if times == "clock" else "0"
    text = "onset,duration,label\n" + f"{onset},1,{label}\n" * 21
    assert read(path, text.removesuffix(f"{onset},1,{label}\n"), table(times=times))
    rejection = refused(path, text, table(times=times))
    assert rejection.found == "more than 20 annotations in s.csv"
