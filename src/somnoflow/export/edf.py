"""A night as an EDF+ file of annotations, with the standard texts of EDF+ for stages.

One annotation is a run of epochs, as in the hypnogram files of Sleep-EDF. The header names nobody;
start date and time are those of the recording, where known: a viewer lays the annotations over the
recording by them. A date that the header cannot hold (before 1985, after 2084) is left out, and the
time of day with it, since a time alone would be one of another day.

Source: Kemp & Olivan 2003, Clin Neurophysiol 114:1755; www.edfplus.info/specs/edftexts.html.
"""

from datetime import datetime
from pathlib import Path

from somnoflow.export.concepts import describe_event
from somnoflow.export.runs import find_runs
from somnoflow.scoring.hypnogram import Hypnogram

STAGE_TEXTS = {
    "W": "Sleep stage W",
    "N1": "Sleep stage N1",
    "N2": "Sleep stage N2",
    "N3": "Sleep stage N3",
    "REM": "Sleep stage R",
    None: "Sleep stage ?",
}
NO_EVENT = "No event"
YEARS = range(1985, 2085)


def write_annotations(path: Path, hypnogram: Hypnogram) -> None:
    """Write the stages of a night, or the epochs with an event, as an EDF+C file.

    A night of events without any has one annotation that says so, since EDF+ knows no empty file.
    """
    # edfio costs a start 0.1 s that few need.
    from edfio import Edf, EdfAnnotation, Recording  # noqa: PLC0415

    known = _start(hypnogram)
    annotations = [
        EdfAnnotation(run.onset_s, run.duration_s, text)
        for run in find_runs(hypnogram)
        if (text := _text(run.name, hypnogram)) is not None
    ]
    file = Edf(
        [],
        recording=Recording(startdate=known.date() if known else None, equipment_code="Somnoflow"),
        starttime=known.time() if known else None,
        annotations=annotations or [EdfAnnotation(0, None, NO_EVENT)],
    )
    path.write_bytes(file.to_bytes())


def _text(name: str | None, hypnogram: Hypnogram) -> str | None:
    if hypnogram.task.rare:
        return describe_event(name, task=hypnogram.task)
    return STAGE_TEXTS[name]


def _start(hypnogram: Hypnogram) -> datetime | None:
    start = hypnogram.start
    return start if start is not None and start.year in YEARS else None
