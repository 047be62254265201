"""Read tables of annotations: BIDS events, CSV, and the events that Noxturnal exports.

What is decided here:

- Columns are found by name, without regard to case and blanks; a wanted one that is missing or
  there twice refuses the file. Blank rows are no rows.
- A row with more cells than the header has refuses the file: a separator within a label would
  otherwise cut it. So does a quotation mark that is never closed. In BIDS events a quotation mark
  is a character like others.
- A duration that is blank or `n/a` (BIDS) is not told: an event is an instant then, and a stage is
  refused unless `page_seconds` says how long a page is. An onset is always wanted.
- Noxturnal separates by tabs, commas or semicolons: the one with which the header has the wanted
  columns is taken. Its second line may hold units in brackets, and is left out then.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from somnoflow.config.annotation import Annotation, Encoding, Times
from somnoflow.config.vocabularies import fold
from somnoflow.io.annotation_text import read_text
from somnoflow.io.annotation_times import (
    Moment,
    TimeError,
    lay_out,
    read_elapsed,
    read_moment,
    read_seconds,
    seconds_between,
)
from somnoflow.io.rejection import Rejection
from somnoflow.io.scoring import MOST_ANNOTATIONS, Scoring, ScoringBuilder, shorten

_NOT_TOLD = ("", "n/a")
_UNITS = "[]"


@dataclass(frozen=True)
class _Form:
    """How a kind of table is written where its options do not say otherwise."""

    columns: Mapping[str, str]
    separators: tuple[str, ...]
    encoding: Encoding = "utf-8"
    times: Times = "seconds"
    quoting: bool = True


_BIDS = _Form(
    columns={"onset": "onset", "duration": "duration", "label": "trial_type"},
    separators=("\t",),
    quoting=False,
)
_CSV = _Form(
    columns={"onset": "onset", "duration": "duration", "label": "label"}, separators=(",",)
)
_NOXTURNAL = _Form(
    columns={"onset": "Start Time", "end": "End Time", "label": "Event"},
    separators=("\t", ",", ";"),
    encoding="utf-16",
    times="clock",
)
_FORMS = {"bids-tsv": _BIDS, "csv": _CSV, "noxturnal-csv": _NOXTURNAL}


@dataclass(frozen=True)
class _Row:
    """One row of a table, and its line in the file."""

    line: int
    onset: str
    duration: str | None
    end: str | None
    label: str


def read_table(path: Path, annotation: Annotation) -> Scoring:
    """Read a table of annotations.

    Raises
    ------
    Rejection
        When the file cannot be read, a column is missing, or a used cell is not what it should be.
    """
    form = _FORMS[annotation.format]
    text = read_text(path, encoding=annotation.encoding or form.encoding)
    columns = _wanted_columns(annotation, form)
    separators = (annotation.separator,) if annotation.separator else form.separators
    table = _rows(text, path, columns=columns, separators=separators, quoting=form.quoting)
    rows = list(islice(table, MOST_ANNOTATIONS + 1))  # one too many is refused by the builder
    builder = ScoringBuilder(annotation, file=path.name)
    times = annotation.times or form.times
    if times == "clock":
        _add_by_clock(builder, rows, annotation, path)
    else:
        _add_by_seconds(builder, rows, annotation, path, times=times)
    return builder.scoring


def _wanted_columns(annotation: Annotation, form: _Form) -> dict[str, str]:
    own = {str(column): name for column, name in annotation.columns.items()}
    columns = {**form.columns, **own}
    if "duration" in own or "end" in own:
        columns.pop("end" if "duration" in own else "duration", None)
    elif annotation.page_seconds and own:
        # Every stage lasts a page, and the columns are named: there need be no duration.
        columns.pop("duration", None)
        columns.pop("end", None)
    return columns


def _rows(
    text: str, path: Path, *, columns: Mapping[str, str], separators: tuple[str, ...], quoting: bool
) -> Iterator[_Row]:
    lines = text.split("\n")
    separator = _separator(lines[0], columns=columns, separators=separators)
    reader = csv.reader(
        (f"{line}\n" for line in lines),
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE,
        strict=True,
    )
    try:
        header = next(reader)
        places = _places(header, columns=columns, path=path)
        for number, cells in enumerate(reader):
            if not any(map(str.strip, cells)):
                continue
            row = _row(cells, header=header, places=places, line=reader.line_num, path=path)
            if number or row.onset != _UNITS:
                yield row
    except csv.Error as error:
        raise Rejection(
            problem="not a table",
            found=f"line {reader.line_num} of {path.name}: {error}",
            wanted="rows of cells with the separator that the header has",
            advice="Correct the line, or export the scoring again",
        ) from error


def _separator(header: str, *, columns: Mapping[str, str], separators: tuple[str, ...]) -> str:
    """Give the separator with which the header has the most wanted columns, the first of equals."""
    wanted = set(map(fold, columns.values()))

    def found(separator: str) -> int:
        return len(wanted & {fold(cell.strip('" ')) for cell in header.split(separator)})

    return max(separators, key=found)


def _places(header: list[str], *, columns: Mapping[str, str], path: Path) -> dict[str, int]:
    """Give the place of each wanted column."""
    named = [fold(name) for name in header]
    counts = Counter(named)
    wrong = [name for name in columns.values() if counts[fold(name)] != 1]
    if wrong:
        missing = any(not counts[fold(name)] for name in wrong)
        raise Rejection(
            problem=f"columns {'missing' if missing else 'named twice'} in the annotation file",
            found=f"{shorten(', '.join(header)) or '(none)'} in {path.name}",
            wanted=", ".join(columns.values()),
            advice="Check separator and encoding, or name the columns under `columns`",
        )
    return {column: named.index(fold(name)) for column, name in columns.items()}


def _row(
    cells: list[str], *, header: list[str], places: Mapping[str, int], line: int, path: Path
) -> _Row:
    if len(cells) <= max(places.values()) or any(map(str.strip, cells[len(header) :])):
        raise Rejection(
            problem="not a row of the table",
            found=f"{len(cells)} cells in line {line} of {path.name}",
            wanted=f"{len(header)} cells, as the header has",
            advice="Put quotation marks around cells that hold the separator, or export it again",
        )
    by_name = {column: cells[place].strip() for column, place in places.items()}
    return _Row(
        line=line,
        onset=by_name["onset"],
        duration=by_name.get("duration"),
        end=by_name.get("end"),
        label=by_name["label"],
    )


def _add_by_seconds(
    builder: ScoringBuilder, rows: list[_Row], annotation: Annotation, path: Path, *, times: Times
) -> None:
    decimal = annotation.decimal or "."

    def read(text: str) -> float:
        return read_elapsed(text) if times == "elapsed" else read_seconds(text, decimal=decimal)

    for row in rows:
        if not builder.knows(row.label):
            builder.add(0.0, None, row.label)
            continue
        try:
            onset = read(row.onset)
            if row.end is not None and row.end.casefold() not in _NOT_TOLD:
                duration: float | None = read(row.end) - onset
            else:
                duration = _duration(row, decimal=decimal)
        except TimeError as error:
            raise _no_time(row, error, path) from error
        builder.add(onset, duration, row.label)


def _add_by_clock(
    builder: ScoringBuilder, rows: list[_Row], annotation: Annotation, path: Path
) -> None:
    used = [row for row in rows if builder.knows(row.label)]
    onsets: list[Moment] = []
    durations: list[float | None] = []
    for row in used:
        try:
            onset = read_moment(row.onset, day_first=annotation.day_first)
            if row.end is not None and row.end.casefold() not in _NOT_TOLD:
                end = read_moment(row.end, day_first=annotation.day_first)
                durations.append(seconds_between(onset, end))
            else:
                durations.append(_duration(row, decimal=annotation.decimal or "."))
        except TimeError as error:
            raise _no_time(row, error, path) from error
        onsets.append(onset)
    start, clock, seconds = lay_out(onsets)
    builder.scoring.start, builder.scoring.clock = start, clock
    builder.scoring.has_clock = bool(used)
    for row, second, duration in zip(used, seconds, durations, strict=True):
        builder.add(second, duration, row.label)
    for row in rows:
        if not builder.knows(row.label):
            builder.add(0.0, None, row.label)


def _duration(row: _Row, *, decimal: str) -> float | None:
    """Read a duration: seconds, or hours:minutes:seconds; None where it is not told."""
    if row.duration is None or row.duration.casefold() in _NOT_TOLD:
        return None
    if ":" in row.duration:
        return read_elapsed(row.duration)
    return read_seconds(row.duration, decimal=decimal)


def _no_time(row: _Row, error: TimeError, path: Path) -> Rejection:
    times = f"onset '{shorten(row.onset)}'"
    times += "" if row.duration is None else f", duration '{shorten(row.duration)}'"
    times += "" if row.end is None else f", end '{shorten(row.end)}'"
    return Rejection(
        problem="not a time in the annotation file",
        found=f"{times} in line {row.line} of {path.name}",
        wanted=str(error),
        advice="Correct the line; or say under `times` what the onsets are, and under `decimal` "
        "or `day_first` how they are written",
    )
