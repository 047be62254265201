"""Small recordings and scorings for tests, written with edfio."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import edfio
import numpy as np

START = datetime.datetime(2021, 3, 4, 22, 30)


def sine(*, hertz: float, rate: float, seconds: float, amplitude: float = 50.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return amplitude * np.sin(2 * np.pi * hertz * time)


def noise(*, rate: float, seconds: float, amplitude: float = 20.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, amplitude, round(seconds * rate)).clip(-5 * amplitude, 5 * amplitude)


def make_signal(
    samples: np.ndarray,
    *,
    label: str = "EEG",
    rate: float = 100,
    unit: str = "uV",
    reach: float = 1000.0,
) -> edfio.EdfSignal:
    return edfio.EdfSignal(
        samples, rate, label=label, physical_dimension=unit, physical_range=(-reach, reach)
    )


def write_recording(
    path: Path,
    signals: Sequence[edfio.EdfSignal] | None = None,
    *,
    seconds: float = 300,
    start: datetime.datetime | None = START,
    record_seconds: float | None = None,
    plus: bool = False,
) -> Path:
    """Write an EDF (with `plus` an EDF+C) recording; one channel of noise where none is given."""
    chosen = signals or [make_signal(noise(rate=100, seconds=seconds))]
    edfio.Edf(
        chosen,
        recording=edfio.Recording(startdate=start.date() if start else None),
        starttime=(start or START).time(),
        data_record_duration=record_seconds,
        annotations=[] if plus else None,
    ).write(path)
    return path


def write_scoring(
    path: Path,
    annotations: Sequence[tuple[float, float | None, str]],
    *,
    start: datetime.datetime | None = START,
) -> Path:
    """Write an EDF+ file of annotations (onset s, duration s, text)."""
    edfio.Edf(
        [],
        recording=edfio.Recording(startdate=start.date() if start else None),
        starttime=(start or START).time(),
        annotations=[edfio.EdfAnnotation(*annotation) for annotation in annotations],
    ).write(path)
    return path


def patch(path: Path, at: int, value: bytes, *, width: int = 0) -> Path:
    """Overwrite bytes of a file, padded with blanks to `width`."""
    content = bytearray(path.read_bytes())
    value = value.ljust(width)
    content[at : at + len(value)] = value
    path.write_bytes(content)
    return path
