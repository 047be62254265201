"""Label efficiency: how good models are that may see few labels, from one file per model.

A curve is one method on one source for one task; its points are sizes of subsets, with one model
per seed. The subsets themselves are the same for all methods. Stages are judged by macro F1, events
by AUPRC, since most epochs have none.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from somnoflow.config.subset import Unit, read_subset
from somnoflow.data.subsets import read_counts
from somnoflow.evaluate.seeds import Spread, over_seeds
from somnoflow.report.naming import SCRATCH, ModelName, Source
from somnoflow.report.sources import model_and_labels, task_and_labels
from somnoflow.tasks import TASKS


@dataclass(frozen=True)
class Score:
    """A metric of the curves.

    Attributes
    ----------
    key
        Its name in metrics.json.
    words
        Its name on the page.
    bounds
        Lowest and highest value there can be.
    """

    key: str
    words: str
    bounds: tuple[float, float]

    @property
    def heading(self) -> str:
        """Its name at the beginning of a line."""
        return self.words[0].upper() + self.words[1:]


STAGE_SCORES = (Score("macro_f1", "macro F1", (0, 1)), Score("kappa", "kappa", (-1, 1)))
EVENT_SCORES = (Score("auprc", "AUPRC", (0, 1)), Score("f1", "F1", (0, 1)))


def scores_of(task: str) -> tuple[Score, ...]:
    """Give the metrics that a task's curves show; the first one decides."""
    return EVENT_SCORES if TASKS[task].rare else STAGE_SCORES


@dataclass(frozen=True)
class Size:
    """How large the subsets of one share are, over all folds and seeds.

    Attributes
    ----------
    subjects, epochs
        Mean numbers of labelled training subjects and epochs.
    of_subjects, of_epochs
        Mean numbers that they were drawn from.
    classes
        Mean labelled epochs of each class of the task.
    without
        In how many of the `draws` a class has no label at all.
    draws
        Folds times seeds.
    """

    subjects: float
    epochs: float
    of_subjects: float
    of_epochs: float
    classes: dict[str, float]
    without: dict[str, int]
    draws: int


@dataclass(frozen=True)
class Curve:
    """One method over the sizes of its training labels: metrics by percent, then by seed."""

    name: ModelName
    by: str
    metrics: dict[float, dict[int, dict[str, Any]]] = field(default_factory=dict)

    @property
    def percents(self) -> list[float]:
        """Sizes in percent, smallest first."""
        return sorted(self.metrics)

    @property
    def scores(self) -> tuple[Score, ...]:
        """The metrics that are shown of it; the first one decides."""
        return scores_of(self.name.task)

    @property
    def confidence(self) -> float:
        """Confidence of the intervals, as for all metrics."""
        one = next(iter(next(iter(self.metrics.values())).values()))
        return float(one["intervals"]["confidence"])

    def values(self, percent: float, score: Score) -> dict[int, float | None]:
        """Give a pooled metric of each seed."""
        found = self.metrics.get(percent, {})
        return {seed: found[seed]["pooled"][score.key] for seed in sorted(found)}

    def spread(self, percent: float, score: Score) -> Spread:
        """Give the mean of a pooled metric over the seeds, with its interval."""
        values = list(self.values(percent, score).values())
        return over_seeds(values, confidence=self.confidence, bounds=score.bounds)

    def gain(self, other: "Curve", percent: float, score: Score) -> Spread:
        """Give how far this curve is above another at one size, seed by seed."""
        mine, others = self.values(percent, score), other.values(percent, score)
        both = [(value, others.get(seed)) for seed, value in mine.items()]
        gaps = [one - two for one, two in both if one is not None and two is not None]
        return over_seeds(gaps, confidence=self.confidence)


@dataclass(frozen=True)
class Panel:
    """Curves of one task on one source, with labels left out in one way."""

    task: str
    source: Source
    by: str
    curves: list[Curve]


@dataclass(frozen=True)
class LabelEfficiency:
    """All curves, and the sizes of their subsets by `(task, by, percent)`."""

    curves: list[Curve]
    sizes: dict[tuple[str, str, float], Size]

    @property
    def tasks(self) -> list[str]:
        """Tasks that have curves."""
        return list(dict.fromkeys(curve.name.task for curve in self.curves))

    @property
    def panels(self) -> list[Panel]:
        """Curves that are drawn together: a task on a source with labels cut the same way."""
        found: dict[tuple[str, Source, str], list[Curve]] = {}
        for curve in self.curves:
            key = (curve.name.task, curve.name.source, curve.by)
            found.setdefault(key, []).append(curve)
        return [Panel(*key, curves) for key, curves in found.items()]

    def sizes_of(self, task: str, by: str) -> dict[float, Size]:
        """Give the sizes of the subsets of a task's labels by percent, smallest first."""
        return {
            percent: self.sizes[task, by, percent]
            for found, unit, percent in sorted(self.sizes)
            if (found, unit) == (task, by)
        }


def read_label_efficiency(*, curves: Iterable[Path], counts: Iterable[Path]) -> LabelEfficiency:
    """Read metrics of models that were trained on subsets, and the sizes of the subsets.

    Parameters
    ----------
    curves
        `<encoder>/<channel>/<method>/task=<task>/labels=<subset>/metrics.json` of each model.
    counts
        `task=<task>/labels=<subset>/fold=<k>/counts.json`; those of all labels are not looked at.

    Raises
    ------
    ValueError
        Where a path names no model or no subset, or a subset has no counts.
    """
    found: dict[tuple[ModelName, str], Curve] = {}
    for path in curves:
        name, labels = model_and_labels(path.parent)
        subset = read_subset(labels)
        if subset.by is None:
            raise ValueError(f"{path} was trained on all labels, wanted a subset of them.")
        curve = found.setdefault((name, subset.by), Curve(name, subset.by))
        content = json.loads(path.read_text(encoding="utf-8"))
        curve.metrics.setdefault(subset.percent, {})[subset.seed] = content
    units = get_args(Unit)
    ordered = sorted(
        found.values(),
        key=lambda c: (
            list(TASKS).index(c.name.task), *c.name.source.order, units.index(c.by), *c.name.order,
        ),
    )  # fmt: skip
    sizes = read_sizes(counts)
    missing = {(c.name.task, c.by, percent) for c in ordered for percent in c.percents}
    if missing := missing - sizes.keys():
        task, by, percent = min(missing)
        raise ValueError(
            f"no counts.json of the labels {by}-{percent:g} of the task {task} was given, wanted "
            "one for each fold and seed. Make them again with the rule subset."
        )
    return LabelEfficiency(ordered, sizes)


def read_sizes(counts: Iterable[Path]) -> dict[tuple[str, str, float], Size]:
    """Read how large subsets are: the mean over folds and seeds, by task, unit and percent."""
    grouped: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for path in sorted(counts):
        task, labels = task_and_labels(path.parent.parent)
        subset = read_subset(labels)
        if subset.by is not None:
            grouped.setdefault((task, subset.by, subset.percent), []).append(read_counts(path))
    return {key: _size(drawn, classes=TASKS[key[0]].classes) for key, drawn in grouped.items()}


def _size(drawn: list[dict[str, Any]], *, classes: Iterable[str]) -> Size:
    def mean(values: Iterable[float]) -> float:
        return math.fsum(values) / len(drawn)

    return Size(
        subjects=mean(one["subjects"] for one in drawn),
        epochs=mean(one["epochs"] for one in drawn),
        of_subjects=mean(one["of"]["subjects"] for one in drawn),
        of_epochs=mean(one["of"]["epochs"] for one in drawn),
        classes={name: mean(one["classes"][name] for one in drawn) for name in classes},
        without={
            name: n for name in classes if (n := sum(one["classes"][name] == 0 for one in drawn))
        },
        draws=len(drawn),
    )


def pairs(curves: list[Curve]) -> list[tuple[Curve, Curve]]:
    """Pair each pre-trained curve with the one from scratch that has the same context module."""
    scratch = {curve.name.head: curve for curve in curves if curve.name.tuning == SCRATCH}
    return [
        (curve, scratch[curve.name.head])
        for curve in curves
        if curve.name.tuning != SCRATCH and curve.name.head in scratch
    ]
