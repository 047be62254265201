"""What an open recording is, whatever its format, and what no sleep recording is.

Headers are read when a recording is opened, samples only when they are asked for: a night of many
channels costs no more than the channels that are used.

More than 14 days, more than 100 kHz, or more than 2^30 samples of a signal is no sleep recording
but a damaged header, or one that lies: it is refused before memory is asked for.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from somnoflow.io.rejection import Rejection

COPY_AGAIN = "Copy or download the file again, or leave it out of the manifest"
LONGEST_SECONDS = 14 * 24 * 3600
HIGHEST_RATE = 100_000
MOST_SAMPLES = 2**30  # of a signal: 14 days at 800 Hz, 4 GiB
MOST_SEGMENTS = 100_000
CLOCK_TOLERANCE = 0.001  # s, by which recorders round their clocks
FIRST_YEAR, LAST_YEAR = 1985, 2084  # EDF can tell these apart


@dataclass(frozen=True)
class Segment:
    """One stretch of a recording without a gap.

    `onset` is in seconds after the start of the recording, `seconds` is its length.
    """

    onset: float
    seconds: float


@dataclass(frozen=True)
class SourceSignal:
    """One signal of a recording as its header describes it.

    `physical()` gives its samples in `unit`: one float32 array for each segment of the recording.
    It raises `Rejection` where the header gives no usable range or no rate. `limits` are the values
    at the recorder's digital limits and `step` is the value of one digital step, in the same unit;
    they are (-inf, inf) and 0 where the format does not tell them.
    """

    label: str
    unit: str
    sampling_rate: float
    limits: tuple[float, float]
    step: float
    physical: Callable[[], tuple[npt.NDArray[np.float32], ...]]


@dataclass(frozen=True)
class SourceRecording:
    """An open recording.

    `start` is None where the header has no date, or none that means one. `seconds` go from the
    start to the end of the last segment, gaps included. `segments` are in order and do not overlap;
    a recording without a gap has one. `notes` are remarks for the cohort table.
    """

    path: Path
    start: datetime | None
    seconds: float
    signals: tuple[SourceSignal, ...]
    segments: tuple[Segment, ...]
    notes: tuple[str, ...]


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the system says of a file that it cannot read into a rejection."""
    try:
        yield
    except OSError as error:
        raise Rejection(
            problem="cannot be opened",
            found=error.strerror or str(error) or type(error).__name__,
            wanted="a readable file",
            advice=f"Check that {path.name} exists and that you may read it",
        ) from error


def implausible(
    found: str,
    *,
    wanted: str = f"at most {LONGEST_SECONDS // 86400} days, at at most {HIGHEST_RATE} Hz",
) -> Rejection:
    """Give the rejection of a header that describes no sleep recording."""
    return Rejection(
        problem="implausible header",
        found=found,
        wanted=wanted,
        advice="Check the recording in the program that made it, and export it again",
    )


def too_many_samples(label: str, samples: int) -> Rejection:
    """Give the rejection of a signal that no memory could hold."""
    return implausible(
        f"'{label}' with {samples} samples", wanted=f"at most {MOST_SAMPLES} samples of a signal"
    )


def note_gaps(segments: tuple[Segment, ...]) -> tuple[str, ...]:
    """Say how many gaps a recording has, and their length in all."""
    gaps = len(segments) - 1
    if not gaps:
        return ()
    missing = segments[-1].onset + segments[-1].seconds - sum(one.seconds for one in segments)
    return (f"{gaps} gap{'s' if gaps > 1 else ''}, {missing:g} s in all",)
