"""One modality or several: SynthSleepNet beside the encoders that it is made of, task by task.

Each SynthSleepNet row is compared with the best encoder of one modality, with the same method where
there is one; best on the test subjects themselves, which favours the one modality. The interval is
that of the difference: the same subjects are drawn for both, as in variants.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from somnoflow.evaluate.bootstrap import draw_subjects, percentile_interval
from somnoflow.evaluate.confusion import N_STAGES, agreement
from somnoflow.evaluate.event_ranking import Ranking, areas, rank
from somnoflow.evaluate.events import Epochs, Events, read_events
from somnoflow.evaluate.predictions import scan_columns
from somnoflow.evaluate.seeds import sign_of
from somnoflow.report.label_curves import Score, scores_of
from somnoflow.report.naming import STAGING, SYNTHSLEEPNET, TASK_WORDS, UNIMODAL
from somnoflow.report.sources import Model
from somnoflow.report.tables import (
    NOTHING,
    Table,
    difference,
    make_table,
    score,
    score_with_interval,
)
from somnoflow.report.variants import paired_interval
from somnoflow.tasks import TASKS


@dataclass(frozen=True)
class Compared:
    """A SynthSleepNet model less the best model of one modality, by the score that decides.

    Attributes
    ----------
    fused, single
        The two models.
    difference, interval
        On test subjects; None where it is not defined.
    validation
        The score of both on validation subjects.
    """

    fused: Model
    single: Model
    difference: float | None
    interval: list[float] | None
    validation: tuple[float | None, float | None]

    @property
    def alike(self) -> bool:
        """Whether both have the same method, so that the modalities alone differ."""
        return self.fused.name.method == self.single.name.method


@dataclass(frozen=True)
class ModalityPanel:
    """What the page shows about one task."""

    title: str
    sentences: list[str]
    table: Table | None


def modality_panels(models: Sequence[Model], *, simulated: str) -> list[ModalityPanel]:
    """Make sentences and a table for each task that SynthSleepNet was judged on."""
    judged = [model for model in models if model.metrics is not None]
    return [
        _panel(fused, _of(judged, UNIMODAL, task=task), task=task, simulated=simulated)
        for task in TASKS
        if (fused := _of(judged, SYNTHSLEEPNET, task=task))
    ]


def _of(models: Sequence[Model], encoder: str, *, task: str) -> list[Model]:
    return [m for m in models if (m.name.source.encoder, m.name.task) == (encoder, task)]


def _panel(fused: list[Model], single: list[Model], *, task: str, simulated: str) -> ModalityPanel:
    title = TASK_WORDS[task].capitalize()
    if not single:
        missing = (
            "No encoder of a single modality was judged on this, so it is not visible what the "
            f"other modalities add. Add {task} to unimodal.tasks in the configuration."
        )
        return ModalityPanel(title, [missing], None)
    validation = {model.name: _validation(model) for model in (*single, *fused)}
    compared = [compare(model, single, validation=validation) for model in fused]
    return ModalityPanel(
        title,
        [sentence(one, simulated=simulated) for one in compared],
        _table(single, compared, validation=validation, simulated=simulated),
    )


def compare(
    fused: Model, single: Sequence[Model], *, validation: dict[Any, float | None]
) -> Compared:
    """Compare a model with the best of those of one modality, of the same method if there are any.

    Parameters
    ----------
    fused, single
        Models with metrics, of one task.
    validation
        The score of each model on validation subjects, by name.
    """
    alike = [model for model in single if model.name.method == fused.name.method]
    best = max(alike or single, key=lambda model: _value(model) or 0.0)
    mine, other = _value(fused), _value(best)
    gap, interval = None, None
    if mine is not None and other is not None:
        gap, interval = mine - other, _interval(fused, best)
    return Compared(
        fused=fused,
        single=best,
        difference=gap,
        interval=interval,
        validation=(validation[fused.name], validation[best.name]),
    )


def sentence(one: Compared, *, simulated: str) -> str:
    """Say whether several modalities beat one, and by how much, also where they do not."""
    words = _score(one.fused).words
    where = f" on {simulated} data" if simulated else ""
    values = f"{words} {score(_value(one.fused))} against {score(_value(one.single))}"
    than = f"{one.single.name.source.channel} alone"
    if not one.alike:
        than += f" ({one.single.name.words}; the method differs too)"
    gap = difference(one.difference, one.interval)
    if one.difference is None:
        told = f"cannot be compared with {than} ({values})"
    elif one.interval is None:
        told = f"differs from {than} by {gap} ({values}), without an interval"
    else:
        told = {
            1: f"beats {than} by {gap} ({values})",
            -1: f"does not beat {than}: it is worse by {gap} ({values})",
            0: f"does not visibly beat {than}: {gap} ({values}), and the interval holds 0",
        }[sign_of(one.interval)]
    name = f"{one.fused.name.source.title} ({one.fused.name.words})"
    return f"{name}{where} {told}. {_on_validation(one)}"


def _on_validation(one: Compared) -> str:
    mine, other = one.validation
    if mine is None or other is None:
        return "No scores on validation subjects."
    return (
        f"On validation subjects {difference(mine - other)} ({score(mine)} against {score(other)})."
    )


def _table(
    single: list[Model],
    compared: list[Compared],
    *,
    validation: dict[Any, float | None],
    simulated: str,
) -> Table:
    first = compared[0].fused
    decides = _score(first)
    confidence = 100 * (first.metrics or {})["intervals"]["confidence"]
    gaps = {one.fused.name: one for one in compared}
    models = [*single, *(one.fused for one in compared)]
    rows = []
    for model in models:
        metrics, gap = model.metrics or {}, gaps.get(model.name)
        rows.append(
            [
                model.name.words,
                score_with_interval(
                    metrics["pooled"][decides.key], metrics["intervals"][decides.key]
                ),
                score(validation[model.name]),
                difference(gap.difference, gap.interval) if gap else NOTHING,
                _rival(gap) if gap else NOTHING,
            ]
        )
    numeric = [decides.heading, "On validation", "Difference"]
    return make_table(
        f"{decides.heading} of {TASK_WORDS[first.name.task]} on test subjects with the "
        f"{confidence:g} % interval, and on the validation subjects, by whom the pass"
        f"{' and the threshold were' if TASKS[first.name.task].rare else ' was'} chosen. "
        "Difference: SynthSleepNet less the best encoder of one modality with the same method "
        "where there is one; the same test subjects are drawn for both. Which one is the best was "
        "seen on these test subjects, which is in its favour.",
        columns=["Model", *numeric, "Compared with"],
        numeric=numeric,
        rows=rows,
        simulated=simulated,
        groups=[model.name.source.title for model in models],
        # Models of events have no article of their own.
        links=[
            (model.name.anchor, model.name.path) if model.name.task == STAGING else None
            for model in models
        ],
    )


def _rival(one: Compared) -> str:
    channel = one.single.name.source.channel
    return channel if one.alike else f"{channel}, {one.single.name.words}"


def _score(model: Model) -> Score:
    """Give the score that decides."""
    return scores_of(model.name.task)[0]


def _value(model: Model) -> float | None:
    value: float | None = (model.metrics or {})["pooled"][_score(model).key]
    return value


def _validation(model: Model) -> float | None:
    """Give the score on validation subjects, all folds together; None where it is not known."""
    if not model.predictions:
        return None
    if TASKS[model.name.task].rare:
        value = areas(_ranking(_events(model).val)[0])[1]
    else:
        value = float(agreement(_validation_confusion(model.predictions)).macro_f1)
    return None if np.isnan(value) else value


def _validation_confusion(predictions: Sequence[Path]) -> np.ndarray:
    """Count the stages of validation epochs, shape (5 true, 5 predicted)."""
    confusion = np.zeros((N_STAGES, N_STAGES), dtype=np.int64)
    for path in predictions:
        scan = scan_columns(path, columns=["role", "stage", "usable", "predicted"])
        judged = (pl.col("role") == "val") & pl.col("usable") & (pl.col("stage") >= 0)
        cells = scan.filter(judged).group_by("stage", "predicted").agg(n=pl.len()).collect()
        for true, predicted, n in cells.iter_rows():
            confusion[true, predicted] += n
    return confusion


def _interval(fused: Model, single: Model) -> list[float] | None:
    """Give the interval of the difference over test subjects that both have."""
    if not TASKS[fused.name.task].rare:
        return paired_interval(fused, single)
    if not (fused.predictions and single.predictions):
        return None
    tests = [_events(model).test for model in (fused, single)]
    known = [sorted(set(test.recordings["subject"])) for test in tests]
    rankings, judged = zip(*(_ranking(test) for test in tests), strict=True)
    drawn = judged[0] & judged[1] if known[0] == known[1] else np.zeros(1, bool)
    if drawn.sum() < 2:
        return None
    settings = (fused.metrics or {})["intervals"]
    gaps = []
    for times in draw_subjects(
        int(drawn.sum()), resamples=settings["resamples"], seed=settings["seed"]
    ):
        weights = np.zeros((len(times), len(drawn)))
        weights[:, drawn] = times
        gaps += [areas(rankings[0], one)[1] - areas(rankings[1], one)[1] for one in weights]
    return percentile_interval(np.array(gaps), settings["confidence"])


def _events(model: Model) -> Events:
    return read_events(model.predictions, task=TASKS[model.name.task])


def _ranking(epochs: Epochs) -> tuple[Ranking, np.ndarray]:
    """Rank the epochs, weighted by subject, and tell which subjects have judged ones."""
    subjects = epochs.subjects
    group = subjects[epochs.row]
    judged = np.zeros(subjects.max(initial=-1) + 1, bool)
    judged[group] = True
    return rank(epochs.score, epochs.label, group), judged
