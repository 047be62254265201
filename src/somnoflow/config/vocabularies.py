"""What labels mean that are the same in many datasets: R&K, AASM, EDF+, NSRR, Profusion.

A dataset names the vocabularies its files use under `vocabulary`; what it says itself under
`stages`, `events` and `marks` wins. What is decided here:

- Stages 3 and 4 of Rechtschaffen and Kales are N3 (AASM manual, version 3).
- Movement time, unscored and unknown (`?`) are `unscored`: no AASM stage is the same.
- Numbers belong to a vocabulary only where one program alone writes them (`profusion`): 4 is S4 in
  one laboratory and REM in the next, so a dataset lists its own codes.
- Events are in a vocabulary with stages only where whoever writes the one always scores the other
  (NSRR, Profusion): a dataset that names a vocabulary with hypopneas has an AHI, and one without
  them must not get an AHI of 0. So `edf+events` is one of its own.
- Case and blanks of a label do not count, so `Arousal (Standard)` covers `AROUSAL (STANDARD)`.
- A respiratory-effort-related arousal is an `arousal` where it is scored as one, and nothing where
  it is scored as a respiratory event (`RERA`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

StageName = Literal["W", "N1", "N2", "N3", "REM", "unscored"]
EventName = Literal[
    "obstructive_apnea", "central_apnea", "mixed_apnea", "hypopnea", "desaturation", "arousal"
]  # fmt: skip
MarkName = Literal["lights_off", "lights_on"]
VocabularyName = Literal["rk", "aasm", "edf+", "edf+events", "nsrr", "profusion"]


@dataclass(frozen=True)
class Vocabulary:
    """Meaning of labels, by kind."""

    stages: Mapping[str, StageName] = field(default_factory=dict)
    events: Mapping[str, EventName] = field(default_factory=dict)
    marks: Mapping[str, MarkName] = field(default_factory=dict)


@lru_cache(maxsize=256)
def fold(label: str) -> str:
    """Give a label as it is compared: case and the number of blanks do not count."""
    return " ".join(label.split()).casefold()


VOCABULARIES: dict[VocabularyName, Vocabulary] = {
    "rk": Vocabulary(
        stages={
            "W": "W",
            "Wake": "W",
            "S1": "N1",
            "S2": "N2",
            "S3": "N3",
            "S4": "N3",
            "R": "REM",
            "REM": "REM",
            "MT": "unscored",
            "Movement time": "unscored",
            "Unscored": "unscored",
            "?": "unscored",
        }
    ),
    "aasm": Vocabulary(
        stages={
            "W": "W",
            "Wake": "W",
            "N1": "N1",
            "N2": "N2",
            "N3": "N3",
            "R": "REM",
            "REM": "REM",
            "Unscored": "unscored",
            "?": "unscored",
        }
    ),
    # The standard texts of EDF+ (https://www.edfplus.info/specs/edftexts.html), of both rules.
    "edf+": Vocabulary(
        stages={
            "Sleep stage W": "W",
            "Sleep stage 1": "N1",
            "Sleep stage 2": "N2",
            "Sleep stage 3": "N3",
            "Sleep stage 4": "N3",
            "Sleep stage N1": "N1",
            "Sleep stage N2": "N2",
            "Sleep stage N3": "N3",
            "Sleep stage R": "REM",
            "Sleep stage ?": "unscored",
            "Movement time": "unscored",
        },
        marks={"Lights off": "lights_off", "Lights on": "lights_on"},
    ),
    "edf+events": Vocabulary(
        events={
            "Obstructive apnea": "obstructive_apnea",
            "Central apnea": "central_apnea",
            "Mixed apnea": "mixed_apnea",
            "Hypopnea": "hypopnea",
            "Obstructive hypopnea": "hypopnea",
            "Central hypopnea": "hypopnea",
            "Oxygen desaturation": "desaturation",
            "EEG arousal": "arousal",
        },
    ),
    # EventConcept of the National Sleep Research Resource (https://sleepdata.org).
    "nsrr": Vocabulary(
        stages={
            "Wake|0": "W",
            "Stage 1 sleep|1": "N1",
            "Stage 2 sleep|2": "N2",
            "Stage 3 sleep|3": "N3",
            "Stage 4 sleep|4": "N3",
            "REM sleep|5": "REM",
            "Movement|6": "unscored",
            "Unscored|9": "unscored",
        },
        events={
            "Obstructive apnea|Obstructive Apnea": "obstructive_apnea",
            "Central apnea|Central Apnea": "central_apnea",
            "Mixed apnea|Mixed Apnea": "mixed_apnea",
            "Mixed apnea|APNEA-MIXED": "mixed_apnea",
            "Hypopnea|Hypopnea": "hypopnea",
            "SpO2 desaturation|SpO2 desaturation": "desaturation",
            "SpO2 desaturation|DESAT": "desaturation",
            "Arousal|Arousal ()": "arousal",
            "Arousal|Arousal (Standard)": "arousal",
            "ASDA arousal|Arousal (ASDA)": "arousal",
            "ASDA arousal|Arousal (ADSA)": "arousal",
            "Arousal resulting from Chin EMG|Arousal (CHESHIRE)": "arousal",
            "Arousal resulting from respiratory effort|Arousal (ARO RES)": "arousal",
            "Arousal resulting from respiratory effort|Arousal (RESP ARO)": "arousal",
            "Spontaneous arousal|Arousal (ARO SPONT)": "arousal",
            "Spontaneous arousal|Arousal (SPON ARO)": "arousal",
            "Spontaneous arousal|Arousal (apon aro)": "arousal",
            "External arousal|Arousal (External Arousal)": "arousal",
        },
    ),
    # SleepStage codes of Compumedics Profusion, which no other program's files hold.
    "profusion": Vocabulary(
        stages={
            "0": "W",
            "1": "N1",
            "2": "N2",
            "3": "N3",
            "4": "N3",
            "5": "REM",
            "6": "unscored",
            "9": "unscored",
        },
        events={
            "Obstructive Apnea": "obstructive_apnea",
            "Central Apnea": "central_apnea",
            "Mixed Apnea": "mixed_apnea",
            "Hypopnea": "hypopnea",
            "SpO2 desaturation": "desaturation",
            "Arousal ()": "arousal",
            "Arousal (Standard)": "arousal",
            "Arousal (ASDA)": "arousal",
            "Arousal (CHESHIRE)": "arousal",
            "Arousal (ARO RES)": "arousal",
            "Arousal (RESP ARO)": "arousal",
            "Arousal (ARO SPONT)": "arousal",
            "Arousal (SPON ARO)": "arousal",
            "Arousal (External Arousal)": "arousal",
        },
    ),
}
