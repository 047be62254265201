"""Pictures of the report: small SVG drawings as data URIs, the same bytes for the same numbers.

A picture inside an <img> cannot run anything, cannot fetch anything and shares no ids with the
page. Stage colours are those of Okabe and Ito, which readers with a colour deficiency can tell
apart; NREM sleep goes from light to dark as it deepens.
"""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from somnoflow.evaluate.confusion import PROBABILITIES
from somnoflow.report.tables import plural, share
from somnoflow.stages import EPOCH_SECONDS, STAGE_NAMES

COLOURS = {"W": "#E69F00", "N1": "#74C2EE", "N2": "#0072B2", "N3": "#14304F", "REM": "#CC79A7"}
UNKNOWN = "#DDDDDD"
ERROR = "#D7191C"
INK = "#333333"
# From the top: wake, REM, then deeper and deeper.
HEIGHT = {"W": 4, "REM": 3, "N1": 2, "N2": 1, "N3": 0}
DENSITY_ROWS = 100
# Red on orange or blue is hard to see, so errors stand above the line of the predicted stage.
DOT_ABOVE = 0.42
MAX_BARS = 40
MAX_FOLDS = 12
LOSSES = {
    "train_loss": ("training", "#0072B2", "-"),
    "val_loss": ("validation", "#D55E00", "--"),
}
# What keeps a drawing small. Lines are given by steps of a tenth of a point, other coordinates by a
# hundredth; scales of transforms keep their decimals, or pictures in it would come out too narrow.
# Nothing refers to the names of groups, and the font is named once. Other names are hashes of
# numbers whose last digits depend on the machine, so they are numbered.
DRAWN = re.compile(r"<(?:path|use) [^>]*")
COORDINATES = re.compile(r"\b([dxy])=\"([^\"]*)\"")
LONG_DECIMALS = re.compile(r"(\.\d\d)\d+")
LINES = re.compile(r"[MLz\d\s.-]+")
STEPS = 10
NAMED_GROUP = re.compile(r'<g id="[^"]*"')
NAME = re.compile(r'\bid="([^"]*)"')
NAME_IN_USE = re.compile(r'(?<=["#])[^"#)]+(?=["\)])')
INDENT = re.compile(r"\n\s+")
FONT = re.compile(r" ?font-family: ([^;\"]*);")
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "somnoflow",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "path.simplify": False,
}


@dataclass(frozen=True)
class Picture:
    """A drawing, the text that stands for it, and its caption."""

    uri: str
    alt: str
    caption: str
    width: int
    height: int
    simulated: str = ""


def make_picture(figure: Figure, *, alt: str, caption: str, simulated: str) -> Picture:
    """Write a figure as SVG, without anything that changes from run to run."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)
    # The page is HTML: the prolog and the address of the DTD have no use in it.
    svg = buffer.getvalue()
    svg = DRAWN.sub(_shorten, svg[svg.index("<svg") :])
    svg = INDENT.sub("\n", _number_names(NAMED_GROUP.sub("<g", svg)))
    if font := FONT.search(svg):
        svg = FONT.sub("", svg).replace("<svg", f'<svg style="font-family: {font[1]}"', 1)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return Picture(
        uri="data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode(),
        alt=alt,
        caption=caption,
        width=width,
        height=height,
        simulated=simulated,
    )


def _number_names(svg: str) -> str:
    names = {name: f"n{place}" for place, name in enumerate(NAME.findall(svg))}
    return NAME_IN_USE.sub(lambda found: names.get(found[0], found[0]), svg)


def _shorten(tag: re.Match[str]) -> str:
    return COORDINATES.sub(_shorten_coordinates, tag[0])


def _shorten_coordinates(found: re.Match[str]) -> str:
    name, text = found.groups()
    if name == "d" and LINES.fullmatch(text):
        return f'd="{_steps(text)}"'
    return LONG_DECIMALS.sub(r"\1", found[0])


def _steps(path: str) -> str:
    """Write straight lines as steps from point to point; rounding does not add up."""
    words = iter(path.split())
    parts: list[str] = []
    x = y = 0
    letter = ""
    for word in words:
        if word == "z":
            parts.append("z")
            letter = word
            continue
        own, letter = letter, word
        to_x, to_y = (round(STEPS * float(next(words))) for _ in "xy")
        if word == "M":
            parts.append(f"M{_number(to_x)} {_number(to_y)}")
        else:
            start = " " if own == "L" else "l"
            parts.append(f"{start}{_number(to_x - x)} {_number(to_y - y)}")
        x, y = to_x, to_y
    return "".join(parts)


def _number(steps: int) -> str:
    text = f"{steps / STEPS:g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


@matplotlib.rc_context(STYLE)
def stage_distribution(recordings: pl.DataFrame, *, simulated: str) -> Picture:
    """Draw the share of each stage, a bar per recording, or per data set where there are many."""
    by = "dataset" if recordings.height > MAX_BARS else "recording"
    keys = ["dataset"] if by == "dataset" else ["dataset", "subject", "recording"]
    sums = recordings.group_by(keys).agg(pl.col("epochs", "unscored", *STAGE_NAMES).sum())
    sums = sums.sort(keys)
    figure = Figure(figsize=(10, 0.75 + 0.27 * sums.height), layout="constrained")
    axes = figure.add_subplot()
    left = np.zeros(sums.height)
    total = sums["epochs"].to_numpy().clip(1)
    for name in [*STAGE_NAMES, "unscored"]:
        width = 100 * sums[name].to_numpy() / total
        axes.barh(
            range(sums.height), width, left=left, height=0.78, label=name,
            color=COLOURS.get(name, UNKNOWN), edgecolor="white", linewidth=0.4,
        )  # fmt: skip
        left += width
    labels = [f"{row[by]}  (n={row['epochs']:,})" for row in sums.iter_rows(named=True)]
    axes.set_yticks(range(sums.height), labels, parse_math=False)
    axes.set(xlim=(0, 100), ylim=(sums.height - 0.5, -0.5), xlabel="% of epochs")
    axes.tick_params(axis="y", length=0)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=6, handlelength=1)
    totals = ", ".join(
        f"{name} {share(int(sums[name].sum()), int(sums['epochs'].sum()))}" for name in STAGE_NAMES
    )
    return make_picture(
        figure,
        alt=f"Stacked bars of stage shares, one per {by}. All epochs together: {totals}.",
        caption=f"Share of each true stage, one bar per {'data set' if by == 'dataset' else by}; "
        f"n is the number of 30-s epochs.",
        simulated=simulated,
    )


@matplotlib.rc_context(STYLE)
def f1_by_stage(
    models: Sequence[tuple[str, dict[str, Any]]], *, simulated: str, rule: str = ""
) -> Picture:
    """Draw each model's F1 of each stage and macro F1 with intervals, a panel per value.

    `rule` says which models these are, where not all are drawn; a name may have two lines.
    """
    panels = [*STAGE_NAMES, "macro"]
    height = 0.42 if any("\n" in name for name, _ in models) else 0.3
    figure = Figure(figsize=(10, 0.9 + height * len(models)), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, sharex=True)
    said = []
    for axes, panel in zip(all_axes, panels, strict=True):
        for row, (name, metrics) in enumerate(models):
            value, interval = f1_of(metrics, panel)
            if value is None:
                axes.text(0.5, row, "not defined", ha="center", va="center", color="#777777")
                continue
            colour = COLOURS.get(panel, INK)
            if interval is not None:
                axes.plot(interval, [row, row], color=colour, linewidth=8, alpha=0.35)
            axes.plot([value], [row], "o", color=colour, markersize=3.5)
            said.append(f"{name} {panel} {value:.2f}".replace("\n", ": "))
        axes.set_title("macro F1" if panel == "macro" else f"F1 {panel}")
        axes.set(xlim=(-0.03, 1.03), ylim=(len(models) - 0.5, -0.5), xticks=[0, 0.5, 1])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#E5E5E5", linewidth=0.8)
        axes.set_axisbelow(True)
    all_axes[0].set_yticks(range(len(models)), [name for name, _ in models], parse_math=False)
    confidence = models[0][1]["intervals"]["confidence"]
    return make_picture(
        figure,
        alt="F1 by stage: " + "; ".join(said) + ".",
        caption=f"F1 of each stage and macro F1 (dot) with the {100 * confidence:g} % interval "
        f"over test subjects (band, where there is one).{rule} The same numbers are in the tables "
        "below.",
        simulated=simulated,
    )


def f1_of(metrics: dict[str, Any], panel: str) -> tuple[float | None, list[float] | None]:
    """Give F1 and its interval for a stage or for "macro"."""
    pooled, intervals = metrics["pooled"], metrics["intervals"]
    if panel == "macro":
        return pooled["macro_f1"], intervals["macro_f1"]
    return pooled["per_class"][panel]["f1"], intervals["f1"][panel]


@matplotlib.rc_context(STYLE)
def hypnogram(epochs: pl.DataFrame, *, recording: str, model: str, simulated: str) -> Picture:
    """Draw one night: true stages, predicted stages with errors, probabilities.

    Parameters
    ----------
    epochs
        Test rows of one recording by one model: epoch, stage, usable, predicted, p_W..p_REM.
    recording, model
        Names for the caption.
    simulated
        Badge of the caption.
    """
    stage, predicted, probability = on_grid(epochs)
    hours = np.arange(len(stage) + 1) * EPOCH_SECONDS / 3600
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    upper, middle, lower = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1, 0.75))
    draw_stages(upper, stage, hours, label="true")
    draw_stages(middle, predicted, hours, label="predicted")
    compared = (stage >= 0) & (predicted >= 0)
    wrong = np.flatnonzero(compared & (stage != predicted))
    heights = np.array([HEIGHT[name] for name in STAGE_NAMES])
    draw_dots(
        middle, hours[wrong] + EPOCH_SECONDS / 7200, heights[predicted[wrong]] + DOT_ABOVE,
        colour=ERROR, size=2.6,
    )  # fmt: skip
    lower.imshow(
        density_image(probability), extent=(0, hours[-1], 0, 1),
        aspect="auto", interpolation="none",
    )  # fmt: skip
    lower.set(ylabel="probability", yticks=[0, 1], xlabel="hours from the first epoch")
    lower.set_xlim(0, hours[-1])
    figure.align_ylabels()
    n, right = int(compared.sum()), int(compared.sum()) - len(wrong)
    agree = f"{right:,} of {n:,} compared epochs agree"
    left_out = plural(len(stage) - n, "epoch") + " without a stage or a usable signal"
    return make_picture(
        figure,
        alt=f"Hypnogram of {recording}, true above predicted by {model}, and stage probabilities "
        f"over time: {agree}, {len(wrong):,} do not, {left_out}.",
        caption=f"{recording}, {model}: {agree} ({100 * right / max(1, n):.0f} %), "
        f"{len(wrong):,} errors (red dots above the prediction), {left_out} (grey).",
        simulated=simulated,
    )


def on_grid(epochs: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put the rows at their epoch numbers; epochs without a row are -1 and NaN."""
    place = epochs["epoch"].to_numpy().astype(np.int64)
    place = place - place.min()
    n = int(place.max()) + 1
    stage, predicted = np.full(n, -1), np.full(n, -1)
    probability = np.full((n, len(STAGE_NAMES)), np.nan)
    stage[place] = epochs["stage"].to_numpy()
    predicted[place] = epochs["predicted"].to_numpy()
    probability[place] = epochs.select(PROBABILITIES).to_numpy()
    return stage, predicted, probability


def draw_stages(
    axes: Any, stage: np.ndarray, hours: np.ndarray, *, label: str, colour: str | None = None
) -> None:
    """Draw a hypnogram of stage codes (T,) between `hours` (T + 1,); unscored is grey.

    Each stage has its own colour, or all have the one that is given.
    """
    starts = np.flatnonzero(np.diff(stage, prepend=-9) != 0)
    ends = np.append(starts[1:], len(stage))
    names = [STAGE_NAMES[stage[start]] if stage[start] >= 0 else None for start in starts]
    level = np.array([HEIGHT[name] if name else np.nan for name in names])
    spans = np.stack([hours[starts], hours[ends]], axis=1)
    axes.plot(spans.ravel(), level.repeat(2), color="#999999", linewidth=0.6)
    for name, height in HEIGHT.items():
        mine = np.array([found == name for found in names])
        # A NaN between runs lifts the pen: one path per stage keeps the file small.
        x = np.column_stack([spans[mine], np.full(mine.sum(), np.nan)]).ravel()
        axes.plot(
            x, np.full(len(x), height), color=colour or COLOURS[name], linewidth=3.2,
            solid_capstyle="butt",
        )  # fmt: skip
    for start, end, found in zip(starts, ends, names, strict=True):
        if found is None:
            axes.axvspan(hours[start], hours[end], color="#EEEEEE", linewidth=0)
    axes.set(ylim=(-0.6, 4.8), ylabel=label)
    axes.set_yticks(list(HEIGHT.values()), list(HEIGHT))
    axes.tick_params(axis="x", length=0)


def draw_dots(
    axes: Any, x: np.ndarray, y: np.ndarray, *, colour: str, size: float, alpha: float = 1
) -> None:
    """Draw dots of `size` points at x (n,) and y (n,) as one path, which keeps the file small.

    A line of no length with round ends is a dot.
    """
    dots = np.column_stack([x, y]).repeat(3, axis=0)
    dots[2::3] = np.nan
    axes.plot(
        *dots.T, color=colour, linewidth=size, solid_capstyle="round", alpha=alpha, zorder=5
    )  # fmt: skip


def density_image(probability: np.ndarray) -> np.ndarray:
    """Stack probabilities (T, 5) in a column for each epoch, deep sleep lowest; (rows, T, 3)."""
    order = sorted(HEIGHT, key=lambda name: HEIGHT[name])
    columns = [STAGE_NAMES.index(name) for name in order]
    palette = np.array([_rgb(COLOURS[name]) for name in order] + [_rgb("#EEEEEE")], dtype=np.uint8)
    edges = np.cumsum(probability[:, columns], axis=1)
    middle = (np.arange(DENSITY_ROWS)[::-1] + 0.5) / DENSITY_ROWS
    index = (middle[:, None, None] > edges[None, :, :-1]).sum(axis=2)
    index[:, np.isnan(edges[:, 0])] = len(order)
    image: np.ndarray = palette[index]
    return image


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


@matplotlib.rc_context(STYLE)
def training_curves(name: str, folds: dict[str, pl.DataFrame], *, simulated: str) -> Picture:
    """Draw the losses of each fold over the passes, with the chosen pass marked."""
    shown = dict(list(folds.items())[:MAX_FOLDS])
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(10, 0.5 + 1.75 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    said = []
    for axes, (fold, frame) in zip(grid.ravel(), shown.items(), strict=False):
        chosen = _draw_losses(axes, frame)
        axes.set_title(fold.replace("=", " "), parse_math=False)
        said.append(f"{fold.replace('=', ' ')}: {chosen}")
    for axes in grid.ravel()[len(shown) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("loss")
    for axes in grid[-1]:
        axes.set_xlabel("pass")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    cut = "" if len(shown) == len(folds) else f" The first {MAX_FOLDS} of {len(folds)} folds."
    return make_picture(
        figure,
        alt=f"Training and validation loss by pass. {name}. " + "; ".join(said) + ".",
        caption=f"{name}, {plural(len(folds), 'fold')}: loss on training subjects and on "
        f"validation subjects. The dotted line is the pass that was chosen on the validation "
        f"subjects and is used.{cut}",
        simulated=simulated,
    )


def _draw_losses(axes: Any, frame: pl.DataFrame) -> str:
    passes = frame["pass"].to_numpy()
    few = "o" if len(passes) < 3 else ""
    for column, (label, colour, line) in LOSSES.items():
        if column in frame.columns:
            axes.plot(passes, frame[column], color=colour, linestyle=line, marker=few, label=label)
    axes.grid(color="#EEEEEE", linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    best = frame.filter("best")["pass"].to_list() if "best" in frame.columns else []
    if not best:
        return "the chosen pass is not recorded"
    # A table may mark each pass that was the best so far: the last of them was kept.
    axes.axvline(best[-1], color=INK, linestyle=":", linewidth=1.2, label="chosen pass")
    return f"pass {best[-1]:g} of {len(passes)} chosen"
