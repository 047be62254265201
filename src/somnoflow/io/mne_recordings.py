"""Read FIF and BrainVision recordings through MNE.

MNE follows the names that a header gives to further files, and takes the sizes in it for granted:
`fif_directory` and `brainvision_header` look first. What is decided here:

- Skips in FIF and new segments in BrainVision are gaps, where MNE gives zeros or no sign at all.
- MNE gives volts. The unit is "" where a channel is not measured in volts.
- Trigger channels are left out; duplicate labels are numbered by MNE.
- FIF keeps the start in UTC: it is given as it stands, with a note.
- A channel with samples that are no numbers is refused: a filter would spread them over the night.
- One channel is read at a time. MNE's limits are not known, except where BrainVision has integers.

MNE takes a second to import: it is imported where it is used, so that EDF need not pay for it.
"""

import struct
import zlib
from collections.abc import Iterator
from configparser import Error as ConfigError
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from somnoflow.io.brainvision_header import BrainVisionHeader, read_brainvision_header
from somnoflow.io.fif_directory import FifBuffer, read_fif_buffers
from somnoflow.io.printable import printable
from somnoflow.io.rejection import Rejection
from somnoflow.io.source import (
    CLOCK_TOLERANCE,
    FIRST_YEAR,
    HIGHEST_RATE,
    LAST_YEAR,
    LONGEST_SECONDS,
    MOST_SAMPLES,
    Segment,
    SourceRecording,
    SourceSignal,
    implausible,
    note_gaps,
    readable,
    too_many_samples,
)

LARGEST_OVERLAP = 1.0  # s, by which the clock of a pause may disagree with the sampling
_LARGEST_VALUE = 1e30
_VOLT = 107
_TRIGGERS = frozenset({"stim", "syst", "exci", "ias", "chpi"})
INTEGER_BITS = {"INT_16": 16, "INT_32": 32}

# What MNE raises on damaged files, besides OSError.
_MNE_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ConfigError, EOFError, LookupError,
    RuntimeError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip


def open_fif(path: Path) -> SourceRecording:
    """Open a FIF recording, also a compressed one.

    Raises
    ------
    Rejection
        When the file cannot be read, is truncated, is one part of several, or is not FIF.
    """
    import mne  # noqa: PLC0415

    with readable(path), _refusing("FIF"):
        buffers = read_fif_buffers(path)
        raw = mne.io.read_raw_fif(path, verbose="ERROR")
        stretches = _find_stretches(buffers, channels=len(raw.ch_names))
        if not stretches or stretches[-1][1] != raw.n_times:
            raise ValueError(f"{raw.n_times} samples, of which {stretches[-1:]} in buffers")
        date = raw.info["meas_date"]
        start = date and date.replace(tzinfo=None) + timedelta(seconds=float(raw.first_time))
        rate = float(raw.info["sfreq"])
        if raw.n_times > LONGEST_SECONDS * rate or not 0 < rate <= HIGHEST_RATE:
            raise implausible(f"{raw.n_times} samples at {rate:g} Hz")
        if raw.n_times > MOST_SAMPLES:
            raise too_many_samples(raw.ch_names[0], raw.n_times)
    return _make_recording(
        path,
        raw,
        start=start if start and FIRST_YEAR <= start.year <= LAST_YEAR else None,
        stretches=stretches,
        onsets=[begin / rate for begin, _ in stretches],
        notes=("the start is in UTC, as FIF keeps it",) if start else (),
    )


def open_brainvision(path: Path) -> SourceRecording:
    """Open a BrainVision recording by its header.

    Raises
    ------
    Rejection
        When a file cannot be read, is truncated or damaged, or lies elsewhere than the header.
    """
    import mne  # noqa: PLC0415

    header = read_brainvision_header(path)
    checked = {
        "data_fname": header.data.name,
        "marker_fname": False,
        "n_channels": header.channels,
        "sfreq": header.sampling_rate,
        "data_orientation": header.orientation,
        "data_format": "BINARY",
        "binary_format": header.binary_format,
    }
    with readable(path), _refusing("BrainVision"):
        raw = mne.io.read_raw_brainvision(path, overrides=checked, verbose="ERROR")
    start, firsts, onsets = _date_segments(header)
    return _make_recording(
        path,
        raw,
        start=start,
        stretches=list(pairwise([*firsts, header.samples])),
        onsets=onsets,
        notes=header.notes,
        bits=INTEGER_BITS.get(header.binary_format, 0),
    )


def _find_stretches(buffers: list[FifBuffer], *, channels: int) -> list[tuple[int, int]]:
    """Give the first sample of each stretch without a skip, and the sample after it."""
    stretches: list[tuple[int, int]] = []
    for buffer in buffers:
        samples = buffer.values // channels
        end = stretches[-1][1] if stretches else 0
        if stretches and not buffer.skipped:
            stretches[-1] = (stretches[-1][0], end + samples)
        else:
            begin = end + buffer.skipped * samples if stretches else 0
            stretches.append((begin, begin + samples))
    return stretches


def _date_segments(header: BrainVisionHeader) -> tuple[datetime | None, list[int], list[float]]:
    """Give the start, and the first sample and the onset in seconds of each segment."""
    rate = header.sampling_rate
    first, date = header.segments[0] if header.segments else (0, None)
    start = date and date - timedelta(seconds=first / rate)
    firsts, onsets = [0], [0.0]
    for sample, date in header.segments[1:]:
        if start is None or date is None:
            raise Rejection(
                problem="gaps of unknown length",
                found=f"a new segment at sample {sample}, without its date or that of the first",
                wanted="the date of each new segment in the marker file",
                advice="Export each segment of the recording on its own, or with its dates",
            )
        expected = onsets[-1] + (sample - firsts[-1]) / rate
        onset = (date - start).total_seconds()
        if onset < expected - LARGEST_OVERLAP:
            raise Rejection(
                problem="segments overlap",
                found=f"a new segment {onset:g} s after the start",
                wanted=f"{expected:g} s or later",
                advice="Check the dates of the new segments in the marker file",
            )
        if onset > expected + CLOCK_TOLERANCE:
            firsts.append(sample)
            onsets.append(onset)
    return start, firsts, onsets


def _make_recording(
    path: Path,
    raw: Any,
    *,
    start: datetime | None,
    stretches: list[tuple[int, int]],
    onsets: list[float],
    notes: tuple[str, ...],
    bits: int = 0,
) -> SourceRecording:
    segments = tuple(
        Segment(round(onset, 6), round((end - begin) / float(raw.info["sfreq"]), 6))
        for onset, (begin, end) in zip(onsets, stretches, strict=True)
    )
    with _refusing("recording"):
        kinds = raw.get_channel_types()
    signals = tuple(
        _source_signal(raw, number, stretches=stretches, bits=bits)
        for number, kind in enumerate(kinds)
        if kind not in _TRIGGERS
    )
    if not signals:
        raise Rejection(
            problem="no signals",
            found="a file of trigger channels only",
            wanted="a recording",
            advice="Check that this is the recording",
        )
    return SourceRecording(
        path=path,
        start=start,
        seconds=round(segments[-1].onset + segments[-1].seconds, 6),
        signals=signals,
        segments=segments,
        notes=(*notes, *note_gaps(segments)),
    )


def _source_signal(
    raw: Any, number: int, *, stretches: list[tuple[int, int]], bits: int
) -> SourceSignal:
    channel = raw.info["chs"][number]
    step = abs(float(channel["cal"] * channel["range"])) if bits else 0.0
    reach = step * (1 << (bits - 1)) if bits else inf

    def physical() -> tuple[npt.NDArray[np.float32], ...]:
        with readable(Path(raw.filenames[0])), _refusing("recording"):
            parts = tuple(
                raw.get_data(picks=[number], start=begin, stop=end, verbose="ERROR")[0]
                for begin, end in stretches
            )
        broken = sum(int((~(np.abs(part) < _LARGEST_VALUE)).sum()) for part in parts)
        if broken:
            raise Rejection(
                problem="samples that are no numbers",
                found=f"{broken} in '{raw.ch_names[number]}'",
                wanted="finite values",
                advice="Export the recording again, without values for what was not recorded",
            )
        return tuple(part.astype(np.float32) for part in parts)

    return SourceSignal(
        label=printable(raw.ch_names[number]),
        unit="V" if channel["unit"] == _VOLT else "",
        sampling_rate=float(raw.info["sfreq"]),
        limits=(-reach, reach - step),
        step=step,
        physical=physical,
    )


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    try:
        yield
    except _MNE_ERRORS as error:
        raise Rejection(
            problem=f"not a valid {what} file",
            found=f"MNE: {' '.join(str(error).split())[:300] or type(error).__name__}",
            wanted=f"a {what} file that MNE reads",
            advice="Save or export the recording again, or export it as EDF",
        ) from error
