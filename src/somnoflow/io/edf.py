"""Read EDF and EDF+ recordings; refuse what cannot be trusted, with the reason.

edfio decodes the signals. Before it may, the header is compared with the file: a header can lie
about sizes, and a truncated download looks like a short night. What is decided here:

- A file that ends before its header says, or goes on for a data record or more after it, is
  refused: nobody knows how long that night is. Less than a record too much is junk and ignored.
- Zero data records, and -1 (a recorder that never closed the file), are refused.
- A file with gaps is refused, whatever it calls itself: the clock of each data record is read.
- A start that is no date, or is anonymised, is None; the recording is used.
- A damaged signal (no range, no rate) costs that signal, not the night.
- Header texts are UTF-8, else Latin-1: the micro sign is often outside ASCII.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from math import isfinite
from pathlib import Path

import numpy as np
import numpy.typing as npt
from edfio import AnonymizedDateError, Edf, EdfSignal, read_edf

from somnoflow.io.rejection import Rejection

_FIXED_HEADER = 256
_SIGNAL_HEADER = 256
_LABEL = 16
_SAMPLES = 216  # bytes of a signal's header before its samples per data record
_TIMEKEEPING = b"EDF Annotations"
_CLOCK_TOLERANCE = Decimal("0.001")
_COPY_AGAIN = "Copy or download the file again, or leave it out of the manifest"
_EXPORT_AGAIN = "Open the file in an EDF viewer, and export it again"


@dataclass(frozen=True)
class SourceSignal:
    """One signal of a recording as its header describes it.

    `physical()` gives all samples in the header's unit (float64), `limits` the values at the
    recorder's digital limits and `step` the value of one digital step, in the same unit. It raises
    `Rejection` where the header gives no range or no rate.
    """

    label: str
    unit: str
    sampling_rate: float
    limits: tuple[float, float]
    step: float
    physical: Callable[[], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class SourceRecording:
    """An open recording: signals are read only when asked for."""

    path: Path
    start: datetime | None
    seconds: float
    signals: tuple[SourceSignal, ...]


@dataclass(frozen=True)
class _Layout:
    """Where things are in the file, as its header says."""

    header_bytes: int
    records: int
    record_seconds: float
    record_bytes: int
    clock: slice | None
    encoding: str


def open_recording(path: Path) -> SourceRecording:
    """Open an EDF or EDF+C recording.

    Raises
    ------
    Rejection
        When the file is empty, truncated, not EDF, has no data, is discontinuous or unreadable.
    """
    edf, layout = _open(path)
    if not edf.signals:
        raise Rejection(
            problem="no signals",
            found="an EDF file with annotations only",
            wanted="a recording",
            advice="Check that this is the recording and not the scoring",
        )
    _require_continuous(path, layout)
    return SourceRecording(
        path=path,
        start=_start(edf),
        # Records of 0.1 s and the like add up to 299.99999999999994 s: that is 300 s.
        seconds=round(layout.records * layout.record_seconds, 6),
        signals=tuple(_source_signal(signal) for signal in edf.signals),
    )


def read_annotations(path: Path) -> tuple[datetime | None, list[tuple[float, float, str]]]:
    """Give the start and all annotations (onset s, duration s, text) of an EDF+ file.

    Raises
    ------
    Rejection
        When the file cannot be read or holds no annotation.
    """
    edf, _ = _open(path)
    try:
        found = [
            (float(one.onset), float(one.duration or 0), str(one.text).strip())
            for one in edf.annotations
        ]
    except (ValueError, IndexError) as error:
        raise Rejection(
            problem="the annotations cannot be read",
            found=f"{path.name}: {error}",
            wanted="EDF+ annotations in UTF-8",
            advice="Open the scoring in an EDF viewer, and export it again",
        ) from error
    if not found:
        raise Rejection(
            problem="no annotations",
            found=f"an EDF file without annotations ({path.name})",
            wanted="an EDF+ file with annotations",
            advice="Check that this is the scoring and not the recording",
        )
    return _start(edf), found


def _open(path: Path) -> tuple[Edf, _Layout]:
    try:
        layout = _compare_header_with_size(path)
        return read_edf(path, header_encoding=layout.encoding), layout
    except OSError as error:
        raise Rejection(
            problem="cannot be opened",
            found=error.strerror or type(error).__name__,
            wanted="a readable file",
            advice="Check that the file exists and that you may read it",
        ) from error
    except (ValueError, KeyError, IndexError) as error:
        raise Rejection(
            problem="not a valid EDF file",
            found=f"edfio: {error}",
            wanted="EDF or EDF+",
            advice=_EXPORT_AGAIN,
        ) from error


def _compare_header_with_size(path: Path) -> _Layout:
    size = path.stat().st_size
    if size == 0:
        raise Rejection(
            problem="empty file", found="0 bytes", wanted="an EDF file", advice=_COPY_AGAIN
        )
    with path.open("rb") as file:
        fixed = file.read(_FIXED_HEADER)
        if len(fixed) < _FIXED_HEADER or fixed[:8].strip() != b"0":
            raise Rejection(
                problem="not an EDF file",
                found=f"a file of {size} bytes that begins with {fixed[:8]!r}",
                wanted="an EDF header (256 bytes beginning with '0')",
                advice="Export the recording as EDF or EDF+",
            )
        header_bytes = _number(fixed[184:192], "number of header bytes")
        records = _number(fixed[236:244], "number of data records", least=-1)
        seconds = _seconds(fixed[244:252])
        signals = _number(fixed[252:256], "number of signals", least=1)
        wanted = _FIXED_HEADER + _SIGNAL_HEADER * signals
        if header_bytes != wanted:
            raise _damaged(
                f"{header_bytes} header bytes for {signals} signals", f"{wanted} header bytes"
            )
        if size < header_bytes:
            raise Rejection(
                problem="truncated file",
                found=f"{size} bytes",
                wanted=f"a header of {header_bytes} bytes and data",
                advice=_COPY_AGAIN,
            )
        described = file.read(_SIGNAL_HEADER * signals)
    labels = [described[_LABEL * n : _LABEL * (n + 1)].strip(b" \0") for n in range(signals)]
    lengths = [
        _number(described[begin : begin + 8], "samples per data record")
        for begin in range(_SAMPLES * signals, (_SAMPLES + 8) * signals, 8)
    ]
    if seconds == 0 and any(label != _TIMEKEEPING for label in labels):
        raise _damaged("data records of 0 seconds", "data records of more than 0 seconds")
    layout = _Layout(
        header_bytes=header_bytes,
        records=records,
        record_seconds=seconds,
        record_bytes=2 * sum(lengths),
        clock=_clock(labels, lengths),
        encoding=_encoding(fixed + described),
    )
    _compare_records_with_size(layout, size=size)
    return layout


def _compare_records_with_size(layout: _Layout, *, size: int) -> None:
    if layout.records < 1 or not layout.record_bytes:
        raise Rejection(
            problem="no data",
            found=f"{layout.records} data records of {layout.record_bytes} bytes",
            wanted="at least one data record",
            advice="The recorder did not close the file; export it again",
        )
    wanted = layout.header_bytes + layout.record_bytes * layout.records
    if size < wanted:
        raise Rejection(
            problem="truncated file",
            found=f"{size} bytes",
            wanted=f"{wanted} bytes, as the header says",
            advice=_COPY_AGAIN,
        )
    if size >= wanted + layout.record_bytes:
        raise Rejection(
            problem="longer than its header says",
            found=f"{size} bytes, room for "
            f"{(size - layout.header_bytes) // layout.record_bytes} data records",
            wanted=f"{wanted} bytes for the {layout.records} data records of the header",
            advice=_EXPORT_AGAIN,
        )


def _clock(labels: list[bytes], lengths: list[int]) -> slice | None:
    """Give the bytes of a data record that hold its clock, where it has one (EDF+)."""
    if _TIMEKEEPING not in labels:
        return None
    number = labels.index(_TIMEKEEPING)
    begin = 2 * sum(lengths[:number])
    return slice(begin, begin + 2 * lengths[number])


def _require_continuous(path: Path, layout: _Layout) -> None:
    """Compare the clock of each data record with the one before it."""
    if layout.clock is None:
        return
    records = np.memmap(
        path,
        np.uint8,
        mode="r",
        offset=layout.header_bytes,
        shape=(layout.records, layout.record_bytes),
    )
    stamps = [record.tobytes().split(b"\x14", 1)[0] for record in records[:, layout.clock]]
    try:
        times = [Decimal(stamp.decode("ascii")) for stamp in stamps]
    except (InvalidOperation, UnicodeDecodeError) as error:
        raise _damaged("a data record without its time", "the time of each data record") from error
    step = Decimal(repr(layout.record_seconds))
    for number, (before, after) in enumerate(pairwise(times), 2):
        if abs(after - before - step) > _CLOCK_TOLERANCE:
            raise Rejection(
                problem="the recording has gaps (EDF+D)",
                found=f"data record {number} begins {after} s after the start",
                wanted=f"{before + step} s: a continuous recording (EDF or EDF+C)",
                advice="Export the recording as EDF+C, one file for each continuous part",
            )


def _encoding(header: bytes) -> str:
    try:
        header.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _damaged(found: str, wanted: str) -> Rejection:
    return Rejection(problem="damaged EDF header", found=found, wanted=wanted, advice=_COPY_AGAIN)


def _number(text: bytes, name: str, *, least: int = 0) -> int:
    try:
        value = int(text.decode("ascii"))
    except ValueError as error:
        raise _damaged(f"{name} is {text!r}", "a whole number") from error
    if not least <= value <= 10**8:
        raise _damaged(f"{name} is {value}", f"a number from {least} to {10**8}")
    return value


def _seconds(text: bytes) -> float:
    name = "duration of a data record"
    try:
        value = float(text.decode("ascii"))
    except ValueError as error:
        raise _damaged(f"{name} is {text!r}", "seconds") from error
    if not (isfinite(value) and value >= 0):
        raise _damaged(f"{name} is {value}", "seconds")
    return value


def _start(edf: Edf) -> datetime | None:
    try:
        return edf.startdatetime
    except (AnonymizedDateError, ValueError, IndexError, OverflowError):
        return None


def _source_signal(signal: EdfSignal) -> SourceSignal:
    label = signal.label.strip(" \0")
    try:
        low, high = sorted(map(float, signal.physical_range))
        digital_low, digital_high = sorted(signal.digital_range)
    except ValueError:
        low = high = digital_low = digital_high = 0
    usable = isfinite(low) and isfinite(high) and low < high and digital_low < digital_high
    rate = float(signal.sampling_frequency)

    def physical() -> npt.NDArray[np.float64]:
        # edfio gives digital values where the range is unusable: they must not pass for microvolts.
        if not usable:
            raise Rejection(
                problem="damaged signal header",
                found=f"'{label}' without a usable physical and digital range",
                wanted="a minimum below a maximum, each a number",
                advice=_EXPORT_AGAIN,
            )
        if not rate:
            raise Rejection(
                problem="no samples",
                found=f"'{label}' with 0 samples per data record",
                wanted="at least one",
                advice=_EXPORT_AGAIN,
            )
        return np.asarray(signal.data, np.float64)

    return SourceSignal(
        label=label,
        unit=signal.physical_dimension.strip(" \0"),
        sampling_rate=rate,
        limits=(low, high),
        step=(high - low) / (digital_high - digital_low) if usable else 0.0,
        physical=physical,
    )
