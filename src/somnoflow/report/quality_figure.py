"""The picture of a recording's signal quality: channels down, the night across, a colour per flag.

Warm colours and black say that there is no usable signal, blue ones only warn. They follow
Okabe and Ito: readers with a colour deficiency can tell them apart. A missing stretch is a thin
line and not a colour, and where no epoch was kept there is nothing. Each epoch is at least as wide
as a hair, so that one bad epoch of a long night can be seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.ticker import FuncFormatter, MaxNLocator

from somnoflow.report.figures import INK, STYLE, Picture, draw_stages, make_picture
from somnoflow.report.tables import LITTLE, plural, rough_share
from somnoflow.signals.quality import UNUSABLE, Flag
from somnoflow.stages import EPOCH_SECONDS

GOOD = "#E4EEF0"
GAP = "#8A9096"
# An epoch with several flags is drawn as the first of them.
LOOKS = {
    Flag.MISSING: ("missing", GAP),
    Flag.ZERO: ("zero line", "#1A1A1A"),
    Flag.FLAT: ("flat", "#D55E00"),
    Flag.DISCONNECTED: ("disconnected", "#CB6FA0"),
    Flag.CLIPPED: ("clipped", "#F2B200"),
    Flag.OUT_OF_RANGE: ("out of range", "#0072B2"),
    Flag.LINE_NOISE: ("line noise", "#56B4E9"),
}
ROW = 0.8
THIN = 0.1
HAIR = 0.6
# Inches for the words above and for the hours below the panels.
ABOVE, BELOW = 0.2, 0.42


@dataclass(frozen=True)
class NightQuality:
    """Epochs of one recording.

    Attributes
    ----------
    recording
        Name.
    onset
        Seconds from the start of the recording to each epoch, shape (T,), rising.
    stage
        Stage codes, shape (T,); all -1 where nobody scored.
    flags
        Quality bits of each channel, shape (T,).
    hours, start, lights_off, lights_on
        Length of the recording, clock time of its start, and seconds from its start; None where
        not known.
    """

    recording: str
    onset: npt.NDArray[np.float64]
    stage: npt.NDArray[np.int8]
    flags: Mapping[str, npt.NDArray[np.uint8]]
    hours: float | None = None
    start: datetime | None = None
    lights_off: float | None = None
    lights_on: float | None = None


@matplotlib.rc_context(STYLE)
def quality_picture(night: NightQuality, *, simulated: str) -> Picture:
    """Draw the quality of each epoch and channel below the hypnogram, where there is one."""
    scored = bool((night.stage >= 0).any())
    heights = [0.62] * scored + [0.23 * len(night.flags)]
    whole = sum(heights) + ABOVE + BELOW
    figure = Figure(figsize=(10, whole))
    # Placed by hand: nights below one another keep the same edges and the same height of a row.
    panels = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False,
        gridspec_kw={
            "left": 0.095, "right": 0.865, "hspace": 0.1, "height_ratios": heights,
            "top": 1 - ABOVE / whole, "bottom": BELOW / whole,
        },
    )  # fmt: skip
    rows = panels[-1, 0]
    end = max(night.hours or 0, (night.onset[-1] + EPOCH_SECONDS) / 3600)
    if scored:
        edges = np.append(night.onset, night.onset[-1] + EPOCH_SECONDS) / 3600
        # In one colour: those of the stages would be taken for flags.
        draw_stages(panels[0, 0], night.stage, edges, label="", colour=INK)
        panels[0, 0].tick_params(axis="y", labelsize=7)
    for row, flags in enumerate(night.flags.values()):
        _draw_row(rows, flags, begin=night.onset / 3600, row=row)
    rows.set_yticks(range(len(night.flags)), list(night.flags), parse_math=False)
    rows.set(xlim=(0, end), ylim=(len(night.flags) - 0.5, -0.5))
    rows.tick_params(axis="y", length=0)
    rows.spines["left"].set_visible(False)
    _mark_lights(panels[:, 0], night, end=end)
    _label_hours(rows, night.start)
    counts = {channel: count_looks(flags) for channel, flags in night.flags.items()}
    said = say_quality(counts, epochs=len(night.onset))
    return make_picture(
        figure,
        alt=f"Signal quality of {night.recording} over the night, a row for each of "
        f"{plural(len(night.flags), 'channel')}. {said}",
        caption=f"{night.recording}: {said}",
        simulated=simulated,
    )


def looks_of(flags: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Give the flag that each epoch is drawn as, shape (T,); 0 is good."""
    shown = np.zeros_like(flags)
    for flag in reversed(LOOKS):
        shown[flags & flag > 0] = flag
    return shown


def count_looks(flags: npt.NDArray[np.uint8]) -> dict[Flag, int]:
    """Count the epochs drawn as each flag; flags without an epoch are left out."""
    shown = looks_of(flags)
    return {flag: n for flag in LOOKS if (n := int((shown == flag).sum()))}


def say_quality(counts: Mapping[str, Mapping[Flag, int]], *, epochs: int) -> str:
    """Say in words what the picture shows.

    Parameters
    ----------
    counts
        `count_looks` of each channel.
    epochs
        Number of epochs.
    """
    absent = [name for name, found in counts.items() if found.get(Flag.MISSING) == epochs]
    there = {name: found for name, found in counts.items() if name not in absent}
    good = [name for name, found in there.items() if not found]
    said = [
        f"{name}: {_say_flags(found, epochs=epochs)}." for name, found in there.items() if found
    ]
    if len(good) > 1 and len(good) == len(there):
        said.append("All channels are good throughout.")
    elif good:
        said.append(f"Good throughout: {', '.join(good)}.")
    if absent:
        said.append(f"Not in the recording: {', '.join(absent)}.")
    return " ".join(said)


def _say_flags(found: Mapping[Flag, int], *, epochs: int) -> str:
    """Name each flag with its share, and those with next to none together."""
    shares = {LOOKS[flag][0]: rough_share(n, epochs) for flag, n in found.items()}
    little = [name for name, share in shares.items() if share == LITTLE]
    said = [f"{share} {name}" for name, share in shares.items() if share != LITTLE]
    return "; ".join(
        part
        for part in (", ".join(said), f"{LITTLE} {', '.join(little)}" if little else "")
        if part
    )


def _draw_row(
    axes: Any, flags: npt.NDArray[np.uint8], *, begin: npt.NDArray[np.float64], row: int
) -> None:
    shown = looks_of(flags)
    width = EPOCH_SECONDS / 3600
    absent = bool((shown == Flag.MISSING).all())
    for look in (Flag.GOOD, *reversed(LOOKS)):
        starts, ends = _runs(shown == look)
        if not starts.size:
            continue
        drawn = [(ROW, LOOKS[look][1] if look else GOOD)]
        if look is Flag.MISSING:
            drawn = [(ROW, "white"), (THIN, GAP)]
        for height, colour in drawn:
            axes.add_patch(
                PathPatch(
                    _boxes(begin[starts], begin[ends] + width, middle=row, height=height),
                    facecolor=colour,
                    edgecolor=colour,
                    linewidth=HAIR if look else 0,
                    joinstyle="miter",
                )
            )
    unusable = int((flags & UNUSABLE > 0).sum())
    said = "not in the recording" if absent else f"{rough_share(unusable, len(flags))} unusable"
    axes.text(
        1.008, row, said, transform=axes.get_yaxis_transform(), va="center", size=8,
        color=INK if unusable and not absent else "#777777",
    )  # fmt: skip


def _runs(mine: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Give the first and the last index of each run of true values."""
    steps = np.diff(mine.astype(np.int8), prepend=0, append=0)
    return np.flatnonzero(steps > 0), np.flatnonzero(steps < 0) - 1


def _boxes(
    left: npt.NDArray[np.float64],
    right: npt.NDArray[np.float64],
    *,
    middle: float,
    height: float,
) -> Outline:
    """Give one outline of boxes side by side: one path keeps the file small."""
    low, high = np.full(len(left), middle - height / 2), np.full(len(left), middle + height / 2)
    corners = [(left, low), (right, low), (right, high), (left, high), (left, low)]
    vertices = np.stack([np.stack(corner, axis=1) for corner in corners], axis=1)
    codes = [Outline.MOVETO, *[Outline.LINETO] * 3, Outline.CLOSEPOLY]
    return Outline(vertices.reshape(-1, 2), np.tile(codes, len(left)).astype(np.uint8))


def _mark_lights(panels: npt.NDArray[Any], night: NightQuality, *, end: float) -> None:
    lights = (("lights off", night.lights_off, "left"), ("lights on", night.lights_on, "right"))
    for name, seconds, side in lights:
        if seconds is None or not 0 <= seconds <= 3600 * end:
            continue
        for axes in panels:
            axes.axvline(seconds / 3600, color=INK, linestyle=":", linewidth=1.1)
        panels[0].text(
            seconds / 3600, 1.03, name, transform=panels[0].get_xaxis_transform(),
            ha=side, va="bottom", size=8, color=INK,
        )  # fmt: skip


def _label_hours(axes: Any, start: datetime | None) -> None:
    def say(hours: float, _: int) -> str:
        said = f"{hours:.4g} h"
        return f"{said}\n{start + timedelta(hours=hours):%H:%M}" if start else said

    axes.xaxis.set_major_locator(MaxNLocator(nbins=11, steps=[1, 2, 3, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(say))
