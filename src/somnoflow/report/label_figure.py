"""Label efficiency curves as pictures: one colour per method, supervised from scratch in black."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from somnoflow.report.figures import INK, STYLE, Picture, make_picture
from somnoflow.report.label_curves import Curve, Score, Size
from somnoflow.report.naming import SCRATCH
from somnoflow.report.tables import score
from somnoflow.tasks import TASKS

# Colours of Okabe and Ito but black, which is for models without pre-training.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#7F5AA8")
PRETRAINED_MARKERS, SCRATCH_MARKERS = "osD^", "XPv*"
SCRATCH_LINES = ("--", ":", "-.")
# Curves stand side by side at each size, so that intervals do not cover each other; share of the
# width of the axis.
STEP_ASIDE = 0.012
TOO_NEAR = 1.2
# What the constant answer is for stages, and for events (True).
CONSTANT = {
    False: "the most frequent true stage for every epoch",
    True: "the most frequent answer for every epoch; its AUPRC is the share of epochs with events",
}


@matplotlib.rc_context(STYLE)
def draw_curves(
    curves: list[Curve], sizes: dict[float, Size], *, title: str, said: str, simulated: str
) -> Picture:
    """Draw the two scores of a task over the number of labelled training epochs.

    Parameters
    ----------
    curves
        Methods on one source for one task, with labels left out in one way.
    sizes
        Labelled epochs of each percent.
    title
        What the curves are of.
    said
        What the intervals are.
    simulated
        Badge of the caption.
    """
    figure = Figure(figsize=(10, 3.6 + 0.22 * (len(curves) // 3)), layout="constrained")
    looks = _looks(curves)
    epochs = [size.epochs for size in sizes.values()]
    step = max(max(epochs) / min(epochs), 2) ** STEP_ASIDE
    scratch = any(curve.name.tuning == SCRATCH for curve in curves)
    scores = curves[0].scores
    for axes, shown in zip(figure.subplots(1, 2), scores, strict=True):
        for place, curve in enumerate(curves):
            aside = step ** (place - (len(curves) - 1) / 2)
            _draw_curve(axes, curve, sizes, shown=shown, aside=aside, look=looks[place])
        _draw_constant(axes, curves, shown)
        _label_sizes(axes, sizes)
        axes.set(ylabel=shown.words)
        axes.grid(axis="y", color="#E5E5E5", linewidth=0.8)
        axes.set_axisbelow(True)
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=min(3, len(names)))
    told = [
        f"{curve.name.words} {percent:g} % {score(curve.spread(percent, scores[0]).mean)}"
        for curve in curves
        for percent in curve.percents
    ]
    return make_picture(
        figure,
        alt=f"{scores[0].heading} by labelled training epochs. {title}. " + "; ".join(told) + ".",
        caption=f"{title}. Mean over seeds (line), each seed (short strokes) and {said} (bar). "
        "Labelled training epochs on a logarithmic axis, mean over folds; the axis of the scores "
        f"does not begin at 0. Dotted grey: {CONSTANT[TASKS[curves[0].name.task].rare]}."
        + (" Black: trained from scratch, without pre-training." if scratch else ""),
        simulated=simulated,
    )


def _looks(curves: list[Curve]) -> list[dict[str, Any]]:
    """Give each curve its colour, line and marker; those from scratch are black and broken."""
    looks: list[dict[str, Any]] = []
    tuned = scratch = 0
    for curve in curves:
        if curve.name.tuning == SCRATCH:
            looks.append(
                {"color": "black", "linestyle": SCRATCH_LINES[scratch % len(SCRATCH_LINES)],
                 "marker": SCRATCH_MARKERS[scratch % len(SCRATCH_MARKERS)]}
            )  # fmt: skip
            scratch += 1
        else:
            round_ = tuned // len(PALETTE)
            looks.append(
                {"color": PALETTE[tuned % len(PALETTE)], "linestyle": "-",
                 "marker": PRETRAINED_MARKERS[round_ % len(PRETRAINED_MARKERS)]}
            )  # fmt: skip
            tuned += 1
    return looks


def _draw_curve(
    axes: Any,
    curve: Curve,
    sizes: dict[float, Size],
    *,
    shown: Score,
    aside: float,
    look: dict[str, Any],
) -> None:
    spreads = {percent: curve.spread(percent, shown) for percent in curve.percents}
    x = np.array([sizes[percent].epochs for percent in spreads]) * aside
    mean = [np.nan if s.mean is None else s.mean for s in spreads.values()]
    axes.plot(x, mean, label=curve.name.words, linewidth=1.4, markersize=5, **look)
    for place, (percent, spread) in zip(x, spreads.items(), strict=True):
        if spread.interval is not None:
            axes.plot([place, place], spread.interval, color=look["color"], linewidth=1.1)
        seeds = [v for v in curve.values(percent, shown).values() if v is not None]
        axes.plot(
            [place] * len(seeds), seeds, "_", color=look["color"], markersize=6,
            markeredgewidth=1,
        )  # fmt: skip


def _draw_constant(axes: Any, curves: list[Curve], shown: Score) -> None:
    """Draw the constant answer where the models share one."""
    values = {
        metrics["baseline"][shown.key]
        for curve in curves
        for seeds in curve.metrics.values()
        for metrics in seeds.values()
    } - {None}
    if len(values) == 1:
        axes.axhline(values.pop(), color="#888888", linestyle=":", linewidth=1.2)


def _label_sizes(axes: Any, sizes: dict[float, Size]) -> None:
    """Mark each size by its epochs and percent on a logarithmic axis."""
    axes.set_xscale("log")
    ticks: list[tuple[float, list[str]]] = []
    for percent in sorted(sizes):
        epochs = sizes[percent].epochs
        # Small shares of few subjects are the same subject: one mark for all of them.
        if ticks and epochs < TOO_NEAR * ticks[-1][0]:
            ticks[-1][1].append(f"{percent:g}")
        else:
            ticks.append((epochs, [f"{percent:g}"]))
    axes.set_xticks(
        [epochs for epochs, _ in ticks],
        [f"{epochs:,.0f}\n{', '.join(names)} %" for epochs, names in ticks],
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("labelled training epochs", color=INK)
    axes.margins(x=0.08)
