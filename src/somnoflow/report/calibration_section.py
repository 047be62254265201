"""Whether confidence keeps its word: reliability, temperatures, and what a review list is worth."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from somnoflow.report.calibration_figure import draw_reliability
from somnoflow.report.figures import Picture
from somnoflow.report.naming import MAJORITY, STAGING, TASK_WORDS, ModelName
from somnoflow.report.results import name_few
from somnoflow.report.sources import Model, whole_model
from somnoflow.report.tables import (
    NOTHING,
    Table,
    count,
    difference,
    make_table,
    plural,
    score,
    score_with_interval,
)
from somnoflow.tasks import TASKS

MAX_DRAWN = 4
MAX_LISTED = 5
HOW_TO = "No model has been evaluated, so nothing is known of its confidence."


@dataclass(frozen=True)
class Calibrated:
    """How well the probabilities of one model are calibrated: its `calibration.json`."""

    name: ModelName
    content: dict[str, Any]


@dataclass(frozen=True)
class CalibrationPanel:
    """What the page shows about the models of one task."""

    title: str
    sentences: list[str]
    picture: Picture | None
    tables: list[Table]


def read_calibrations(paths: Iterable[Path]) -> list[Calibrated]:
    """Read `calibration.json` of models that were trained on all labels, in order of their names.

    Raises
    ------
    ValueError
        Where a path does not name a model that was trained on all labels.
    """
    found = [
        Calibrated(whole_model(path.parent), json.loads(path.read_text(encoding="utf-8")))
        for path in paths
    ]
    return sorted(found, key=lambda one: one.name.order)


def calibration_panels(
    found: Sequence[Calibrated], models: Sequence[Model], *, simulated: str
) -> list[CalibrationPanel]:
    """Make sentences, picture and tables of each task; only stages have a picture and a review.

    Parameters
    ----------
    found
        Calibration of the models.
    models
        Their metrics, to choose the few that are drawn.
    simulated
        "simulated", "partly simulated" or empty.
    """
    panels = []
    for task in TASKS:
        mine = [one for one in found if one.name.task == task]
        judged = [one for one in mine if one.content["test"]["epochs"]]
        if not judged:
            continue
        tables = [scores_table(judged, simulated=simulated)]
        picture, told = None, fit_sentences(judged)
        if task == STAGING:
            tables.append(review_table(judged, simulated=simulated))
            drawn, rule = choose(judged, models)
            told = [*review_sentences(drawn[:1], simulated=simulated), *told]
            if drawn:
                picture = draw_reliability(
                    [(one.name, one.content) for one in drawn], rule=rule, simulated=simulated
                )
        panels.append(CalibrationPanel(TASK_WORDS[task].capitalize(), told, picture, tables))
    return panels


def choose(found: Sequence[Calibrated], models: Sequence[Model]) -> tuple[list[Calibrated], str]:
    """Choose the models with the highest macro F1; a constant answer is never drawn.

    Returns
    -------
    The models, best first, and a sentence on the choice, empty where all are drawn.
    """
    reached = {
        model.name: model.metrics["pooled"]["macro_f1"] or 0.0
        for model in models
        if model.metrics is not None and model.name.task == STAGING
    }
    answering = [one for one in found if one.name.source.encoder != MAJORITY]
    best = sorted(answering, key=lambda one: -reached.get(one.name, 0.0))[:MAX_DRAWN]
    if len(best) == len(answering):
        return best, ""
    return best, (
        f" The {len(best)} of {len(answering)} models with the highest macro F1 are drawn; the "
        "table has all."
    )


def review_sentences(best: Sequence[Calibrated], *, simulated: str) -> list[str]:
    """Say what the review list of the best model is worth."""
    where = f" on {simulated} data" if simulated else ""
    told = []
    for one in best:
        review = one.content["test"]["review"]
        inside = review["intervals"]
        told.append(
            f"{one.name.title}{where}: of the {100 * review['share']:g} % most confident epochs of "
            f"each recording {_accuracy(review, 'kept')} are right, of all "
            f"{_accuracy(review, 'all')}, of those on the review list "
            f"{_accuracy(review, 'review')}."
        )
        if inside["reason"]:
            told.append(f"No intervals: {inside['reason']}.")
    return told


def fit_sentences(found: Sequence[Calibrated]) -> list[str]:
    """Say which folds have no temperature of their own, and why, once where it is the same."""
    told: dict[str, list[str]] = {}
    for one in found:
        without = [fold for fold in one.content["folds"] if fold["temperature"] is None]
        if without:
            of = plural(len(one.content["folds"]), "fold")
            text = f"no temperature in {len(without)} of {of}, 1 is used there"
            text += f" (fold {without[0]['fold']}: {without[0]['reason']})."
            told.setdefault(text, []).append(one.name.title)
    return [f"{name_few(names)}: {text}" for text, names in told.items()]


def scores_table(found: Sequence[Calibrated], *, simulated: str) -> Table:
    """Give ECE and log-likelihood before and after, and the temperature of each fold."""
    event = TASKS[found[0].name.task].rare
    held = (
        "the probability of the event and the share of epochs that have it"
        if event
        else "the confidence in the predicted stage and the share of right ones"
    )
    numeric = ["ECE before", "ECE after", "NLL before", "NLL after", "Temperatures", "Epochs"]
    rows = []
    for one in found:
        test = one.content["test"]
        values = [score(test[when][key]) for key in ("ece", "nll") for when in ("before", "after")]
        temperatures = [fold["temperature"] for fold in one.content["folds"]]
        rows.append([one.name.words, *values, listed(temperatures), count(test["epochs"])])
    return make_table(
        f"Calibration of {plural(len(found), 'model')}, ordered by name: one temperature per fold, "
        "fitted to its validation subjects, judged on test subjects. ECE: mean distance of "
        f"{held}, over 15 bins of equal width. NLL: mean negative log of the true class's "
        "probability. Less is better. A temperature above 1 says that the model was too sure.",
        columns=["Model", *numeric],
        numeric=numeric,
        rows=rows,
        groups=[one.name.source.title for one in found],
        simulated=simulated,
    )


def listed(temperatures: Sequence[float | None]) -> str:
    """Write the temperatures of the folds, or their range where there are many."""
    known = [one for one in temperatures if one is not None]
    if len(temperatures) <= MAX_LISTED or not known:
        return ", ".join(NOTHING if one is None else f"{one:.2f}" for one in temperatures)
    return f"{min(known):.2f} to {max(known):.2f}"


def review_table(found: Sequence[Calibrated], *, simulated: str) -> Table:
    """Give the accuracy of the epochs that are kept, of all, and of those that are reviewed."""
    reviews = [one.content["test"]["review"] for one in found]
    share = 100 * reviews[0]["share"]
    confidence = 100 * reviews[0]["intervals"]["confidence"]
    numeric = ["Kept", "All", "Kept less all", "Review list"]
    rows = [
        [
            one.name.words,
            _accuracy(review, "kept"),
            _accuracy(review, "all"),
            difference(review["gain"], review["intervals"]["gain"]),
            _accuracy(review, "review"),
        ]
        for one, review in zip(found, reviews, strict=True)
    ]
    return make_table(
        f"What a review list is worth: in each test recording the {share:g} % most confident "
        "epochs are kept as they are, and a person looks at the others. Accuracy of each part; in "
        f"brackets the {confidence:g} % interval over test subjects.",
        columns=["Model", *numeric],
        numeric=numeric,
        rows=rows,
        groups=[one.name.source.title for one in found],
        simulated=simulated,
    )


def _accuracy(review: dict[str, Any], part: str) -> str:
    key = f"{part}_accuracy"
    return score_with_interval(review[key], review["intervals"][key])
