"""Write simulated nights as EDF+ files: one recording and one file of annotations."""

import datetime
import zlib
from pathlib import Path
from typing import Any

import edfio
import numpy as np

from somnoflow.simulate.hypnogram import EPOCH_S, STAGES
from somnoflow.simulate.night import Night, Signal

PHYSICAL_RANGES = {
    "EEG": (-1000.0, 1000.0),
    "EOG": (-1500.0, 1500.0),
    "EMG": (-1000.0, 1000.0),
    "ECG": (-5.0, 5.0),
    "Air": (-5.0, 5.0),
    "SpO": (0.0, 100.0),
}
RECORD_S = 10


def write_night(night: Night, *, recording: Path, annotations: Path) -> None:
    """Write one simulated night as EDF+C files.

    The start is fixed by the subject's name and the header says "simulated", so equal nights give
    equal bytes. Values outside the physical range of a channel are clipped, as an amplifier does.

    Parameters
    ----------
    night : Night
        The night.
    recording : Path
        Where the signals go.
    annotations : Path
        Where the stages (one annotation per run of equal epochs) and events go.
    """
    header = _make_header(night.subject)
    edfio.Edf(
        [_to_edf(signal) for signal in night.signals], data_record_duration=RECORD_S, **header
    ).write(recording)
    edfio.Edf([], annotations=_annotate(night), **header).write(annotations)


def _make_header(subject: str) -> dict[str, Any]:
    code = zlib.crc32(subject.encode())
    date = datetime.date(2020, 1, 1) + datetime.timedelta(days=code % 1461)
    start = datetime.time(21 + code % 2, code // 7 % 60)
    return {
        "patient": edfio.Patient(code=subject.replace(" ", "_"), name="simulated"),
        "recording": edfio.Recording(
            startdate=date,
            hospital_administration_code="simulated",
            investigator_technician_code="simulated",
            equipment_code="Somnoflow_simulation",
        ),
        "starttime": start,
    }


def _to_edf(signal: Signal) -> edfio.EdfSignal:
    low, high = PHYSICAL_RANGES[signal.label[:3]]
    return edfio.EdfSignal(
        np.clip(signal.samples, low, high).astype(np.float64),
        signal.sampling_rate,
        label=signal.label,
        physical_dimension=signal.unit,
        physical_range=(low, high),
        transducer_type="simulated",
    )


def _annotate(night: Night) -> list[edfio.EdfAnnotation]:
    starts = np.flatnonzero(np.r_[True, np.diff(night.stages) != 0])
    lengths = np.diff(np.r_[starts, len(night.stages)])
    stages = [
        edfio.EdfAnnotation(
            float(start * EPOCH_S),
            float(length * EPOCH_S),
            f"Sleep stage {STAGES[night.stages[start]]}",
        )
        for start, length in zip(starts, lengths, strict=True)
    ]
    events = [edfio.EdfAnnotation(*event) for event in night.events]
    return sorted([*stages, *events])
