"""What the report says about rare events: a table of models, curves, and the numbers of the night.

Models stand in the order of their names with SynthSleepNet's first, never in that of their results.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from somnoflow.report.event_figure import draw_events, draw_nights, name_of
from somnoflow.report.figures import Picture
from somnoflow.report.naming import SYNTHSLEEPNET, TASK_WORDS
from somnoflow.report.results import name_few
from somnoflow.report.sources import Model
from somnoflow.report.tables import (
    MINUS,
    NOTHING,
    UNBROKEN,
    Table,
    count,
    make_table,
    plural,
    score,
    score_with_interval,
)
from somnoflow.tasks import TASKS

MAX_CURVES = 4
# Four numbers with intervals are as wide as the page.
FIRST = {"AUPRC": "auprc", "AUROC": "auroc", "F1": "f1", "Kappa": "kappa"}
RATES = {
    "Sensitivity": "sensitivity", "Specificity": "specificity", "PPV": "ppv", "NPV": "npv",
}  # fmt: skip
RIGHT = {"Balanced accuracy": "balanced_accuracy", "Accuracy": "accuracy"}
OVERLAP = {
    "Event F1": "event_f1", "Event precision": "event_precision", "Event recall": "event_recall",
}  # fmt: skip
BASELINE = "Baseline"
USUAL = "as in validation"
HOW_TO = (
    "No model was asked for respiratory events. They need scored events in the data; name them in "
    "the configuration, such as synthsleepnet: {tasks: [staging, apnea, hypopnea]}."
)


@dataclass(frozen=True)
class EventPanel:
    """What the page shows about one kind of event: `table` first, `more` where asked for."""

    title: str
    sentences: list[str]
    table: Table
    pictures: list[Picture]
    more: list[Table]


def event_panels(models: Sequence[Model], *, simulated: str) -> list[EventPanel]:
    """Make a panel for each kind of event that any model was judged on."""
    panels = []
    for task in TASKS.values():
        judged = [m for m in models if m.name.task == task.name and m.metrics is not None]
        if task.rare and judged:
            panels.append(event_panel(in_order(judged), task=task.name, simulated=simulated))
    return panels


def in_order(models: Sequence[Model]) -> list[Model]:
    """Put models that read several modalities first, else by name."""
    return sorted(models, key=lambda m: (m.name.source.encoder != SYNTHSLEEPNET, m.name.order))


def event_panel(models: list[Model], *, task: str, simulated: str) -> EventPanel:
    """Make sentences, tables and pictures of the models that were judged on one kind of event."""
    first = models[0]
    metrics = _metrics(first)
    pictures = [draw_events(models[:MAX_CURVES], of=len(models), simulated=simulated)]
    more = [
        score_table(models, RATES, "Epochs at the threshold that each fold's validation subjects "
                    "chose.", simulated=simulated),
        score_table(models, RIGHT, "Right answers. Accuracy follows the epochs without the event.",
                    simulated=simulated),
        score_table(models, OVERLAP, "Events: runs of neighbouring epochs. A predicted and a true "
                    "event match where they share an epoch, each once. The baseline of an event "
                    "that is rare predicts none.", simulated=simulated, extra=_event_counts),
        night_table(models, "nights", "Epochs with the event per hour of sleep, a number per "
                    "recording.", simulated=simulated),
    ]  # fmt: skip
    if any(_metrics(model)["ahi"] for model in models):
        more.append(
            night_table(models, "ahi", "AHI, estimated from predicted epochs: events per predicted "
                        "epoch are learned from the validation recordings of each fold.",
                        simulated=simulated)
        )  # fmt: skip
    if metrics["ahi"]:
        pictures.append(draw_nights(first, simulated=simulated))
        more.append(severity_table(first, simulated=simulated))
    return EventPanel(
        title=TASK_WORDS[task].capitalize(),
        sentences=[*count_sentences(models), *note_sentences(models)],
        table=score_table(models, FIRST, "Epochs: how well they are ranked (AUPRC, AUROC), and "
                          "what the threshold makes of it.", simulated=simulated),
        pictures=pictures,
        more=more,
    )  # fmt: skip


def _metrics(model: Model) -> dict[str, Any]:
    if model.metrics is None:
        raise ValueError(f"{model.name.path} was not judged")
    return model.metrics


def _judged(metrics: dict[str, Any]) -> tuple[int, int]:
    return metrics["counts"]["judged"], metrics["counts"]["positives"]


def _shared(models: list[Model]) -> bool:
    return len({_judged(_metrics(model)) for model in models}) == 1


def prevalence_words(metrics: dict[str, Any]) -> str:
    """Say how many epochs have the event: "n = 2,140 epochs, 173 with the event (8.1 %)"."""
    judged, positives = _judged(metrics)
    part = f"{100 * positives / judged:.1f}{UNBROKEN}%" if judged else NOTHING
    return f"n = {judged:,} epochs, {positives:,} with the event (prevalence {part})"


def count_sentences(models: list[Model]) -> list[str]:
    """Say how many epochs the numbers stand on, and where the others went."""
    told: dict[str, list[str]] = {}
    for model in models:
        metrics = _metrics(model)
        counts = metrics["counts"]
        text = (
            f"{counts['judged']:,} of {counts['epochs']:,} test epochs judged, from "
            f"{plural(metrics['recordings'], 'recording')} of "
            f"{plural(metrics['subjects'], 'subject')}; {counts['positives']:,} have the event. "
            f"Not judged: {counts['unlabelled']:,} that nobody scored for it and "
            f"{counts['unusable']:,} without a usable signal."
        )
        told.setdefault(text, []).append(name_of(model))
    return [text if len(told) == 1 else f"{name_few(n)}: {text}" for text, n in told.items()]


def note_sentences(models: list[Model]) -> list[str]:
    """Say what is not defined, and why, once for models of which it is the same."""
    told: dict[str, list[str]] = {}
    for model in models:
        metrics = _metrics(model)
        intervals = metrics["intervals"]
        notes = list(metrics["notes"])
        if intervals["reason"]:
            notes.append(f"No intervals: {intervals['reason']}.")
        if undefined := {
            name.replace("_", " "): n
            for name, n in intervals["undefined_resamples"].items()
            if n < intervals["resamples"]
        }:
            named = ", ".join(f"{name} in {n:,}" for name, n in undefined.items())
            notes.append(
                f"Of {intervals['resamples']:,} resamples some leave a value undefined ({named}); "
                "its interval is that of the others."
            )
        for note in notes:
            told.setdefault(note, []).append(name_of(model))
    return [
        note if len(names) == len(models) else f"{name_few(names)}: {note}"
        for note, names in told.items()
    ]


def score_table(
    models: list[Model],
    columns: dict[str, str],
    caption: str,
    *,
    simulated: str,
    extra: Callable[[dict[str, Any]], dict[str, str]] = lambda metrics: {},
) -> Table:
    """Put some values of all models in one table, the constant answer first.

    Parameters
    ----------
    models
        Judged models.
    columns
        Heading and key of each value.
    caption
        What they are.
    simulated
        Badge of the caption.
    extra
        Gives further cells, by heading, of a model's metrics.
    """
    shared, metrics = _shared(models), _metrics(models[0])
    sizes = [] if shared else ["n", "Prevalence"]
    added = list(extra(metrics))
    baselines = _baselines(models)
    rows = [
        [answer, *(score(mine["baseline"][key]) for key in columns.values()),
         *[NOTHING] * len(added), *_sizes(mine)]
        for answer, mine in baselines
    ]  # fmt: skip
    for model in models:
        mine = _metrics(model)
        values = [
            score_with_interval(mine["pooled"][key], mine["intervals"][key])
            for key in columns.values()
        ]
        rows.append([model.name.words, *values, *extra(mine).values(), *_sizes(mine)])
    numeric = [*columns, *added, *sizes]
    confidence = 100 * metrics["intervals"]["confidence"]
    said = f" {prevalence_words(metrics)}." if shared else ""
    return make_table(
        f"{caption}{said} In brackets the {confidence:g} % interval over test subjects. First the "
        "baseline: the more frequent answer for every epoch.",
        columns=["Model", *numeric],
        numeric=numeric,
        rows=[row[: 1 + len(numeric)] for row in rows],
        groups=[*[BASELINE] * len(baselines), *(model.name.source.title for model in models)],
        simulated=simulated,
    )


def _sizes(metrics: dict[str, Any]) -> list[str]:
    return [count(metrics["counts"]["judged"]), score(metrics["prevalence"])]


def _baselines(models: list[Model]) -> list[tuple[str, dict[str, Any]]]:
    """Name each different baseline, with metrics that hold it; models of one cohort share it."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for metrics in map(_metrics, models):
        if metrics["baseline"]["positive"] is not None:
            found.setdefault(_judged(metrics), metrics)
    named = []
    for (judged, _), metrics in found.items():
        answer = f"always {metrics['classes'][metrics['baseline']['positive']]}"
        named.append((answer if len(found) == 1 else f"{answer} (n = {judged:,})", metrics))
    return named


def _event_counts(metrics: dict[str, Any]) -> dict[str, str]:
    events = metrics["events"]
    return {f"{name.capitalize()} events": count(events[name]) for name in ("true", "predicted")}


def night_table(models: list[Model], key: str, caption: str, *, simulated: str) -> Table:
    """Put how a number per night agrees with the true one in a table, the constant answer first."""
    shown = [model for model in models if _metrics(model)[key]]
    found = [_metrics(model)[key] for model in shown]
    numeric = [
        "Bias", "Limits of agreement", "Mean absolute error", f"Pearson{UNBROKEN}r",
        "Concordance",
    ]  # fmt: skip
    numbers = sorted({one["recordings"] for one in found})
    n = f"{numbers[0]:,} to {numbers[-1]:,}" if len(numbers) > 1 else f"{numbers[0]:,}"
    baselines = list(
        dict.fromkeys(
            (number(one["baseline"]["bias"]), number(one["baseline"]["mean_absolute_error"]))
            for one in found
        )
    )
    rows = [
        [USUAL, bias, NOTHING, error, *[NOTHING] * (len(numeric) - 3)] for bias, error in baselines
    ]
    for model, one in zip(shown, found, strict=True):
        inside = one["intervals"]
        rows.append(
            [
                model.name.words,
                number_with_interval(one["bias"], inside["bias"]),
                _span(one["lower_limit"], one["upper_limit"]),
                number_with_interval(one["mean_absolute_error"], inside["mean_absolute_error"]),
                score(one["pearson"]),
                score_with_interval(one["concordance"], inside["concordance"]),
            ]
        )
    return make_table(
        f"{caption} n = {n} recordings. Bias: predicted less true; within the limits of agreement "
        "lie 95 % of such differences (Bland and Altman). Concordance (Lin) asks for equal "
        "values, not just for a line. In brackets the interval over test subjects. First the "
        "baseline: every night has the rate of the validation recordings of its fold.",
        columns=["Model", *numeric],
        numeric=numeric,
        rows=rows,
        groups=[*[BASELINE] * len(baselines), *(model.name.source.title for model in shown)],
        simulated=simulated,
    )


def number(value: float | None) -> str:
    """Write a number per hour with a decimal and a true minus."""
    return NOTHING if value is None else f"{value:.1f}".replace("-", MINUS)


def number_with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """Write a number per hour with its interval in brackets, where there is one."""
    if value is None or interval is None:
        return number(value)
    return f"{number(value)} [{number(interval[0])}, {number(interval[1])}]"


def _span(low: float | None, high: float | None) -> str:
    return NOTHING if low is None or high is None else f"{number(low)} to {number(high)}"


def severity_table(model: Model, *, simulated: str) -> Table:
    """Count recordings by the class of their true and their estimated AHI."""
    found = _metrics(model)["ahi"]["severity"]
    columns = [*found["classes"], "All"]
    return make_table(
        f"Recordings by true AHI (rows) and by the AHI that {name_of(model)} gives (columns), in "
        f"events per hour of sleep. In the same class: {score(found['accuracy'])} of the "
        f"recordings, kappa {score(found['kappa'])}; baseline, the class of the validation "
        f"recordings for every night: {score(found['baseline']['accuracy'])}.",
        columns=["True AHI", *columns],
        numeric=columns,
        rows=[
            [name, *map(count, row), count(sum(row))]
            for name, row in zip(found["classes"], found["table"], strict=True)
        ],
        simulated=simulated,
    )
