"""Label efficiency: how good models are that may see few labels, from one file per model.

A curve is one method on one source; its points are sizes of subsets, with one model per seed. The
subsets themselves are the same for all methods.
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
from somnoflow.report.sources import LABELS, model_and_labels
from somnoflow.stages import STAGE_NAMES

BOUNDS = {"macro_f1": (0.0, 1.0), "kappa": (-1.0, 1.0)}


@dataclass(frozen=True)
class Size:
    """How large the subsets of one share are, over all folds and seeds.

    Attributes
    ----------
    subjects, epochs
        Mean numbers of labelled training subjects and epochs.
    of_subjects, of_epochs
        Mean numbers that they were drawn from.
    stages
        Mean labelled epochs of each stage.
    without
        In how many of the `draws` a stage has no label at all.
    draws
        Folds times seeds.
    """

    subjects: float
    epochs: float
    of_subjects: float
    of_epochs: float
    stages: dict[str, float]
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
    def confidence(self) -> float:
        """Confidence of the intervals, as for all metrics."""
        one = next(iter(next(iter(self.metrics.values())).values()))
        return float(one["intervals"]["confidence"])

    def values(self, percent: float, metric: str) -> dict[int, float | None]:
        """Give a pooled metric of each seed."""
        found = self.metrics.get(percent, {})
        return {seed: found[seed]["pooled"][metric] for seed in sorted(found)}

    def spread(self, percent: float, metric: str) -> Spread:
        """Give the mean of a pooled metric over the seeds, with its interval."""
        values = list(self.values(percent, metric).values())
        return over_seeds(values, confidence=self.confidence, bounds=BOUNDS[metric])

    def gain(self, other: "Curve", percent: float, metric: str = "macro_f1") -> Spread:
        """Give how far this curve is above another at one size, seed by seed."""
        mine, others = self.values(percent, metric), other.values(percent, metric)
        both = [(value, others.get(seed)) for seed, value in mine.items()]
        gaps = [one - two for one, two in both if one is not None and two is not None]
        return over_seeds(gaps, confidence=self.confidence)


@dataclass(frozen=True)
class LabelEfficiency:
    """All curves, and the sizes of their subsets by `(by, percent)`."""

    curves: list[Curve]
    sizes: dict[tuple[str, float], Size]

    @property
    def panels(self) -> list[tuple[Source, str, list[Curve]]]:
        """Curves that are drawn together: those of a source whose labels are cut the same way."""
        found: dict[tuple[Source, str], list[Curve]] = {}
        for curve in self.curves:
            found.setdefault((curve.name.source, curve.by), []).append(curve)
        return [(source, by, curves) for (source, by), curves in found.items()]


def read_label_efficiency(*, curves: Iterable[Path], counts: Iterable[Path]) -> LabelEfficiency:
    """Read metrics of models that were trained on subsets, and the sizes of the subsets.

    Parameters
    ----------
    curves
        `<encoder>/<channel>/<method>/labels=<subset>/metrics.json` of each model.
    counts
        `labels=<subset>/fold=<k>/counts.json`; those of all labels are not looked at.

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
        found.values(), key=lambda c: (*c.name.source.order, units.index(c.by), *c.name.order)
    )
    sizes = read_sizes(counts)
    missing = {(c.by, percent) for c in ordered for percent in c.percents} - sizes.keys()
    if missing:
        by, percent = min(missing)
        raise ValueError(
            f"no counts.json of the labels {by}-{percent:g} was given, wanted one for each fold "
            "and seed. Make them again with the rule subset."
        )
    return LabelEfficiency(ordered, sizes)


def read_sizes(counts: Iterable[Path]) -> dict[tuple[str, float], Size]:
    """Read how large subsets are: the mean over folds and seeds, by unit and percent."""
    grouped: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for path in sorted(counts):
        subset = read_subset(path.parent.parent.name.removeprefix(LABELS))
        if subset.by is not None:
            grouped.setdefault((subset.by, subset.percent), []).append(read_counts(path))
    return {key: _size(drawn) for key, drawn in grouped.items()}


def _size(drawn: list[dict[str, Any]]) -> Size:
    def mean(values: Iterable[float]) -> float:
        return math.fsum(values) / len(drawn)

    return Size(
        subjects=mean(one["subjects"] for one in drawn),
        epochs=mean(one["epochs"] for one in drawn),
        of_subjects=mean(one["of"]["subjects"] for one in drawn),
        of_epochs=mean(one["of"]["epochs"] for one in drawn),
        stages={name: mean(one["stages"][name] for one in drawn) for name in STAGE_NAMES},
        without={
            name: n for name in STAGE_NAMES if (n := sum(one["stages"][name] == 0 for one in drawn))
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
