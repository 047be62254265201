"""A recording that MNE holds, as one that was opened from a file.

MNE is not imported here: who has a `Raw` has done so. What is decided here:

- Channels of the types `eeg`, `eog`, `emg`, `ecg`, `resp` and `misc` are offered, by their names;
  MNE has them in volts, but for breathing and `misc`, whose unit it does not know.
- Stretches that MNE marks as not recorded (`BAD_ACQ_SKIP`) are gaps. What a person marked as bad is
  scored.
- The date is the one that the `Raw` has, in UTC as MNE keeps it.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from somnoflow.io.rejection import Rejection
from somnoflow.io.source import Segment, SourceRecording, SourceSignal, note_gaps

VOLTS = ("eeg", "eog", "emg", "ecg", "bio")
OTHERS = ("resp", "misc", "temperature")
SKIPPED = "bad_acq_skip"


def open_raw(raw: Any) -> SourceRecording:
    """Give an `mne.io.BaseRaw` as an open recording; samples are taken when they are asked for.

    Raises
    ------
    Rejection
        When it has no channel of a type that is scored.
    """
    rate = float(raw.info["sfreq"])
    stretches = _stretches(raw)
    kinds = raw.get_channel_types()
    signals = tuple(
        _signal(raw, number, unit="V" if kind in VOLTS else "", stretches=stretches)
        for number, kind in enumerate(kinds)
        if kind in VOLTS or kind in OTHERS
    )
    if not signals:
        raise Rejection(
            problem="no signals",
            found=f"channels of the types {', '.join(sorted(set(kinds)))}",
            wanted=f"some of {', '.join((*VOLTS, *OTHERS))}",
            advice="Set the types of the channels: raw.set_channel_types({'C4-M1': 'eeg'})",
        )
    segments = tuple(Segment(begin / rate, (end - begin) / rate) for begin, end in stretches)
    date = raw.info["meas_date"]
    start = date and date.replace(tzinfo=None) + timedelta(seconds=float(raw.first_time))
    return SourceRecording(
        path=Path(_file_of(raw) or "raw"),
        start=start,
        seconds=raw.n_times / rate,
        signals=signals,
        segments=segments,
        notes=note_gaps(segments),
    )


def name_of_raw(raw: Any) -> str:
    """Give the name of the file that a `Raw` was read from; `raw` where there is none."""
    file = _file_of(raw)
    return Path(file).name if file else "raw"


def _file_of(raw: Any) -> str | None:
    names = [name for name in raw.filenames if name is not None]
    return str(names[0]) if names else None


def _stretches(raw: Any) -> list[tuple[int, int]]:
    """Give the first sample of each stretch that was recorded, and the one after it."""
    recorded = np.ones(raw.n_times, np.bool_)
    rate = float(raw.info["sfreq"])
    # Annotations with a date count from it, those without from the first sample.
    shift = float(raw.first_time) if raw.annotations.orig_time is not None else 0.0
    for one in raw.annotations:
        if str(one["description"]).lower() == SKIPPED:
            begin = round((one["onset"] - shift) * rate)
            recorded[max(0, begin) : max(0, begin + round(one["duration"] * rate))] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[0], recorded.view(np.int8), [0]])))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def _signal(raw: Any, number: int, *, unit: str, stretches: list[tuple[int, int]]) -> SourceSignal:
    def physical() -> tuple[npt.NDArray[np.float32], ...]:
        parts = [raw.get_data(picks=[number], start=a, stop=b)[0] for a, b in stretches]
        broken = sum(int((~np.isfinite(part)).sum()) for part in parts)
        if broken:
            raise Rejection(
                problem="samples that are no numbers",
                found=f"{broken} in '{raw.ch_names[number]}'",
                wanted="finite values",
                advice="Drop the channel, or mark what was not recorded as BAD_ACQ_SKIP",
            )
        return tuple(part.astype(np.float32) for part in parts)

    return SourceSignal(
        label=raw.ch_names[number],
        unit=unit,
        sampling_rate=float(raw.info["sfreq"]),
        limits=(-np.inf, np.inf),
        step=0.0,
        physical=physical,
    )
