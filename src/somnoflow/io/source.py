"""What an open recording is, whatever its format.

Headers are read when a recording is opened, samples only when they are asked for: a night of many
channels costs no more than the channels that are used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt


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
