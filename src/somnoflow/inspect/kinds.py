"""What a file is, by its first bytes: names and suffixes are only a hint to people.

Nothing is read beyond the head of a file, so a folder of thousands of nights is looked through in
seconds. For an annotation file the head also tells how it would be read: its columns, and what
stands between them.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from somnoflow.config.annotation import Annotation

_HEAD = 16_384
_TIMEKEEPING = (b"EDF Annotations", b"BDF Annotations")
_FEWEST_CODES = 10
_MOST_CODES = 16
_ONSETS = ("onset", "start", "start time", "start_time", "time", "begin")
_DURATIONS = ("duration", "length")
_ENDS = ("end", "end time", "end_time", "stop")
_LABELS = ("trial_type", "label", "event", "stage", "sleep_stage", "description", "annotation",
           "name", "type")  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """What a file is: its part in a dataset, what people call it, and how its labels are read.

    `reading` is None for all but annotations.
    """

    role: Literal["recording", "annotation", "companion", "other"]
    title: str
    reading: Annotation | None = None


OTHER = Kind("other", "other")
# What a file is meant to be whose first bytes do not tell; reading it says what is wrong.
_SUFFIXES = {
    ".edf": Kind("recording", "EDF"),
    ".rec": Kind("recording", "EDF"),
    ".bdf": Kind("recording", "BDF"),
    ".fif": Kind("recording", "FIF"),
    ".vhdr": Kind("recording", "BrainVision"),
    ".vmrk": Kind("companion", "BrainVision"),
    ".eeg": Kind("companion", "BrainVision"),
}


def recognise(path: Path) -> Kind:
    """Say what a file is.

    Raises
    ------
    OSError
        When the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if len(head) >= 256 and head[252:256].strip().isdigit():
        if head[:8].strip() == b"0":
            return _edf(head, family="EDF")
        if head[:8] == b"\xffBIOSEMI":
            return _edf(head, family="BDF")
    compressed = path.name.lower().endswith(".fif.gz")
    meant = _SUFFIXES.get(".fif" if compressed else path.suffix.lower())
    if meant is not None and (meant.role != "companion" or path.with_suffix(".vhdr").is_file()):
        return meant
    return _text(head)


def _edf(head: bytes, *, family: str) -> Kind:
    number = int(head[252:256])
    labels = [head[256 + 16 * n : 272 + 16 * n].strip(b" \0") for n in range(number)]
    if labels and all(label in _TIMEKEEPING for label in labels):
        return Kind("annotation", f"{family}+ annotations", _reading("edf+"))
    variant = head[192:197].decode("latin-1")
    return Kind("recording", variant if variant in (f"{family}+C", f"{family}+D") else family)


def _text(head: bytes) -> Kind:
    text = _decode(head)
    if text is None or not text.strip():
        return OTHER
    if text.lstrip().startswith("<"):
        root = re.search(r"<(PSGAnnotation|CMPStudyConfig)\b", text)
        return _XML[root.group(1)] if root else OTHER
    lines = text.splitlines()
    if len(head) == _HEAD:
        lines.pop()  # cut in the middle
    if _are_codes(lines):
        return Kind("annotation", "one code per line", _reading("codes"))
    return _table(lines) if lines else OTHER


def _table(lines: list[str]) -> Kind:
    """Recognise a table of onsets, durations or ends, and labels by the names of its columns."""
    separator = max("\t,;|", key=lines[0].count)
    columns = {name.strip().strip('"').lower(): name for name in lines[0].split(separator)}
    if {"start time", "end time", "event"} <= set(columns):
        return Kind("annotation", "Noxturnal CSV", _reading("noxturnal-csv"))
    onset, duration, end = (_first(columns, names) for names in (_ONSETS, _DURATIONS, _ENDS))
    label = _first(columns, _LABELS) or next((columns[c] for c in columns if "stage" in c), None)
    if onset is None or label is None or (duration is None and end is None):
        return OTHER
    if separator == "\t" and (onset, duration) == ("onset", "duration"):
        return Kind("annotation", f"BIDS events ({label})", _reading("bids-tsv", label=label))
    lasting = {"duration": duration} if duration else {"end": end}
    times = "seconds" if len(lines) < 2 or ":" not in lines[1] else "clock"
    given = _reading("csv", separator=separator, times=times, onset=onset, label=label, **lasting)
    return Kind("annotation", f"table ({separator!r} between columns)", given)


@cache
def _reading(format: str, separator: str = "", times: str = "", **columns: str) -> Annotation:
    """Give how files of a format are read; no meanings yet."""
    given = {"separator": separator, "times": times, "columns": columns}
    return Annotation.model_validate(
        {"format": format, **{key: value for key, value in given.items() if value}}
    )


def _first(columns: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((columns[name] for name in names if name in columns), None)


def _decode(head: bytes) -> str | None:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return head[: len(head) // 2 * 2].decode("utf-16", errors="replace")
    return None if b"\0" in head else head.decode("utf-8-sig", errors="replace")


def _are_codes(lines: list[str]) -> bool:
    """Say whether lines look like a stage code for each epoch: short, and few different ones."""
    codes = [line.strip() for line in "\n".join(lines).strip().splitlines()]
    return (
        len(codes) >= _FEWEST_CODES
        and len(set(codes)) <= min(_MOST_CODES, len(codes) // 2)
        and all(re.fullmatch(r"[\w?-]{1,8}", code) for code in codes)
    )


_XML = {
    "PSGAnnotation": Kind("annotation", "NSRR XML", _reading("nsrr-xml")),
    "CMPStudyConfig": Kind("annotation", "Profusion XML", _reading("profusion-xml")),
}
