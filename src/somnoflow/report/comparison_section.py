"""All models beside what was published, as the compare step wrote them into one file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from somnoflow.report.naming import STAGING, TASK_WORDS, ModelName, Source, encoder_words
from somnoflow.report.tables import (
    NOTHING,
    Table,
    count,
    difference,
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
# With fewer, no difference can be told from chance at the usual 5 %.
LEAST_SUBJECTS = 6
NOT_TESTED = "n/a"
SMALLEST_P = 0.001
# Of stages first; scores of events alone come after them.
ALL_SCORES = tuple(dict.fromkeys((*STAGE_SCORES.values(), *EVENT_SCORES.values())))


def paired_columns(score: str) -> tuple[str, ...]:
    """Give the columns of a score's difference from the reference: mean, bounds, p, Holm's p."""
    gap = f"{score}_difference"
    return gap, *(f"{gap}_{bound}" for bound in BOUNDS), f"{score}_p", f"{score}_p_holm"


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
    "reference": pl.String(),
    "paired_subjects": pl.Int64(),
    **{column: pl.Float64() for score in OVERALL.values() for column in paired_columns(score)},
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
    """What the page shows about one task.

    Attributes
    ----------
    title
        The task.
    table
        The scores of all models and of published results.
    paired
        Each model against the reference over the same subjects; None for events, and where there
        is nothing to compare.
    stages
        F1 of each stage; None for events.
    differs
        What differs from each published result; None where nothing was published.
    """

    title: str
    table: Table
    paired: Table | None
    stages: Table | None
    differs: Table | None

    @property
    def tables(self) -> list[Table]:
        """All of them."""
        every = (self.table, self.paired, self.stages, self.differs)
        return [one for one in every if one is not None]


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
    stages = [row for row in rows if any(row[key] is not None for key in F1.values())]
    return ComparisonPanel(
        title,
        table=_score_table(
            rows,
            _intro(rows, title),
            scores=OVERALL if task == STAGING else EVENT_SCORES,
            sizes=True,
        ),
        paired=_paired_table(rows, title),
        stages=(
            _score_table(stages, f"{title}: F1 of each stage.", scores=F1, sizes=False)
            if stages
            else None
        ),
        differs=_difference_table(rows, title),
    )


def _intro(rows: Sequence[dict[str, Any]], title: str) -> str:
    kinds = [row["kind"] for row in rows]
    confidence = 100 * next(row["confidence"] for row in rows if row["confidence"])
    told = [
        f"{title}: {plural(len(kinds) - kinds.count(PUBLISHED), 'model')}, in the order of the "
        f"systems and not of the results. In brackets the {confidence:g} % interval over test "
        "subjects."
    ]
    if PUBLISHED in kinds:
        told.append(
            "Below a model what was published of its system, with as many decimals; a score in "
            "parentheses is no target."
        )
    if ELSEWHERE in kinds:
        told.append("What was trained elsewhere is an outside reference.")
    return " ".join(told)


def _score_table(
    rows: Sequence[dict[str, Any]], caption: str, *, scores: dict[str, str], sizes: bool
) -> Table:
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "Model": _first_cell,
        **{title: _score_cell(key) for title, key in scores.items()},
    }
    if sizes:
        columns |= {
            PARAMETERS: lambda row: count(row["parameters"]),
            SUBJECTS: lambda row: count(row["subjects"]),
            EPOCHS: lambda row: count(row["epochs"]),
        }
    return make_table(
        caption,
        columns=list(columns),
        numeric=list(columns)[1:],
        rows=[[cell(row) for cell in columns.values()] for row in rows],
        simulated=_simulated(rows),
        groups=_groups(rows),
        links=[_link(row) for row in rows],
        quiet=[row["kind"] == PUBLISHED for row in rows],
    )


def _paired_table(rows: Sequence[dict[str, Any]], title: str) -> Table | None:
    """Put each model against the reference; None where none was compared."""
    compared = [row for row in rows if row["reference"] is not None]
    if not compared:
        return None
    reference = compared[0]["reference"]
    confidence = 100 * next(row["confidence"] for row in rows if row["confidence"])
    shown = [row for row in rows if row in compared or row["model"] == reference]
    columns: dict[str, Callable[[dict[str, Any]], str]] = {"Model": _first_cell}
    for name, score in OVERALL.items():
        columns |= {name: _gap_cell(score), f"p, {name[:1].lower()}{name[1:]}": _p_cell(score)}
    columns[SUBJECTS] = lambda row: count(row["paired_subjects"])
    return make_table(
        f"{title}: each model less the reference, {reference}, over the same test subjects. The "
        "reference has the highest macro F1 of these very subjects: being chosen by them makes "
        "its lead optimistic. A subject counts once, with the mean of all recordings; the mean "
        f"difference has its {confidence:g} % interval over subjects in brackets. p: Wilcoxon's "
        "signed-rank test, two-sided, corrected as Holm does for "
        f"{plural(len(compared), 'comparison')}. {NOT_TESTED}: under {LEAST_SUBJECTS} subjects, "
        "too few to test. None of it covers another training.",
        columns=list(columns),
        numeric=list(columns)[1:],
        rows=[[cell(row) for cell in columns.values()] for row in shown],
        simulated=_simulated(rows),
        groups=[_name(row).source.title for row in shown],
        links=[_link(row) for row in shown],
    )


def _gap_cell(score: str) -> Callable[[dict[str, Any]], str]:
    gap, low, high, *_ = paired_columns(score)

    def cell(row: dict[str, Any]) -> str:
        if row["reference"] is None:
            return "reference"
        return difference(row[gap], None if row[low] is None else (row[low], row[high]))

    return cell


def _p_cell(score: str) -> Callable[[dict[str, Any]], str]:
    corrected = paired_columns(score)[-1]

    def cell(row: dict[str, Any]) -> str:
        if row["reference"] is None:
            return NOTHING
        p = row[corrected]
        if p is None:
            return NOT_TESTED
        return f"{p:.3f}" if p >= SMALLEST_P else f"< {SMALLEST_P}"

    return cell


def _difference_table(rows: Sequence[dict[str, Any]], title: str) -> Table | None:
    """Say for each published result what differs, and where it is from; None without any."""
    beside = [
        (row, group)
        for row, group in zip(rows, _model_titles(rows), strict=True)
        if row["kind"] == PUBLISHED
    ]
    if not beside:
        return None
    prose = ["What differs", "From"]
    return make_table(
        f"{title}: what differs between the models here and what was published.",
        columns=["Published", *prose],
        prose=prose,
        rows=[
            [
                f"{row['model']} on {row['dataset']}",
                _sentence(row["what_differs"]),
                ". ".join(_sentence(text) for text in (row["source"], row["note"]) if text),
            ]
            for row, _ in beside
        ],
        simulated=_simulated(rows),
        groups=[group for _, group in beside],
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _simulated(rows: Sequence[dict[str, Any]]) -> str:
    return next((row["simulated"] for row in rows if row["simulated"]), "")


def _name(row: dict[str, Any]) -> ModelName:
    return ModelName(Source(row["encoder"], row["channel"]), row["method"], row["task"])


def _groups(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Give each row its system; published rows stand under that of the model above them."""
    return [title.partition(":")[0] for title in _model_titles(rows)]


def _model_titles(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Give each row the model that it is, or that it stands below."""
    titles: list[str] = []
    for row in rows:
        titles.append(titles[-1] if row["kind"] == PUBLISHED else _name(row).title)
    return titles


def _link(row: dict[str, Any]) -> tuple[str, str] | None:
    # Models of events have no article of their own.
    if row["kind"] == PUBLISHED or row["task"] != STAGING:
        return None
    return _name(row).anchor, _name(row).path


def _first_cell(row: dict[str, Any]) -> str:
    if row["kind"] == PUBLISHED:
        # The heading of the group says which system it is.
        own = row["model"] == encoder_words(row["encoder"])
        return f"published{'' if own else ': ' + row['model']} on {row['dataset']}"
    return _name(row).words


def _score_cell(key: str) -> Callable[[dict[str, Any]], str]:
    def cell(row: dict[str, Any]) -> str:
        value = row[key]
        if row["kind"] != PUBLISHED:
            low = row[f"{key}_low"]
            return score_with_interval(value, None if low is None else (low, row[f"{key}_high"]))
        if value is None:
            return NOTHING
        # As many decimals as were published, which are two at least.
        text = max(f"{value:g}", f"{value:.2f}", key=len)
        return f"({text})" if key in (row["no_target"] or "").split() else text

    return cell
