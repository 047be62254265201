"""A night as the XML of the National Sleep Research Resource (PSGAnnotation).

The layout is the one that its readers ask for, some of them by lines of text: one element a line,
no indentation, `Recording Start Time` first, which begins at second 0. One event is a run of
epochs. The date is 00.00.00, as in all files of the resource; the clock is left out where it is
not known.

Source: the annotation files of SHHS, https://sleepdata.org/datasets/shhs.
"""

from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from somnoflow.export.concepts import describe_event
from somnoflow.export.runs import Run, find_runs
from somnoflow.scoring.hypnogram import Hypnogram
from somnoflow.stages import EPOCH_SECONDS

STAGE_CONCEPTS = {
    "W": "Wake|0",
    "N1": "Stage 1 sleep|1",
    "N2": "Stage 2 sleep|2",
    "N3": "Stage 3 sleep|3",
    "REM": "REM sleep|5",
    None: "Unscored|9",
}
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'


def write_xml(path: Path, hypnogram: Hypnogram) -> None:
    """Write the stages of a night, or the epochs with an event, as a PSGAnnotation file."""
    root = ElementTree.Element("PSGAnnotation")
    _add(root, "SoftwareVersion", f"Somnoflow {version('somnoflow')}")
    _add(root, "EpochLength", str(EPOCH_SECONDS))
    events = ElementTree.SubElement(root, "ScoredEvents")
    runs = find_runs(hypnogram)
    _add_start(events, hypnogram, runs)
    for run in runs:
        _add_run(events, run, hypnogram)
    ElementTree.indent(root, space="")
    text = ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)
    path.write_text(f"{_HEAD}{text}\n", encoding="utf-8", newline="\n")


def _add_start(events: ElementTree.Element, hypnogram: Hypnogram, runs: list[Run]) -> None:
    event = ElementTree.SubElement(events, "ScoredEvent")
    _add(event, "EventType", None)
    _add(event, "EventConcept", "Recording Start Time")
    _add(event, "Start", "0")
    _add(event, "Duration", str(runs[-1].onset_s + runs[-1].duration_s))
    if hypnogram.start is not None:
        _add(event, "ClockTime", f"00.00.00 {hypnogram.start:%H.%M.%S}")


def _add_run(events: ElementTree.Element, run: Run, hypnogram: Hypnogram) -> None:
    if hypnogram.task.rare:
        text = describe_event(run.name, task=hypnogram.task)
        if text is None:
            return
        kind, concept = "Respiratory|Respiratory", f"{text}|{text}"
    else:
        kind, concept = "Stages|Stages", STAGE_CONCEPTS[run.name]
    event = ElementTree.SubElement(events, "ScoredEvent")
    _add(event, "EventType", kind)
    _add(event, "EventConcept", concept)
    _add(event, "Start", str(run.onset_s))
    _add(event, "Duration", str(run.duration_s))


def _add(parent: ElementTree.Element, tag: str, text: str | None) -> None:
    ElementTree.SubElement(parent, tag).text = text
