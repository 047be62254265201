"""All models beside what was published, as the compare step wrote them into one file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from somnoflow.report.naming import STAGING, TASK_WORDS, ModelName, Source
from somnoflow.report.tables import (
    NOTHING,
    Table,
    count,
    make_table,
    plural,
    score_with_interval,
)
from somnoflow.stages import STAGE_NAMES
from somnoflow.tasks import TASKS

HERE, ELSEWHERE, UNTRAINED, PUBLISHED = (
    "trained here", "trained elsewhere", "not trained", "published",
)  # fmt: skip
OVERALL = {"Accuracy": "accuracy", "Macro F1": "macro_f1", "Kappa": "kappa"}
F1 = {name: f"f1_{name}" for name in STAGE_NAMES}
STAGE_SCORES = OVERALL | F1
EVENT_SCORES = {
    "AUPRC": "auprc", "F1": "f1", "Kappa": "kappa", "Sensitivity": "sensitivity", "PPV": "ppv",
    "Accuracy": "accuracy",
}  # fmt: skip
BOUNDS = ("low", "high")
# Of stages first; scores of events alone come after them.
ALL_SCORES = tuple(dict.fromkeys((*STAGE_SCORES.values(), *EVENT_SCORES.values())))
SCHEMA: dict[str, pl.DataType] = {
    "kind": pl.String(),
    "task": pl.String(),
    "encoder": pl.String(),
    "channel": pl.String(),
    "method": pl.String(),
    "model": pl.String(),
    "dataset": pl.String(),
    "simulated": pl.String(),
    "subjects": pl.Int64(),
    "recordings": pl.Int64(),
    "epochs": pl.Int64(),
    "folds": pl.Int64(),
    "parameters": pl.Int64(),
    **{
        column: pl.Float64()
        for score in ALL_SCORES
        for column in (score, *(f"{score}_{bound}" for bound in BOUNDS))
    },
    "confidence": pl.Float64(),
    "no_target": pl.String(),
    "what_differs": pl.String(),
    "note": pl.String(),
    "source": pl.String(),
}
PARAMETERS, SUBJECTS, EPOCHS = "Parameters", "Subjects", "Epochs"
HOW_TO = (
    "No model was evaluated. All models with what was published of them: "
    "snakemake --cores 2 all --configfile config/benchmark.yaml."
)


@dataclass(frozen=True)
class ComparisonPanel:
    """What the page shows about one task: `table` first, `more` where asked for."""

    title: str
    table: Table
    more: list[Table]


def read_comparison(path: Path) -> pl.DataFrame:
    """Read the table of the compare step, columns as in `SCHEMA`; empty cells are null."""
    return pl.read_csv(path, schema=SCHEMA)


def comparison_panels(comparison: pl.DataFrame) -> list[ComparisonPanel]:
    """Make the tables of each task that any model was judged on."""
    return [
        _panel(rows, task=task)
        for task in TASKS
        if (rows := comparison.filter(pl.col("task") == task).to_dicts())
    ]


def _panel(rows: list[dict[str, Any]], *, task: str) -> ComparisonPanel:
    title = TASK_WORDS[task].capitalize()
    models = sum(row["kind"] != PUBLISHED for row in rows)
    confidence = 100 * next(row["confidence"] for row in rows if row["confidence"])
    intro = (
        f"{title}: {plural(models, 'model')} on the same test subjects, in the order of the "
        f"systems and not of the results. In brackets the {confidence:g} % interval over test "
        "subjects. Below a model what was published of the same system, on other data unless it "
        "is said to be the same; a published score in parentheses is no target."
    )
    if task != STAGING:
        return ComparisonPanel(title, _table(rows, intro, scores=EVENT_SCORES, prose=True), [])
    stages = f"{title}: F1 of each stage, of the same rows."
    return ComparisonPanel(
        title,
        _table(rows, intro, scores=OVERALL, prose=True),
        [_table([row for row in rows if _has(row, F1)], stages, scores=F1, prose=False)],
    )


def _has(row: dict[str, Any], scores: dict[str, str]) -> bool:
    return any(row[key] is not None for key in scores.values())


def _table(
    rows: Sequence[dict[str, Any]], caption: str, *, scores: dict[str, str], prose: bool
) -> Table:
    """Make a table of some scores; `prose` adds sizes and what differs."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {"Model": _first_cell}
    if prose:
        columns[PARAMETERS] = lambda row: count(row["parameters"])
    columns |= {title: _score_cell(key) for title, key in scores.items()}
    if prose:
        columns |= {
            SUBJECTS: lambda row: count(row["subjects"]),
            EPOCHS: lambda row: count(row["epochs"]),
            "What differs": _prose,
        }
    simulated = next((row["simulated"] for row in rows if row["simulated"]), "")
    return make_table(
        caption,
        columns=list(columns),
        numeric=[PARAMETERS, *scores, SUBJECTS, EPOCHS],
        prose=["What differs"],
        rows=[[cell(row) for cell in columns.values()] for row in rows],
        simulated=simulated,
        groups=_groups(rows),
        links=[_link(row) for row in rows],
    )


def _name(row: dict[str, Any]) -> ModelName:
    return ModelName(Source(row["encoder"], row["channel"]), row["method"], row["task"])


def _groups(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Give each row its system; published rows stand under that of the model above them."""
    groups: list[str] = []
    for row in rows:
        groups.append(groups[-1] if row["kind"] == PUBLISHED else _name(row).source.title)
    return groups


def _link(row: dict[str, Any]) -> tuple[str, str] | None:
    # Models of events have no article of their own.
    if row["kind"] == PUBLISHED or row["task"] != STAGING:
        return None
    return _name(row).anchor, _name(row).path


def _first_cell(row: dict[str, Any]) -> str:
    if row["kind"] == PUBLISHED:
        return f"published: {row['model']} on {row['dataset']}"
    return _name(row).words


def _score_cell(key: str) -> Callable[[dict[str, Any]], str]:
    def cell(row: dict[str, Any]) -> str:
        value = row[key]
        if row["kind"] != PUBLISHED:
            low = row[f"{key}_low"]
            return score_with_interval(value, None if low is None else (low, row[f"{key}_high"]))
        if value is None:
            return NOTHING
        # As many decimals as were published.
        return f"({value:g})" if key in (row["no_target"] or "").split() else f"{value:g}"

    return cell


def _prose(row: dict[str, Any]) -> str:
    if row["kind"] != PUBLISHED:
        return "" if row["kind"] == HERE else row["kind"]
    told = [row["what_differs"], row["note"], f"from: {row['source']}"]
    return ". ".join(text[0].upper() + text[1:] for text in told if text)
