"""Pictures of rare events: precision and recall, and the night's number against the true one."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from somnoflow.evaluate.event_nights import SEVERITY
from somnoflow.report.figures import INK, STYLE, Picture, make_picture
from somnoflow.report.label_figure import PALETTE
from somnoflow.report.sources import Model
from somnoflow.report.tables import plural, score

# Thousands of dots are a picture inside the drawing, at so many dots per inch.
DPI = 160
FEW_DOTS = 500
GRID = "#E5E5E5"
RATE = "epochs with the event per hour of sleep"
AHI = "AHI"


def name_of(model: Model) -> str:
    """Name a model where it is plain what it is asked for."""
    return f"{model.name.source.title}: {model.name.words}"


@matplotlib.rc_context(STYLE)
def draw_events(models: Sequence[Model], *, of: int, simulated: str) -> Picture:
    """Draw the models' precision and recall, and the night's rate of the first model.

    Parameters
    ----------
    models
        Judged models, the few that are drawn.
    of
        How many there are.
    simulated
        Badge of the caption.
    """
    figure = Figure(figsize=(10, 3.7 + 0.17 * len(models)), layout="constrained", dpi=DPI)
    curves, scatter, gaps = figure.subplots(1, 3)
    told = []
    for model, colour in zip(models, PALETTE, strict=False):
        metrics = model.metrics or {}
        recall, precision = metrics["curve"]["recall"], metrics["curve"]["precision"]
        pooled = metrics["pooled"]
        # Nothing to draw where no epoch has the event; the name stays in the legend.
        first = precision[:1]
        curves.plot(
            [0.0 for _ in first] + recall, first + precision, color=colour, linewidth=1.4,
            drawstyle="steps-pre", label=f"{name_of(model)} (AUPRC {score(pooled['auprc'])})",
        )  # fmt: skip
        if pooled["ppv"] is not None and pooled["sensitivity"] is not None:
            curves.plot([pooled["sensitivity"]], [pooled["ppv"]], "o", color=colour, markersize=5)
        told.append(f"{name_of(model)} AUPRC {score(pooled['auprc'])}")
    prevalence = (models[0].metrics or {})["prevalence"]
    if prevalence is not None:
        curves.axhline(prevalence, color="#777777", linestyle=":", linewidth=1.3,
                       label=f"prevalence {score(prevalence)}")  # fmt: skip
    curves.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="recall (sensitivity)",
               ylabel="precision (PPV)", title="all test epochs")  # fmt: skip
    curves.grid(color=GRID, linewidth=0.8)
    curves.set_axisbelow(True)
    found = (models[0].metrics or {})["nights"]
    _draw_scatter(scatter, found, what=RATE)
    _draw_gaps(gaps, found, what=RATE)
    handles, names = curves.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=1)
    rule = f" {len(models)} of {of} models are drawn, by name." if of > len(models) else ""
    first = name_of(models[0])
    return make_picture(
        figure,
        alt=f"Precision over recall: {'; '.join(told)}; prevalence {score(prevalence)}. Rate per "
        f"night, predicted by {first} against true: {_agreement_words(found)}.",
        caption="Left: precision over recall of the test epochs; the dot is what the thresholds "
        "of the folds give, the dotted line the prevalence, which any constant answer has."
        f"{rule} Middle and right: {RATE}, one dot per recording, predicted by {first} against "
        f"true; {_gap_words()}",
        simulated=simulated,
    )


@matplotlib.rc_context(STYLE)
def draw_nights(model: Model, *, simulated: str) -> Picture:
    """Draw the estimated against the true AHI of each test recording."""
    found = (model.metrics or {})["ahi"]
    figure = Figure(figsize=(10, 3.9), layout="constrained", dpi=DPI)
    scatter, gaps = figure.subplots(1, 2)
    _draw_scatter(scatter, found, what=AHI)
    for border in SEVERITY:
        for line in (scatter.axhline, scatter.axvline):
            line(border, color="#BBBBBB", linewidth=0.8, zorder=0)
    _draw_gaps(gaps, found, what=AHI)
    return make_picture(
        figure,
        alt=f"AHI estimated by {name_of(model)} against true: {_agreement_words(found)}.",
        caption=f"AHI of {plural(found['recordings'], 'recording')}, estimated by "
        f"{name_of(model)} against true, one dot per recording; grey lines are the borders of "
        f"the classes of severity (5, 15, 30). Left: both; {_gap_words()}",
        simulated=simulated,
    )


def _gap_words() -> str:
    return (
        "on the dashed line they are equal. Right: their difference over their mean, with the bias "
        "(line) and the 95 % limits of agreement (dashed); bands are intervals over subjects."
    )


def _agreement_words(found: dict[str, Any]) -> str:
    if not found["recordings"]:
        return "no recording has both numbers"
    return (
        f"{plural(found['recordings'], 'recording')}, bias {found['bias']:.1f}, mean absolute "
        f"error {found['mean_absolute_error']:.1f}, concordance {score(found['concordance'])}"
    )


def _draw_scatter(axes: Any, found: dict[str, Any], *, what: str) -> None:
    true, predicted = (np.array(found["points"][name]) for name in ("true", "predicted"))
    top = 1.05 * max([*true, *predicted, 1.0])
    axes.plot([0, top], [0, top], color="#777777", linestyle="--", linewidth=1)
    _dots(axes, true, predicted)
    axes.set(xlim=(-0.03 * top, top), ylim=(-0.03 * top, top), xlabel="true",
             ylabel="estimated" if what == AHI else "predicted", title=what)  # fmt: skip
    axes.set_box_aspect(1)
    if len(true):
        axes.text(
            0.03, 0.97, f"r {score(found['pearson'])}\nconcordance {score(found['concordance'])}",
            transform=axes.transAxes, va="top", color=INK,
        )  # fmt: skip


def _draw_gaps(axes: Any, found: dict[str, Any], *, what: str) -> None:
    true, predicted = (np.array(found["points"][name]) for name in ("true", "predicted"))
    _dots(axes, (true + predicted) / 2, predicted - true)
    for name in ("bias", "lower_limit", "upper_limit"):
        if found[name] is None:
            continue
        style = "-" if name == "bias" else "--"
        axes.axhline(found[name], color="#D55E00", linestyle=style, linewidth=1.2)
        axes.annotate(
            f"{found[name]:+.1f}".replace("-", "\N{MINUS SIGN}"), (1, found[name]),
            xycoords=("axes fraction", "data"), xytext=(-2, 2), textcoords="offset points",
            ha="right", va="bottom", color="#A34700",
        )  # fmt: skip
        if interval := found["intervals"][name]:
            axes.axhspan(*interval, color="#D55E00", alpha=0.12, linewidth=0)
    axes.axhline(0, color="#BBBBBB", linewidth=0.8, zorder=0)
    difference = "estimated less true" if what == AHI else "predicted less true"
    axes.set(xlabel="mean of both", ylabel=difference, title="difference")
    axes.margins(y=0.12)


def _dots(axes: Any, x: np.ndarray, y: np.ndarray) -> None:
    many = len(x) > FEW_DOTS
    axes.scatter(x, y, s=9 if many else 22, color="#0072B2", alpha=0.35 if many else 0.7,
                 linewidths=0, rasterized=many, zorder=3)  # fmt: skip
