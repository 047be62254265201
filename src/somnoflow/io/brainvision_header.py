"""Look through the header and the markers of a BrainVision recording before MNE opens it.

A BrainVision recording is three files: a header (.vhdr) that names a data file and a marker file
(.vmrk). What is decided here:

- The names must be plain names of files in the folder of the header.
- Only binary data is read. It must be a whole number of samples, and as many as the header says.
- A new segment is where the recorder was paused. Its date says for how long; without dates the
  recording is refused. The first one's date is the start.
- Texts are UTF-8, else Latin-1. A header that names no marker file has no start and no gaps.

Source: the BrainVision Core Data Format 1.0 of Brain Products.
"""

import re
from configparser import ConfigParser, Error, SectionProxy
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path

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

SAMPLE_BYTES = {"INT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4}
_MOST_TEXT = 1 << 26
_MOST_CHANNELS = 10_000
_EXPORT_AGAIN = "Export the recording again, as BrainVision (binary) or EDF"
_SEGMENT = re.compile(
    r"^Mk[0-9]+=New Segment,([^,]*),([0-9]{1,15}),[^,]*,[^,]*,?([0-9]{20})?$", re.M
)


@dataclass(frozen=True)
class BrainVisionHeader:
    """A header that agrees with the size of its data file.

    `segments` are the first sample and the date (None where it has none) of each new segment.
    """

    data: Path
    channels: int
    samples: int
    sampling_rate: float
    binary_format: str
    orientation: str
    segments: tuple[tuple[int, datetime | None], ...]
    notes: tuple[str, ...]


def read_brainvision_header(path: Path) -> BrainVisionHeader:
    """Read a header and its markers, and compare them with the data file.

    Raises
    ------
    Rejection
        When a file cannot be read, the header names a file elsewhere, or sizes disagree.
    """
    infos, binary = _read_sections(path)
    data = _beside(path, infos.get("DataFile", ""), what="data")
    channels = _whole(infos.get("NumberOfChannels", ""), "NumberOfChannels", most=_MOST_CHANNELS)
    if infos.get("DataFormat") != "BINARY" or binary.get("BinaryFormat") not in SAMPLE_BYTES:
        raise _damaged(
            f"data as {infos.get('DataFormat')} {binary.get('BinaryFormat', '')}".strip(),
            f"BINARY data as {', '.join(SAMPLE_BYTES)}",
        )
    orientation = infos.get("DataOrientation", "")
    if orientation not in ("MULTIPLEXED", "VECTORIZED"):
        raise _damaged(f"data {orientation or 'without an orientation'}", "MULTIPLEXED, VECTORIZED")
    samples = _count_samples(
        data, width=channels * SAMPLE_BYTES[binary["BinaryFormat"]], points=infos.get("DataPoints")
    )
    rate = _sampling_rate(infos.get("SamplingInterval", ""))
    if samples > LONGEST_SECONDS * rate:
        raise implausible(f"{samples} samples at {rate:g} Hz")
    if samples > MOST_SAMPLES:
        raise too_many_samples(data.name, samples)
    segments, notes = _read_segments(path, infos.get("MarkerFile", ""), samples=samples)
    return BrainVisionHeader(
        data=data,
        channels=channels,
        samples=samples,
        sampling_rate=rate,
        binary_format=binary["BinaryFormat"],
        orientation=orientation,
        segments=segments,
        notes=notes,
    )


def _read_sections(path: Path) -> tuple[SectionProxy, SectionProxy]:
    first, _, text = _read_text(path).partition("\n")
    if not re.match(r"Brain ?Vision", first):
        raise _damaged(f"a file that begins with {first[:40]!r}", "a BrainVision header (.vhdr)")
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(text.partition("[Comment]")[0])
        name = "Common Infos" if parser.has_section("Common Infos") else "Common infos"
        return parser[name], parser["Binary Infos"]
    except (Error, KeyError) as error:
        raise _damaged(
            " ".join(str(error).split())[:200], "sections 'Common Infos' and 'Binary Infos'"
        ) from error


def _beside(path: Path, name: str, *, what: str) -> Path:
    """Give the path of a file that the header names, which may only be one in its own folder."""
    plain = name.strip().replace("$b", path.stem)
    if plain in ("", ".", "..") or any(sign in plain for sign in "/\\:\0"):
        raise Rejection(
            problem=f"the {what} file is not beside the header",
            found=f"'{plain}'",
            wanted="the plain name of a file in the same folder",
            advice=f"Put the files of {path.stem} into one folder, and correct their names in it",
        )
    return path.with_name(plain)


def _count_samples(data: Path, *, width: int, points: str | None) -> int:
    with readable(data):
        size = data.stat().st_size
    samples, rest = divmod(size, width)
    wanted = samples if points is None else _whole(points, "DataPoints", most=10**12)
    if rest or not samples or samples != wanted:
        raise Rejection(
            problem="truncated file",
            found=f"{data.name} of {size} bytes",
            wanted=f"{wanted} samples of {width} bytes" if wanted else "at least one sample",
            advice=COPY_AGAIN,
        )
    return samples


def _sampling_rate(interval: str) -> float:
    try:
        rate = 1e6 / float(interval)
    except (ValueError, ZeroDivisionError) as error:
        raise _damaged(f"SamplingInterval is '{interval}'", "microseconds") from error
    if not isfinite(rate) or rate <= 0:
        raise _damaged(f"SamplingInterval is '{interval}'", "microseconds")
    if rate > HIGHEST_RATE:
        raise implausible(f"a sampling rate of {rate:g} Hz")
    return rate


def _read_segments(
    path: Path, name: str, *, samples: int
) -> tuple[tuple[tuple[int, datetime | None], ...], tuple[str, ...]]:
    if not name.strip():
        return (), ()
    markers = _beside(path, name, what="marker")
    if not markers.is_file():
        return (), (f"marker file '{markers.name}' missing: no start, and gaps would not be seen",)
    found = [
        (int(position) - 1, _date(digits))
        for _, position, digits in _SEGMENT.findall(_read_text(markers).replace("\r", ""))
    ]
    positions = [position for position, _ in found]
    if positions != sorted(set(positions)) or any(not 0 <= one < samples for one in positions):
        raise _damaged(
            f"new segments at samples {positions[:10]}", f"their order, from 0 to {samples - 1}"
        )
    return tuple(found), ()


def _date(digits: str) -> datetime | None:
    try:
        date = datetime.strptime(digits, "%Y%m%d%H%M%S%f")
    except ValueError:
        return None
    return date if FIRST_YEAR <= date.year <= LAST_YEAR else None


def _read_text(path: Path) -> str:
    with readable(path), path.open("rb") as file:
        content = file.read(_MOST_TEXT + 1)
    if len(content) > _MOST_TEXT:
        raise _damaged(f"{path.name} of more than {_MOST_TEXT >> 20} MiB", "a text file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _whole(text: str, name: str, *, most: int) -> int:
    if not re.fullmatch("[0-9]{1,15}", text.strip(), re.ASCII) or not 1 <= int(text) <= most:
        raise _damaged(f"{name} is '{text[:40]}'", f"a whole number from 1 to {most}")
    return int(text)


def _damaged(found: str, wanted: str) -> Rejection:
    return Rejection(
        problem="damaged BrainVision file", found=found, wanted=wanted, advice=_EXPORT_AGAIN
    )
