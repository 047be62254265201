"""One night by the expert and by all models, one hypnogram below the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from somnoflow.evaluate.confusion import scan_test_epochs
from somnoflow.evaluate.predictions import RECORDING_KEY
from somnoflow.report.figures import (
    DOT_ABOVE,
    ERROR,
    HEIGHT,
    STYLE,
    Picture,
    draw_dots,
    draw_stages,
    make_picture,
    on_grid,
)
from somnoflow.report.nights import choose_recordings
from somnoflow.report.results import spread, spread_rule
from somnoflow.report.sources import Cohort, Model
from somnoflow.report.tables import plural
from somnoflow.stages import EPOCH_SECONDS, STAGE_NAMES

MAX_MODELS = 12
# Inches of one hypnogram.
ROW = 0.85


@dataclass(frozen=True)
class StackedNight:
    """The picture, and in words how its night and its models were chosen."""

    rule: str
    picture: Picture


def stacked_night(models: Sequence[Model], cohort: Cohort) -> StackedNight | None:
    """Draw the night of median agreement by the expert and by each model below.

    Parameters
    ----------
    models
        Models of stages. At most `MAX_MODELS` are drawn.
    cohort
        Says which recordings are simulated.

    Returns
    -------
    StackedNight or None
        None where no model has predictions.
    """
    predicted = [model for model in models if model.predictions]
    ranked, _ = choose_recordings(predicted, len(cohort.recordings))
    ranked = ranked.filter(pl.col("kappa").is_not_null())
    if ranked.is_empty():
        return None
    middle = ranked[(ranked.height - 1) // 2]
    dataset, subject, recording = middle.select(RECORDING_KEY).row(0)
    chosen = spread(predicted, MAX_MODELS)
    epochs = {model.name.title: _read(model, middle) for model in chosen}
    drawn = {title: rows for title, rows in epochs.items() if rows.height}
    rule = (
        f"{recording} of subject {subject}: of {plural(ranked.height, 'test recording')} the one "
        "with the median kappa (mean over the models; of an even number the lower middle)."
        + spread_rule(len(chosen), len(predicted))
    )
    badge = "simulated" if cohort.is_simulated(dataset, recording) else ""
    return StackedNight(rule, draw_stacked(drawn, recording=recording, simulated=badge))


def _read(model: Model, night: pl.DataFrame) -> pl.DataFrame:
    keys = night.lazy().select(RECORDING_KEY)
    found = [
        scan_test_epochs(path).join(keys, on=RECORDING_KEY, how="semi").collect()
        for path in model.predictions
    ]
    return pl.concat(found).sort("epoch")


@matplotlib.rc_context(STYLE)
def draw_stacked(models: dict[str, pl.DataFrame], *, recording: str, simulated: str) -> Picture:
    """Draw the expert's hypnogram and below it each model's, with errors as red dots.

    Parameters
    ----------
    models
        Epochs of the night in order, by the title of each model: epoch, stage, usable, predicted,
        p_W..p_REM.
    recording
        Its name.
    simulated
        Badge of the caption.
    """
    nights = {title: on_grid(rows) for title, rows in models.items()}
    begins = {title: int(rows["epoch"][0]) for title, rows in models.items()}
    first = min(begins.values())
    figure = Figure(figsize=(10, ROW * (len(models) + 1) + 0.5), layout="constrained")
    upper, *others = figure.subplots(len(models) + 1, 1, sharex=True)
    longest = max(nights, key=lambda title: len(nights[title][0]))
    stage, *_ = nights[longest]
    draw_stages(upper, stage, _hours(len(stage), begins[longest] - first), label="")
    upper.set_title("expert", fontsize=8)
    heights = np.array([HEIGHT[name] for name in STAGE_NAMES])
    said = []
    for axes, (title, (true, predicted, _)) in zip(others, nights.items(), strict=True):
        hours = _hours(len(true), begins[title] - first)
        draw_stages(axes, predicted, hours, label="")
        compared = (true >= 0) & (predicted >= 0)
        wrong = np.flatnonzero(compared & (true != predicted))
        draw_dots(
            axes, hours[wrong] + EPOCH_SECONDS / 7200, heights[predicted[wrong]] + DOT_ABOVE,
            colour=ERROR, size=2.4,
        )  # fmt: skip
        n = int(compared.sum())
        agree = f"{100 * (n - len(wrong)) / max(1, n):.0f} %"
        axes.set_title(f"{title} ({agree})", fontsize=8, parse_math=False)
        said.append(f"{title} {agree}, {plural(len(wrong), 'error')}")
    for axes in (upper, *others):
        axes.tick_params(axis="y", labelsize=6)
    others[-1].set(xlabel="hours from the first epoch")
    ends = [begins[title] - first + len(true) for title, (true, *_) in nights.items()]
    upper.set_xlim(0, max(ends) * EPOCH_SECONDS / 3600)
    return make_picture(
        figure,
        alt=f"Hypnograms of {recording}: the expert's on top, below it those of "
        f"{plural(len(models), 'model')}, with the share of compared epochs that agree. "
        f"{'; '.join(said)}.",
        caption=f"{recording}: the expert on top, below it {plural(len(models), 'model')}, each "
        "with the share of compared epochs that agree. Red dots are errors, grey is without a "
        "stage or a usable signal.",
        simulated=simulated,
    )


def _hours(epochs: int, shift: int) -> np.ndarray:
    hours: np.ndarray = (shift + np.arange(epochs + 1)) * EPOCH_SECONDS / 3600
    return hours
