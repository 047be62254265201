"""The comparison as one table: a row per model, and below it the published results beside it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from somnoflow.compare.differences import Facts, differences
from somnoflow.compare.networks import Networks, channels_of, size_of
from somnoflow.compare.published import SCORES, Published
from somnoflow.report.comparison_section import (
    BOUNDS,
    ELSEWHERE,
    EVENT_SCORES,
    HERE,
    PUBLISHED,
    SCHEMA,
    STAGE_SCORES,
    UNTRAINED,
)
from somnoflow.report.naming import MAJORITY, STAGER, YASA, ModelName
from somnoflow.report.sources import Model
from somnoflow.tasks import TASKS


def compare_models(
    models: Sequence[Model],
    *,
    networks: Networks,
    facts: Facts,
    published: Sequence[Published],
    paired: Mapping[ModelName, Mapping[str, Any]],
) -> pl.DataFrame:
    """Put models and published results into one table.

    Parameters
    ----------
    models
        With metrics, in the order of the rows.
    networks
        What the files of encoders and models tell.
    facts
        What was done in this run.
    published
        Published results; each stands below the models of its system and method, or below the
        system's first model where none has the method.
    paired
        Differences from the reference, as `paired_differences` gives them.

    Returns
    -------
    pl.DataFrame
        Columns of `SCHEMA`; what is not defined or not known is null.
    """
    rows = []
    for model in models:
        own = _own(model, networks=networks, facts=facts)
        rows.append(own | dict(paired.get(model.name, {})))
        rows += [
            _theirs(one, model, networks=networks, facts=facts)
            for one in published
            if _beside(one, model, models)
        ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def kind_of(name: ModelName) -> str:
    """Tell where a model was trained, if at all."""
    if name.source.encoder == MAJORITY:
        return UNTRAINED
    return ELSEWHERE if (name.source.encoder, name.method) == (YASA, STAGER) else HERE


def _own(model: Model, *, networks: Networks, facts: Facts) -> dict[str, Any]:
    name, metrics = model.name, _metrics(model)
    counts = metrics["counts"]
    return _identity(name) | {
        "kind": kind_of(name),
        "model": name.title,
        "dataset": " ".join(facts.cfg.datasets[one] or one for one in facts.tested),
        "simulated": facts.simulation,
        "subjects": metrics["subjects"],
        "recordings": metrics["recordings"],
        "epochs": counts["judged" if TASKS[name.task].rare else "scored"],
        "folds": facts.folds,
        "parameters": size_of(name, networks),
        "confidence": metrics["intervals"]["confidence"],
        **dict(_scores(name.task, metrics)),
    }


def _identity(name: ModelName) -> dict[str, Any]:
    empty = dict.fromkeys(SCHEMA)
    own = {"encoder": name.source.encoder, "channel": name.source.channel, "method": name.method}
    return empty | own | {"task": name.task}


def _scores(task: str, metrics: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
    pooled, intervals = metrics["pooled"], metrics["intervals"]
    for score in (EVENT_SCORES if TASKS[task].rare else STAGE_SCORES).values():
        stage = score.removeprefix("f1_")
        if stage == score:
            value, interval = pooled[score], intervals[score]
        else:
            value, interval = pooled["per_class"][stage]["f1"], intervals["f1"][stage]
        yield score, value
        for bound, number in zip(BOUNDS, interval or (None, None), strict=True):
            yield f"{score}_{bound}", number


def _theirs(one: Published, model: Model, *, networks: Networks, facts: Facts) -> dict[str, Any]:
    told = differences(
        model.name,
        channels=channels_of(model.name, networks),
        subjects=_metrics(model)["subjects"],
        facts=facts,
        theirs=one,
    )
    return _identity(model.name) | {
        "kind": PUBLISHED,
        "method": one.method,
        "model": one.model,
        "channel": " ".join(one.channels),
        "dataset": one.dataset,
        "subjects": one.subjects,
        "folds": one.folds,
        **{score: one.scores.get(score) for score in SCORES},
        "no_target": " ".join(one.no_target),
        "what_differs": "; ".join(told),
        "note": one.note,
        "source": one.source,
    }


def _beside(one: Published, model: Model, models: Sequence[Model]) -> bool:
    """Tell whether a published result stands below a model."""
    name = model.name
    if (one.encoder, one.task) != (name.source.encoder, name.task):
        return False
    rivals = [m.name for m in models if (m.name.source, m.name.task) == (name.source, name.task)]
    alike = [rival for rival in rivals if rival.method == one.method]
    return name == (alike or rivals)[0]


def _metrics(model: Model) -> dict[str, Any]:
    if model.metrics is None:
        raise ValueError(f"{model.name.path} was not judged")
    return model.metrics
