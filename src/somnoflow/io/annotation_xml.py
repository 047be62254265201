"""Read XML annotations: PSGAnnotation of NSRR, and CMPStudyConfig of Compumedics Profusion.

What is decided here:

- A document type, an entity or a reference to another file is refused before anything is expanded.
  So is the long name of a namespace: the parser writes it before every name, so that 32 MiB with a
  name of 100,000 letters would be some 100 GB.
- Pages last 30 or 20 s (`EpochLength`). Profusion's stages are counted in pages, so it must be
  told there; NSRR's stages have seconds of their own, as runs or as single pages.
- NSRR tells stages from events by `EventType`: an unknown concept among its stages refuses the
  file, an unknown one elsewhere is counted as unused.
- The time of day of NSRR's `Recording Start Time` becomes `Scoring.clock`; all other times count
  from there. Its date is not one (00.00.00), and a clock that cannot be read is noted only.
- A missing start, or a stage without a duration, refuses the file; an event without a duration is
  an instant.
"""

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from somnoflow.config.annotation import Annotation
from somnoflow.config.vocabularies import fold
from somnoflow.io.annotation_times import TimeError, read_moment, read_seconds, time_of_day
from somnoflow.io.rejection import Rejection
from somnoflow.io.scoring import Scoring, ScoringBuilder, read_file, shorten, too_large

MOST_TAGS = 2_000_000  # those of 200,000 events; each costs some hundred bytes of memory
LONGEST_NAMESPACE = 200
PAGES = (30.0, 20.0)
_ROOTS = {"PSGAnnotation": "nsrr-xml", "CMPStudyConfig": "profusion-xml"}
_EXPORT_AGAIN = "Export the scoring again"


def read_nsrr_xml(path: Path, annotation: Annotation) -> Scoring:
    """Read a PSGAnnotation file of the National Sleep Research Resource.

    Raises
    ------
    Rejection
        When the file is no such file, a time is none, or a stage is not known.
    """
    root = _read_root(path, wanted="PSGAnnotation")
    _page_seconds(root, path=path)
    builder = ScoringBuilder(annotation, file=path.name)
    for event in root.iterfind("{*}ScoredEvents/{*}ScoredEvent"):
        concept = _text(event, "EventConcept")
        if fold(concept) == "recording start time":
            _note_clock(event, builder.scoring)
        elif fold(_text(event, "EventType")) == "stages|stages":
            builder.add_stage(*_times(event, concept, path=path), concept)
        elif builder.knows(concept):
            # Also a stage under another EventType: the label decides, or a stage would be lost.
            builder.add(*_times(event, concept, path=path), concept)
        else:
            builder.add_other(0.0, None, concept)
    return builder.scoring


def read_profusion_xml(path: Path, annotation: Annotation) -> Scoring:
    """Read a CMPStudyConfig file of Compumedics Profusion.

    Raises
    ------
    Rejection
        When the file is no such file, a time is none, or a stage is not known.
    """
    root = _read_root(path, wanted="CMPStudyConfig")
    page = _page_seconds(root, path=path)
    builder = ScoringBuilder(annotation, file=path.name)
    for number, stage in enumerate(root.iterfind("{*}SleepStages/{*}*")):
        if stage.tag.rpartition("}")[2] != "SleepStage":
            # To pass it over would move all later stages by a page.
            raise Rejection(
                problem="not a stage in the annotation file",
                found=f"{shorten(stage.tag)} as child {number + 1} of SleepStages in {path.name}",
                wanted="SleepStage alone",
                advice=_EXPORT_AGAIN,
            )
        if page is None:
            raise _no_page(path, found="no EpochLength")
        where = f"SleepStage {number + 1}"
        builder.add_stage(number * page, page, (stage.text or "").strip(), where=where)
    for event in root.iterfind("{*}ScoredEvents/{*}ScoredEvent"):
        name = _text(event, "Name")
        times = _times(event, name, path=path) if builder.knows(name) else (0.0, None)
        builder.add_other(*times, name)
    return builder.scoring


def parse_xml(path: Path) -> Element:
    """Read an XML file that attacks nobody and is no larger than a scoring.

    Raises
    ------
    Rejection
        When it is no XML, too large, or has a document type.
    """
    content = read_file(path)
    if content.count(b"<") > MOST_TAGS:
        raise too_large(f"{MOST_TAGS} tags", file=path.name)
    try:
        parser = DefusedXMLParser(forbid_dtd=True)
        parser.parser.StartNamespaceDeclHandler = _require_short
        parser.feed(content)
        root: Element = parser.close()
    except DefusedXmlException as error:
        raise Rejection(
            problem="refused XML",
            found=f"{path.name}: {type(error).__name__} (a document type, entity, reference or "
            "long namespace)",
            wanted="plain XML without a document type",
            advice="Find out where the file is from; " + _EXPORT_AGAIN,
        ) from error
    except (ParseError, ValueError, LookupError) as error:
        raise Rejection(
            problem="not XML",
            found=f"{path.name}: {error}",
            wanted="well-formed XML",
            advice="Copy the file again, or check `format` in dataset.yaml",
        ) from error
    return root


class LongNamespace(DefusedXmlException):
    """A namespace whose name is too long."""


def _require_short(prefix: str | None, name: str | None) -> None:
    if len(name or "") > LONGEST_NAMESPACE:
        raise LongNamespace


def _read_root(path: Path, *, wanted: str) -> Element:
    root = parse_xml(path)
    name = root.tag.rpartition("}")[2]
    if name != wanted:
        other = _ROOTS.get(name)
        raise Rejection(
            problem="another kind of XML",
            found=f"the root {shorten(name)} in {path.name}",
            wanted=f"the root {wanted} (format {_ROOTS[wanted]})",
            advice=f"It looks like `format: {other}`" if other else "Check that it is the scoring",
        )
    return root


def _page_seconds(root: Element, *, path: Path) -> float | None:
    """Give the length of a page, None where it is not told."""
    text = _text(root, "EpochLength")
    if not text:
        return None
    try:
        page = read_seconds(text)
    except TimeError as error:
        raise _no_page(path, found=f"EpochLength '{shorten(text)}'") from error
    if page not in PAGES:
        raise _no_page(path, found=f"EpochLength '{shorten(text)}'")
    return page


def _no_page(path: Path, *, found: str) -> Rejection:
    return Rejection(
        problem="pages of another length",
        found=f"{found} in {path.name}",
        wanted="EpochLength of 30 or 20 seconds",
        advice="Score the recording in pages of 30 s, and export it again",
    )


def _times(event: Element, label: str, *, path: Path) -> tuple[float, float | None]:
    """Give onset and duration of an event in seconds; the duration is None where not told."""
    start, duration = _text(event, "Start"), _text(event, "Duration")
    try:
        return read_seconds(start), read_seconds(duration) if duration else None
    except TimeError as error:
        raise Rejection(
            problem="not a time in the annotation file",
            found=f"'{shorten(label)}' with Start '{shorten(start)}' and Duration "
            f"'{shorten(duration)}' in {path.name}",
            wanted="seconds",
            advice=_EXPORT_AGAIN,
        ) from error


def _note_clock(event: Element, scoring: Scoring) -> None:
    """Keep the time of day of second 0; two that differ, or one that is none, are noted."""
    clock = _text(event, "ClockTime")
    try:
        moment = read_moment(clock.rpartition(" ")[2], day_first=None)
        begin = _text(event, "Start")
        second = moment.second - (read_seconds(begin) if begin else 0.0)
        found = time_of_day(second)
    except TimeError:
        scoring.notes.append(f"clock of the scoring not read: '{shorten(clock)}'")
        return
    if scoring.clock not in (None, found):
        scoring.notes.append(f"two clocks in the scoring: {scoring.clock} and {found}")
        return
    scoring.clock = found


def _text(element: Element, name: str) -> str:
    """Give the text of a child, "" where there is none."""
    return (element.findtext("{*}" + name) or "").strip()
