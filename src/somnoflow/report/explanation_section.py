"""What models look at: explained test epochs of the first fold, model by model."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from somnoflow.explain.explanation import ROLLOUT, Explanations, read_explanations
from somnoflow.report.explanation_figure import draw_explanation
from somnoflow.report.figures import Picture
from somnoflow.report.naming import STAGING, ModelName
from somnoflow.report.sources import FOLD, Cohort, whole_model
from somnoflow.report.tables import plural
from somnoflow.stages import SCORED_STAGES
from somnoflow.tasks import TASKS

HOW_TO = (
    "No epochs were explained: explain.epochs of the configuration is 0, or no model was trained "
    "that can be (supervised models, fine-tunings, and linear probes on SynthSleepNet)."
)
GRAD_CAM_WORDS = (
    "Grad-CAM tells which parts of an epoch speak for the answer: the last convolutional map, "
    "weighted by the gradient of that class's logit. The epoch stands in its place in the night; "
    "the gradient is of this epoch alone. Dark is the largest value of the epoch, over all of its "
    "channels; pale is what does not speak for the class, or speaks against it. A cell of the map "
    "sees up to some seconds around it, so the heat is no sharper than that. It shows what the "
    "model uses, and not that it is right to."
)
ROLLOUT_WORDS = (
    "Attention roll-out tells from which parts of the epoch a transformer gathered its answer, "
    "for whichever stage; where it is almost even, attention chose nothing."
)
EVENT_WORDS = (
    "Spindles and slow waves are those that YASA detects with its own thresholds, without looking "
    "at the stage; in wakefulness many a detection is none."
)


@dataclass(frozen=True)
class Explained:
    """A model, the fold whose test epochs are shown, and their explanations."""

    name: ModelName
    fold: str
    explanations: Explanations


@dataclass(frozen=True)
class ExplanationPanel:
    """What the page shows about one model."""

    title: str
    sentence: str
    pictures: list[Picture]


def read_explained(paths: Iterable[Path]) -> list[Explained]:
    """Read `<model>/labels=all/fold=<k>/explanation.parquet` of each model.

    Raises
    ------
    ValueError
        Where a path names no model, or the file is no table of explanations.
    """
    found = []
    for path in paths:
        if not path.parent.name.startswith(FOLD):
            raise ValueError(f"{path} is not in a folder {FOLD}<k>, so its fold is not known.")
        name, fold = whole_model(path.parents[1]), path.parent.name.removeprefix(FOLD)
        found.append(Explained(name, fold, read_explanations(path, task=TASKS[STAGING])))
    return sorted(found, key=lambda one: (one.name.order, one.fold))


def explanation_words(found: Sequence[Explained]) -> list[str]:
    """Say how to read the pictures that there are; nothing where there are none."""
    if not found:
        return []
    return words_for({method for one in found for method in one.explanations.table["method"]})


def words_for(methods: Collection[str]) -> list[str]:
    """Say how to read explanations by these methods."""
    return [GRAD_CAM_WORDS, *([ROLLOUT_WORDS] if ROLLOUT in methods else []), EVENT_WORDS]


def explanation_panels(found: Sequence[Explained], *, cohort: Cohort) -> list[ExplanationPanel]:
    """Draw the explained epochs of each model, by expert stage."""
    return [
        ExplanationPanel(
            title=one.name.title, sentence=_sentence(one), pictures=_pictures(one, cohort=cohort)
        )
        for one in found
    ]


def _sentence(one: Explained) -> str:
    epochs = _epochs(one.explanations.table)
    about = one.explanations.about
    if not epochs.height:
        return f"No test epoch of fold {one.fold} has a stage and a usable signal."
    right = epochs.filter(pl.col("stage") == pl.col("predicted")).height
    lacking = [
        stage.name
        for stage in SCORED_STAGES
        if epochs.filter(pl.col("stage") == stage).height < about["each"]
    ]
    told = (
        f"{plural(epochs.height, 'epoch')} drawn from {about['of']:,} test epochs of fold "
        f"{one.fold}: {about['each']} of each stage, half of them scored right and half wrong "
        f"where there are both. {right} are scored right, {epochs.height - right} wrong; so they "
        "are no sample that tells how often the model is wrong."
    )
    if lacking:
        told += f" Fewer epochs were there of {', '.join(lacking)}."
    return told


def _epochs(table: pl.DataFrame) -> pl.DataFrame:
    keys = ["dataset", "subject", "recording", "epoch"]
    return table.unique(keys, maintain_order=True).sort("stage", *keys)


def _pictures(one: Explained, *, cohort: Cohort) -> list[Picture]:
    table = one.explanations.table
    keys = ["dataset", "recording", "epoch"]
    drawn = []
    for epoch in _epochs(table).select(keys).iter_rows(named=True):
        simulated = cohort.is_simulated(epoch["dataset"], epoch["recording"])
        drawn.append(
            draw_explanation(
                table.filter(pl.all_horizontal(pl.col(key) == epoch[key] for key in keys)),
                task=TASKS[STAGING],
                model=one.name.title,
                simulated="simulated" if simulated else "",
            )
        )
    return drawn
