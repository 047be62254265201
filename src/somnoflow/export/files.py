"""The files that a scored night is written to, in the formats that other programs read."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from somnoflow.config.base import ConfigError
from somnoflow.export.bids import write_events, write_sidecar
from somnoflow.export.csv import write_table
from somnoflow.export.edf import write_annotations
from somnoflow.export.xml import write_xml
from somnoflow.export.yasa import write_hypnogram
from somnoflow.io.atomic import atomic
from somnoflow.scoring.hypnogram import Hypnogram
from somnoflow.tasks import Task

Write = Callable[[Path, Hypnogram], None]

# What each format adds to the name of the night. What explains a file is written before it.
_FILES: dict[str, dict[str, Write]] = {
    "csv": {".csv": write_table},
    "edf": {"-annotations.edf": write_annotations},
    "xml": {".xml": write_xml},
    "bids": {"_events.json": write_sidecar, "_events.tsv": write_events},
    "yasa": {"-yasa.csv": write_hypnogram},
}
_STAGES_ONLY = {"yasa"}
FORMATS = tuple(_FILES)


def export_night(
    hypnogram: Hypnogram, *, to: Path, name: str, formats: Sequence[str]
) -> list[Path]:
    """Write a night in some formats, each file whole or not at all.

    The same hypnogram is the same bytes.

    Parameters
    ----------
    hypnogram
        At least one epoch.
    to
        Folder, made where it is not there.
    name
        What the names of the files begin with.
    formats
        Some of `FORMATS`. One that cannot carry the task is left out: `left_out` tells which.

    Returns
    -------
    The files that were written.

    Raises
    ------
    ConfigError
        When a format is not known, or the name would not be that of a file in the folder; nothing
        was written then.
    """
    files = name_files(hypnogram.task, to=to, name=name, formats=formats)
    for path, write in files.items():
        with atomic(path) as temporary:
            write(temporary, hypnogram)
    return list(files)


def name_files(task: Task, *, to: Path, name: str, formats: Sequence[str]) -> Mapping[Path, Write]:
    """Give the files that `export_night` writes, in its order, and what writes each.

    Raises
    ------
    ConfigError
        As `export_night`.
    """
    without = left_out(task, formats=formats)
    _require_name(name)
    return {
        to / f"{name}{ending}": write
        for one in dict.fromkeys(formats)
        if one not in without
        for ending, write in _FILES[one].items()
    }


def left_out(task: Task, *, formats: Sequence[str]) -> list[str]:
    """Give which of the formats cannot carry a task.

    Raises
    ------
    ConfigError
        When a format is not known.
    """
    unknown = [one for one in formats if one not in FORMATS]
    if unknown:
        raise ConfigError(
            f"no format {', '.join(map(repr, unknown))}. Wanted some of: {', '.join(FORMATS)}"
        )
    return [one for one in dict.fromkeys(formats) if one in _STAGES_ONLY and task.rare]


def _require_name(name: str) -> None:
    """Raise where a name leads out of its folder, or would break a line of a table or a log."""
    control = any(ord(sign) < ord(" ") or sign == "\x7f" for sign in name)
    if not name.strip(". ") or control or "/" in name or "\\" in name:
        raise ConfigError(
            f"{name!r} is no name of a file. Wanted: a name without slashes, backslashes, tabs and "
            "line breaks; rename the recording"
        )
