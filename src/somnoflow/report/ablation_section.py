"""What each subset of the modalities is worth: one picture, and the numbers in tables."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from somnoflow.config.unimodal import join_modalities
from somnoflow.report.ablation_figure import draw_subsets
from somnoflow.report.figures import Picture
from somnoflow.report.naming import SYNTHSLEEPNET, Source
from somnoflow.report.tables import (
    NOTHING,
    Table,
    difference,
    make_table,
    plural,
    rough_share,
    score,
    score_with_interval,
)

HOW_TO = (
    "No modality was left out. This is done for each fusion of two or more channels whose stages a "
    "linear probe scores: name `linear` and `staging` in synthsleepnet.methods and .tasks."
)


@dataclass(frozen=True)
class Ablated:
    """Metrics of one fusion with every subset of its modalities."""

    source: Source
    metrics: dict[str, Any]


@dataclass(frozen=True)
class AblationPanel:
    """What the page shows about one fusion."""

    title: str
    sentences: list[str]
    picture: Picture
    tables: list[Table]


def read_ablations(paths: Iterable[Path]) -> list[Ablated]:
    """Read `ablation/synthsleepnet/<fusion>/metrics.json` of each fusion."""
    return [
        Ablated(
            Source(SYNTHSLEEPNET, path.parent.name), json.loads(path.read_text(encoding="utf-8"))
        )
        for path in sorted(paths)
    ]


def ablation_panels(found: Iterable[Ablated], *, simulated: str) -> list[AblationPanel]:
    """Make sentences, picture and tables of each fusion."""
    return [
        AblationPanel(
            title=one.source.title,
            sentences=sentences(one.metrics, simulated=simulated),
            picture=draw_subsets(
                one.metrics, by_size(one.metrics), title=one.source.title, simulated=simulated
            ),
            tables=[
                subset_table(one, simulated=simulated),
                stage_table(one, simulated=simulated),
            ],
        )
        for one in found
    ]


def by_size(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Sort subsets by their number of modalities, most first, then by macro F1."""
    return sorted(
        metrics["subsets"],
        key=lambda one: (-len(one["modalities"]), -(one["pooled"]["macro_f1"] or 0.0)),
    )


def subset_words(subset: dict[str, Any]) -> str:
    """Name the modalities of a subset: "EEG+ECG"."""
    return join_modalities(subset["modalities"])


def sentences(metrics: dict[str, Any], *, simulated: str) -> list[str]:
    """Say what all modalities reach, what leaving one out costs, and what one alone reaches."""
    names = metrics["modalities"]
    subsets = {frozenset(one["modalities"]): one for one in metrics["subsets"]}
    whole = subsets[frozenset(names)]
    where = f" on {simulated} data" if simulated else ""
    if len(names) == 1:
        return [f"{names[0]} is the only modality, so none can be left out."]
    told = [
        f"All {len(names)} modalities together reach{where} macro F1 "
        f"{_macro(whole)}, from {plural(whole['subjects'], 'test subject')}."
    ]
    without = {
        name: subsets[rest] for name in names if (rest := frozenset(names) - {name}) in subsets
    }
    if without:
        told.append(
            "Macro F1 gained or lost without one of them: "
            + "; ".join(f"{name} {_gap(one)}" for name, one in without.items())
            + "."
        )
    alone = {name: subsets[one] for name in names if (one := frozenset([name])) in subsets}
    if alone and len(names) > 2:
        told.append(
            "Macro F1 of one alone: "
            + "; ".join(f"{name} {_macro(one)}" for name, one in alone.items())
            + "."
        )
    reasons = dict.fromkeys(
        one["intervals"]["reason"] for one in subsets.values() if one["intervals"]["reason"]
    )
    return [*told, *(f"No intervals: {reason}." for reason in reasons)]


def _macro(subset: dict[str, Any]) -> str:
    return score_with_interval(subset["pooled"]["macro_f1"], subset["intervals"]["macro_f1"])


def _gap(subset: dict[str, Any]) -> str:
    gap = subset["difference"]
    return NOTHING if gap is None else difference(gap["macro_f1"], gap["interval"])


def subset_table(found: Ablated, *, simulated: str) -> Table:
    """Give macro F1, its difference to all modalities, kappa and accuracy of each subset."""
    metrics = found.metrics
    base = metrics["baseline"]
    numeric = ["Macro F1", "Less all", "Kappa", "Accuracy", "Scored"]
    shown = by_size(metrics)
    confidence = 100 * shown[0]["intervals"]["confidence"]
    rows = [
        [f"always {base['stage']}", score(base["macro_f1"]), NOTHING, score(base["kappa"]),
         score(base["accuracy"]), NOTHING]
    ]  # fmt: skip
    for one in shown:
        counts, inside = one["counts"], one["intervals"]
        with_stage = counts["scored"] + counts["unusable"]
        rows.append(
            [
                subset_words(one),
                _macro(one),
                _gap(one),
                score_with_interval(one["pooled"]["kappa"], inside["kappa"]),
                score_with_interval(one["pooled"]["accuracy"], inside["accuracy"]),
                rough_share(counts["scored"], with_stage),
            ]
        )
    return make_table(
        f"{found.source.title}: stages scored from every subset of the modalities, all by one "
        f"training. In brackets the {confidence:g} % interval over test subjects. Less all: macro "
        "F1 less that of all modalities, where the same subjects are drawn for both. Scored: "
        "share of the epochs with a stage in which the subset has a usable signal; where a subset "
        "has fewer, the difference is also one of epochs. First the baseline, the most "
        "frequent true stage.",
        columns=["Modalities", *numeric],
        numeric=numeric,
        rows=rows,
        groups=["Baseline", *(_size_words(one) for one in shown)],
        simulated=simulated,
    )


def stage_table(found: Ablated, *, simulated: str) -> Table:
    """Give the F1 of each stage of each subset."""
    shown = by_size(found.metrics)
    stages = found.metrics["stages"]
    return make_table(
        f"{found.source.title}: F1 of each stage, with the interval over test subjects.",
        columns=["Modalities", *stages],
        numeric=stages,
        rows=[
            [
                subset_words(one),
                *(
                    score_with_interval(
                        one["pooled"]["per_class"][name]["f1"], one["intervals"]["f1"][name]
                    )
                    for name in stages
                ),
            ]
            for one in shown
        ],
        groups=[_size_words(one) for one in shown],
        simulated=simulated,
    )


def _size_words(subset: dict[str, Any]) -> str:
    size = len(subset["modalities"])
    return "1 modality" if size == 1 else f"{size} modalities"
