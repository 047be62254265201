"""The picture of an explained epoch: its trace, what was detected in it, and the heat."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from somnoflow.report.figures import COLOURS, INK, STYLE, Picture, make_picture
from somnoflow.report.tables import plural
from somnoflow.stages import EPOCH_SECONDS
from somnoflow.tasks import Task

# A trace is drawn by its lowest and highest value in so many columns, about one for two pixels.
COLUMNS = 360
STRIP_CELLS = 100
# Light to dark, so that it can be read without colours; the first is what nothing speaks for.
LEVELS = ("#FFF7E0", "#FEE391", "#FEC44F", "#FE9929", "#EC7014", "#CC4C02", "#993404", "#662506")
EVENTS = {"spindles": ("spindle", "#009E73"), "slow_waves": ("slow wave", "#0072B2")}
UNITS = {"uV": "\N{MICRO SIGN}V"}
TRACE, LANES, STRIP = 1.6, 0.42, 0.24
# Inches of a height of 1.
INCH = 0.62
# A strip whose lowest value is above this looks the same all over.
EVEN = 0.7


@matplotlib.rc_context(STYLE)
def draw_explanation(rows: pl.DataFrame, *, task: Task, model: str, simulated: str) -> Picture:
    """Draw one epoch, explained.

    Parameters
    ----------
    rows
        Its rows of the table of explanations: each channel by each method.
    task
        What was asked.
    model
        Its name, for the text.
    simulated
        Badge of the caption.
    """
    channels = rows["channel"].unique(maintain_order=True).to_list()
    panels = [rows.filter(pl.col("channel") == name) for name in channels]
    heights: list[float] = []
    for panel in panels:
        events = [LANES] if _looked_for(panel) else []
        heights += [TRACE, *events, *([STRIP] * len(panel))]
    figure = Figure(figsize=(10, INCH * sum(heights) + 0.55), layout="constrained")
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights, width_ratios=(6.4, 1))
    axes = [figure.add_subplot(grid[row, 0]) for row in range(len(heights))]
    left = iter(axes)
    for panel in panels:
        _draw_trace(next(left), panel)
        if _looked_for(panel):
            _draw_events(next(left), panel)
        for row in panel.iter_rows(named=True):
            _draw_strip(next(left), row["heat"], label=row["method"])
    for one in axes:
        one.set(xlim=(0, EPOCH_SECONDS), xticks=[])
    axes[-1].set_xticks(range(0, EPOCH_SECONDS + 1, 5))
    axes[-1].set_xlabel("seconds of the epoch")
    _draw_probabilities(figure.add_subplot(grid[:, 1]), rows, task=task)
    told = _told(rows, task=task)
    return make_picture(
        figure,
        alt=f"{model}: {told} Trace of {', '.join(channels)} over {EPOCH_SECONDS} s, with "
        "detected events and a strip of heat for each method below.",
        caption=told,
        simulated=simulated,
    )


def _draw_trace(axes: Any, panel: pl.DataFrame) -> None:
    signal = panel["signal"][0].to_numpy()
    seconds, values = envelope(signal, columns=COLUMNS)
    axes.plot(seconds, values, color=INK, linewidth=0.5)
    unit = panel["unit"][0]
    axes.set_ylabel(f"{panel['channel'][0]}\n{UNITS.get(unit, unit)}", parse_math=False)
    axes.spines["bottom"].set_visible(False)
    axes.margins(y=0.02)


def envelope(signal: np.ndarray, *, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Give seconds and values of a trace that looks the same with two values a column.

    A column's lowest and highest value stand in the order in which they come.
    """
    seconds = np.arange(len(signal)) * EPOCH_SECONDS / len(signal)
    if len(signal) <= 2 * columns:
        return seconds, signal
    edges = np.linspace(0, len(signal), columns + 1).astype(int)
    kept = [
        begin + place
        for begin, end in pairwise(edges)
        for place in sorted({int(signal[begin:end].argmin()), int(signal[begin:end].argmax())})
    ]
    return seconds[kept], signal[kept]


def _looked_for(panel: pl.DataFrame) -> bool:
    return panel["spindles"].null_count() == 0


def _draw_events(axes: Any, panel: pl.DataFrame) -> None:
    for lane, (column, (_, colour)) in enumerate(EVENTS.items()):
        spans = [
            (max(0, event["onset_s"]), min(EPOCH_SECONDS, event["onset_s"] + event["duration_s"]))
            for event in panel[column][0].to_list()
        ]
        _draw_spans(axes, np.array(spans).reshape(-1, 2), height=-lane, colour=colour, width=4)
    axes.set(ylim=(-1.7, 0.7))
    axes.set_yticks([0, -1], [f"{name}s" for name, _ in EVENTS.values()], fontsize=7)
    axes.tick_params(axis="y", length=0)
    for label, (_, colour) in zip(axes.get_yticklabels(), EVENTS.values(), strict=True):
        label.set_color(colour)
    axes.spines[["left", "bottom"]].set_visible(False)


def _draw_strip(axes: Any, heat: Sequence[float], *, label: str) -> None:
    """Draw a strip of heat in few levels."""
    cells = min(STRIP_CELLS, len(heat))
    parts = np.array([part.mean() for part in np.array_split(np.asarray(heat), cells)])
    level = np.ceil(parts * (len(LEVELS) - 1)).astype(int).clip(0, len(LEVELS) - 1)
    begins = np.flatnonzero(np.diff(level, prepend=-1))
    spans = np.column_stack([begins, np.append(begins[1:], cells)]) * EPOCH_SECONDS / cells
    for number, colour in enumerate(LEVELS):
        mine = spans[level[begins] == number]
        _draw_spans(axes, mine, height=0, colour=colour, width=72 * INCH * STRIP)
    axes.set(ylim=(-1, 1), yticks=[])
    axes.set_ylabel(label, rotation=0, ha="right", va="center")
    axes.spines[["left", "bottom"]].set_visible(False)


def _draw_spans(axes: Any, spans: np.ndarray, *, height: int, colour: str, width: float) -> None:
    """Draw spans (n, 2) of seconds as one path, lifting the pen between: the file stays small."""
    seconds = np.column_stack([spans, np.full(len(spans), np.nan)]).ravel()
    axes.plot(
        seconds, np.full(len(seconds), height), color=colour, linewidth=width,
        solid_capstyle="butt",
    )  # fmt: skip


def _draw_probabilities(axes: Any, rows: pl.DataFrame, *, task: Task) -> None:
    values = [rows[name][0] for name in task.probabilities]
    places = range(len(values))
    colours = [COLOURS.get(name, INK) for name in task.classes]
    axes.barh(places, values, color=colours, height=0.7)
    for place, value in zip(places, values, strict=True):
        axes.text(value + 0.03, place, f"{value:.2f}", va="center", fontsize=8)
    axes.set_yticks(places, task.classes)
    axes.set(xlim=(0, 1.3), ylim=(len(values) - 0.4, -0.6), xticks=[0, 1], title="probability")
    axes.tick_params(axis="y", length=0)


def _told(rows: pl.DataFrame, *, task: Task) -> str:
    first = rows.row(0, named=True)
    predicted = task.classes[first["predicted"]]
    likely = first[task.probabilities[first["predicted"]]]
    expert = first.get(task.column, -1)
    truth = f"expert {task.classes[expert]}, " if expert >= 0 else ""
    parts = [
        f"Epoch {first['epoch']} of {first['recording']}: {truth}predicted {predicted} "
        f"({likely:.2f})."
    ]
    if first["explained"] != first["predicted"]:
        parts.append(f"The heat is of {task.classes[first['explained']]}.")
    eeg = rows.filter(pl.col("spindles").is_not_null()).unique("channel", maintain_order=True)
    for row in eeg.iter_rows(named=True):
        counts = " and ".join(
            plural(len(row[column]), name) for column, (name, _) in EVENTS.items()
        )
        parts.append(f"{row['channel']}: {counts} detected.")
    parts += _remarks(rows)
    return " ".join(parts)


def _remarks(rows: pl.DataFrame) -> list[str]:
    """Say where a heat is zero, or the same all over."""
    said = []
    for (name,), own in rows.group_by("method", maintain_order=True):
        method = f"{name}"[:1].upper() + f"{name}"[1:]
        heat = np.concatenate(own["heat"].to_numpy())
        if not heat.any():
            said.append(f"{method}: nothing in this epoch speaks for the class.")
        elif heat.min() > EVEN:
            said.append(f"{method} is almost even, from {heat.min():.2f} to {heat.max():.2f}.")
    return said
