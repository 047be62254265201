"""Read EDF and EDF+ recordings; refuse what cannot be trusted, with the reason.

edfio decodes the signals. Before it may, the header is compared with the file: a header can lie
about sizes, and a truncated download looks like a short night.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from edfio import AnonymizedDateError, Edf, EdfSignal, read_edf

from somnoflow.io.rejection import Rejection

_FIXED_HEADER = 256
_COPY_AGAIN = "Copy or download the file again, or leave it out of the manifest"


@dataclass(frozen=True)
class SourceSignal:
    """One signal of a recording as its header describes it.

    `physical()` gives all samples in the header's unit (float64), `limits` the values at the
    recorder's digital limits and `step` the value of one digital step, in the same unit.
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


def open_recording(path: Path) -> SourceRecording:
    """Open an EDF or EDF+C recording.

    Raises
    ------
    Rejection
        When the file is empty, truncated, not EDF, has no data, is discontinuous or unreadable.
    """
    edf = _open(path)
    if not edf.is_continuous:
        raise Rejection(
            problem="the recording has gaps (EDF+D)",
            found="EDF+D",
            wanted="a continuous recording (EDF or EDF+C)",
            advice="Export the recording as EDF+C, one file for each continuous part",
        )
    return SourceRecording(
        path=path,
        start=_start(edf),
        seconds=float(edf.duration),
        signals=tuple(_source_signal(signal) for signal in edf.signals),
    )


def read_annotations(path: Path) -> tuple[datetime | None, list[tuple[float, float, str]]]:
    """Give the start and all annotations (onset s, duration s, text) of an EDF+ file.

    Raises
    ------
    Rejection
        When the file cannot be read or holds no annotation.
    """
    edf = _open(path)
    found = [(float(a.onset), float(a.duration or 0), str(a.text).strip()) for a in edf.annotations]
    if not found:
        raise Rejection(
            problem="no annotations",
            found=f"an EDF file without annotations ({path.name})",
            wanted="an EDF+ file with annotations",
            advice="Check that this is the scoring and not the recording",
        )
    return _start(edf), found


def _open(path: Path) -> Edf:
    try:
        _compare_header_with_size(path)
        return read_edf(path)
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
            advice="Open the file in an EDF viewer, and export it again",
        ) from error


def _compare_header_with_size(path: Path) -> None:
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
        records = _number(fixed[236:244], "number of data records")
        signals = _number(fixed[252:256], "number of signals")
        if header_bytes != _FIXED_HEADER * (signals + 1):
            raise Rejection(
                problem="damaged EDF header",
                found=f"{header_bytes} header bytes for {signals} signals",
                wanted=f"{_FIXED_HEADER * (signals + 1)} header bytes",
                advice=_COPY_AGAIN,
            )
        if size < header_bytes:
            raise Rejection(
                problem="truncated file",
                found=f"{size} bytes",
                wanted=f"a header of {header_bytes} bytes and data",
                advice=_COPY_AGAIN,
            )
        file.seek(_FIXED_HEADER + 216 * signals)
        lengths = file.read(8 * signals)
    samples = sum(
        _number(lengths[8 * n : 8 * n + 8], "samples per data record") for n in range(signals)
    )
    if records < 1:
        raise Rejection(
            problem="no data",
            found=f"{records} data records",
            wanted="at least one data record",
            advice="The recorder did not close the file; export it again",
        )
    wanted = header_bytes + 2 * samples * records
    if size < wanted:
        raise Rejection(
            problem="truncated file",
            found=f"{size} bytes",
            wanted=f"{wanted} bytes, as the header says",
            advice=_COPY_AGAIN,
        )


def _number(text: bytes, name: str) -> int:
    try:
        value = int(text.decode("ascii"))
    except ValueError as error:
        raise Rejection(
            problem="damaged EDF header",
            found=f"{name} is {text!r}",
            wanted="a whole number",
            advice=_COPY_AGAIN,
        ) from error
    if value < -1 or value > 10**8:
        raise Rejection(
            problem="damaged EDF header",
            found=f"{name} is {value}",
            wanted="a plausible number",
            advice=_COPY_AGAIN,
        )
    return value


def _start(edf: Edf) -> datetime | None:
    try:
        return edf.startdatetime
    except AnonymizedDateError:
        return None


def _source_signal(signal: EdfSignal) -> SourceSignal:
    low, high = sorted(signal.physical_range)
    digital_low, digital_high = sorted(signal.digital_range)
    return SourceSignal(
        label=signal.label.strip(),
        unit=signal.physical_dimension.strip(),
        sampling_rate=float(signal.sampling_frequency),
        limits=(float(low), float(high)),
        step=float(high - low) / (digital_high - digital_low),
        physical=lambda: np.asarray(signal.data, np.float64),
    )
