"""Canonical channels: their modality, the unit they are stored in, and how units convert."""

from dataclasses import dataclass

from somnoflow.io.rejection import Rejection


@dataclass(frozen=True)
class Storage:
    """How a modality is stored: unit, physical value of one int16 step, and its resampling.

    `scale` is None where the unit is arbitrary: it is then chosen for each recording. `steps` is
    true for slow measured values that are held instead of interpolated.
    """

    unit: str
    scale: float | None
    steps: bool = False


STORAGE = {
    "EEG": Storage(unit="uV", scale=0.05),
    "EOG": Storage(unit="uV", scale=0.05),
    "EMG": Storage(unit="uV", scale=0.05),
    "ECG": Storage(unit="mV", scale=0.0005),
    "AIRFLOW": Storage(unit="a.u.", scale=None),
    "THORAX": Storage(unit="a.u.", scale=None),
    "ABDOMEN": Storage(unit="a.u.", scale=None),
    "SPO2": Storage(unit="%", scale=0.01, steps=True),
}
MICROVOLTS = {"V": 1e6, "mV": 1e3, "uV": 1.0}
_SPELLINGS = {
    "v": "V", "volt": "V", "mv": "mV", "millivolt": "mV", "uv": "uV", "µv": "uV", "μv": "uV",
    "microvolt": "uV", "%": "%", "percent": "%", "a.u.": "a.u.", "au": "a.u.", "": "a.u.",
}  # fmt: skip


def modality_of(channel: str) -> str:
    """Give the modality of a canonical channel: `EEG_C4` is EEG, `EMG_CHIN` is EMG."""
    return channel.split("_", maxsplit=1)[0]


def conversion(unit: str, *, channel: str) -> float:
    """Give the factor from a header's unit to the unit that the channel is stored in.

    Raises
    ------
    Rejection
        When the unit is not one that the channel can be measured in: a scale is never guessed.
    """
    stored = STORAGE[modality_of(channel)].unit
    known = _SPELLINGS.get(unit.strip().lower())
    if stored == "a.u.":
        return 1.0
    if stored in MICROVOLTS and known in MICROVOLTS:
        return MICROVOLTS[known] / MICROVOLTS[stored]
    if stored == "%" and known in ("%", "a.u."):
        return 1.0
    raise Rejection(
        problem="unit not usable",
        found=f"'{unit}'",
        wanted="V, mV or uV" if stored in MICROVOLTS else stored,
        advice="Say the true unit under `units` in the dataset's dataset.yaml",
    )
