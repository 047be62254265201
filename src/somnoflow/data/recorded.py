"""What a lead measured: its signals in one unit, and of two their difference.

What is decided here:

- A derivation is the difference of two signals as recorded, before any filter.
- Both must have one sampling rate. Units are made equal first.
- A signal that has fewer samples than its recording lasts is refused, not stretched.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from somnoflow.config.dataset import Reading
from somnoflow.data.leads import Lead
from somnoflow.io.rejection import Rejection
from somnoflow.io.source import SourceRecording, SourceSignal
from somnoflow.signals.channels import MICROVOLTS, known_unit
from somnoflow.stages import EPOCH_SECONDS

Samples = npt.NDArray[np.float32]
Pieces = Sequence[Samples]


@dataclass(frozen=True)
class Electrode:
    """One signal of a lead: an array for each segment, and the recorder's limits and step.

    All are in the unit of the lead's active signal.
    """

    pieces: Pieces
    limits: tuple[float, float]
    step: float


@dataclass(frozen=True)
class Recorded:
    """What a lead measured: an array for each segment, in the unit of its active signal."""

    pieces: Pieces
    unit: str
    rate: float
    electrodes: tuple[Electrode, ...]


def read_lead(lead: Lead, *, source: SourceRecording, reading: Reading) -> Recorded:
    """Read a lead's signals, bring them into one unit, and subtract.

    Raises
    ------
    Rejection
        When a signal is damaged or too short, or rates or units do not go together.
    """
    active, *others = lead.signals
    unit = reading.units.get(active.label, active.unit)
    first = _read_electrode(active, source=source, factor=1.0)
    if not others:
        return Recorded(first.pieces, unit, active.sampling_rate, (first,))
    reference = others[0]
    if active.sampling_rate != reference.sampling_rate:
        raise Rejection(
            problem="electrodes of unequal sampling rates",
            found=f"{active.label} at {active.sampling_rate:g} Hz, {reference.label} at "
            f"{reference.sampling_rate:g} Hz",
            wanted="one rate",
            advice="Export the recording with the derivation",
        )
    other = reading.units.get(reference.label, reference.unit)
    factor = _ratio(active.label, unit, reference.label, other)
    second = _read_electrode(reference, source=source, factor=factor)
    pieces = [one - two for one, two in zip(first.pieces, second.pieces, strict=True)]
    return Recorded(pieces, unit, active.sampling_rate, (first, second))


def _ratio(label: str, unit: str, reference: str, other: str) -> float:
    """Give the factor from a reference's unit to its active electrode's."""
    one, two = known_unit(unit), known_unit(other)
    if one in MICROVOLTS and two in MICROVOLTS:
        return MICROVOLTS[two] / MICROVOLTS[one]
    if (one or unit) != (two or other):
        raise Rejection(
            problem="electrodes of unequal units",
            found=f"{label} in '{unit}', {reference} in '{other}'",
            wanted="V, mV or uV",
            advice="Say the true units under `units` in the dataset's dataset.yaml",
        )
    return 1.0


def _read_electrode(signal: SourceSignal, *, source: SourceRecording, factor: float) -> Electrode:
    rate = signal.sampling_rate
    if rate * EPOCH_SECONDS < 2:
        raise Rejection(
            problem="sampling rate too low",
            found=f"{rate:g} Hz",
            wanted=f"at least 2 samples in {EPOCH_SECONDS} s",
            advice="Take the channel out of signals.channels",
        )
    pieces = signal.physical()
    for piece, segment in zip(pieces, source.segments, strict=True):
        if len(piece) < int(segment.seconds * rate) - 1:
            raise Rejection(
                problem="signal shorter than the recording",
                found=f"{len(piece)} samples of '{signal.label}'",
                wanted=f"{int(segment.seconds * rate)} samples for {segment.seconds:g} s",
                advice="Check the sampling rate in the file's header",
            )
    if factor != 1.0:
        pieces = tuple(piece * np.float32(factor) for piece in pieces)
    low, high = signal.limits
    return Electrode(pieces, (low * factor, high * factor), signal.step * factor)
