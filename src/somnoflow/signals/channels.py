"""Canonical channels: their modality, the unit they are stored in, and which unit a signal is in.

What is decided here:

- A unit that the header tells is believed, in any usual spelling. Where the amplitude contradicts
  it, it stays, and a remark says so: `units` in dataset.yaml is the place to correct it.
- Where the header tells none (or one that nobody knows), it is the one of V, mV and uV that
  makes the night's amplitude plausible, and a remark says so. Ranges are narrower than the factor
  of 1000 between units, so there is never more than one. Where there is none, the channel is not
  used.
- Breathing has no unit that recorders agree on: it is stored as it is.
"""

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from somnoflow.io.rejection import Rejection


@dataclass(frozen=True)
class Storage:
    """How a modality is stored: unit, physical value of one int16 step, and its resampling.

    `scale` is None where the unit is arbitrary: it is then chosen for each recording. `steps` is
    true for slow measured values that are held instead of interpolated.

    `plausible` is the range of a night's amplitude (`amplitude` below) after the default filters,
    in the unit of storage; None where the unit is arbitrary.
    """

    unit: str
    scale: float | None
    steps: bool = False
    plausible: tuple[float, float] | None = None


STORAGE = {
    # Adults have 8 to 25 uV over a night, children up to 50, the old and some bipolar leads 4.
    "EEG": Storage(unit="uV", scale=0.05, plausible=(1.5, 120)),
    # As the EEG, which it holds, and eye movements, which quartiles see little of.
    "EOG": Storage(unit="uV", scale=0.05, plausible=(1.5, 150)),
    # Between 25 and 49 Hz a relaxed chin is as quiet as the amplifier, a tense one has 50 uV.
    "EMG": Storage(unit="uV", scale=0.05, plausible=(0.1, 90)),
    # Quartiles see the line between the beats; an R wave of 1 mV leaves 0.02 to 0.1 mV.
    "ECG": Storage(unit="mV", scale=0.0005, plausible=(0.002, 1.5)),
    "AIRFLOW": Storage(unit="a.u.", scale=None),
    "THORAX": Storage(unit="a.u.", scale=None),
    "ABDOMEN": Storage(unit="a.u.", scale=None),
    # The median saturation itself: 0.96 is a share, and 9600 hundredths of a percent.
    "SPO2": Storage(unit="%", scale=0.01, steps=True, plausible=(60, 101)),
}
MICROVOLTS = {"V": 1e6, "mV": 1e3, "uV": 1.0, "nV": 1e-3}
_TRIED = ("V", "mV", "uV")
_VOLTS = re.compile(r"(|m|milli|u|μ|micro|n|nano)v(?:olts?)?")
_PREFIXES = {"": "V", "m": "mV", "milli": "mV", "n": "nV", "nano": "nV"}
_OTHERS = {"%": "%", "percent": "%", "a.u.": "a.u.", "au": "a.u.", "": "a.u."}
EACH = 13  # each 13th sample tells the size of a signal; it is in step with no usual frequency


@dataclass(frozen=True)
class Unit:
    """The factor from a signal's unit to that of its channel; a remark where it was not told."""

    factor: float
    remark: str = ""


def modality_of(channel: str) -> str:
    """Give the modality of a canonical channel: `EEG_C4` is EEG, `EMG_CHIN` is EMG."""
    return channel.split("_", maxsplit=1)[0]


def known_unit(text: str) -> str | None:
    """Give V, mV, uV, nV, % or a.u. for a header's spelling of it; None for any other."""
    # NFKC makes one of the micro sign and the Greek letter.
    plain = "".join(unicodedata.normalize("NFKC", text).casefold().split())
    volts = _VOLTS.fullmatch(plain)
    return _PREFIXES.get(volts[1], "uV") if volts else _OTHERS.get(plain)


def amplitude(
    epochs: npt.NDArray[np.float32], *, has_signal: npt.NDArray[np.bool_], channel: str
) -> float:
    """Give the typical size of a channel's filtered epochs, whatever the stages.

    The median over the epochs of their interquartile range / 1.349 (which is the standard deviation
    of a normal signal); for values that are held (SpO2) the median value. 0 without an epoch.

    Parameters
    ----------
    epochs
        Shape (epochs, samples).
    has_signal
        Shape (epochs,): which of them count.
    channel
        Canonical channel.
    """
    some = epochs[:, ::EACH][has_signal]
    if not some.size:
        return 0.0
    if STORAGE[modality_of(channel)].steps:
        return float(np.median(some))
    count = some.shape[1]
    low, high = (count - 1) // 4, count - 1 - (count - 1) // 4
    ordered = np.partition(some, (low, high), axis=1)
    return float(np.median(ordered[:, high] - ordered[:, low])) / 1.349


def resolve_unit(text: str, *, channel: str, size: float) -> Unit:
    """Say how to get from a signal's unit to the one that its channel is stored in.

    Parameters
    ----------
    text
        The unit as the header spells it.
    channel
        Canonical channel.
    size
        The signal's `amplitude`, in its own unit.

    Raises
    ------
    Rejection
        When the unit is not one that the channel can be measured in, or is not told and none
        makes the amplitude plausible.
    """
    storage = STORAGE[modality_of(channel)]
    known = known_unit(text)
    if storage.unit == "a.u.":
        return Unit(factor=1.0)
    if storage.unit == "%" and known in ("%", "a.u."):
        return Unit(1.0, _doubt(text, channel=channel, size=size))
    if storage.unit in MICROVOLTS:
        if known in MICROVOLTS:
            factor = MICROVOLTS[known] / MICROVOLTS[storage.unit]
            return Unit(factor, _doubt(text, channel=channel, size=size * factor))
        if known != "%":
            return _tried_unit(text, channel=channel, size=size)
    raise _not_usable(f"'{text}'", storage=storage)


def _tried_unit(text: str, *, channel: str, size: float) -> Unit:
    storage = STORAGE[modality_of(channel)]
    for name in _TRIED:
        factor = MICROVOLTS[name] / MICROVOLTS[storage.unit]
        if _is_plausible(size * factor, storage=storage):
            found = f"{size * factor:.3g} {storage.unit}"
            return Unit(factor, f"unit '{text}' taken as {name}: typical amplitude {found}")
    raise _not_usable(f"'{text}' with a typical amplitude of {size:.3g}", storage=storage)


def _is_plausible(size: float, *, storage: Storage) -> bool:
    return storage.plausible is None or storage.plausible[0] <= size <= storage.plausible[1]


def _doubt(text: str, *, channel: str, size: float) -> str:
    storage = STORAGE[modality_of(channel)]
    if not size or storage.plausible is None or _is_plausible(size, storage=storage):
        return ""
    low, high = storage.plausible
    return (
        f"typical amplitude {size:.3g} {storage.unit}, wanted {low:g} to {high:g}; is the unit "
        f"'{text}' right? Else say the true one under `units` in dataset.yaml"
    )


def _not_usable(found: str, *, storage: Storage) -> Rejection:
    return Rejection(
        problem="unit not usable",
        found=found,
        wanted=", ".join(_TRIED) if storage.unit in MICROVOLTS else storage.unit,
        advice="Say the true unit under `units` in the dataset's dataset.yaml",
    )
