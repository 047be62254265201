"""NSRR and Profusion XML: as their programs write it, as it must not be, and as an attack."""

import datetime
from pathlib import Path

import pytest
from tests.scorings import NSRR_STAGES, write_nsrr_xml, write_profusion_xml

from somnoflow.config.annotation import Annotation
from somnoflow.io.annotations import Scoring, read_scoring
from somnoflow.io.rejection import Rejection
from somnoflow.stages import Stage

NSRR = Annotation(format="nsrr-xml", vocabulary=["nsrr"])
PROFUSION = Annotation(format="profusion-xml", vocabulary=["profusion"])
STAGES = [Stage.W, Stage.N1, Stage.N2, Stage.N3, Stage.N3, Stage.REM]
LAUGHS = "".join(f'<!ENTITY l{n + 1} "&l{n};&l{n};&l{n};&l{n};">' for n in range(30))
BOMB = (
    f'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY l0 "ha">{LAUGHS}]>'
    "<PSGAnnotation><EpochLength>&l30;</EpochLength></PSGAnnotation>"
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path, annotation: Annotation = NSRR) -> Rejection:
    with pytest.raises(Rejection) as caught:
        read_scoring(path, annotation)
    assert all(caught.value.row().values())
    return caught.value


def nsrr(tmp_path: Path, *events: str, page: str = "<EpochLength>30</EpochLength>") -> Path:
    """Write a PSGAnnotation of `<...>` texts, each the inside of a ScoredEvent."""
    rows = "".join(f"<ScoredEvent>{event}</ScoredEvent>" for event in events)
    body = f"<PSGAnnotation>{page}<ScoredEvents>{rows}</ScoredEvents></PSGAnnotation>"
    return write(tmp_path / "s.xml", body)


def event(kind: str = "Stages|Stages", concept: str = "Wake|0", times: str = "") -> str:
    times = times or "<Start>0</Start><Duration>30</Duration>"
    return f"<EventType>{kind}</EventType><EventConcept>{concept}</EventConcept>{times}"


def test_nsrr_stages_events_and_clock(tmp_path: Path) -> None:
    path = write_nsrr_xml(
        tmp_path / "s.xml",
        [(30 * n, 30, concept) for n, concept in enumerate(NSRR_STAGES)],
        [(62.5, 11.25, "Hypopnea|Hypopnea"), (-5, 9, "Central apnea|Central Apnea"),
         (100, 4, "Unsure|Unsure")],
        clock="00.00.00 22.47.45",
    )  # fmt: skip
    scoring = read_scoring(path, NSRR)
    assert scoring.stages == [(30 * n, 30, stage) for n, stage in enumerate(STAGES)]
    assert scoring.events == [(62.5, 11.25, "hypopnea"), (-5, 9, "central_apnea")]
    assert scoring.unused == {"Unsure|Unsure": 1}
    assert scoring.clock == datetime.time(22, 47, 45)
    assert (scoring.start, scoring.has_clock, scoring.notes) == (None, False, [])


def test_nsrr_runs_are_kept_as_runs(tmp_path: Path) -> None:
    path = write_nsrr_xml(tmp_path / "s.xml", [(0, 630.0, "Wake|0"), (630.0, 90, "REM sleep|5")])
    assert read_scoring(path, NSRR).stages == [(0, 630, Stage.W), (630, 90, Stage.REM)]


@pytest.mark.parametrize(
    ("clock", "wanted"),
    [("00.00.00 22.47.45", datetime.time(22, 47, 45)),
     ("01.01.85 06:01:02", datetime.time(6, 1, 2)), ("22.47.45", datetime.time(22, 47, 45)),
     ("", None), ("00.00.00 24.61.00", None), ("later", None)],
)  # fmt: skip
def test_nsrr_a_clock_that_is_none_is_noted(
    tmp_path: Path, clock: str, wanted: datetime.time | None
) -> None:
    path = write_nsrr_xml(tmp_path / "s.xml", [(0, 30, "Wake|0")], clock=clock)
    scoring = read_scoring(path, NSRR)
    assert scoring.clock == wanted
    assert bool(scoring.notes) == (wanted is None)


def test_nsrr_two_clocks_are_noted(tmp_path: Path) -> None:
    start = "<EventConcept>Recording Start Time</EventConcept><ClockTime>00.00.00 {}</ClockTime>"
    path = nsrr(tmp_path, start.format("22.00.00"), start.format("23.00.00"), event())
    scoring = read_scoring(path, NSRR)
    assert scoring.clock == datetime.time(22)
    assert scoring.notes == ["two clocks in the scoring: 22:00:00 and 23:00:00"]


def test_case_and_blanks_do_not_count(tmp_path: Path) -> None:
    path = nsrr(
        tmp_path,
        event(concept="\n  stage 2  SLEEP|2\t"),
        event("Arousals|Arousals", "arousal|Arousal (STANDARD)"),
    )
    scoring = read_scoring(path, NSRR)
    assert scoring.stages == [(0, 30, Stage.N2)]
    assert scoring.events == [(0, 30, "arousal")]


@pytest.mark.parametrize(
    ("inside", "problem", "found"),
    [(event(concept="Stage 5 sleep|5"), "unknown stage label", "'Stage 5 sleep|5'"),
     (event(concept=""), "unknown stage label", "''"),
     (event(times="<Duration>30</Duration>"), "not a time", "Start ''"),
     (event(times="<Start>0</Start>"), "stage without a duration", "'Wake|0' at 0 s"),
     (event(times="<Start>0</Start><Duration>0</Duration>"), "stage without a duration", "0 s"),
     (event(times="<Start>0</Start><Duration>-30</Duration>"), "not a time", "-30"),
     (event(times="<Start>nan</Start><Duration>30</Duration>"), "not a time", "nan"),
     (event(times="<Start>1e300</Start><Duration>30</Duration>"), "not a time", "1e+300"),
     (event(times="<Start>1e999</Start><Duration>30</Duration>"), "not a time", "inf"),
     (event("Respiratory", "Hypopnea|Hypopnea", "<Duration>9</Duration>"), "not a time", "Hypop")],
)  # fmt: skip
def test_nsrr_what_cannot_be_trusted_is_refused(
    tmp_path: Path, inside: str, problem: str, found: str
) -> None:
    rejection = refused(nsrr(tmp_path, inside))
    assert problem in rejection.problem
    assert found in rejection.found


def test_nsrr_an_event_without_a_duration_is_an_instant_and_unused_ones_need_no_times(
    tmp_path: Path,
) -> None:
    path = nsrr(
        tmp_path,
        event("Arousals|Arousals", "Arousal|Arousal ()", "<Start>7</Start>"),
        event("Other", "Technician Notes", "<Start>x</Start>"),
    )
    scoring = read_scoring(path, NSRR)
    assert scoring.events == [(7, 0, "arousal")]
    assert scoring.unused == {"Technician Notes": 1}


@pytest.mark.parametrize("page", ["<EpochLength>10</EpochLength>", "<EpochLength>x</EpochLength>"])
@pytest.mark.parametrize("annotation", [NSRR, PROFUSION])
def test_pages_of_another_length_are_refused(
    tmp_path: Path, page: str, annotation: Annotation
) -> None:
    path = tmp_path / "s.xml"
    if annotation is NSRR:
        write_nsrr_xml(path, [(0, 30, "Wake|0")], page=page)
    else:
        write_profusion_xml(path, "0", page=page)
    rejection = refused(path, annotation)
    assert rejection.problem == "pages of another length"
    assert "EpochLength" in rejection.found


def test_profusion_stages_are_pages_of_the_told_length(tmp_path: Path) -> None:
    path = write_profusion_xml(tmp_path / "s.xml", "01234569", [(33.5, 10, "Mixed Apnea")])
    scoring = read_scoring(path, PROFUSION)
    assert scoring.stages == [
        (30 * n, 30, stage) for n, stage in enumerate([*STAGES, Stage.UNSCORED, Stage.UNSCORED])
    ]
    assert scoring.events == [(33.5, 10, "mixed_apnea")]
    write_profusion_xml(path, "05", page="<EpochLength>20</EpochLength>")
    assert read_scoring(path, PROFUSION).stages == [(0, 20, Stage.W), (20, 20, Stage.REM)]
    write_profusion_xml(path, "05", page="")
    assert refused(path, PROFUSION).found == "no EpochLength in s.xml"


@pytest.mark.parametrize("code", ["", "7", "10", "W"])
def test_profusion_a_page_of_no_known_stage_is_refused_and_never_shifts(
    tmp_path: Path, code: str
) -> None:
    rejection = refused(write_profusion_xml(tmp_path / "s.xml", ["0", code, "5"]), PROFUSION)
    assert rejection.problem == "unknown stage label"
    assert f"'{code}' in SleepStage 2" in rejection.found


def test_profusion_what_is_no_stage_among_stages_is_refused(tmp_path: Path) -> None:
    text = (
        "<CMPStudyConfig><EpochLength>30</EpochLength><SleepStages><SleepStage>0</SleepStage>"
        "<Sleepstage>1</Sleepstage><SleepStage>2</SleepStage></SleepStages></CMPStudyConfig>"
    )
    rejection = refused(write(tmp_path / "s.xml", text), PROFUSION)
    assert rejection.found == "Sleepstage as child 2 of SleepStages in s.xml"


def test_profusion_the_name_of_an_event_is_no_stage(tmp_path: Path) -> None:
    path = write_profusion_xml(tmp_path / "s.xml", "00", [(0, 30, "5")])
    scoring = read_scoring(path, PROFUSION)
    assert scoring.stages == [(0, 30, Stage.W), (30, 30, Stage.W)]
    assert scoring.unused == {"5": 1}


@pytest.mark.parametrize(
    ("annotation", "root", "advice"),
    [(NSRR, "CMPStudyConfig", "format: profusion-xml"), (PROFUSION, "PSGAnnotation", "nsrr-xml"),
     (NSRR, "PatientStudy", "Check that it is the scoring")],
)  # fmt: skip
def test_another_kind_of_xml_is_named(
    tmp_path: Path, annotation: Annotation, root: str, advice: str
) -> None:
    rejection = refused(write(tmp_path / "s.xml", f"<{root}><a/></{root}>"), annotation)
    assert rejection.problem == "another kind of XML"
    assert root in rejection.found
    assert advice in rejection.advice


@pytest.mark.parametrize(
    "text",
    [BOMB,
     '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><PSGAnnotation>&x;</PSGAnnotation>',
     '<!DOCTYPE r SYSTEM "http://127.0.0.1:9/a.dtd"><PSGAnnotation/>',
     "<!DOCTYPE PSGAnnotation><PSGAnnotation/>"],
)  # fmt: skip
def test_entities_and_document_types_are_refused_unexpanded(tmp_path: Path, text: str) -> None:
    rejection = refused(write(tmp_path / "s.xml", text))
    assert rejection.problem == "refused XML"
    assert "root:" not in str(rejection)


@pytest.mark.parametrize(
    "content",
    [b"not xml", b"<PSGAnnotation>", b"<PSGAnnotation>\0</PSGAnnotation>", b"\xff\xfe\x00",
     b'<?xml version="1.0" encoding="no-such"?><PSGAnnotation/>',
     b'<?xml version="1.0" encoding="utf-7"?><PSGAnnotation/>', b"<a/>" * 3],
)  # fmt: skip
def test_what_is_no_xml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.xml").write_bytes(content)
    assert refused(tmp_path / "s.xml").problem == "not XML"


def test_an_empty_file_is_refused_and_one_without_events_is_not(tmp_path: Path) -> None:
    assert refused(write(tmp_path / "s.xml", " \r\n")).problem == "empty annotation file"
    assert read_scoring(nsrr(tmp_path), NSRR) == Scoring()
    assert read_scoring(write_profusion_xml(tmp_path / "p.xml", ""), PROFUSION) == Scoring()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_the_encoding_of_the_declaration_counts(tmp_path: Path, encoding: str) -> None:
    told = encoding.replace("-sig", "")
    text = (
        f'<?xml version="1.0" encoding="{told}"?>\r\n<PSGAnnotation xmlns="urn:x">\r\n'
        f"<ScoredEvents><ScoredEvent>{event()}</ScoredEvent>\r\n"
        f"<ScoredEvent>{event('x', 'Müdigkeit')}</ScoredEvent></ScoredEvents></PSGAnnotation>"
    )
    (tmp_path / "s.xml").write_bytes(text.encode(encoding))
    scoring = read_scoring(tmp_path / "s.xml", NSRR)
    assert scoring.stages == [(0, 30, Stage.W)]
    assert scoring.unused == {"Müdigkeit": 1}


def test_more_tags_than_a_night_can_have_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "s.xml", "<PSGAnnotation>" + "<a>" * 2_000_000)
    assert refused(path).problem == "annotation file too large"


def test_deep_nesting_does_not_crash(tmp_path: Path) -> None:
    deep = "<a>" * 200_000 + "</a>" * 200_000
    path = write(tmp_path / "s.xml", f"<PSGAnnotation>{deep}</PSGAnnotation>")
    assert read_scoring(path, NSRR) == Scoring()
