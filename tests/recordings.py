"""Small recordings and scorings for tests, written with edfio, with MNE, and by hand."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edfio
import mne
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


@dataclass(frozen=True)
class HeaderSignal:
    """A signal as a header has it, each field as text; `digital` has shape (records, samples)."""

    digital: np.ndarray
    label: str = "EEG"
    unit: str = "uV"
    physical: tuple[str, str] = ("-100", "100")
    limits: tuple[str, str] = ("-2048", "2047")


def write_by_hand(
    path: Path,
    signals: Sequence[HeaderSignal],
    *,
    record_seconds: str = "1",
    stamps: Sequence[bytes] = (),
    reserved: str = "",
    date: str = "04.03.21",
    time: str = "22.30.00",
    recording: str = "",
    family: str = "EDF",
) -> Path:
    """Write a file of the EDF family field by field; `stamps` are its annotations per record."""
    width = {"EDF": 2, "BDF": 3}[family]
    every = list(signals)
    data = [
        np.ascontiguousarray(one.digital, "<i4").view(np.uint8).reshape(*one.digital.shape, 4)
        for one in every
    ]
    blocks = [part[:, :, :width].reshape(len(part), -1) for part in data]
    if stamps:
        room = -(-max(map(len, stamps)) // width) * width
        lists = b"".join(stamp.ljust(room, b"\0") for stamp in stamps)
        blocks.append(np.frombuffer(lists, np.uint8).reshape(len(stamps), room))
        every.append(HeaderSignal(np.zeros((0, room // width)), f"{family} Annotations", ""))
    columns = [
        [(one.label, 16) for one in every],
        [("", 80) for _ in every],
        [(one.unit, 8) for one in every],
        *([(one.physical[end], 8) for one in every] for end in (0, 1)),
        *([(one.limits[end], 8) for one in every] for end in (0, 1)),
        [("", 80) for _ in every],
        [(str(one.digital.shape[1]), 8) for one in every],
        [("", 32) for _ in every],
    ]
    fixed = [
        ("", 80), (recording, 80), (date, 8), (time, 8), (str(256 * (1 + len(every))), 8),
        (reserved, 44), (str(len(blocks[0])), 8), (record_seconds, 8), (str(len(every)), 4),
    ]  # fmt: skip
    fields = [*fixed, *(field for column in columns for field in column)]
    header = b"".join(text.encode().ljust(size) for text, size in fields)
    version = b"0       " if family == "EDF" else b"\xffBIOSEMI"
    path.write_bytes(version + header + np.concatenate(blocks, axis=1).tobytes())
    return path


def ramp(records: int, samples: int, *, least: int = -2048, largest: int = 2047) -> np.ndarray:
    """Give digital values that differ from sample to sample, shape (records, samples)."""
    values = np.linspace(least, largest, records * samples).round().astype(np.int32)
    return values.reshape(records, samples)


def write_clocked(path: Path, onsets: Sequence[str], **header: Any) -> Path:
    """Write an EDF+ recording of 100 Hz whose data records begin at `onsets`, as text."""
    return write_by_hand(
        path,
        [HeaderSignal(ramp(len(onsets), 100))],
        stamps=[f"{onset}\x14\x14\0".encode() for onset in onsets],
        **{"reserved": "EDF+D", **header},
    )


def write_brainvision(
    folder: Path,
    *,
    seconds: int = 60,
    markers: Sequence[str] = ("New Segment,,1,1,0,20210304223000000000",),
    infos: str = "",
    name: str = "night",
    labels: tuple[str, str] = ("C4", "Flow"),
    samples: np.ndarray | None = None,
) -> Path:
    """Write a BrainVision recording of two channels at 100 Hz, in steps of 0.1 uV and 0.5 a.u.

    `samples` are counted in these steps, shape (n, 2).
    """
    if samples is None:
        samples = np.stack([ramp(1, 100 * seconds)[0], ramp(1, 100 * seconds)[0][::-1]], axis=1)
    (folder / f"{name}.eeg").write_bytes(samples.astype("<i2").tobytes())
    lines = [f"Mk{number}={marker}" for number, marker in enumerate(markers, 1)]
    (folder / f"{name}.vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\n"
        f"DataFile={name}.eeg\n[Marker Infos]\n" + "\n".join(lines) + "\n"
    )
    header = folder / f"{name}.vhdr"
    header.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={name}.eeg\nMarkerFile={name}.vmrk\nDataFormat=BINARY\n"
        f"DataOrientation=MULTIPLEXED\nNumberOfChannels=2\nSamplingInterval=10000\n{infos}"
        "[Binary Infos]\nBinaryFormat=INT_16\n"
        f"[Channel Infos]\nCh1={labels[0]},,0.1,µV\nCh2={labels[1]},,0.5,n/a\n",
        encoding="utf-8",
    )
    return header


def write_fif(
    path: Path,
    *,
    seconds: int = 60,
    rate: float = 100,
    first_seconds: int = 0,
    skip: tuple[int, int] | None = None,
    split: str = "2GB",
) -> Path:
    """Write a FIF recording of two channels of noise and a trigger channel with MNE."""
    info = mne.create_info(["C4", "Flow", "STI 014"], rate, ["eeg", "misc", "stim"])
    rng = np.random.default_rng(0)
    data = rng.normal(0, 20e-6, (3, round(seconds * rate)))
    raw = mne.io.RawArray(data, info, first_samp=round(first_seconds * rate), verbose="ERROR")
    raw.set_meas_date(START.replace(tzinfo=datetime.UTC))
    if skip is not None:
        onset = first_seconds + skip[0]
        raw.set_annotations(
            mne.Annotations([onset], [skip[1] - skip[0]], ["BAD_ACQ_SKIP"], raw.info["meas_date"])
        )
    raw.save(path, buffer_size_sec=1, split_size=split, verbose="ERROR")
    return path
