"""What the report says about each model: headline, confusion matrix, tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from somnoflow.evaluate.confusion import agreement
from somnoflow.report.figures import Picture, f1_by_stage
from somnoflow.report.naming import MAJORITY, ModelName
from somnoflow.report.sources import Model
from somnoflow.report.tables import (
    Table,
    count,
    make_table,
    plural,
    score,
    score_with_interval,
    share,
)
from somnoflow.stages import STAGE_NAMES

METRICS = {"Accuracy": "accuracy", "Macro F1": "macro_f1", "Kappa": "kappa"}
# Dark text stays readable (contrast 4.9 to 1) on the fullest cell.
DARKEST = 0.6
UNFOLDED = 3
MAX_DRAWN = 12


@dataclass(frozen=True)
class ConfusionCell:
    """Share of the true stage, count, and opacity of the background, `shade`."""

    text: str
    n: str
    shade: float
    diagonal: bool


@dataclass(frozen=True)
class ModelSection:
    """What the page shows about one model; `summary` is read where the rest is folded away."""

    name: ModelName
    summary: str
    sentences: list[str]
    confusion: list[tuple[str, str, list[ConfusionCell]]]
    tables: list[Table]
    unfolded: bool
    first_of_source: bool

    @property
    def confusion_table(self) -> Table:
        """Counts of the confusion matrix."""
        return make_table(
            "Epochs by true and predicted stage.",
            columns=["True", *STAGE_NAMES],
            rows=[[name, *(cell.n for cell in cells)] for name, _, cells in self.confusion],
        )


def headline(models: list[Model], *, simulated: str, external: Sequence[str] = ()) -> Table | None:
    """Put all models in one table, by name and not by result, with the constant answer below."""
    judged = [(model.name, model.metrics) for model in models if model.metrics is not None]
    if not judged:
        return None
    shared = len({tuple(_sizes(metrics)) for _, metrics in judged}) == 1
    rows = [[name.words, *_values(metrics), *_sizes(metrics)] for name, metrics in judged]
    baselines = _baseline_rows(judged)
    baseline_words = (
        "The baseline gives every epoch the most frequent true stage of the same test epochs."
        if baselines
        else "The majority class gives every epoch the most frequent stage of the training epochs; "
        "no constant answer does better on these test epochs."
    )
    confidence = 100 * judged[0][1]["intervals"]["confidence"]
    sizes = ["Subjects", "Recordings", "Epochs"]
    numeric = [*METRICS, *([] if shared else sizes)]
    return make_table(
        f"Test results of {plural(len(judged), 'model')} trained on all labels, ordered by name, "
        f"not by result. In brackets the {confidence:g} % interval over test subjects. "
        + baseline_words
        + (f" All are judged on {said_sizes(judged[0][1])}." if shared else "")
        + datasets_sentence(judged[0][1], external),
        columns=["Model", *numeric],
        numeric=numeric,
        rows=[row[: 1 + len(numeric)] for row in rows + baselines],
        simulated=simulated,
        groups=[*(name.source.title for name, _ in judged), *["Baseline"] * len(baselines)],
        links=[*((name.anchor, name.path) for name, _ in judged), *[None] * len(baselines)],
    )


def datasets_sentence(metrics: dict[str, Any], external: Sequence[str]) -> str:
    """Say which data sets the test epochs come from, where there are several."""
    names = [
        name + (", tested only" if name in external else "")
        for name in sorted(metrics.get("datasets", {}))
    ]
    if not names:
        return ""
    return (
        f" Test epochs of {len(names)} data sets ({'; '.join(names)}) are pooled here; under each "
        "model below, each data set stands by itself."
    )


def said_sizes(metrics: dict[str, Any]) -> str:
    """Say how many epochs, recordings and subjects were compared."""
    return (
        f"{metrics['counts']['scored']:,} epochs from {plural(metrics['recordings'], 'recording')} "
        f"of {plural(metrics['subjects'], 'subject')}"
    )


def _values(metrics: dict[str, Any]) -> list[str]:
    pooled, intervals = metrics["pooled"], metrics["intervals"]
    return [score_with_interval(pooled[key], intervals[key]) for key in METRICS.values()]


def _sizes(metrics: dict[str, Any]) -> list[str]:
    return [
        count(metrics["subjects"]),
        count(metrics["recordings"]),
        count(metrics["counts"]["scored"]),
    ]


def _baseline_rows(judged: list[tuple[ModelName, dict[str, Any]]]) -> list[list[str]]:
    """Give one row for each different baseline: models that share their epochs share it.

    One that the majority class among the models is equal to is left out.
    """
    covered = {
        (*(score(metrics["pooled"][key]) for key in METRICS.values()), *_sizes(metrics))
        for name, metrics in judged
        if name.source.encoder == MAJORITY
    }
    shared: dict[tuple[str, ...], list[str]] = {}
    for name, metrics in judged:
        base = metrics["baseline"]
        if base["stage"] is not None:
            values = (score(base[key]) for key in METRICS.values())
            row = (f"always {base['stage']}", *values, *_sizes(metrics))
            if row[1:] not in covered:
                shared.setdefault(row, []).append(name.title)
    return [
        [row[0] if len(shared) == 1 else f"{row[0]} ({name_few(names)})", *row[1:]]
        for row, names in shared.items()
    ]


def name_few(names: list[str]) -> str:
    """Name a few, and count the others."""
    rest = [f"{len(names) - 2} more"] if len(names) > 3 else names[2:]
    return "; ".join([*names[:2], *rest])


def spread(models: list[Model], most: int) -> list[Model]:
    """Choose judged models at even steps of rank from the lowest macro F1 to the highest.

    Returns
    -------
    list of Model
        At most `most`, in the order of `models`; those without a macro F1 rank lowest.
    """
    judged = [model for model in models if model.metrics is not None]
    if len(judged) <= most:
        return judged
    ranked = sorted(judged, key=lambda m: (m.metrics or {})["pooled"]["macro_f1"] or 0.0)
    places = np.unique(np.linspace(0, len(ranked) - 1, most).round().astype(int))
    chosen = {ranked[place].name for place in places}
    return [model for model in judged if model.name in chosen]


def spread_rule(chosen: int, of: int) -> str:
    """Say how `spread` chose; empty where all are shown."""
    if chosen >= of:
        return ""
    return (
        f" {chosen} of {of} models are drawn, at even steps of rank from the lowest macro F1 to "
        "the highest."
    )


def f1_picture(models: list[Model], *, simulated: str) -> Picture | None:
    """Draw F1 by stage of at most `MAX_DRAWN` of the judged models."""
    drawn = spread(models, MAX_DRAWN)
    if not drawn:
        return None
    one_source = len({model.name.source for model in drawn}) == 1
    named = [
        (model.name.words if one_source else model.name.title.replace(": ", "\n"), model.metrics)
        for model in drawn
        if model.metrics is not None
    ]
    judged = sum(model.metrics is not None for model in models)
    return f1_by_stage(named, rule=spread_rule(len(named), judged), simulated=simulated)


def model_sections(models: list[Model], *, simulated: str) -> list[ModelSection]:
    """Make a section for each model; those after the first few are folded away."""
    few = len(models) <= UNFOLDED + 1
    sources = [model.name.source for model in models]
    return [
        model_section(
            model,
            simulated=simulated,
            unfolded=few or number < UNFOLDED,
            first_of_source=number == sources.index(model.name.source),
        )
        for number, model in enumerate(models)
    ]


def model_section(
    model: Model, *, simulated: str, unfolded: bool, first_of_source: bool
) -> ModelSection:
    """Make sentences, confusion matrix and tables of one model."""
    tables, sentences, confusion, summary = [], [], [], "no metrics"
    if model.metrics is None:
        sentences.append("No metrics.json was given for this model.")
    else:
        sentences = count_sentences(model.metrics)
        summary = f"macro F1 {_values(model.metrics)[1]}"
        confusion = confusion_cells(model.metrics["pooled"]["confusion_matrix"])
        tables.append(stage_table(model, simulated=simulated))
        tables += dataset_tables(model, simulated=simulated)
    if model.counted is None:
        sentences.append("No predictions were given for this model: no table per recording.")
    else:
        tables.append(recording_table(model, simulated=simulated))
    return ModelSection(
        name=model.name,
        summary=summary,
        sentences=sentences,
        confusion=confusion,
        tables=tables,
        unfolded=unfolded,
        first_of_source=first_of_source,
    )


def count_sentences(metrics: dict[str, Any]) -> list[str]:
    """Say how many epochs the numbers stand on, where the others went, and what is undefined."""
    counts, intervals = metrics["counts"], metrics["intervals"]
    per, sd = metrics["per_recording"]["macro_f1"], metrics["per_recording"]["macro_f1"]["sd"]
    sentences = [
        f"{counts['scored']:,} of {counts['epochs']:,} test epochs compared, from "
        f"{plural(metrics['recordings'], 'recording')} of "
        f"{plural(metrics['subjects'], 'subject')}. Not compared: {counts['unscored']:,} without "
        f"a stage and {counts['unusable']:,} with a stage but no usable signal."
    ]
    if per["n"]:
        sentences.append(
            f"Macro F1 per recording: mean {score(per['mean'])}, median {score(per['median'])}, "
            f"standard deviation {score(sd)} (n = {per['n']})."
        )
    if intervals["reason"]:
        sentences.append(f"No intervals: {intervals['reason']}.")
    sentences += metrics["notes"]
    for name, n in intervals["undefined_resamples"].items():
        if n < intervals["resamples"]:
            sentences.append(
                f"{name} was not defined in {n:,} of {intervals['resamples']:,} resamples; its "
                "interval is that of the others."
            )
    return sentences


def confusion_cells(matrix: list[list[int]]) -> list[tuple[str, str, list[ConfusionCell]]]:
    """Give, for each true stage, its name, its number of epochs and its row of cells."""
    rows = []
    for i, (name, row) in enumerate(zip(STAGE_NAMES, matrix, strict=True)):
        total = sum(row)
        cells = [
            ConfusionCell(share(n, total), count(n), DARKEST * n / total if total else 0.0, i == j)
            for j, n in enumerate(row)
        ]
        rows.append((name, count(total), cells))
    return rows


def stage_table(model: Model, *, simulated: str) -> Table:
    """Give precision, sensitivity and F1 of each stage."""
    metrics = model.metrics or {}
    pooled, intervals = metrics["pooled"], metrics["intervals"]
    return make_table(
        f"Each stage, pooled over {metrics['counts']['scored']:,} epochs; F1 with the "
        f"{100 * intervals['confidence']:g} % interval over "
        f"{plural(intervals['subjects'], 'subject')}; n: true epochs.",
        columns=["Stage", "F1", "Precision", "Sensitivity", "n"],
        numeric=["F1", "Precision", "Sensitivity", "n"],
        rows=[
            [
                name,
                score_with_interval(values["f1"], intervals["f1"][name]),
                score(values["precision"]),
                score(values["recall"]),
                count(values["support"]),
            ]
            for name, values in ((name, pooled["per_class"][name]) for name in STAGE_NAMES)
        ],
        simulated=simulated,
    )


def dataset_tables(model: Model, *, simulated: str) -> list[Table]:
    """Give the headline of each data set, where there are several."""
    datasets = (model.metrics or {}).get("datasets", {})
    if not datasets:
        return []
    columns = [*METRICS, "Baseline accuracy", "Subjects", "Recordings", "Epochs"]
    return [
        make_table(
            f"{model.name.title}: each data set by itself.",
            columns=["Data set", *columns],
            numeric=columns,
            rows=[
                [
                    name,
                    *(
                        score_with_interval(block["pooled"][key], block["intervals"][key])
                        for key in METRICS.values()
                    ),
                    score(block["baseline"]["accuracy"]),
                    count(block["subjects"]),
                    count(block["recordings"]),
                    count(block["counts"]["scored"]),
                ]
                for name, block in sorted(datasets.items())
            ],
            simulated=simulated,
        )
    ]


def recording_table(model: Model, *, simulated: str) -> Table:
    """Give counts and agreement of each test recording of a model with predictions."""
    if model.counted is None:
        raise ValueError(f"{model.name.path} has no predictions")
    values = agreement(model.counted.confusion)
    rows = []
    for i, row in enumerate(model.counted.table.iter_rows(named=True)):
        numbers = [count(row[name]) for name in ("scored", "unscored", "unusable")]
        scores = [score(getattr(values, key)[i]) for key in METRICS.values()]
        rows.append([row["recording"], row["subject"], str(row["fold"]), *scores, *numbers])
    numeric = ["Fold", *METRICS, "Epochs compared", "Without a stage", "No usable signal"]
    return make_table(
        f"{plural(len(rows), 'test recording')} of {model.name.title}.",
        columns=["Recording", "Subject", *numeric],
        numeric=numeric,
        rows=rows,
        simulated=simulated,
    )
