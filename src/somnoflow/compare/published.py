"""Published results of the systems that are built here, as `published.tsv` lists them.

The table holds what the papers (and, where named, the authors' code) say and nothing else: an
empty cell is what they leave open. `recipes.tsv` holds published values of options whose defaults
differ here, or can.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from somnoflow.config.subset import ALL

RESULTS = Path(__file__).with_name("published.tsv")
RECIPES = Path(__file__).with_name("recipes.tsv")
SCORES = ("accuracy", "macro_f1", "kappa", "f1_W", "f1_N1", "f1_N2", "f1_N3", "f1_REM")


@dataclass(frozen=True)
class Published:
    """One published result.

    Attributes
    ----------
    encoder, method, task
        Of the model here that it belongs to; `method` is empty where it is not known.
    model
        As it was called.
    preset
        Its size, of those that there are here.
    dataset, subjects, channels, folds
        What it was judged on; `channels` by their names here.
    grouped_by
        What was dealt into folds: `subjects`, or `recordings`, so that two nights of a person may
        stand on both sides.
    chosen_on
        Whose epochs chose the pass that was judged.
    wake_margin_minutes
        Wake kept before and after sleep.
    scores
        By name, those that are known, of 0..1.
    no_target
        Scores that contradict the others.
    note, source
        What else must be known, and where it is from.
    """

    encoder: str
    method: str
    task: str
    model: str
    preset: str
    dataset: str
    subjects: int | None
    channels: tuple[str, ...]
    folds: int | None
    grouped_by: str
    chosen_on: str
    wake_margin_minutes: float | None
    scores: dict[str, float]
    no_target: tuple[str, ...]
    note: str
    source: str


@dataclass(frozen=True)
class Option:
    """The published value of one option of an encoder's recipe, and what to call the option."""

    name: str
    published: float
    words: str


def read_published() -> list[Published]:
    """Read the published results of models that were trained on all labels."""
    return [_published(row) for row in _read(RESULTS) if row["labels"] == ALL]


def read_recipe(encoder: str) -> list[Option]:
    """Read the published values of an encoder's options."""
    return [
        Option(row["option"], float(row["published"]), row["words"])
        for row in _read(RECIPES)
        if row["encoder"] == encoder
    ]


def _read(path: Path) -> list[dict[str, str]]:
    table = pl.read_csv(path, separator="\t", infer_schema=False, quote_char=None)
    return table.fill_null("").to_dicts()


def _published(row: dict[str, str]) -> Published:
    margin = row["wake_margin_minutes"]
    return Published(
        encoder=row["encoder"],
        method=row["method"],
        task=row["task"],
        model=row["model"],
        preset=row["preset"],
        dataset=row["dataset"],
        subjects=_whole(row["subjects"]),
        channels=tuple(row["channels"].split()),
        folds=_whole(row["folds"]),
        grouped_by=row["grouped_by"],
        chosen_on=row["chosen_on"],
        wake_margin_minutes=float(margin) if margin else None,
        scores={name: float(row[name]) for name in SCORES if row[name]},
        no_target=tuple(row["no_target"].split()),
        note=row["note"],
        source=row["source"],
    )


def _whole(text: str) -> int | None:
    return int(text) if text else None
