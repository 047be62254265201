"""What signal labels commonly mean: one table of names, `channel_names.tsv` beside this module.

For folders that nobody has described yet. What is decided here:

- A wrong channel is worse than none: a name that is not in the table means nothing. `EEG` alone is
  C4-M1 in one dataset and unknown in another, so it is not in the table; nor is an EEG against the
  mastoid of its own side, an average or another scalp electrode, nor a leg, a status or a pulse.
- Capitals, blanks and separators do not count: `C4-A1`, `C4:M1`, `c4_m1` and `EEG(C4-A1)` are one.
- A prefix that names the kind (`EEG `, `EOG `, `EMG `, `ECG `) is dropped where the rest is of that
  kind: `EEG C4` is the electrode C4, but `EEG E1` is an electrode of a net and no eye.
- `-Ref` says that an electrode is measured against the recorder's own reference: `EEG C4-Ref` is
  the electrode C4, which a derivation needs. A chin or an eye against it is no derivation.
"""

import csv
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import get_args

from somnoflow.config.signals import Electrode

_KINDS = ("EEG", "EOG", "EMG", "ECG")
_SAME = {"A1": "M1", "A2": "M2", "A1A2": "M1M2"}
_ELECTRODES = frozenset(get_args(Electrode))
_OTHER_ELECTRODES = {"E": "EOG", "CHIN": "EMG", "ECG": "ECG"}


@dataclass(frozen=True)
class CommonName:
    """One row of the table: a canonical channel or electrode, and labels that commonly mean it."""

    channel: str
    names: tuple[str, ...]
    remark: str


@cache
def common_names() -> tuple[CommonName, ...]:
    """Read the table of common names."""
    text = Path(__file__).with_name("channel_names.tsv").read_text(encoding="utf-8")
    return tuple(
        CommonName(row["channel"], tuple(row["names"].split("; ")), row["remark"])
        for row in csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    )


def known_name(label: str) -> str | None:
    """Give the canonical channel or electrode that a signal label commonly means.

    Returns
    -------
    str or None
        A `Channel` or an `Electrode` of `config.signals`; None where the label is not known.
    """
    words = _words(label)
    if len(words) < 2 or words[-1] != "REF":
        return _look_up(words)
    meaning = _look_up(words[:-1])
    if meaning is None or (_kind(meaning) in _KINDS and meaning not in _ELECTRODES):
        return None
    return meaning


def _look_up(words: list[str]) -> str | None:
    whole = _meanings().get("".join(words))
    if whole is not None or len(words) < 2 or words[0] not in _KINDS:
        return whole
    rest = _meanings().get("".join(words[1:]))
    return None if rest is None or _kind(rest) != words[0] else rest


@cache
def _meanings() -> dict[str, str]:
    return {"".join(_words(name)): row.channel for row in common_names() for name in row.names}


def _words(label: str) -> list[str]:
    """Give the words of a label in capitals, without accents, and with one name for each thing."""
    letters = unicodedata.normalize("NFKD", label).upper()
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return [_SAME.get(word, word) for word in re.findall(r"[^\W_]+", plain.replace("EKG", "ECG"))]


def _kind(meaning: str) -> str:
    """Give the modality of a canonical channel or electrode."""
    if meaning in _ELECTRODES:
        return _OTHER_ELECTRODES.get(meaning.rstrip("123"), "EEG")
    return meaning.split("_", maxsplit=1)[0]
