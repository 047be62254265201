"""Read the time-stamped annotation lists (TALs) of EDF+ and BDF+.

A TAL is an onset, perhaps a duration, and texts: `+30` 0x15 `25.5` 0x14 `Apnea` 0x14 0x00. The
first one of each data record has an empty text and is the record's clock. What is decided here:

- What is no TAL is an error. A reader that skips it loses a stage without a word.
- A sign may be missing before an onset, and blanks may fill the rest of a data record: neither
  can mean anything else. Every other departure from the specification is an error.
- A text is UTF-8, as the specification says, else Latin-1, as older recorders write. Labels must
  match exactly to mean a stage, so a text in a third encoding can be lost, with a note, but never
  becomes a wrong stage.

Source: Kemp & Olivan 2003, section 2.2 (www.edfplus.info/specs/edfplus.html).
"""

import re
from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

STAMP_BYTES = 24  # of a data record's annotations, enough for its clock
_SEPARATOR = 0x14
_NUMBER = rb"[0-9]+(?:\.[0-9]*)?"
_TAL = re.compile(
    rb"([+-]?" + _NUMBER + rb")(?:\x15(" + _NUMBER + rb"))?\x14((?:[^\x00\x14]*+\x14)++)"
)


@dataclass(frozen=True)
class Tal:
    """One list: texts that share an onset and a duration, in seconds (0 where there is none)."""

    onset: float
    duration: float
    texts: tuple[str, ...]


def read_tals(content: bytes) -> list[Tal]:
    """Read all lists of one channel of annotations in one data record.

    Raises
    ------
    ValueError
        When there is anything else; the message shows it.
    """
    *chunks, rest = content.split(b"\0")
    if rest.strip(b" "):
        raise ValueError(f"{_show(rest)} without an end")
    return [_read_tal(chunk) for chunk in chunks if chunk.strip(b" ")]


def read_stamps(records: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Read the clock of many data records, all of them a character at a time: a night has 30,000.

    Parameters
    ----------
    records
        The first bytes of each data record's first channel of annotations, shape (records, bytes).

    Returns
    -------
    Seconds after the start in the header, shape (records,); nan where a record begins otherwise.
    """
    columns = np.ascontiguousarray(np.pad(records, ((0, 0), (0, 2))).T)
    every = np.arange(len(records))
    ends = (columns == _SEPARATOR).argmax(axis=0)
    good = (columns[ends, every] == _SEPARATOR) & (columns[ends + 1, every] == _SEPARATOR)
    seconds, digits, decimals = np.zeros((3, len(records)))
    dotted = np.zeros(len(records), bool)
    is_sign = (columns[0] == ord("+")) | (columns[0] == ord("-"))
    for at, column in enumerate(columns[: ends.max()]):
        inside = at < ends
        is_digit = inside & (column >= ord("0")) & (column <= ord("9"))
        is_dot = inside & (column == ord(".")) & (digits > 0) & ~dotted
        good &= is_digit | is_dot | ~inside | (is_sign if at == 0 else False)
        seconds = np.where(is_digit, 10 * seconds + (column - ord("0")), seconds)
        digits += is_digit
        decimals += is_digit & dotted
        dotted |= is_dot
    signed = np.where(columns[0] == ord("-"), -seconds, seconds) / 10**decimals
    return np.where(good & (digits > 0), signed, np.nan)


def _read_tal(chunk: bytes) -> Tal:
    match = _TAL.fullmatch(chunk)
    if match is None:
        raise ValueError(_show(chunk))
    onset, duration = float(match[1]), float(match[2] or 0)
    if not (isfinite(onset) and isfinite(duration)):
        raise ValueError(_show(chunk))
    return Tal(onset, duration, tuple(_decode(text) for text in match[3][:-1].split(b"\x14")))


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _show(content: bytes) -> str:
    return repr(content if len(content) <= 60 else content[:57] + b"...")
