"""Subsets of modalities as one picture: which are in (dots), and the macro F1 they reach (bars)."""

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from somnoflow.report.figures import INK, STYLE, Picture, make_picture
from somnoflow.report.tables import score

BAR, ALL_BAR = "#56B4E9", "#0072B2"
ABSENT = "#DDDDDD"
STRIPE = "#F5F7F9"
# Right of every bar, so that no line runs through the numbers.
END = 1.09


@matplotlib.rc_context(STYLE)
def draw_subsets(
    metrics: dict[str, Any], subsets: Sequence[dict[str, Any]], *, title: str, simulated: str
) -> Picture:
    """Draw macro F1 with its interval, a row per subset, beside dots for its modalities.

    Parameters
    ----------
    metrics
        As `evaluate_ablation` writes them.
    subsets
        Those of `metrics`, from the top down.
    title
        What was fused.
    simulated
        Badge of the caption.
    """
    names = metrics["modalities"]
    figure = Figure(figsize=(10, 0.95 + 0.27 * len(subsets)), layout="constrained")
    dots, bars = figure.subplots(1, 2, sharey=True, width_ratios=(0.45 * len(names), 6))
    whole = max(subsets, key=lambda one: len(one["modalities"]))
    for row, one in enumerate(subsets):
        if row % 2:
            for axes in (dots, bars):
                axes.axhspan(row - 0.5, row + 0.5, color=STRIPE, linewidth=0, zorder=0)
        _draw_dots(dots, row, [name in one["modalities"] for name in names])
        _draw_bar(bars, row, one, colour=ALL_BAR if one is whole else BAR)
        if row and len(subsets[row - 1]["modalities"]) != len(one["modalities"]):
            for axes in (dots, bars):
                axes.axhline(row - 0.5, color="#BBBBBB", linewidth=0.8)
    dots.set_xticks(range(len(names)), names, parse_math=False)
    dots.xaxis.tick_top()
    dots.set(xlim=(-0.6, len(names) - 0.4), ylim=(len(subsets) - 0.5, -0.5), yticks=[])
    dots.tick_params(length=0)
    for side in ("bottom", "left"):
        dots.spines[side].set_visible(False)
    _draw_lines(bars, whole, metrics["baseline"])
    said = [
        f"{' + '.join(one['modalities'])} {score(one['pooled']['macro_f1'])}" for one in subsets
    ]
    confidence = 100 * subsets[0]["intervals"]["confidence"]
    return make_picture(
        figure,
        alt=f"Macro F1 by subset of modalities. {title}. " + "; ".join(said) + ".",
        caption=f"{title}: macro F1 of the stages of test subjects, scored from every subset of "
        f"the modalities (dots), with the {confidence:g} % interval over subjects (line). Most "
        "modalities first, then by macro F1. Dashed: all modalities. Dotted: the most frequent "
        "true stage for every epoch.",
        simulated=simulated,
    )


def _draw_dots(axes: Any, row: int, inside: list[bool]) -> None:
    places = [place for place, there in enumerate(inside) if there]
    axes.plot([places[0], places[-1]], [row, row], color=INK, linewidth=1.6, zorder=2)
    for place, there in enumerate(inside):
        axes.plot([place], [row], "o", color=INK if there else ABSENT, markersize=7, zorder=3)


def _draw_bar(axes: Any, row: int, one: dict[str, Any], *, colour: str) -> None:
    value, interval = one["pooled"]["macro_f1"], one["intervals"]["macro_f1"]
    if value is None:
        axes.text(0.01, row, "not defined", va="center", color="#777777")
        return
    axes.barh([row], [value], height=0.62, color=colour, zorder=2)
    if interval is not None:
        axes.plot(interval, [row, row], color=INK, linewidth=1.4, zorder=4)
    axes.text(END, row, score(value), ha="right", va="center", color=INK, zorder=5)


def _draw_lines(axes: Any, whole: dict[str, Any], baseline: dict[str, Any]) -> None:
    for value, style in ((whole["pooled"]["macro_f1"], "--"), (baseline["macro_f1"], ":")):
        if value is not None:
            axes.axvline(value, color="#555555", linestyle=style, linewidth=1.1, zorder=3)
    axes.set(xlim=(0, END), xlabel="macro F1", xticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
