"""Exports: each format read back by readers of others and by our own; names, bytes, bad input."""

import csv
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, time, timedelta
from itertools import groupby
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import polars as pl
import pytest
import xmlschema
from defusedxml.ElementTree import parse
from hypothesis import given, settings
from hypothesis import strategies as st

from somnoflow.config.annotation import Annotation
from somnoflow.config.base import ConfigError
from somnoflow.export import files
from somnoflow.export.files import FORMATS, export_night, left_out, name_files
from somnoflow.io.annotations import read_scoring
from somnoflow.io.scoring import Scoring
from somnoflow.scoring.hypnogram import Hypnogram
from somnoflow.stages import STAGE_NAMES, Stage
from somnoflow.tasks import TASKS

START = datetime(2021, 3, 4, 22, 30, 5)
STAGES = ["W", "W", "N1", "N2", "N2", "N3", None, "N2", "REM", "REM", "W", None]
APNEAS = ["none", "apnea", "apnea", None, "none", "apnea"]
HOSTILE = "<script>alert('&\"]]>')</script> \u202eÄ 睡眠 %s {0} $(touch x);"
YASA = {"W": "WAKE", "N1": "N1", "N2": "N2", "N3": "N3", "REM": "REM", None: "UNS"}
TEXTS = {"W": "Sleep stage W", "N1": "Sleep stage N1", "N2": "Sleep stage N2",
         "N3": "Sleep stage N3", "REM": "Sleep stage R", None: "Sleep stage ?"}  # fmt: skip
nights = st.lists(st.sampled_from([*STAGE_NAMES, None]), min_size=1, max_size=40)


def night(
    classes: list[str | None],
    *,
    task: str = "staging",
    start: datetime | None = START,
    onset_s: float = 0.0,
) -> Hypnogram:
    """Give a hypnogram with drawn probabilities."""
    asked = TASKS[task]
    drawn = np.random.default_rng(3).dirichlet([1.0] * len(asked.classes), len(classes))
    answered = [one is not None for one in classes]
    columns = {
        name: [float(p) if there else None for p, there in zip(column, answered, strict=True)]
        for name, column in zip(asked.probabilities, drawn.T, strict=True)
    }
    confidence = [
        None if name is None else columns[f"p_{name}"][row] for row, name in enumerate(classes)
    ]
    table = pl.DataFrame(
        {
            "epoch": range(len(classes)),
            "onset_s": [onset_s + 30.0 * n for n in range(len(classes))],
            asked.column: classes,
            "confidence": confidence,
            **columns,
        },
        schema={
            "epoch": pl.Int32, "onset_s": pl.Float64, asked.column: pl.String,
            **dict.fromkeys(("confidence", *columns), pl.Float64),
        },
    )  # fmt: skip
    return Hypnogram(
        recording="night", start=start, task=asked, table=table,
        threshold=0.5 if asked.rare else None,
        made_by={"model": HOSTILE, "stride": 1}, night={"epochs": len(classes)},
    )  # fmt: skip


def export(hypnogram: Hypnogram, to: Path, *formats: str, name: str = "night") -> list[Path]:
    return export_night(hypnogram, to=to, name=name, formats=formats)


def per_epoch(scoring: Scoring, *, onset_s: float = 0.0) -> list[str | None]:
    """Give the stage of each epoch from the runs of a scoring."""
    found: list[str | None] = []
    for onset, duration, stage in scoring.stages:
        assert onset == onset_s + 30 * len(found)
        found += [None if stage is Stage.UNSCORED else stage.name] * int(duration / 30)
    return found


def runs(classes: list[str | None]) -> list[tuple[float, float, str | None]]:
    """Give (onset s, duration s, class) of what is the same."""
    found, first = [], 0
    for name, group in groupby(classes):
        length = len(list(group))
        found.append((30.0 * first, 30.0 * length, name))
        first += length
    return found


# Names of the files


def test_names_of_the_files_are_those_promised(tmp_path: Path) -> None:
    written = export(night(STAGES), tmp_path / "new", *FORMATS)
    assert [path.name for path in written] == [
        "night.csv", "night-annotations.edf", "night.xml", "night_events.json",
        "night_events.tsv", "night-yasa.csv",
    ]  # fmt: skip
    assert {path.parent for path in written} == {tmp_path / "new"}
    assert sorted((tmp_path / "new").iterdir()) == sorted(written)


def test_only_what_was_asked_for_is_written_once(tmp_path: Path) -> None:
    assert export(night(STAGES), tmp_path, "xml", "csv", "xml") == [
        tmp_path / "night.xml", tmp_path / "night.csv"
    ]  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 2
    assert export(night(STAGES), tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


def test_an_unknown_format_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no format 'edf\+', 'CSV'. Wanted some of: csv, edf"):
        export(night(STAGES), tmp_path, "csv", "edf+", "CSV")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    ["../x", "a/b", "/etc/x", "..", ".", "", " ", "a\\b", "a\tb", "a\nb", "a\0b", "a\x7fb"],
)
def test_a_name_that_leads_elsewhere_or_breaks_a_line_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "to"
    with pytest.raises(ConfigError, match=r"is no name of a file\. Wanted"):
        export(night(STAGES), folder, *FORMATS, name=name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["<script>", HOSTILE.replace("/", ""), ".night", "a..b", "-rf", "n\udce4ht"]
)
def test_an_odd_name_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    written = export(night(STAGES), tmp_path / "to", *FORMATS, name=name)
    assert len(written) == 6
    assert all(path.parent == tmp_path / "to" and path.name.startswith(name) for path in written)
    assert sorted(tmp_path.rglob("*")) == sorted([tmp_path / "to", *written])


@settings(deadline=None)
@given(st.text(max_size=20))
def test_no_name_leaves_the_folder(name: str) -> None:
    to = Path("/somewhere/to")
    try:
        named = name_files(TASKS["staging"], to=to, name=name, formats=FORMATS)
    except ConfigError:
        return
    assert {path.parent for path in named} == {to}
    assert all(path.resolve().parent == to.resolve() for path in named)


# Bytes


def test_the_same_hypnogram_is_the_same_bytes(tmp_path: Path) -> None:
    for hypnogram in (night(STAGES), night(APNEAS, task="apnea"), night(STAGES, start=None)):
        first = export(hypnogram, tmp_path / "a", *FORMATS)
        again = export(hypnogram, tmp_path / "b", *FORMATS)
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_a_file_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [old] = export(night(STAGES), tmp_path, "xml")
    before = old.read_bytes()

    def fail(path: Path, hypnogram: Hypnogram) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(files._FILES, "xml", {".xml": fail})
    with pytest.raises(OSError, match="the disk is full"):
        export(night(STAGES[:3]), tmp_path, "xml")
    assert old.read_bytes() == before
    assert list(tmp_path.iterdir()) == [old]


# CSV


def test_csv_is_the_table_with_six_decimals(tmp_path: Path) -> None:
    hypnogram = night(STAGES)
    [path] = export(hypnogram, tmp_path, "csv")
    rows = list(csv.DictReader(path.open(encoding="utf-8", newline="")))
    assert list(rows[0]) == hypnogram.table.columns
    assert [row["stage"] or None for row in rows] == STAGES
    assert [float(row["onset_s"]) for row in rows] == [30.0 * n for n in range(len(STAGES))]
    for row, wanted in zip(rows, hypnogram.table.iter_rows(named=True), strict=True):
        for name in ("confidence", "p_W", "p_REM"):
            said = float(row[name]) if row[name] else None
            assert said == (None if wanted[name] is None else round(wanted[name], 6))


# EDF+


def test_edf_by_mne(tmp_path: Path) -> None:
    import mne

    [path] = export(night(STAGES), tmp_path, "edf")
    found = mne.read_annotations(path)
    said = zip(found.onset, found.duration, found.description, strict=True)
    assert list(said) == [(onset, length, TEXTS[name]) for onset, length, name in runs(STAGES)]


def test_edf_over_a_recording_by_mne(tmp_path: Path) -> None:
    import mne

    [path] = export(night(STAGES[:6]), tmp_path, "edf")
    info = mne.create_info(["EEG"], 10, "eeg")
    raw = mne.io.RawArray(np.zeros((1, 1800)), info, verbose="error")
    raw.set_meas_date(START.replace(tzinfo=UTC))
    raw.set_annotations(mne.read_annotations(path), verbose="error")
    events, ids = mne.events_from_annotations(raw, chunk_duration=30.0, verbose="error")
    names = {number: text for text, number in ids.items()}
    assert [names[code] for code in events[:, 2]] == [TEXTS[name] for name in STAGES[:6]]
    assert events[:, 0].tolist() == [300 * n for n in range(6)]


def test_edf_by_edfio(tmp_path: Path) -> None:
    import edfio

    [path] = export(night(STAGES), tmp_path, "edf")
    found = edfio.read_edf(path)
    assert found.startdatetime == START
    assert found.num_signals == 0
    assert found.reserved == "EDF+C"
    assert [tuple(one) for one in found.annotations] == [
        (onset, length, TEXTS[name]) for onset, length, name in runs(STAGES)
    ]
    assert (found.patient.name, found.patient.code) == ("X", "X")


def edf_plus(path: Path, **more: dict[str, str]) -> Scoring:
    return read_scoring(path, Annotation(format="edf+", vocabulary=["edf+"], **more))


@pytest.mark.parametrize(
    ("start", "wanted"),
    [(START, START), (None, None), (START.replace(microsecond=250000),) * 2,
     (START.replace(tzinfo=UTC), START), (datetime(1985, 1, 1, 22, 30), None),
     (datetime(2084, 12, 31, 23, 59), datetime(2084, 12, 31, 23, 59)),
     (datetime(1984, 12, 31, 23), None), (datetime(2085, 1, 1), None)],
)  # fmt: skip
def test_edf_by_our_reader(tmp_path: Path, start: datetime | None, wanted: datetime | None) -> None:
    [path] = export(night(STAGES, start=start), tmp_path, "edf")
    scoring = edf_plus(path)
    assert per_epoch(scoring) == STAGES
    if start is None or start.year != 1985:  # which our reader may take for an anonymous file
        assert scoring.start == wanted


def test_edf_without_a_start_has_no_date(tmp_path: Path) -> None:
    [path] = export(night(STAGES, start=None), tmp_path, "edf")
    header = path.read_bytes()[:256]
    assert header[8:88].strip() == b"X X X X"
    assert header[88:168].strip() == b"Startdate X X X Somnoflow"
    assert header[168:184] == b"01.01.8500.00.00"


def test_edf_of_a_start_within_a_second(tmp_path: Path) -> None:
    import edfio

    start = START + timedelta(milliseconds=250)
    [path] = export(night(STAGES, start=start), tmp_path, "edf")
    found = edfio.read_edf(path)
    assert found.startdatetime == start
    assert [one.onset for one in found.annotations] == [onset for onset, _, _ in runs(STAGES)]


def test_edf_of_the_longest_night_without_a_run_twice_the_same(tmp_path: Path) -> None:
    import mne

    stages = ["W", "N1"] * 1800  # 30 hours
    [path] = export(night(stages), tmp_path, "edf")
    assert per_epoch(edf_plus(path)) == stages
    assert len(mne.read_annotations(path)) == 3600


# XML


def shape(element: Element) -> tuple[str, ...]:
    return tuple(child.tag for child in element)


def test_xml_has_the_layout_of_the_resource(tmp_path: Path) -> None:
    [path] = export(night(STAGES), tmp_path, "xml")
    root = parse(path).getroot()
    assert root.tag == "PSGAnnotation"
    assert shape(root) == ("SoftwareVersion", "EpochLength", "ScoredEvents")
    assert root.findtext("EpochLength") == "30"
    start, *stages = root.find("ScoredEvents")
    assert {event.tag for event in (start, *stages)} == {"ScoredEvent"}
    assert shape(start) == ("EventType", "EventConcept", "Start", "Duration", "ClockTime")
    assert [child.text for child in start] == [
        None, "Recording Start Time", "0", "360.0", "00.00.00 22.30.05"
    ]  # fmt: skip
    assert {shape(event) for event in stages} == {
        ("EventType", "EventConcept", "Start", "Duration")
    }
    assert {event.findtext("EventType") for event in stages} == {"Stages|Stages"}
    concept = re.compile(r"(Wake\|0|Stage ([123]) sleep\|\2|REM sleep\|5|Unscored\|9)")
    assert all(concept.fullmatch(event.findtext("EventConcept")) for event in stages)
    times = [(float(event[2].text), float(event[3].text)) for event in stages]
    assert times == [(onset, length) for onset, length, _ in runs(STAGES)]


@pytest.mark.parametrize("start", [START, None])
@pytest.mark.parametrize(("classes", "task"), [(STAGES, "staging"), (APNEAS, "apnea")])
def test_xml_is_as_its_schema_wants_it(
    tmp_path: Path, classes: list[str | None], task: str, start: datetime | None
) -> None:
    schema = xmlschema.XMLSchema(Path(__file__).with_name("psg_annotation.xsd"))
    [path] = export(night(classes, task=task, start=start), tmp_path, "xml")
    schema.validate(path)
    text = path.read_text(encoding="utf-8")
    for old, new in (("<Duration>30.0<", "<Duration>-30.0<"), ("EventConcept", "Concept")):
        assert old in text
        assert not schema.is_valid(text.replace(old, new))


def test_xml_by_lines_of_text_as_readers_of_shhs_do(tmp_path: Path) -> None:
    [path] = export(night(STAGES), tmp_path, "xml")
    text = path.read_bytes().decode("utf-8")
    assert text.startswith('<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<PSGAnno')
    begins = r"<EventConcept>Recording Start Time</EventConcept>\n<Start>0</Start>"
    assert len(re.findall(begins, text)) == 1
    blocks = re.findall(
        r"<EventType>Stages.Stages</EventType>\n<EventConcept>(.+)</EventConcept>\n"
        r"<Start>([0-9.]+)</Start>\n<Duration>([0-9.]+)</Duration>\n",
        text,
    )
    codes = {"W": "0", "N1": "1", "N2": "2", "N3": "3", "REM": "5", None: "9"}
    assert [(concept[-1], float(begin), float(length)) for concept, begin, length in blocks] == [
        (codes[name], onset, length) for onset, length, name in runs(STAGES)
    ]


@pytest.mark.parametrize(
    ("start", "clock", "notes"), [(START, time(22, 30, 5), 0), (None, None, 1)]
)
def test_xml_by_our_reader(
    tmp_path: Path, start: datetime | None, clock: time | None, notes: int
) -> None:
    [path] = export(night(STAGES, start=start), tmp_path, "xml")
    scoring = read_scoring(path, Annotation(format="nsrr-xml", vocabulary=["nsrr"]))
    assert per_epoch(scoring) == STAGES
    assert (scoring.clock, len(scoring.notes), scoring.unused) == (clock, notes, {})


# BIDS


def test_bids_by_pandas(tmp_path: Path) -> None:
    import pandas as pd

    hypnogram = night(STAGES)
    sidecar, path = export(hypnogram, tmp_path, "bids")
    table = pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)
    assert list(table.columns[:4]) == ["onset", "duration", "trial_type", "confidence"]
    assert table["onset"].tolist() == [30.0 * n for n in range(len(STAGES))]
    assert set(table["duration"]) == {30.0}
    assert [name if isinstance(name, str) else None for name in table["trial_type"]] == STAGES
    sums = table.filter(like="p_").sum(axis=1)[table["trial_type"].notna()]
    assert np.allclose(sums, 1, atol=5e-6)
    assert table["confidence"].isna().tolist() == [name is None for name in STAGES]

    described = json.loads(sidecar.read_text(encoding="utf-8"))
    assert set(table.columns) == set(described) - {"GeneratedBy"}
    assert all(one["Description"] for one in (described[name] for name in table.columns))
    assert set(described["trial_type"]["Levels"]) == set(STAGE_NAMES)
    assert described["GeneratedBy"][0]["Parameters"] == {"model": HOSTILE, "stride": 1}


def test_bids_cells_are_those_of_the_specification(tmp_path: Path) -> None:
    _, path = export(night(STAGES), tmp_path, "bids")
    content = path.read_bytes()
    assert b"\r" not in content
    assert b'"' not in content
    lines = content.decode("utf-8").removesuffix("\n").split("\n")
    cells = [line.split("\t") for line in lines]
    assert len({len(row) for row in cells}) == 1
    assert "" not in {cell for row in cells for cell in row}
    number = re.compile(r"[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?|n/a")
    assert all(number.fullmatch(cell) for row in cells[1:] for cell in (*row[:2], *row[3:]))


def test_bids_by_our_reader(tmp_path: Path) -> None:
    _, path = export(night(STAGES), tmp_path, "bids")
    annotation = Annotation(format="bids-tsv", vocabulary=["aasm"], stages={"n/a": "unscored"})
    assert per_epoch(read_scoring(path, annotation)) == STAGES


# YASA


def test_yasa_takes_its_hypnogram(tmp_path: Path) -> None:
    import pandas as pd
    from yasa import Hypnogram as OfYasa
    from yasa import hypno_str_to_int

    [path] = export(night(STAGES), tmp_path, "yasa")
    table = pd.read_csv(path)
    found = OfYasa(table["Stage"], freq="30s", start=START)
    assert found.hypno.tolist() == [YASA[name] for name in STAGES]
    with pytest.warns(FutureWarning, match="hypno_str_to_int"):
        numbers = hypno_str_to_int(table["Stage"])
    assert numbers.tolist() == found.as_int().tolist()
    own = tmp_path / "own.csv"
    OfYasa([YASA[name] for name in STAGES]).hypno.to_csv(own)
    assert path.read_text() == own.read_text()


# Models of events


@pytest.mark.parametrize("task", [task.name for task in TASKS.values() if task.rare])
def test_events_in_all_formats_but_those_of_stages(tmp_path: Path, task: str) -> None:
    classes = [task if name == "apnea" else name for name in APNEAS]
    written = export(night(classes, task=task), tmp_path, *FORMATS)
    assert [path.name for path in written] == [
        "night.csv", "night-annotations.edf", "night.xml", "night_events.json",
        "night_events.tsv",
    ]  # fmt: skip
    assert left_out(TASKS[task], formats=FORMATS) == ["yasa"]
    assert left_out(TASKS["staging"], formats=FORMATS) == []
    levels = json.loads(written[3].read_text(encoding="utf-8"))["trial_type"]["Levels"]
    assert set(levels) == {"none", task}


def test_events_are_runs_of_epochs_and_say_so(tmp_path: Path) -> None:
    import mne

    edf, xml = export(night(APNEAS, task="apnea"), tmp_path, "edf", "xml")
    said = "Epochs with apnea"
    wanted = [(30.0, 60.0, said), (90.0, 30.0, "Epochs without a usable signal"),
              (150.0, 30.0, said)]  # fmt: skip
    found = mne.read_annotations(edf)
    assert list(zip(found.onset, found.duration, found.description, strict=True)) == wanted
    _, *events = parse(xml).getroot().find("ScoredEvents")
    assert {event.findtext("EventType") for event in events} == {"Respiratory|Respiratory"}
    assert [(float(e[2].text), float(e[3].text), e[1].text) for e in events] == [
        (onset, length, f"{text}|{text}") for onset, length, text in wanted
    ]


def test_no_reader_counts_runs_of_epochs_as_events(tmp_path: Path) -> None:
    classes = [None if name is None else name.replace("apnea", "hypopnea") for name in APNEAS]
    edf, xml = export(night(classes, task="hypopnea"), tmp_path, "edf", "xml")
    plain = read_scoring(edf, Annotation(format="edf+", vocabulary=["edf+", "edf+events"]))
    assert (plain.events, plain.unused["Epochs with hypopnea"]) == ([], 2)
    nsrr = read_scoring(xml, Annotation(format="nsrr-xml", vocabulary=["nsrr"]))
    assert (nsrr.stages, nsrr.events) == ([], [])
    asked = edf_plus(edf, events={"Epochs with hypopnea": "hypopnea"})
    assert asked.events == [(30.0, 60.0, "hypopnea"), (150.0, 30.0, "hypopnea")]


def test_a_night_without_events(tmp_path: Path) -> None:
    import mne

    edf, xml = export(night(["none"] * 4, task="apnea"), tmp_path, "edf", "xml")
    assert mne.read_annotations(edf).description.tolist() == ["No event"]
    assert len(parse(xml).getroot().find("ScoredEvents")) == 1


# Odd nights


@pytest.mark.parametrize(
    "classes",
    [["W"], [None], [None] * 4, ["W"] * 19, ["N2"] * 3000, ["W", "N1"] * 20],
    ids=["one", "unusable", "all unusable", "all wake", "over 24 h", "no runs"],
)
def test_odd_nights_come_back(tmp_path: Path, classes: list[str | None]) -> None:
    import pandas as pd

    edf, xml, _, bids, yasa = export(night(classes), tmp_path, "edf", "xml", "bids", "yasa")
    assert per_epoch(edf_plus(edf)) == classes
    nsrr = Annotation(format="nsrr-xml", vocabulary=["nsrr"])
    assert per_epoch(read_scoring(xml, nsrr)) == classes
    annotation = Annotation(format="bids-tsv", vocabulary=["aasm"], stages={"n/a": "unscored"})
    assert per_epoch(read_scoring(bids, annotation)) == classes
    assert pd.read_csv(yasa)["Stage"].tolist() == [YASA[name] for name in classes]


def test_epochs_may_begin_within_the_recording(tmp_path: Path) -> None:
    edf, xml, _, bids = export(night(STAGES, onset_s=12.345), tmp_path, "edf", "xml", "bids")
    assert edf_plus(edf).stages[0][:2] == (12.345, 60.0)
    nsrr = read_scoring(xml, Annotation(format="nsrr-xml", vocabulary=["nsrr"]))
    assert nsrr.stages[0][:2] == (12.345, 60.0)
    assert bids.read_text(encoding="utf-8").splitlines()[1].startswith("12.345\t30.0\tW\t")


@settings(derandomize=True, deadline=None, max_examples=40)
@given(nights)
def test_any_night_comes_back(tmp_path_factory: pytest.TempPathFactory, classes: list) -> None:
    folder = tmp_path_factory.mktemp("night")
    edf, xml = export(night(classes), folder, "edf", "xml")
    assert per_epoch(edf_plus(edf)) == classes
    nsrr = Annotation(format="nsrr-xml", vocabulary=["nsrr"])
    assert per_epoch(read_scoring(xml, nsrr)) == classes


def test_what_a_score_need_not_wait_for_is_not_imported() -> None:
    program = (
        "import sys, somnoflow.export.files\n"
        "print(sorted({'edfio', 'yasa', 'pandas', 'mne', 'torch'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "[]"
