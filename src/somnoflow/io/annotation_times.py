"""Read the times of a table: seconds, hours:minutes:seconds, times of day, dates with times.

What is decided here:

- All onsets of a file are of one kind: a file with and without dates has no one clock.
- Times of day without a date are a night of less than 24 hours. It begins after the longest
  stretch of the day in which nothing begins, so that rows may stand in any order, and 00:10 after
  23:50 is the next day.
- The end of a row is the first such time of day after its onset, at most 12 hours after it: an end
  before the onset would otherwise last a day.
- A year of two digits, a zone, and a date with slashes whose first number may be the day or the
  month are refused unless `day_first` tells the latter.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import pairwise

from somnoflow.io.rejection import Rejection

DAY = 24 * 3600
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_CLOCK = (
    r"(?P<h>\d{1,3})[:.](?P<m>\d\d)[:.](?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?"
    r"(?: ?(?P<half>[AaPp]\.?[Mm]\.?))?"
)
_TIME = re.compile(_CLOCK, flags=re.ASCII)
_DATE_TIME = re.compile(
    r"(?:(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"|(?P<dd>\d{1,2})\.(?P<mm>\d{1,2})\.(?P<yyyy>\d{4})"
    r"|(?P<one>\d{1,2})/(?P<two>\d{1,2})/(?P<y>\d{4}))[T ]+" + _CLOCK,
    flags=re.ASCII,
)


class TimeError(ValueError):
    """A text that is not the time that was wanted; the message says which."""


@dataclass(frozen=True)
class Moment:
    """Second of the day, and the date where it is told."""

    second: float
    date: datetime | None


def read_seconds(text: str, *, decimal: str = ".") -> float:
    """Read a number of seconds."""
    plain = text.strip().replace(decimal, ".", 1) if decimal != "." else text.strip()
    if not _NUMBER.fullmatch(plain):
        raise TimeError("seconds")
    return float(plain)


def read_elapsed(text: str) -> float:
    """Read hours:minutes:seconds as seconds; a minus before them is a time before the start."""
    plain = text.strip()
    sign = -1 if plain.startswith("-") else 1
    match = _TIME.fullmatch(plain.removeprefix("-"))
    if match is None or match["half"]:
        raise TimeError("hours:minutes:seconds")
    return sign * _second(match)


def read_moment(text: str, *, day_first: bool | None) -> Moment:
    """Read a time of day, with or without a date."""
    match = _TIME.fullmatch(text.strip())
    if match is not None:
        return Moment(second=_second_of_day(match), date=None)
    match = _DATE_TIME.fullmatch(text.strip())
    if match is None:
        raise TimeError("hh:mm:ss, yyyy-mm-dd hh:mm:ss, dd.mm.yyyy hh:mm:ss or dd/mm/yyyy hh:mm:ss")
    if match["year"]:
        year, month, day = match["year"], match["month"], match["day"]
    elif match["yyyy"]:
        year, month, day = match["yyyy"], match["mm"], match["dd"]
    elif day_first is None:
        raise TimeError("`day_first: true` or `false` beside the format, as the date has slashes")
    else:
        year, month, day = match["y"], match["two"], match["one"]
        if not day_first:
            month, day = day, month
    try:
        date = datetime(int(year), int(month), int(day))
    except ValueError as error:
        raise TimeError("a day of the calendar") from error
    return Moment(second=_second_of_day(match), date=date)


def lay_out(moments: Sequence[Moment]) -> tuple[datetime | None, time | None, list[float]]:
    """Give the start (where dates are told) or else its time of day, and the seconds from it.

    Raises
    ------
    Rejection
        When only some of the moments have a date.
    """
    if not moments:
        return None, None, []
    dated = [one.date + timedelta(seconds=one.second) for one in moments if one.date is not None]
    if dated and len(dated) < len(moments):
        raise Rejection(
            problem="onsets of two kinds in the annotation file",
            found=f"{len(dated)} with a date and {len(moments) - len(dated)} without",
            wanted="all onsets with a date, or none",
            advice="Export the scoring again",
        )
    if dated:
        start = min(dated)
        return start, None, [(one - start).total_seconds() for one in dated]
    seconds = sorted({one.second for one in moments})
    gaps = [after - before for before, after in pairwise([*seconds, seconds[0] + DAY])]
    origin = seconds[(gaps.index(max(gaps)) + 1) % len(seconds)]
    return None, time_of_day(origin), [(one.second - origin) % DAY for one in moments]


def seconds_between(onset: Moment, end: Moment) -> float:
    """Give the seconds from an onset to the end, over midnight where no date is told."""
    if onset.date is not None and end.date is not None:
        days = (end.date - onset.date).days
        return days * DAY + end.second - onset.second
    if onset.date is not None or end.date is not None:
        raise TimeError("a date in both onset and end, or in none")
    seconds = (end.second - onset.second) % DAY
    if seconds > DAY / 2:
        raise TimeError("an end at most 12 hours after the onset")
    return seconds


def time_of_day(second: float) -> time:
    """Give the time of day that is some seconds after (or before) midnight."""
    return (datetime.min + timedelta(seconds=second % DAY)).time()


def _second_of_day(match: re.Match[str]) -> float:
    hour = int(match["h"])
    if match["half"]:
        if not 1 <= hour <= 12:
            raise TimeError("an hour from 1 to 12 with AM or PM")
        shift = 12 if match["half"][0] in "pP" else 0
        return _second(match) + 3600 * (hour % 12 + shift - hour)
    if hour > 23:
        raise TimeError("an hour from 0 to 23")
    return _second(match)


def _second(match: re.Match[str]) -> float:
    minute, second = int(match["m"]), int(match["s"])
    if minute > 59 or second > 59:
        raise TimeError("minutes and seconds from 00 to 59")
    return 3600 * int(match["h"]) + 60 * minute + second + float(f"0.{match['f'] or 0}")
