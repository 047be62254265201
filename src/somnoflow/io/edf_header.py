"""Read the header of an EDF, EDF+, BDF or BDF+ file, and believe none of it unchecked.

A header can lie about sizes, and a truncated download looks like a short night. What is decided
here, before a single sample is read:

- A file that ends before its header says, or goes on for a data record or more after it, is
  refused: nobody knows how long that night is. Less than a record too much is junk: it is ignored
  and noted.
- Zero data records, and -1 (a recorder that never closed the file), are refused.
- More than 14 days, a signal of more than 100 kHz or of more than 2^30 samples, more than 2^24 data
  records and more than 4 MiB of annotations in one of them are refused before memory is asked for:
  a file with a hole in it is nothing on the disk.
- A record duration that fills its field of 8 characters was cut off there: it is taken to be the
  simplest fraction that these characters can stand for, at most 1e-4 of it away (0.333333 s is
  1/3 s, or the last epoch would be lost). A shorter text is meant as it stands.
- Years 85 to 99 are 1985 to 1999, others 2000 to 2084. Where an EDF+ header names the start a
  second time ("Startdate 04-MAR-2021") and differs, that one is taken and noted. A start that is
  no date, is anonymised or outside 1985 to 2084 is None: the recording is used.
- A range is a minimum below a maximum, both finite; the digital one within what a sample can hold
  (one more at the top is a common slip). A physical minimum above its maximum turns the signal
  round, as the specification has it. Any other range costs that signal, not the night.
- Decimal commas are read as points. Each text is UTF-8, else Latin-1: the micro sign is often
  outside ASCII. A control character becomes a question mark: labels are written to terminals.

Source: Kemp et al. 1992 (EDF), Kemp & Olivan 2003 (EDF+), www.edfplus.info.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from math import floor, isfinite
from pathlib import Path

from somnoflow.io.printable import printable
from somnoflow.io.rejection import Rejection
from somnoflow.io.source import (
    COPY_AGAIN,
    FIRST_YEAR,
    HIGHEST_RATE,
    LAST_YEAR,
    LONGEST_SECONDS,
    MOST_SAMPLES,
    implausible,
    readable,
    too_many_samples,
)

MOST_RECORDS = 2**24
MOST_ANNOTATION_BYTES = 2**22  # of a data record; the scoring of a night has a tenth of it
EXPORT_AGAIN = "Open the file in an EDF viewer, and export it again"

_BLOCK = 256  # bytes of the fixed header, and of each signal's
_FIELDS = (
    ("label", 16), ("transducer", 80), ("unit", 8), ("physical_min", 8), ("physical_max", 8),
    ("digital_min", 8), ("digital_max", 8), ("prefilter", 80), ("samples", 8), ("reserved", 32),
)  # fmt: skip
_INTEGER = re.compile(r"[+-]?[0-9]+")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DATE_OR_TIME = re.compile(r" ?([0-9]{1,2})[.:'/ -] ?([0-9]{1,2})[.:'/ -] ?([0-9]{1,2})")
_START_DATE = re.compile(r"Startdate +(\S+)")
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_ANONYMISED = "X"


@dataclass(frozen=True)
class Family:
    """What EDF and BDF do not share."""

    name: str
    sample_bytes: int
    annotations: str

    @property
    def digital_limits(self) -> tuple[int, int]:
        """Give the least and the largest value of a sample."""
        half = 1 << (8 * self.sample_bytes - 1)
        return -half, half - 1


EDF = Family(name="EDF", sample_bytes=2, annotations="EDF Annotations")
BDF = Family(name="BDF", sample_bytes=3, annotations="BDF Annotations")
_FAMILIES = {b"0": EDF, b"\xffBIOSEMI": BDF}


@dataclass(frozen=True)
class SignalHeader:
    """One signal, or one channel of annotations, as the header describes it.

    `columns` are its bytes in each data record; `physical` and `digital` are None where the header
    gives no usable range.
    """

    label: str
    unit: str
    samples: int
    columns: slice
    physical: tuple[float, float] | None
    digital: tuple[int, int] | None


@dataclass(frozen=True)
class Header:
    """A header that agrees with the size of its file."""

    family: Family
    reserved: str
    start: datetime | None
    header_bytes: int
    records: int
    record_seconds: Fraction
    record_bytes: int
    signals: tuple[SignalHeader, ...]
    annotations: tuple[SignalHeader, ...]
    notes: tuple[str, ...]

    @property
    def data_end(self) -> int:
        """Give the byte at which the last data record ends."""
        return self.header_bytes + self.records * self.record_bytes


def read_header(path: Path) -> Header:
    """Read a header and compare it with the size of the file.

    Raises
    ------
    Rejection
        When the file cannot be read, is empty, truncated or too long, is neither EDF nor BDF, or
        has a header that contradicts itself.
    """
    with readable(path), path.open("rb") as file:
        size = path.stat().st_size
        fixed = file.read(_BLOCK)
        family = _recognise(fixed, size=size)
        count = _integer(fixed[252:256], "number of signals", least=1)
        header_bytes = _integer(fixed[184:192], "number of header bytes")
        if header_bytes != _BLOCK * (1 + count):
            raise damaged(
                f"{header_bytes} header bytes for {count} signals",
                f"{_BLOCK * (1 + count)} header bytes",
            )
        if size < header_bytes:
            raise Rejection(
                problem="truncated file",
                found=f"{size} bytes",
                wanted=f"a header of {header_bytes} bytes and data",
                advice=COPY_AGAIN,
            )
        described = file.read(_BLOCK * count)
    every = _read_signals(described, count=count, family=family)
    start, doubt = _read_start(fixed)
    header = Header(
        family=family,
        reserved=_text(fixed[192:236]),
        start=start,
        header_bytes=header_bytes,
        records=_integer(fixed[236:244], "number of data records", least=-1),
        record_seconds=_read_record_seconds(fixed[244:252]),
        record_bytes=every[-1].columns.stop,
        signals=tuple(signal for signal in every if signal.label != family.annotations),
        annotations=tuple(signal for signal in every if signal.label == family.annotations),
        notes=doubt,
    )
    junk = _require_sizes(header, size=size)
    _require_plausible(header)
    return replace(header, notes=doubt + junk)


def damaged(found: str, wanted: str) -> Rejection:
    """Give the rejection of a header that contradicts itself or the specification."""
    return Rejection(problem="damaged EDF header", found=found, wanted=wanted, advice=COPY_AGAIN)


def _recognise(fixed: bytes, *, size: int) -> Family:
    if size == 0:
        raise Rejection(
            problem="empty file", found="0 bytes", wanted="an EDF file", advice=COPY_AGAIN
        )
    family = _FAMILIES.get(fixed[:8].strip(b" \0"))
    if len(fixed) < _BLOCK or family is None:
        raise Rejection(
            problem="not an EDF file",
            found=f"a file of {size} bytes that begins with {fixed[:8]!r}",
            wanted="an EDF header (256 bytes beginning with '0') or a BDF header",
            advice="Export the recording as EDF or EDF+",
        )
    return family


def _read_signals(described: bytes, *, count: int, family: Family) -> list[SignalHeader]:
    columns: dict[str, list[bytes]] = {}
    begin = 0
    for name, width in _FIELDS:
        end = begin + width * count
        columns[name] = [described[at : at + width] for at in range(begin, end, width)]
        begin = end
    lengths = [_integer(text, "samples per data record") for text in columns["samples"]]
    ends = list(accumulate(length * family.sample_bytes for length in lengths))
    return [
        SignalHeader(
            label=_text(columns["label"][number]),
            unit=_text(columns["unit"][number]),
            samples=lengths[number],
            columns=slice(ends[number] - lengths[number] * family.sample_bytes, ends[number]),
            physical=_physical_range(
                columns["physical_min"][number], columns["physical_max"][number]
            ),
            digital=_digital_range(
                columns["digital_min"][number], columns["digital_max"][number], family=family
            ),
        )
        for number in range(count)
    ]


def _physical_range(low: bytes, high: bytes) -> tuple[float, float] | None:
    first, last = _real(low), _real(high)
    if first is None or last is None or first == last:
        return None
    return first, last


def _digital_range(low: bytes, high: bytes, *, family: Family) -> tuple[int, int] | None:
    texts = [_plain(text) for text in (low, high)]
    if not all(_INTEGER.fullmatch(text) for text in texts):
        return None
    first, last = map(int, texts)
    least, largest = family.digital_limits
    return (first, last) if least <= first < last <= largest + 1 else None


def _require_sizes(header: Header, *, size: int) -> tuple[str, ...]:
    """Refuse a file of another size than its header says; note what is ignored at its end."""
    if header.records < 1 or not header.record_bytes:
        raise Rejection(
            problem="no data",
            found=f"{header.records} data records of {header.record_bytes} bytes",
            wanted="at least one data record",
            advice="The recorder did not close the file; export it again",
        )
    if size < header.data_end:
        raise Rejection(
            problem="truncated file",
            found=f"{size} bytes",
            wanted=f"{header.data_end} bytes, as the header says",
            advice=COPY_AGAIN,
        )
    junk = size - header.data_end
    if junk >= header.record_bytes:
        raise Rejection(
            problem="longer than its header says",
            found=f"{size} bytes, room for "
            f"{(size - header.header_bytes) // header.record_bytes} data records",
            wanted=f"{header.data_end} bytes for the {header.records} data records of the header",
            advice=EXPORT_AGAIN,
        )
    return (f"{junk} bytes after the last data record ignored",) if junk else ()


def _require_plausible(header: Header) -> None:
    if header.signals and not header.record_seconds:
        raise damaged("data records of 0 seconds", "data records of more than 0 seconds")
    seconds = header.records * header.record_seconds
    if seconds > LONGEST_SECONDS:
        raise implausible(f"a recording of {float(seconds / 86400):.1f} days")
    if header.records > MOST_RECORDS:
        raise implausible(
            f"{header.records} data records", wanted=f"at most {MOST_RECORDS} data records"
        )
    for channel in header.annotations:
        size = channel.columns.stop - channel.columns.start
        if size > MOST_ANNOTATION_BYTES:
            raise implausible(
                f"{size} bytes of annotations in a data record",
                wanted=f"at most {MOST_ANNOTATION_BYTES} bytes",
            )
    for signal in header.signals:
        if header.records * signal.samples > MOST_SAMPLES:
            raise too_many_samples(signal.label, header.records * signal.samples)
        if signal.samples > HIGHEST_RATE * header.record_seconds:
            raise implausible(
                f"'{signal.label}' at {float(signal.samples / header.record_seconds):g} Hz"
            )


def _read_start(fixed: bytes) -> tuple[datetime | None, tuple[str, ...]]:
    """Give the start to the second, and a note where the header names two dates."""
    date, time = (
        _DATE_OR_TIME.fullmatch(_plain(text)) for text in (fixed[168:176], fixed[176:184])
    )
    if date is None or time is None:
        return None, ()
    day, month, year = map(int, date.groups())
    hour, minute, second = map(int, time.groups())
    century = 1900 if year >= FIRST_YEAR % 100 else 2000
    try:
        start = datetime(century + year, month, day, hour, minute, second)
    except ValueError:
        return None, ()
    named = _START_DATE.match(_text(fixed[88:168]))
    if named is None:
        return start, ()
    if named[1] == _ANONYMISED:
        return None, ()
    plus = _plus_date(named[1], start)
    if plus is None or plus == start:
        return start, ()
    note = f"two start dates in the header; '{named[1]}' taken, not '{_plain(fixed[168:176])}'"
    return (plus if FIRST_YEAR <= plus.year <= LAST_YEAR else None), (note,)


def _plus_date(text: str, start: datetime) -> datetime | None:
    """Give `start` at the date that an EDF+ header names as dd-MMM-yyyy, where it is one."""
    parts = text.upper().split("-")
    if len(parts) != 3 or parts[1] not in _MONTHS:
        return None
    try:
        return start.replace(
            day=int(parts[0]), month=_MONTHS.index(parts[1]) + 1, year=int(parts[2])
        )
    except (ValueError, OverflowError):
        return None


def _read_record_seconds(text: bytes) -> Fraction:
    name = "duration of a data record"
    value = _real(text)
    if value is None or value < 0:
        raise damaged(f"{name} is {text!r}", "seconds")
    if value > LONGEST_SECONDS or 0 < value < 1 / HIGHEST_RATE:
        raise implausible(f"data records of {value:g} s")
    if not value:
        return Fraction(0)
    written = Decimal(_plain(text).replace(",", "."))
    exact = Fraction(written)
    if len(text.rstrip(b" \0")) < 8:
        return exact
    last_digit = Fraction(10) ** int(written.as_tuple().exponent)
    room = min(last_digit / 2, exact / 10_000)
    return _simplest_between(exact - room, exact + room)


def _simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """Give the fraction of the smallest denominator from `low` to `high` (Stern and Brocot)."""
    whole = floor(low)
    if whole == low or whole + 1 <= high:
        return Fraction(whole if whole == low else whole + 1)
    return whole + 1 / _simplest_between(1 / (high - whole), 1 / (low - whole))


def _integer(text: bytes, name: str, *, least: int = 0) -> int:
    plain = _plain(text)
    if not _INTEGER.fullmatch(plain):
        raise damaged(f"{name} is {text!r}", "a whole number")
    value = int(plain)
    if value < least:
        raise damaged(f"{name} is {value}", f"a number from {least}")
    return value


def _real(text: bytes) -> float | None:
    plain = _plain(text).replace(",", ".")
    value = float(plain) if _REAL.fullmatch(plain) else float("nan")
    return value if isfinite(value) else None


def _plain(text: bytes) -> str:
    return text.decode("latin-1").strip(" \0")


def _text(field: bytes) -> str:
    try:
        text = field.decode("utf-8")
    except UnicodeDecodeError:
        text = field.decode("latin-1")
    return printable(text.strip(" \0"))
