"""Macro F1 against the number of parameters: what a larger model brings, if anything."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from somnoflow.report.figures import INK, STYLE, Picture, make_picture
from somnoflow.report.label_figure import PALETTE
from somnoflow.report.naming import STAGING, ModelName, Source
from somnoflow.report.tables import plural, score_with_interval

PUBLISHED = "published"
# Inches: from one label of two lines to the next; of labels on each side; of the two panels.
LINE = 0.28
LEAST_HEIGHT = 3.2
LABELS = 2.6
UNCOUNTED, COUNTED = 0.5, 3.6


@matplotlib.rc_context(STYLE)
def draw_sizes(comparison: pl.DataFrame, *, simulated: str) -> Picture | None:
    """Draw macro F1 with its interval against the parameters of every model of stages.

    Parameters
    ----------
    comparison
        The table of the compare step.
    simulated
        Badge of the caption.

    Returns
    -------
    Picture or None
        None where fewer than two models have a macro F1.
    """
    rows = comparison.filter(
        pl.col("task") == STAGING, pl.col("kind") != PUBLISHED, pl.col("macro_f1").is_not_null()
    ).to_dicts()
    if len(rows) < 2:
        return None
    counted = [row for row in rows if row["parameters"]]
    others = [row for row in rows if not row["parameters"]]
    encoders = list(dict.fromkeys(row["encoder"] for row in rows))
    colours = {name: PALETTE[k % len(PALETTE)] for k, name in enumerate(encoders)}
    height = max(LEAST_HEIGHT, LINE * max(len(counted), len(others)) + 1.0)
    figure = Figure(figsize=(10, height))
    left, right = _axes(figure, height)
    _draw(left, [(0.0, row) for row in others], colours=colours, side=-1, first=len(counted) + 1)
    _draw(right, [(row["parameters"], row) for row in counted], colours=colours, side=1, first=1)
    left.set(xlim=(-1, 1), xticks=[0], xticklabels=["none"])
    right.set(xscale="log", xlabel="parameters that scoring an epoch needs",
              ylabel="macro F1")  # fmt: skip
    right.margins(x=0.08)
    # Few plain numbers: where all sizes lie within a decade, powers of ten would run together.
    right.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    right.xaxis.set_minor_locator(NullLocator())
    right.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    right.tick_params(axis="y", length=0, labelleft=True)
    confidence = next((row["confidence"] for row in rows if row["confidence"]), 0)
    said = "; ".join(
        f"{_name(row)} {_size(row)}: {score_with_interval(row['macro_f1'], _interval(row))}"
        for row in rows
    )
    return make_picture(
        figure,
        alt=f"Macro F1 against the number of parameters of {plural(len(rows), 'model')}: {said}.",
        caption=f"Macro F1 (dot) with the {100 * confidence:g} % interval over test subjects "
        "(line, where there is one) against the parameters that scoring an epoch needs, with a "
        "frozen encoder's; a colour for each system. none: models without weights to be counted, "
        "such as neighbours and trees.",
        simulated=simulated,
    )


def _axes(figure: Figure, height: float) -> tuple[Any, Any]:
    width, low = 10.0, 0.55 / height
    tall = 1 - low - 0.15 / height
    left = figure.add_axes((LABELS / width, low, UNCOUNTED / width, tall))
    begin = LABELS + UNCOUNTED + 0.6
    right = figure.add_axes((begin / width, low, COUNTED / width, tall), sharey=left)
    return left, right


def _draw(
    axes: Any,
    placed: Sequence[tuple[float, dict[str, Any]]],
    *,
    colours: dict[str, str],
    side: int,
    first: int,
) -> None:
    """Draw models, and in a column beside their names, each with the number of its dot."""
    axes.set_ylim(-0.02, 1.02)
    axes.grid(axis="y", color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
    if side < 0:
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0, labelleft=False)
    tall = axes.get_position().height * axes.figure.get_size_inches()[1]
    gap = 1.04 * LINE / tall
    heights = spread_out([row["macro_f1"] for _, row in placed], gap=gap, low=0.0, high=1.0)
    for number, ((x, row), height) in enumerate(zip(placed, heights, strict=True), first):
        colour = colours[row["encoder"]]
        if (interval := _interval(row)) is not None:
            axes.plot([x, x], interval, color=colour, linewidth=1.5, alpha=0.6)
        axes.plot([x], [row["macro_f1"]], "o", color=colour, markersize=5)
        axes.annotate(
            str(number), xy=(x, row["macro_f1"]), xytext=(4, 3), textcoords="offset points",
            fontsize=6, color=INK,
        )  # fmt: skip
        axes.annotate(
            _label(number, row),
            xy=(x, row["macro_f1"]),
            xytext=(1.06 if side > 0 else -0.25, height),
            textcoords=axes.get_yaxis_transform(),
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=7,
            color=INK,
            linespacing=1.05,
            parse_math=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6,
                        "relpos": (0 if side > 0 else 1, 0.5), "shrinkA": 0, "shrinkB": 3},
        )  # fmt: skip


def spread_out(
    wanted: Sequence[float], *, gap: float, low: float = -np.inf, high: float = np.inf
) -> np.ndarray:
    """Move values apart until neighbours are `gap` from each other, each as little as can be.

    Groups that touch are centred on the mean of what they want (pool adjacent violators), so the
    order stays; a group that would leave `low` to `high` is moved inside.
    """

    def place_of(group: tuple[float, int]) -> float:
        half = gap * (group[1] - 1) / 2
        return min(max(group[0], low + half), high - half)

    order = np.argsort(np.asarray(wanted), kind="stable")
    groups: list[tuple[float, int]] = []
    for place in order:
        groups.append((wanted[place], 1))
        while len(groups) > 1 and (
            place_of(groups[-1]) - place_of(groups[-2]) < gap * (groups[-1][1] + groups[-2][1]) / 2
        ):
            (below, fewer), (above, more) = groups[-2:]
            groups[-2:] = [((below * fewer + above * more) / (fewer + more), fewer + more)]
    spread = [place_of((mean, n)) + gap * (k - (n - 1) / 2) for mean, n in groups for k in range(n)]
    result = np.empty(len(order))
    result[order] = spread
    return result


def _name(row: dict[str, Any]) -> str:
    return ModelName(Source(row["encoder"], row["channel"]), row["method"], row["task"]).title


def _label(number: int, row: dict[str, Any]) -> str:
    return f"{number}  " + _name(row).replace(": ", "\n")


def _size(row: dict[str, Any]) -> str:
    return f"with {row['parameters']:,} parameters" if row["parameters"] else "without parameters"


def _interval(row: dict[str, Any]) -> list[float] | None:
    low, high = row["macro_f1_low"], row["macro_f1_high"]
    return None if low is None else [low, high]
