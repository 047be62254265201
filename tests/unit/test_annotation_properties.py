"""Whatever a file holds, it gives a scoring or a rejection; what is written is read back equal."""

import codecs
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recordings import write_scoring
from tests.scorings import write_nsrr_xml, write_profusion_xml

from somnoflow.config.annotation import Annotation
from somnoflow.io.annotations import Scoring, read_scoring
from somnoflow.io.rejection import Rejection
from somnoflow.stages import SCORED_STAGES, Stage

STAGES = {"Wake": "W", "N1": "N1", "N2": "N2", "N3": "N3", "REM": "REM", "?": "unscored"}
EVENTS = {"OA": "obstructive_apnea", "Hypopnée": "hypopnea", "a|b": "arousal"}
CODES = dict(zip(STAGES, (*SCORED_STAGES, Stage.UNSCORED), strict=True))
Spans = list[tuple[float, float, str]]

ANNOTATIONS = {
    "codes": Annotation.model_validate({"format": "codes", "stages": STAGES}),
    "edf+": Annotation.model_validate({"format": "edf+", "stages": STAGES, "events": EVENTS}),
    "bids-tsv": Annotation.model_validate(
        {"format": "bids-tsv", "stages": STAGES, "events": EVENTS}
    ),
    "csv": Annotation.model_validate({"format": "csv", "stages": STAGES, "events": EVENTS}),
    "noxturnal-csv": Annotation.model_validate(
        {"format": "noxturnal-csv", "stages": STAGES, "events": EVENTS}
    ),
    "nsrr-xml": Annotation.model_validate(
        {"format": "nsrr-xml", "stages": STAGES, "events": EVENTS}
    ),
    "profusion-xml": Annotation.model_validate(
        {"format": "profusion-xml", "stages": STAGES, "events": EVENTS}
    ),
}
modestly = settings(max_examples=40, derandomize=True, deadline=None)
tenths = st.integers(0, 300_000).map(lambda n: n / 10)
hypnograms = st.lists(st.sampled_from(list(STAGES)), min_size=1, max_size=20)
spans = st.lists(st.tuples(tenths, tenths, st.sampled_from(list(EVENTS))), max_size=8)


def write_codes(path: Path, stages: list[str], events: Spans) -> None:
    path.write_text("\n".join(stages), encoding="utf-8")


def write_edf(path: Path, stages: list[str], events: Spans) -> None:
    write_scoring(path, [*pages(stages), *events])


def write_tsv(path: Path, stages: list[str], events: Spans) -> None:
    rows = [f"{on}\t{length}\t{label}" for on, length, label in [*pages(stages), *events]]
    path.write_text("\n".join(["onset\tduration\ttrial_type", *rows]), encoding="utf-8")


def write_csv(path: Path, stages: list[str], events: Spans) -> None:
    rows = [f'{on},{length},"{label}"' for on, length, label in [*pages(stages), *events]]
    path.write_text("\n".join(["onset,duration,label", *rows]), encoding="utf-8")


def write_noxturnal(path: Path, stages: list[str], events: Spans) -> None:
    rows = [
        f"{clock(onset)}\t{clock(onset + length)}\t{label}"
        for onset, length, label in [*pages(stages), *events]
    ]
    path.write_text("\n".join(["Start Time\tEnd Time\tEvent", *rows]), encoding="utf-16")


def write_nsrr(path: Path, stages: list[str], events: Spans) -> None:
    write_nsrr_xml(path, pages(stages), events)


def write_profusion(path: Path, stages: list[str], events: Spans) -> None:
    write_profusion_xml(path, stages, events)


WRITERS: dict[str, Callable[[Path, list[str], Spans], None]] = {
    "codes": write_codes,
    "edf+": write_edf,
    "bids-tsv": write_tsv,
    "csv": write_csv,
    "noxturnal-csv": write_noxturnal,
    "nsrr-xml": write_nsrr,
    "profusion-xml": write_profusion,
}


def pages(stages: list[str]) -> Spans:
    return [(30.0 * number, 30.0, stage) for number, stage in enumerate(stages)]


def clock(second: float) -> str:
    """Write seconds after 22:00 as a date and a time."""
    tenth = round(second * 10) + 22 * 36_000
    day, tenth = 3 + tenth // 864_000, tenth % 864_000
    hour, minute = tenth // 36_000, tenth // 600 % 60
    return f"2021-03-{day:02d} {hour:02d}:{minute:02d}:{tenth // 10 % 60:02d}.{tenth % 10}"


def read(form: str, content: bytes) -> Scoring:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        path.write_bytes(content)
        return read_scoring(path, ANNOTATIONS[form])


def outcome_of(form: str, content: bytes) -> Scoring | Rejection:
    try:
        return read(form, content)
    except Rejection as rejection:
        return rejection


def written(form: str, stages: list[str], events: Spans) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        WRITERS[form](path, stages, events)
        return path.read_bytes()


@pytest.mark.parametrize("form", list(WRITERS))
@modestly
@given(hypnograms, spans)
def test_what_is_written_is_read_back(form: str, stages: list[str], events: Spans) -> None:
    events = [] if form == "codes" else sorted(events)
    scoring = read(form, written(form, stages, events))
    assert scoring.stages == [(on, length, CODES[one]) for on, length, one in pages(stages)]
    found = sorted(scoring.events)
    meant = sorted((onset, length, EVENTS[label]) for onset, length, label in events)
    assert [name for *_, name in found] == [name for *_, name in meant]
    for one, other in zip(found, meant, strict=True):
        assert one[:2] == pytest.approx(other[:2], abs=1e-6)
    assert not scoring.unused


@pytest.mark.parametrize("form", list(WRITERS))
@modestly
@given(st.binary(max_size=400), st.sampled_from([b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE]))
def test_any_bytes_give_a_scoring_or_a_rejection(form: str, content: bytes, mark: bytes) -> None:
    outcome = outcome_of(form, mark + content)
    if isinstance(outcome, Rejection):
        assert all(outcome.row().values())
    else:
        assert not outcome.stages


@pytest.mark.parametrize("form", list(WRITERS))
@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4), st.integers(0, 3)),
                min_size=1, max_size=4))  # fmt: skip
def test_any_damage_gives_a_scoring_or_a_rejection(
    form: str, damages: list[tuple[int, bytes, int]]
) -> None:
    """Labels may be damaged beyond notice, but no stage comes from nowhere and no time is odd."""
    stages = ["Wake", "N2", "N2", "REM"]
    content = written(form, stages, [(5.5, 10, "OA"), (60, 1, "a|b")])
    for place, new, cut in damages:
        at = place % len(content)
        content = content[:at] + new + content[at + cut :]
    scoring = outcome_of(form, content)
    if isinstance(scoring, Rejection):
        assert all(scoring.row().values())
        return
    assert len(scoring.stages) <= len(stages) + len(damages) * 4
    for onset, length, stage in scoring.stages:
        assert abs(onset) <= 1e7
        assert 0 < length <= 1e7
        assert isinstance(stage, Stage)
    for onset, length, _ in scoring.events:
        assert abs(onset) <= 1e7
        assert 0 <= length <= 1e7
