"""The picture of a scored night: stages, confidence, spectrum and events over one axis of time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from somnoflow.evaluate.review import Review, confidence_of
from somnoflow.night import Night
from somnoflow.report.figures import INK, STYLE, Picture, density_image, draw_stages, make_picture
from somnoflow.report.night_spectrum import channel_of_spectrum, spectrogram
from somnoflow.report.quality_figure import NightQuality, quality_picture
from somnoflow.scoring.hypnogram import Hypnogram
from somnoflow.stages import EPOCH_SECONDS, STAGE_NAMES

NO_SIGNAL = "#DDDDDD"
CERTAIN, DOUBTFUL = "#AEBBC6", "#D55E00"
EVENT = "#0072B2"
# Inches of a panel's height, and between panels.
HEIGHTS = {"stages": 1.15, "more": 0.75, "density": 0.7, "confidence": 0.5, "spectrum": 1.05,
           "event": 0.45}  # fmt: skip
APART, ABOVE, BELOW = 0.09, 0.22, 0.42
# Edges as in the picture of the signal quality, which stands below.
WIDTH, LEFT, RIGHT = 10.0, 0.095, 0.865
# A longer night has a column for several epochs.
MAX_COLUMNS = 1200
LEVELS = 64
QUANTILES = (0.02, 0.98)
# Seconds.
MINUTE, DAY = 60, 24 * 3600
STEPS = (10, 30, *(60 * minutes for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)))
MAX_TICKS = 12


@dataclass(frozen=True, eq=False)
class Drawn:
    """What is drawn of a night.

    Attributes
    ----------
    stages, events
        Hypnograms of models of stages and of models of events, by the name to show, all of the
        same N epochs; the first one is the one that is reviewed.
    review
        Its least certain epochs.
    traced
        Rows of the epochs whose traces are drawn.
    night
        In physical units; None where the signal is gone.
    start, lights_off, lights_on
        Clock time of the start, and seconds from it; None where not known.
    """

    stages: Sequence[tuple[str, Hypnogram]]
    events: Sequence[tuple[str, Hypnogram]]
    review: Review
    traced: Sequence[int]
    night: Night | None
    start: datetime | None
    lights_off: float | None = None
    lights_on: float | None = None
    begins: npt.NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "begins", self.first.table["onset_s"].to_numpy() / 3600)

    @property
    def first(self) -> Hypnogram:
        """The hypnogram that is reviewed."""
        return (*self.stages, *self.events)[0][1]

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """Hours from the start of the recording to the edges of the epochs, (N + 1,)."""
        return np.append(self.begins, self.begins[-1] + EPOCH_SECONDS / 3600)


@matplotlib.rc_context(STYLE)
def night_picture(drawn: Drawn, *, alt: str, caption: str, simulated: str) -> Picture:
    """Draw the night, a panel below the other."""
    place = None if drawn.night is None else channel_of_spectrum(drawn.night)
    kinds = [
        *(["stages"] + ["more"] * (len(drawn.stages) - 1) + ["density"] if drawn.stages else []),
        "confidence",
        *(["spectrum"] if place is not None else []),
        *["event"] * len(drawn.events),
    ]
    figure, panels = _panels(kinds)
    left = iter(panels)
    for name, hypnogram in drawn.stages:
        label = name if len(drawn.stages) > 1 else "stage"
        draw_stages(axes := next(left), _codes(hypnogram), drawn.edges, label="")
        _shade(axes, np.array([name is None for name in hypnogram.classes]), drawn.edges)
        axes.tick_params(axis="y", labelsize=8)
        _say_beside(axes, label)
    if drawn.stages:
        _draw_density(next(left), drawn.first, edges=drawn.edges)
    _draw_confidence(next(left), drawn)
    if drawn.night is not None and place is not None:
        _draw_spectrum(next(left), drawn.night, place=place, edges=drawn.edges)
    for name, hypnogram in drawn.events:
        _draw_event(next(left), hypnogram, name=name, edges=drawn.edges)
    for axes in panels:
        axes.set_xlim(0, drawn.edges[-1])
        axes.tick_params(axis="x", length=0, labelbottom=False)
    _mark_lights(panels, drawn)
    _label_time(panels[-1], end=float(drawn.edges[-1]), start=drawn.start)
    return make_picture(figure, alt=alt, caption=caption, simulated=simulated)


def quality_strip(drawn: Drawn, night: Night, *, recording: str) -> Picture:
    """Draw the quality of each channel, below the picture of the night."""
    return quality_picture(
        NightQuality(
            recording=recording,
            onset=night.onset_s,
            stage=np.full(len(night), -1, np.int8),
            flags={name: night.quality[:, place] for place, name in enumerate(night.channels)},
            start=drawn.start,
            lights_off=drawn.lights_off,
            lights_on=drawn.lights_on,
        ),
        simulated="",
    )


def _panels(kinds: Sequence[str]) -> tuple[Figure, list[Any]]:
    """Place panels by hand, which is quick, and equal from night to night."""
    inches = [HEIGHTS[kind] for kind in kinds]
    whole = ABOVE + BELOW + sum(inches) + APART * (len(inches) - 1)
    figure = Figure(figsize=(WIDTH, whole))
    panels, top = [], whole - ABOVE
    for height in inches:
        top -= height
        panels.append(figure.add_axes((LEFT, top / whole, RIGHT - LEFT, height / whole)))
        top -= APART
    return figure, panels


def _codes(hypnogram: Hypnogram) -> npt.NDArray[np.int64]:
    return np.array([-1 if name is None else STAGE_NAMES.index(name) for name in hypnogram.classes])


def _floats(table: pl.DataFrame, name: str) -> npt.NDArray[np.float64]:
    return table[name].cast(pl.Float64).to_numpy()


def _say_beside(axes: Any, text: str) -> None:
    axes.text(
        1.008, 0.5, text, transform=axes.transAxes, va="center", size=8, color=INK,
        parse_math=False,
    )  # fmt: skip


def _draw_density(axes: Any, hypnogram: Hypnogram, *, edges: npt.NDArray[np.float64]) -> None:
    names = hypnogram.task.probabilities
    probability = np.stack([_floats(hypnogram.table, name) for name in names], axis=1)
    axes.imshow(
        density_image(probability), extent=(edges[0], edges[-1], 0, 1), aspect="auto",
        interpolation="none",
    )  # fmt: skip
    _shade(axes, np.isnan(probability[:, 0]), edges)
    _name_ends(axes)
    _say_beside(axes, "probability\nof each stage")


def _draw_confidence(axes: Any, drawn: Drawn) -> None:
    confidence = confidence_of(drawn.first)
    doubtful = np.zeros(len(confidence), np.bool_)
    doubtful[drawn.review.rows] = True
    for chosen, colour in ((~doubtful, CERTAIN), (doubtful, DOUBTFUL)):
        _fill(axes, np.where(chosen, confidence, np.nan), drawn.edges, colour=colour)
    _shade(axes, np.isnan(confidence), drawn.edges)
    limit = drawn.review.limit
    if limit is not None:
        axes.axhline(limit, color=INK, linewidth=0.8, linestyle="--")
    middle = drawn.begins[list(drawn.traced)] + EPOCH_SECONDS / 7200
    axes.plot(middle, np.full(len(middle), 1.1), "v", color=INK, markersize=3.5, clip_on=False)
    axes.set(ylim=(0, 1))
    _name_ends(axes)
    _say_beside(axes, "confidence" + ("" if limit is None else f"\n(line: {limit:.2f})"))


def _name_ends(axes: Any) -> None:
    """Write 0 and 1 inside of a panel's height, so that those of two panels stay apart."""
    axes.set_yticks([0, 1], ["0", "1"], fontsize=8)
    for label, side in zip(axes.get_yticklabels(), ("bottom", "top"), strict=True):
        label.set_verticalalignment(side)


def _fill(
    axes: Any, values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], *, colour: str
) -> None:
    if np.isfinite(values).any():
        # Not by `stairs`, which goes over every corner once more to find limits that are set here.
        axes.add_artist(StepPatch(values, edges, fill=True, color=colour, linewidth=0))


def _shade(axes: Any, unusable: npt.NDArray[np.bool_], edges: npt.NDArray[np.float64]) -> None:
    """Shade the epochs without an answer over the height of a panel."""
    if unusable.any():
        axes.fill_between(
            edges, 0, 1, where=np.append(unusable, unusable[-1]), step="post",
            transform=axes.get_xaxis_transform(), color=NO_SIGNAL, linewidth=0,
        )  # fmt: skip


def _draw_spectrum(axes: Any, night: Night, *, place: int, edges: npt.NDArray[np.float64]) -> None:
    frequencies, decibel = spectrogram(
        night.signals[:, place],
        present=night.present[:, place],
        sampling_rate=night.sampling_rate,
    )
    low, high = np.nanquantile(decibel, QUANTILES)
    high = max(high, low + 1)
    axes.imshow(
        _colours(_fewer(decibel).T, low=low, high=high),
        extent=(edges[0], edges[-1], frequencies[0], frequencies[-1]),
        origin="lower", aspect="auto", interpolation="none",
    )  # fmt: skip
    axes.set(ylim=(frequencies[0], frequencies[-1]), ylabel="Hz")
    axes.set_yticks([tick for tick in (10, 20) if tick < frequencies[-1]])
    axes.tick_params(axis="y", labelsize=8)
    key = axes.inset_axes((1.008, 0.04, 0.012, 0.58))
    scale = np.linspace(low, high, LEVELS)[:, None]
    key.imshow(
        _colours(scale, low=low, high=high), extent=(0, 1, low, high), origin="lower",
        aspect="auto", interpolation="none",
    )  # fmt: skip
    key.set(xticks=[])
    key.set_yticks([low, high], [f"{low:.0f} dB", f"{high:.0f} dB"], fontsize=7)
    key.yaxis.tick_right()
    key.tick_params(length=0)
    key.spines[:].set_visible(False)
    axes.text(
        1.008, 0.98, f"{night.channels[place]}, dB of\n1 \N{MICRO SIGN}V\N{SUPERSCRIPT TWO}/Hz",
        transform=axes.transAxes, va="top", size=8, color=INK, parse_math=False,
    )  # fmt: skip


def _fewer(decibel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Join epochs of a long night, (N, F), to at most (MAX_COLUMNS, F), by their mean."""
    starts = np.arange(0, len(decibel), -(-len(decibel) // MAX_COLUMNS))
    there = np.add.reduceat(np.isfinite(decibel), starts, axis=0, dtype=np.float64)
    whole: npt.NDArray[np.float64] = np.add.reduceat(np.nan_to_num(decibel), starts, axis=0)
    return np.divide(whole, there, out=np.full_like(whole, np.nan), where=there > 0)


def _colours(values: npt.NDArray[np.float64], *, low: float, high: float) -> npt.NDArray[np.uint8]:
    """Give the colours of values, in few levels: the picture stays small."""
    palette = (matplotlib.colormaps["viridis"].resampled(LEVELS)(np.arange(LEVELS)) * 255).round()
    grey = [int(NO_SIGNAL[at : at + 2], 16) for at in (1, 3, 5)]
    palette = np.vstack([palette[:, :3], grey]).astype(np.uint8)
    level = np.clip((values - low) / (high - low), 0, 1) * (LEVELS - 1)
    rows = np.where(np.isnan(level), LEVELS, np.nan_to_num(level)).round().astype(int)
    image: npt.NDArray[np.uint8] = palette[rows]
    return image


def _draw_event(
    axes: Any, hypnogram: Hypnogram, *, name: str, edges: npt.NDArray[np.float64]
) -> None:
    table, task = hypnogram.table, hypnogram.task
    probability = _floats(table, task.probabilities[1])
    positive = np.array([said == task.classes[1] for said in hypnogram.classes])
    _fill(axes, np.where(positive, np.nan, probability), edges, colour=CERTAIN)
    _fill(axes, np.where(positive, probability, np.nan), edges, colour=EVENT)
    _shade(axes, np.isnan(probability), edges)
    if hypnogram.threshold is not None:
        axes.axhline(hypnogram.threshold, color=INK, linewidth=0.8, linestyle="--")
    axes.set(ylim=(0, 1))
    _name_ends(axes)
    _say_beside(axes, name)


def _mark_lights(panels: Sequence[Any], drawn: Drawn) -> None:
    lights = (("lights off", drawn.lights_off, "left"), ("lights on", drawn.lights_on, "right"))
    for name, seconds, side in lights:
        if seconds is None or not 0 <= seconds <= 3600 * drawn.edges[-1]:
            continue
        for axes in panels:
            axes.axvline(seconds / 3600, color=INK, linestyle=":", linewidth=1.1)
        panels[0].text(
            seconds / 3600, 1.02, name, transform=panels[0].get_xaxis_transform(), ha=side,
            va="bottom", size=8, color=INK,
        )  # fmt: skip


def _label_time(axes: Any, *, end: float, start: datetime | None) -> None:
    hours, labels = time_ticks(end=end, start=start)
    axes.tick_params(axis="x", length=3, labelbottom=True)
    axes.set_xticks(hours, labels)
    axes.set_xlabel("clock time" if start else "time from the start of the recording", labelpad=2)


def time_ticks(*, end: float, start: datetime | None) -> tuple[list[float], list[str]]:
    """Give whole times between 0 and `end` hours, and how they are called.

    Clock times where the start is known; midnights have the number of the day where there is more
    than one day.
    """
    seconds = 3600 * end
    step = next((step for step in STEPS if seconds / step <= MAX_TICKS), STEPS[-1])
    since = 0
    if start is not None:
        since = start.hour * 3600 + start.minute * MINUTE + start.second
    ticks = np.arange(-since % step, seconds + 1e-3, step)
    called = [_call(round(tick) + since, step=step, clock=start is not None) for tick in ticks]
    days = seconds > DAY and start is not None
    return list(ticks / 3600), [
        f"{said}\nday {1 + (round(tick) + since) // DAY}" if days and said == "00:00" else said
        for said, tick in zip(called, ticks, strict=True)
    ]


def _call(seconds: int, *, step: int, clock: bool) -> str:
    hours, minutes = seconds // 3600, seconds // MINUTE % 60
    said = f"{hours % 24:02d}:{minutes:02d}" if clock else f"{hours}:{minutes:02d}"
    return said if step >= MINUTE else f"{said}:{seconds % MINUTE:02d}"
