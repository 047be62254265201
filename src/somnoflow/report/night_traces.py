"""The trace of an epoch as a small drawing: a lane for each channel, a line for each second.

Drawn without matplotlib: a page has many of them.
"""

import base64
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from somnoflow.night import Night
from somnoflow.report.explanation_figure import UNITS, envelope
from somnoflow.report.figures import INK, Picture
from somnoflow.report.night_review import Answer
from somnoflow.report.night_spectrum import channels_to_draw
from somnoflow.signals.channels import STORAGE, modality_of
from somnoflow.stages import EPOCH_SECONDS

# The first channel of each that has a signal is drawn.
MODALITIES = ("EEG", "EOG", "EMG")
COLUMNS = 400
WIDTH, LEFT, RIGHT = 960, 92, 8
LANES = {"EEG": 110, "EOG": 74, "EMG": 52}
BELOW = 20
# Units of the drawing in a pixel: coordinates are whole numbers.
FINE = 2
# Half the height of a lane is 1.5 times what so much of the night stays below.
ROOM = 1.5
QUANTILE = 0.99
BARS = (5, 10, 20, 50, 100, 200, 500)


def draw_traces(night: Night, answers: Sequence[Answer]) -> list[Picture | None]:
    """Draw epochs of a night, all to the same scale.

    Parameters
    ----------
    night
        In physical units.
    answers
        The epochs, and what was said of them.

    Returns
    -------
    Of each epoch the first EEG, EOG and EMG channel that carries a signal in it; None where none
    does.
    """
    traces = _Traces(night)
    return [traces.draw(answer) for answer in answers]


class _Traces:
    """The channels to draw, and what half the height of a lane stands for."""

    def __init__(self, night: Night) -> None:
        self._night = night
        found = [(name, channels_to_draw(night, name)) for name in MODALITIES]
        self._places = {name: places for name, places in found if places}
        self._half = {name: self._amplitude(places[0]) for name, places in self._places.items()}

    def draw(self, answer: Answer) -> Picture | None:
        row, night = answer.row, self._night
        there = {
            name: next(place for place in places if night.present[row, place])
            for name, places in self._places.items()
            if night.present[row, places].any()
        }
        if not there:
            return None
        lanes, height = "", 0
        for name, place in there.items():
            lanes += self._lane(name, place=place, row=row, top=height)
            height += LANES[name]
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height + BELOW}" '
            f'viewBox="0 0 {WIDTH * FINE} {(height + BELOW) * FINE}" '
            f'font-family="Helvetica Neue, Arial, DejaVu Sans, sans-serif" '
            f'font-size="{11 * FINE}" fill="{INK}">{_grid(height)}{lanes}</svg>'
        )
        names = ", ".join(night.channels[place] for place in there.values())
        return Picture(
            uri="data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode(),
            alt=f"Trace of {names} over {EPOCH_SECONDS} s. {answer.told()}",
            caption="",
            width=WIDTH,
            height=height + BELOW,
        )

    def _amplitude(self, place: int) -> float:
        """Give what half a lane stands for, so that all but the largest waves stay inside."""
        some = self._night.signals[self._night.present[:, place], place]
        few = np.abs(some[:, :: max(1, some.shape[1] // 250)])
        return ROOM * float(np.quantile(few, QUANTILE)) or 1.0

    def _lane(self, name: str, *, place: int, row: int, top: int) -> str:
        half, height = self._half[name], LANES[name]
        seconds, values = envelope(self._night.signals[row, place], columns=COLUMNS)
        middle = (top + height / 2) * FINE
        x = np.rint((LEFT + _per_second() * seconds) * FINE).astype(int)
        y = np.rint(middle - np.clip(values / half, -1, 1) * (height / 2 - 2) * FINE).astype(int)
        bar = max((size for size in BARS if size <= half), default=BARS[0])
        reach = bar / half * (height / 2 - 2) * FINE / 2
        unit = STORAGE[modality_of(name)].unit
        at = (LEFT - 14) * FINE
        return (
            f'<path d="{_line(x, y)}" fill="none" stroke="{INK}" stroke-width="1.5" '
            f'stroke-linejoin="round"/>'
            f'<path d="M{at} {middle - reach:.0f}V{middle + reach:.0f}" stroke="{INK}" '
            f'stroke-width="{2 * FINE}"/>'
            f'<text x="{at - 8 * FINE}" y="{middle - 3 * FINE:.0f}" text-anchor="end" '
            f'font-weight="bold">{escape(self._night.channels[place])}</text>'
            f'<text x="{at - 8 * FINE}" y="{middle + 11 * FINE:.0f}" text-anchor="end">'
            f"{bar} {UNITS.get(unit, unit)}</text>"
        )


def _per_second() -> float:
    return (WIDTH - LEFT - RIGHT) / EPOCH_SECONDS


def _grid(height: int) -> str:
    """Draw a line for each second, a stronger one and its number for each fifth."""
    lines = {
        1: "".join(_upright(second, height) for second in range(EPOCH_SECONDS + 1) if second % 5),
        5: "".join(_upright(second, height) for second in range(0, EPOCH_SECONDS + 1, 5)),
    }
    numbers = "".join(
        f'<text x="{_at(second)}" y="{(height + 14) * FINE}" '
        f'text-anchor="{"end" if second == EPOCH_SECONDS else "middle"}">{second} s</text>'
        for second in range(0, EPOCH_SECONDS + 1, 5)
    )
    return (
        f'<path d="{lines[1]}" stroke="#EEEEEE" stroke-width="2"/>'
        f'<path d="{lines[5]}" stroke="#CFCFCF" stroke-width="2"/>{numbers}'
    )


def _at(second: float) -> int:
    return round((LEFT + _per_second() * second) * FINE)


def _upright(second: int, height: int) -> str:
    return f"M{_at(second)} 0V{height * FINE}"


def _line(x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]) -> str:
    """Write a line from point to point in whole relative steps, which are short."""
    steps = zip(np.diff(x).tolist(), np.diff(y).tolist(), strict=True)
    return f"M{x[0]} {y[0]}l" + " ".join(f"{dx}{dy:+d}" for dx, dy in steps)
