"""Read EDF, EDF+, BDF and BDF+ recordings and annotations; refuse what cannot be trusted.

The header is checked against the file first (`edf_header`), then samples are copied from it as they
are and converted to physical values in float32. Tests compare them with edfio and MNE. A library
would read the header a second time, by rules of its own: MNE up-samples mixed rates without a word,
edfio drops a damaged annotation among good ones. What is decided here:

- Gaps are found by the clock that EDF+ writes into each data record, not by the file's name: they
  become segments, with a note, also in a file that calls itself continuous (EDF+C).
- A clock may be out by 1 ms from one data record to the next, as recorders round it. One that runs
  backwards or lets data records overlap by more is refused: nobody knows when these samples were
  taken. One that drifts from the sampling is noted from 10 ms on, and refused from half an epoch
  on, where stages would go to the wrong epoch.
- The first data record's clock is added to the start of the recording (a sub-second start), and
  annotations count from there.
- EDF+D without any clock is refused: it has gaps, and nobody knows where.
- A signal without a usable range or without samples costs that signal, not the night. So does one
  whose steps float32 cannot tell apart.
- Signals of one label are all given. The trigger channel of BDF ("Status") is no signal.
- One malformed annotation refuses the file: among good ones it may be a lost stage. Annotations
  without a text say nothing and are left out.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from somnoflow.io.edf_header import (
    BDF,
    EXPORT_AGAIN,
    Header,
    SignalHeader,
    damaged,
    read_header,
)
from somnoflow.io.edf_tal import STAMP_BYTES, Tal, read_stamps, read_tals
from somnoflow.io.rejection import Rejection
from somnoflow.io.source import (
    CLOCK_TOLERANCE,
    COPY_AGAIN,
    LONGEST_SECONDS,
    MOST_SEGMENTS,
    Segment,
    SourceRecording,
    SourceSignal,
    implausible,
    note_gaps,
    readable,
)

LARGEST_DRIFT = 15.0
NOTED_DRIFT = 0.01
MOST_ANNOTATIONS = 1_000_000
_TOLERANCE = CLOCK_TOLERANCE + 1e-9  # times are sums of floats
_TRIGGERS = "Status"
_BYTES_AT_ONCE = 1 << 25
_FLOAT32_DIGITS = 24
_LARGEST_VALUE = 1e30
_SCORING_AGAIN = "Open the scoring in an EDF viewer, and export it again"


def open_recording(path: Path) -> SourceRecording:
    """Open a recording of the EDF family.

    Raises
    ------
    Rejection
        When the file is empty, truncated, not EDF or BDF, has no signals or no data, or has a
        header or a clock that contradicts itself.
    """
    header = read_header(path)
    signals = [one for one in header.signals if header.family is not BDF or one.label != _TRIGGERS]
    if not signals:
        raise Rejection(
            problem="no signals",
            found=f"a {header.family.name} file with annotations only",
            wanted="a recording",
            advice="Check that this is the recording and not the scoring",
        )
    times = _read_clock(path, header)
    edges = _find_edges(times, header)
    segments = _find_segments(times, header, edges=edges)
    drift = _measure_drift(times, header, edges=edges)
    notes = _note_clock(header, first=float(times[0]), drift=drift, segments=segments)
    return SourceRecording(
        path=path,
        start=_shift(header.start, times[0]),
        seconds=round(segments[-1].onset + segments[-1].seconds, 6),
        signals=tuple(_source_signal(path, header, signal, edges=edges) for signal in signals),
        segments=segments,
        notes=(*header.notes, *notes),
    )


def read_annotations(path: Path) -> tuple[datetime | None, list[tuple[float, float, str]]]:
    """Give the start and all annotations (onset s, duration s, text), in order of time.

    Raises
    ------
    Rejection
        When the file cannot be read, holds an annotation that is none, or holds none at all.
    """
    header = read_header(path)
    late = 0.0
    found: list[tuple[float, float, str]] = []
    for channel in header.annotations:
        for number, tals in _read_lists(path, header, channel):
            if number == 0 and channel is header.annotations[0] and tals and not tals[0].texts[0]:
                late = tals[0].onset
            found += [
                (tal.onset, tal.duration, text.strip())
                for tal in tals
                for text in tal.texts
                if text.strip()
            ]
            if len(found) > MOST_ANNOTATIONS:
                raise implausible(f"more than {MOST_ANNOTATIONS} annotations")
    if not found:
        raise Rejection(
            problem="no annotations",
            found=f"an EDF file without annotations ({path.name})",
            wanted="an EDF+ file with annotations",
            advice="Check that this is the scoring and not the recording",
        )
    _require_first(late)
    return (
        _shift(header.start, late),
        sorted((round(onset - late, 9), duration, text) for onset, duration, text in found),
    )


def _read_lists(
    path: Path, header: Header, channel: SignalHeader
) -> Iterator[tuple[int, list[Tal]]]:
    for first, block in _read_columns(path, header, channel.columns):
        for number, record in enumerate(block, first):
            try:
                yield number, read_tals(record.tobytes())
            except ValueError as error:
                raise Rejection(
                    problem="the annotations cannot be read",
                    found=f"{error} in data record {number + 1} of {path.name}",
                    wanted="EDF+ annotations: onset, duration and texts",
                    advice=_SCORING_AGAIN,
                ) from error


def _read_clock(path: Path, header: Header) -> npt.NDArray[np.float64]:
    """Give each data record's seconds after the start in the header, shape (records,)."""
    step = float(header.record_seconds)
    if not header.annotations:
        if header.reserved.startswith(f"{header.family.name}+D"):
            raise Rejection(
                problem="gaps at unknown times",
                found=f"{header.reserved} without the clock of its data records",
                wanted=f"a channel '{header.family.annotations}'",
                advice=EXPORT_AGAIN,
            )
        return np.arange(header.records, dtype=np.float64) * np.float64(step)
    columns = header.annotations[0].columns
    columns = slice(columns.start, min(columns.stop, columns.start + STAMP_BYTES))
    blocks = _read_columns(path, header, columns)
    times = np.concatenate([read_stamps(block) for _, block in blocks])
    absent = np.flatnonzero(np.isnan(times))
    if absent.size:
        raise damaged(
            f"data record {absent[0] + 1} without its time", "the time of each data record"
        )
    _require_first(times[0])
    late = np.diff(times) - step
    overlaps = np.flatnonzero(late < -_TOLERANCE)
    if overlaps.size:
        number = int(overlaps[0])
        raise Rejection(
            problem="the clock of the data records runs backwards",
            found=f"data record {number + 2} begins {times[number + 1]:.10g} s after the start",
            wanted=f"{times[number] + step:.10g} s or later",
            advice=EXPORT_AGAIN,
        )
    if times[-1] - times[0] > LONGEST_SECONDS:
        raise implausible(f"a recording of {(times[-1] - times[0]) / 86400:.1f} days with its gaps")
    return times


def _require_first(seconds: float) -> None:
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise damaged(
            f"a first data record {seconds:g} s after the start", "a fraction of a second"
        )


def _find_edges(times: npt.NDArray[np.float64], header: Header) -> list[int]:
    """Give the first data record of each segment, and the number of data records."""
    late = np.diff(times) - float(header.record_seconds)
    begins = np.flatnonzero(late > _TOLERANCE) + 1
    if len(begins) >= MOST_SEGMENTS:
        raise implausible(f"{len(begins)} gaps", wanted=f"fewer than {MOST_SEGMENTS} gaps")
    return [0, *begins.tolist(), len(times)]


def _find_segments(
    times: npt.NDArray[np.float64], header: Header, *, edges: list[int]
) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    end = 0.0
    for first, last in pairwise(edges):
        # A clock that is slower than the sampling must not make segments overlap.
        onset = round(max(float(times[first] - times[0]), end), 6)
        # Records of 0.1 s and the like add up to 299.99999999999994 s: that is 300 s.
        seconds = round(float((last - first) * header.record_seconds), 6)
        end = onset + seconds
        segments.append(Segment(onset, seconds))
    return tuple(segments)


def _measure_drift(times: npt.NDArray[np.float64], header: Header, *, edges: list[int]) -> float:
    """Give the most that the clock departs from the sampling within a segment, in seconds."""
    begins = np.repeat(edges[:-1], np.diff(edges))
    expected = times[begins] + float(header.record_seconds) * (np.arange(len(times)) - begins)
    drift = float(np.abs(times - expected).max())
    if drift > LARGEST_DRIFT:
        raise Rejection(
            problem="the clock of the data records departs from the sampling",
            found=f"{drift:g} s without a gap",
            wanted=f"at most {LARGEST_DRIFT:g} s, half an epoch",
            advice="Check the duration of a data record in the header, and export the file again",
        )
    return drift


def _note_clock(
    header: Header, *, first: float, drift: float, segments: tuple[Segment, ...]
) -> list[str]:
    """Say what the clock tells beyond a continuous recording that begins with the file."""
    notes = list(note_gaps(segments))
    if notes and header.reserved.startswith(f"{header.family.name}+C"):
        notes.append(f"the header calls the recording {header.reserved}, without gaps")
    if first >= 1:
        notes.append(f"first data record begins {first:g} s after the start in the header")
    if drift >= NOTED_DRIFT:
        notes.append(f"the clock departs from the sampling by up to {drift:.3g} s")
    return notes


def _shift(start: datetime | None, seconds: float) -> datetime | None:
    return None if start is None else start + timedelta(seconds=float(seconds))


def _source_signal(
    path: Path, header: Header, signal: SignalHeader, *, edges: list[int]
) -> SourceSignal:
    usable = _is_usable(signal)
    first, last = signal.physical if usable and signal.physical else (0.0, 0.0)
    low, high = signal.digital if usable and signal.digital else (0, 1)
    gain = (last - first) / (high - low)

    def physical() -> tuple[npt.NDArray[np.float32], ...]:
        # Digital values must not pass for microvolts.
        if not usable:
            raise Rejection(
                problem="damaged signal header",
                found=f"'{signal.label}' without a usable physical and digital range",
                wanted="a minimum below a maximum, each a number",
                advice=EXPORT_AGAIN,
            )
        if not signal.samples:
            raise Rejection(
                problem="no samples",
                found=f"'{signal.label}' with 0 samples per data record",
                wanted="at least one",
                advice=EXPORT_AGAIN,
            )
        records = np.empty((header.records, signal.samples), np.float32)
        for begin, block in _read_columns(path, header, signal.columns):
            part = records[begin : begin + len(block)]
            np.multiply(
                _decode(block, header), gain, out=part, dtype=np.float32, casting="same_kind"
            )
        records += np.float32(first - low * gain)
        return tuple(records[begin:end].reshape(-1) for begin, end in pairwise(edges))

    return SourceSignal(
        label=signal.label,
        unit=signal.unit,
        sampling_rate=float(signal.samples / header.record_seconds),
        limits=(min(first, last), max(first, last)),
        step=abs(gain),
        physical=physical,
    )


def _is_usable(signal: SignalHeader) -> bool:
    """Say whether a signal has a range whose steps float32 can hold."""
    if signal.physical is None or signal.digital is None:
        return False
    low, high = signal.digital
    reach = max(map(abs, signal.physical))
    step = abs(signal.physical[1] - signal.physical[0]) / (high - low)
    return 1 / _LARGEST_VALUE < reach < _LARGEST_VALUE and reach / 2**_FLOAT32_DIGITS <= step


def _read_columns(
    path: Path, header: Header, columns: slice
) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Give the number of a data record, and the bytes of `columns` from there on, block by block.

    The file is mapped, since that copies only what is asked for, and in parts, since pages that are
    mapped count as memory used.
    """
    at_once = max(1, _BYTES_AT_ONCE // header.record_bytes)
    with readable(path):
        if path.stat().st_size < header.data_end:
            raise Rejection(
                problem="truncated file",
                found="a file that became shorter while it was read",
                wanted=f"{header.data_end} bytes",
                advice=COPY_AGAIN,
            )
        for first in range(0, header.records, at_once):
            block = np.memmap(
                path,
                np.uint8,
                mode="r",
                offset=header.header_bytes + first * header.record_bytes,
                shape=(min(at_once, header.records - first), header.record_bytes),
            )
            yield first, np.ascontiguousarray(block[:, columns])


def _decode(block: npt.NDArray[np.uint8], header: Header) -> npt.NDArray[np.int16 | np.int32]:
    """Give the digital values of shape (records, samples)."""
    if header.family is not BDF:
        return block.view("<i2")
    wide = np.zeros((len(block), block.shape[1] // BDF.sample_bytes, 4), np.uint8)
    wide[:, :, 1:] = block.reshape(len(block), -1, BDF.sample_bytes)
    return wide.view("<i4")[:, :, 0] >> 8  # the sign is in the highest byte
