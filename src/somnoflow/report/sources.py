"""Reading of what the report shows: tables, metrics, predictions, training curves, run.json.

Which model a file belongs to is read from its path: the folders above it are
`<encoder>/<channel>/<method>/task=<task>/labels=<labels>`, with `fold=<k>` below them for files
that are made per fold; pre-training has no method, no task and no labels.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import polars as pl

from somnoflow.config.signals import Channel
from somnoflow.config.subset import ALL
from somnoflow.evaluate.confusion import Counted, count_test_epochs
from somnoflow.evaluate.predictions import scan_columns
from somnoflow.io.digest import sha256_file
from somnoflow.io.run_file import noted_digest, read_run
from somnoflow.report.naming import STAGING, TASK, ModelName, Source
from somnoflow.stages import STAGE_NAMES
from somnoflow.tasks import TASKS

FOLD = "fold="
LABELS = "labels="
WANTED = (
    f"<encoder>/<channel>/<method>/{TASK}<task>/{LABELS}<labels>, so its model is not known. Give "
    "files as the workflow lays them out."
)
RECORDING_NUMBERS = ("epochs", "scored", "unscored", *STAGE_NAMES, "flat")
RECORDING_DECIMALS = ("hours", "lights_off_s", "lights_on_s", "sleep_minutes", "ahi")
RECORDING_TEXTS = (
    "dataset",
    "subject",
    "recording",
    "night",
    "start",
    "simulated",
    "notes",
)
REJECTED_TEXTS = (
    "dataset", "file", "recording", "stage", "problem", "found", "wanted", "advice",
)  # fmt: skip
CHANNEL_NUMBERS = (
    "epochs", "missing", "zero", "flat", "clipped", "out_of_range", "line_noise", "disconnected",
)  # fmt: skip
CHANNEL_TEXTS = (
    "dataset", "recording", "channel", "source", "unit", "sampling_rate", "amplitude", "problem",
    "remark",
)  # fmt: skip
# Sorting by it brings channels into the order of a montage: EEG first, SpO2 last.
MONTAGE = pl.col("channel").replace_strict(
    {name: place for place, name in enumerate(get_args(Channel))}, default=None
)
TRUTH = ["true", "false"]
ROLES = ("pretrain", "train", "val", "test")


@dataclass(frozen=True)
class Cohort:
    """Recordings, what was not taken, files that no manifest names, and who is where.

    `external` are the subjects of data sets that are tested only.

    Rows of `channels` with a `problem` are canonical channels that a recording does not have; rows
    without a `channel` are labels that it offers and that were not taken.
    """

    recordings: pl.DataFrame
    rejected: pl.DataFrame
    extra: pl.DataFrame
    channels: pl.DataFrame
    folds: list[dict[str, Any]]
    external: tuple[str, ...] = ()

    @property
    def simulated(self) -> str:
        """Say "simulated" or "partly simulated" where any recording is; else empty."""
        flags = self.recordings["simulated"]
        if not flags.any():
            return ""
        return "simulated" if flags.all() else "partly simulated"

    @property
    def taken(self) -> pl.DataFrame:
        """Give the rows of the channels that were taken."""
        return self.channels.filter(pl.col("channel") != "", pl.col("problem") == "")

    @property
    def external_datasets(self) -> list[str]:
        """Data sets that are tested only."""
        return sorted({subject.partition("/")[0] for subject in self.external})

    def is_simulated(self, dataset: str, recording: str) -> bool:
        """Tell whether one recording is simulated."""
        mine = (pl.col("dataset") == dataset) & (pl.col("recording") == recording)
        return bool(self.recordings.filter(mine)["simulated"].any())


@dataclass(frozen=True)
class Model:
    """One evaluated model that was trained on all labels; `counted` is of its stages alone."""

    name: ModelName
    metrics: dict[str, Any] | None
    predictions: list[Path]
    counted: Counted | None


@dataclass(frozen=True)
class Training:
    """Training of one network, one table per fold: pass, losses, `best` (true at the choice).

    `name` is that of an encoder or of a model.
    """

    name: Source | ModelName
    folds: dict[str, pl.DataFrame]

    @property
    def title(self) -> str:
        """What was trained, in words."""
        pretraining = isinstance(self.name, Source)
        return f"Pre-training of {self.name.title}" if pretraining else self.name.title


@dataclass(frozen=True)
class Run:
    """What `run.json` says about one given file; `content` is None where there is none."""

    file: Path
    content: dict[str, Any] | None
    changed: bool | None


def read_cohort(*, recordings: Path, rejected: Path, channels: Path, split: Path) -> Cohort:
    """Read the tables of the signals and the split."""
    table = read_table(
        recordings, texts=RECORDING_TEXTS, numbers=RECORDING_NUMBERS, decimals=RECORDING_DECIMALS
    )
    odd = table["simulated"].filter(~table["simulated"].str.to_lowercase().is_in(TRUTH))
    if len(odd):
        raise ValueError(f"{recordings}: {odd[0]!r} in column simulated, wanted {TRUTH}.")
    deal = json.loads(split.read_text(encoding="utf-8"))
    folds = deal.get("folds", [])
    if not folds or any(name not in fold for fold in folds for name in ("fold", *ROLES)):
        raise ValueError(
            f"{split}: wanted a list 'folds', each with 'fold' and {ROLES}. Make it again with "
            "the rule split."
        )
    turned_down = read_table(rejected, texts=REJECTED_TEXTS)
    return Cohort(
        recordings=table.with_columns(
            pl.col("simulated").str.to_lowercase() == "true",
            start_time=pl.Series(
                [_clock(text, table=recordings) for text in table["start"]], dtype=pl.Datetime
            ),
        ).sort("dataset", "subject", "recording"),
        rejected=turned_down.filter(pl.col("stage") != "extra"),
        extra=turned_down.filter(pl.col("stage") == "extra"),
        channels=read_table(channels, texts=CHANNEL_TEXTS, numbers=CHANNEL_NUMBERS),
        folds=folds,
        external=tuple(deal.get("external", [])),
    )


def _clock(text: str, *, table: Path) -> datetime | None:
    """Give the start of a recording on its own clock; None where it is not known."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None) if text else None
    except ValueError as error:
        raise ValueError(
            f"{table}: {text!r} in column start, wanted a time such as 2001-01-31T22:30:00."
        ) from error


def read_table(
    path: Path,
    *,
    texts: Sequence[str],
    numbers: Sequence[str] = (),
    decimals: Sequence[str] = (),
) -> pl.DataFrame:
    """Read the named columns of a tab-separated file; empty texts stay empty, never null.

    Parameters
    ----------
    path
        Table with a line of headings.
    texts, numbers, decimals
        Columns of text, of whole numbers and of other numbers; an empty number is null.

    Raises
    ------
    ValueError
        Where a column is missing or a number is none.
    """
    frame = pl.read_csv(path, separator="\t", infer_schema=False).fill_null("")
    missing = [name for name in (*texts, *numbers, *decimals) if name not in frame.columns]
    if missing:
        raise ValueError(f"{path} lacks the columns {missing}, found {frame.columns}.")
    parsed = frame.select(
        *texts,
        *(pl.col(name).cast(pl.Float64, strict=False).cast(pl.Int64) for name in numbers),
        *(pl.col(name).cast(pl.Float64, strict=False) for name in decimals),
    )
    for name in (*numbers, *decimals):
        wrong = frame[name].filter((frame[name] != "") & parsed[name].is_null())
        if len(wrong):
            kind = "whole number" if name in numbers else "number"
            raise ValueError(f"{path}: {wrong[0]!r} in column {name}, wanted a {kind}.")
    return parsed


def read_models(*, metrics: Iterable[Path], predictions: Iterable[Path]) -> list[Model]:
    """Bring together metrics and predictions of each model that was trained on all labels.

    Returns
    -------
    list of Model
        By task, encoder, channel and method, as `ModelName.order` sorts them.

    Raises
    ------
    ValueError
        Where a path does not name a model that was trained on all labels.
    """
    by_metrics = {whole_model(path.parent): path for path in metrics}
    by_predictions: dict[ModelName, list[Path]] = {}
    for path in predictions:
        by_predictions.setdefault(whole_model(_fold_folder(path).parent), []).append(path)
    return [
        Model(
            name=name,
            metrics=(
                json.loads(by_metrics[name].read_text(encoding="utf-8"))
                if name in by_metrics
                else None
            ),
            predictions=(files := sorted(by_predictions.get(name, []))),
            counted=count_test_epochs(files) if files and name.task == STAGING else None,
        )
        for name in sorted(by_metrics.keys() | by_predictions.keys(), key=lambda name: name.order)
    ]


def tested_subjects(model: Model) -> set[tuple[str, int]]:
    """Give the test subjects of a model with the fold that tested each."""
    if model.counted is not None:
        return set(model.counted.table.select("subject", "fold").rows())
    found: set[tuple[str, int]] = set()
    for path in model.predictions:
        scan = scan_columns(path, columns=["role", "subject", "fold"])
        tested = scan.filter(pl.col("role") == "test").select("subject", "fold").unique()
        found.update(tested.collect().rows())
    return found


def read_training(paths: Iterable[Path]) -> list[Training]:
    """Read the training tables by network, encoders first; a file without rows is empty."""
    grouped: dict[Source | ModelName, dict[str, pl.DataFrame]] = {}
    for path in sorted(paths):
        grouped.setdefault(network_of(path), {})[path.parent.name] = _read_training(path)
    ordered = sorted(grouped, key=lambda name: (isinstance(name, ModelName), name.order))
    return [Training(name, grouped[name]) for name in ordered]


def _read_training(path: Path) -> pl.DataFrame:
    if not path.stat().st_size:
        return pl.DataFrame()
    frame = pl.read_csv(path, infer_schema=False)
    numbers = [name for name in frame.columns if name != "best"]
    chosen = pl.col("best").str.to_lowercase().is_in(["true", "1", "1.0"])
    return frame.with_columns(
        *(pl.col(name).cast(pl.Float64, strict=False) for name in numbers),
        *([chosen] if "best" in frame.columns else []),
    )


def read_runs(paths: Iterable[Path]) -> list[Run]:
    """Read the `run.json` beside each file, and tell whether the file has changed since."""
    return [_read_run(path) for path in paths]


def _read_run(path: Path) -> Run:
    run = read_run(path)
    wanted = noted_digest(run, path) if run else None
    return Run(path, run, None if wanted is None else sha256_file(path) != wanted)


def _fold_folder(path: Path) -> Path:
    if not path.parent.name.startswith(FOLD):
        raise ValueError(f"{path} is not in a folder {FOLD}<k>, so its fold is not known.")
    return path.parent


def model_and_labels(folder: Path) -> tuple[ModelName, str]:
    """Give the model of a folder `<encoder>/<channel>/<method>/task=<task>/labels=<labels>`.

    Returns
    -------
    The name of the model, and that of its labels.
    """
    if len(folder.parts) < 5:
        raise ValueError(f"{folder} is no folder {WANTED}")
    encoder, channel, method = folder.parts[-5:-2]
    task, labels = task_and_labels(folder)
    return ModelName(Source(encoder, channel), method, task), labels


def task_and_labels(folder: Path) -> tuple[str, str]:
    """Give what a folder `task=<task>/labels=<labels>` names."""
    task = folder.parent.name.removeprefix(TASK)
    if not folder.name.startswith(LABELS) or folder.parent.name != f"{TASK}{task}":
        raise ValueError(f"{folder} is no folder {WANTED}")
    if task not in TASKS:
        raise ValueError(f"{folder} is of the task '{task}', wanted one of: {', '.join(TASKS)}")
    return task, folder.name.removeprefix(LABELS)


def whole_model(folder: Path) -> ModelName:
    """Give the model of a folder whose labels are all."""
    name, labels = model_and_labels(folder)
    if labels != ALL:
        raise ValueError(
            f"{folder} was trained on the labels '{labels}', wanted '{ALL}'. Give metrics of "
            "subsets as --curves."
        )
    return name


def network_of(path: Path) -> Source | ModelName:
    """Give what a file in a folder `fold=<k>` belongs to: a pre-trained encoder, or a model."""
    folder = _fold_folder(path).parent
    if len(folder.parts) >= 3 and folder.parts[-3] == "pretrain":
        return Source(*folder.parts[-2:])
    return whole_model(folder)
