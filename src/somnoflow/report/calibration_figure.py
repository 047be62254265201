"""Reliability diagrams: accuracy over confidence, before and after the temperature."""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from somnoflow.report.figures import STYLE, Picture, make_picture
from somnoflow.report.naming import ModelName
from somnoflow.report.tables import score

# The line and the marker tell the two apart without colours as well.
LOOKS = {"before": ("#D55E00", "--", "s"), "after": ("#0072B2", "-", "o")}
FEW = 10
WIDE = 34


@matplotlib.rc_context(STYLE)
def draw_reliability(
    shown: Sequence[tuple[ModelName, dict[str, Any]]], *, rule: str, simulated: str
) -> Picture:
    """Draw a diagram per model, and below how many epochs have which confidence.

    Parameters
    ----------
    shown
        Names of the few models that are drawn, with their `calibration.json`.
    rule
        Which models these are.
    simulated
        Badge of the caption.
    """
    figure = Figure(figsize=(10, 4.3), layout="constrained")
    # Panels keep their size where there are few.
    grid = figure.subplots(2, 4, sharex=True, sharey="row", squeeze=False, height_ratios=(3, 1))
    for column in grid[:, len(shown) :].T:
        for axes in column:
            axes.set_visible(False)
    for (upper, lower), (name, content) in zip(grid.T, shown, strict=False):
        upper.plot([0, 1], [0, 1], color="#777777", linestyle=":", linewidth=1.1, label="exact")
        for when in LOOKS:
            _draw(upper, lower, content["test"][when], when=when)
        upper.set_title(textwrap.fill(name.title, WIDE), parse_math=False)
        upper.set_box_aspect(1)
        lower.set(xlabel="confidence")
    grid[0, 0].set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy", yticks=[0, 0.5, 1])
    grid[1, 0].set(ylabel="% of epochs")
    grid[1, 0].set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3)
    said = [
        f"{name.title}: ECE {score(content['test']['before']['ece'])} before, "
        f"{score(content['test']['after']['ece'])} after"
        for name, content in shown
    ]
    return make_picture(
        figure,
        alt="Reliability diagrams, accuracy over confidence. " + "; ".join(said) + ".",
        caption="Above: share of right epochs over the confidence of the model, before and after "
        "the temperature, in 15 bins of equal width; on the dotted line confidence keeps its "
        f"word, below it the model is too sure. Bins of fewer than {FEW} epochs are left out. "
        "Below: how many epochs have which confidence. Temperatures are fitted to validation "
        f"subjects, the epochs here are those of test subjects.{rule}",
        simulated=simulated,
    )


def _draw(upper: Any, lower: Any, found: dict[str, Any], *, when: str) -> None:
    colour, line, marker = LOOKS[when]
    full = [one for one in found["bins"] if one["epochs"] >= FEW]
    upper.plot(
        [one["confidence"] for one in full], [one["accuracy"] for one in full], color=colour,
        linestyle=line, marker=marker, markersize=3.5, linewidth=1.4, label=when,
    )  # fmt: skip
    total = max(1, sum(one["epochs"] for one in found["bins"]))
    edges = [one["low"] for one in found["bins"]] + [1]
    shares = [100 * one["epochs"] / total for one in found["bins"]]
    lower.stairs(shares, edges, color=colour, linestyle=line, linewidth=1.4)
