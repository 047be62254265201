"""What differs between a model of this run and a published result: facts of both, in words.

A fact that the paper leaves open is named as not known and never filled in.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from somnoflow.compare.published import Published, read_recipe
from somnoflow.config.compare import CompareSlice
from somnoflow.report.naming import ModelName
from somnoflow.report.sources import read_table

PRESET = "preset"
# So it is always here.
GROUPED_BY, CHOSEN_ON = "subjects", "validation subjects"


@dataclass(frozen=True)
class Facts:
    """What was done in this run.

    Attributes
    ----------
    simulated, recorded
        Datasets with simulated and with recorded nights.
    trained, tested
        Datasets that subjects with these roles are of.
    folds
        Folds by subject.
    cfg
        Parts of the configuration.
    """

    simulated: frozenset[str]
    recorded: frozenset[str]
    trained: tuple[str, ...]
    tested: tuple[str, ...]
    folds: int
    cfg: CompareSlice

    @property
    def simulation(self) -> str:
        """Say "simulated" or "partly simulated" where test recordings are; else empty."""
        if not self.simulated.intersection(self.tested):
            return ""
        return "partly simulated" if self.recorded.intersection(self.tested) else "simulated"


def read_facts(*, recordings: Path, split: Path, cfg: CompareSlice) -> Facts:
    """Gather the facts from the tables of recordings and the split."""
    table = read_table(recordings, texts=("dataset", "simulated"))
    made = pl.col("simulated").str.to_lowercase() == "true"
    folds = json.loads(split.read_text(encoding="utf-8"))["folds"]
    return Facts(
        simulated=frozenset(table.filter(made)["dataset"]),
        recorded=frozenset(table.filter(~made)["dataset"]),
        trained=_datasets(folds, "train"),
        tested=_datasets(folds, "test"),
        folds=len(folds),
        cfg=cfg,
    )


def _datasets(folds: list[dict[str, Any]], role: str) -> tuple[str, ...]:
    subjects = {subject for fold in folds for subject in fold[role]}
    return tuple(sorted({subject.partition("/")[0] for subject in subjects}))


def differences(
    name: ModelName,
    *,
    channels: Sequence[str],
    subjects: int,
    facts: Facts,
    theirs: Published,
) -> list[str]:
    """Say in which points a model here differs from a published result, and what is not known.

    Parameters
    ----------
    name
        The model here.
    channels
        What it reads.
    subjects
        Test subjects that it was judged on.
    facts
        What was done in this run.
    theirs
        The published result.
    """
    unknown: list[str] = []
    found = [
        *_data(facts, theirs),
        *_counts("subjects", subjects, theirs.subjects, unknown),
        *_channels(channels, theirs, unknown),
        *_counts("folds", facts.folds, theirs.folds, unknown),
        *_roles(theirs, unknown),
        *_wake(facts, theirs, unknown),
        *_method(name, theirs),
        *_recipe(name, facts, theirs),
    ]
    return [*found, *([f"not known: {', '.join(unknown)}"] if unknown else [])]


def _data(facts: Facts, theirs: Published) -> list[str]:
    said = []
    if facts.simulation == "simulated":
        said.append(f"simulated nights, not {theirs.dataset}")
    elif not any(_is(name, facts.cfg.datasets[name], theirs.dataset) for name in facts.tested):
        said.append(f"{_named(facts.tested, facts)}, not {theirs.dataset}")
    elif len(facts.tested) > 1:
        said.append(f"{_named(facts.tested, facts)} together, not {theirs.dataset} alone")
    if facts.trained and facts.trained != facts.tested:
        said.append(f"trained on {_named(facts.trained, facts)}")
    return said


def _is(dataset: str, part: str | None, published: str) -> bool:
    return published.lower() in (part or dataset, f"{dataset}-{part}")


def _named(names: tuple[str, ...], facts: Facts) -> str:
    return " and ".join(facts.cfg.datasets[name] or name for name in names)


def _counts(noun: str, ours: int, theirs: int | None, unknown: list[str]) -> list[str]:
    if theirs is None:
        unknown.append(noun)
        return []
    return [] if ours == theirs else [f"{ours:,} {noun}, not {theirs:,}"]


def _channels(ours: Sequence[str], theirs: Published, unknown: list[str]) -> list[str]:
    if not theirs.channels:
        unknown.append("channel")
        return []
    if sorted(ours) == sorted(theirs.channels):
        return []
    return [f"{' + '.join(ours)}, not {' + '.join(theirs.channels)}"]


def _roles(theirs: Published, unknown: list[str]) -> list[str]:
    said = []
    if not theirs.grouped_by:
        unknown.append("folds by what")
    elif theirs.grouped_by != GROUPED_BY:
        said.append(f"folds by {GROUPED_BY}, not {theirs.grouped_by}")
    if not theirs.chosen_on:
        unknown.append("chosen on whom")
    elif theirs.chosen_on != CHOSEN_ON:
        said.append(f"chosen on {CHOSEN_ON}, not {theirs.chosen_on}")
    return said


def _wake(facts: Facts, theirs: Published, unknown: list[str]) -> list[str]:
    ours = facts.cfg.wake_margin_minutes
    if theirs.wake_margin_minutes is None:
        unknown.append("wake kept")
        return []
    if ours == theirs.wake_margin_minutes:
        return []
    kept = "all wake" if ours is None else f"{ours:g} min of wake around sleep"
    return [f"{kept}, not {theirs.wake_margin_minutes:g} min around sleep"]


def _method(name: ModelName, theirs: Published) -> list[str]:
    if theirs.method in ("", name.method):
        return []
    other = ModelName(name.source, theirs.method, name.task)
    return [f"{name.words}, not {other.words}"]


def _recipe(name: ModelName, facts: Facts, theirs: Published) -> list[str]:
    recipe = facts.cfg.recipes.get(name.source.encoder, {})
    said = []
    if PRESET in recipe and str(recipe[PRESET]) not in theirs.preset.split(" or "):
        size = "the published one" if theirs.preset == "published" else theirs.preset
        said.append(f"size {recipe[PRESET]}, not {size}")
    said += [
        f"{recipe[option.name]:g} {option.words}, not {option.published:g}"
        for option in read_recipe(name.source.encoder)
        if option.name in recipe and recipe[option.name] != option.published
    ]
    return said
