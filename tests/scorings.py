"""Small annotation files in the structure that their programs write, for tests."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

NSRR_STAGES = ("Wake|0", "Stage 1 sleep|1", "Stage 2 sleep|2", "Stage 3 sleep|3",
               "Stage 4 sleep|4", "REM sleep|5")  # fmt: skip


def write_nsrr_xml(
    path: Path,
    stages: Sequence[tuple[float, float, str]],
    events: Sequence[tuple[float, float, str]] = (),
    *,
    clock: str = "00.00.00 22.30.00",
    page: str = "<EpochLength>30</EpochLength>",
) -> Path:
    """Write a PSGAnnotation file: (onset s, duration s, EventConcept) of stages and of events."""
    rows = [
        "<ScoredEvent>\n<EventType/>\n<EventConcept>Recording Start Time</EventConcept>\n"
        f"<Start>0</Start>\n<Duration>32520.0</Duration>\n<ClockTime>{clock}</ClockTime>\n"
        "</ScoredEvent>"
    ]
    for kind, found in (("Stages|Stages", stages), ("Respiratory|Respiratory", events)):
        rows += [
            f"<ScoredEvent>\n<EventType>{kind}</EventType>\n"
            f"<EventConcept>{escape(concept)}</EventConcept>\n<Start>{onset}</Start>\n"
            f"<Duration>{duration}</Duration>\n</ScoredEvent>"
            for onset, duration, concept in found
        ]
    body = "\n".join(rows)
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<PSGAnnotation>\n'
        f"<SoftwareVersion>Compumedics</SoftwareVersion>\n{page}\n"
        f"<ScoredEvents>\n{body}\n</ScoredEvents>\n</PSGAnnotation>\n",
        encoding="utf-8",
    )
    return path


def write_profusion_xml(
    path: Path,
    stages: Sequence[str],
    events: Sequence[tuple[float, float, str]] = (),
    *,
    page: str = "<EpochLength>30</EpochLength>",
) -> Path:
    """Write a CMPStudyConfig file: a code for each page, (onset s, duration s, Name) of events."""
    scored = "\n".join(
        f"<ScoredEvent>\n<Name>{escape(name)}</Name>\n<Start>{onset}</Start>\n"
        f"<Duration>{duration}</Duration>\n<Input>ABDO RES</Input>\n</ScoredEvent>"
        for onset, duration, name in events
    )
    pages = "\n".join(f"<SleepStage>{stage}</SleepStage>" for stage in stages)
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<CMPStudyConfig>\n{page}\n'
        "<ScoredEventSettings>\n<ScoredEventSetting>\n<Name>Hypopnea</Name>\n"
        "</ScoredEventSetting>\n</ScoredEventSettings>\n"
        f"<ScoredEvents>\n{scored}\n</ScoredEvents>\n<SleepStages>\n{pages}\n</SleepStages>\n"
        "</CMPStudyConfig>\n",
        encoding="utf-8",
    )
    return path
