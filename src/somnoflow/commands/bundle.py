"""Put a trained model, and all that is needed to use and to judge it, into one zip file."""

import json
import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
from safetensors import SafetensorError, safe_open

from somnoflow.bundles.about import (
    ENCODER,
    HEAD,
    MODEL,
    BundleAbout,
    BundleRow,
    Calibration,
    ClassMeasure,
    Measure,
    Metrics,
    Review,
    Training,
)
from somnoflow.bundles.bundle import write_bundle
from somnoflow.bundles.card import write_card
from somnoflow.config.bundle import BundleSlice
from somnoflow.config.unimodal import modality_of
from somnoflow.data.subsets import read_labels
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.evaluate.predictions import scan_columns
from somnoflow.io.digest import sha256_file, sha256_json
from somnoflow.methods import tuning_of
from somnoflow.report.naming import BASE, SCRATCH, SYNTHSLEEPNET, UNIMODAL, ModelName, Source
from somnoflow.report.tables import count, plural
from somnoflow.tasks import TASKS, UNKNOWN, Task
from somnoflow.training.roles import Roles, read_roles

log = logging.getLogger(__name__)

# How the names of encoders begin that are trained without labels first.
PRETRAINED = (BASE, UNIMODAL, SYNTHSLEEPNET)
# Names in metrics.json of what a bundle says of events.
OF_EVENTS = {
    "average_precision": "auprc",
    **{name: name for name in ("f1", "sensitivity", "specificity", "kappa")},
}
OF_STAGES = ("accuracy", "macro_f1", "kappa")


def bundle(
    *,
    model: Inputs,
    predictions: Input,
    metrics: Input,
    calibration: Input,
    labels: Input,
    split: Input,
    bundle: Output,
    cfg: BundleSlice,
) -> None:
    """Write a bundle: weights, model.json and a model card.

    Parameters
    ----------
    model
        Weights of the fold: a whole model, or a frozen encoder and its head.
    predictions
        Of the same fold; its validation subjects chose the threshold of an event.
    metrics, calibration
        JSON of all folds together.
    labels
        Parquet with the keys of the epochs that the model was trained on.
    split
        Folds and roles.
    bundle
        Zip file, see `somnoflow.bundles.bundle`.
    cfg
        Which model, how its signals were made, and the datasets.
    """
    task = TASKS[cfg.task]
    roles = read_roles(split, fold=cfg.fold)
    files = dict(zip((MODEL,) if len(model) == 1 else (ENCODER, HEAD), model, strict=True))
    channels = read_channels(model[0])
    row = BundleRow(**{name: getattr(cfg, name) for name in BundleRow.model_fields})
    threshold, val_epochs = _chosen(predictions, task=task)
    about = BundleAbout(
        name="-".join([cfg.encoder, cfg.channel, cfg.method, cfg.task]),
        title=ModelName(Source(cfg.encoder, cfg.channel), cfg.method, cfg.task).title,
        somnoflow=version("somnoflow"),
        task=cfg.task,
        classes=list(task.classes),
        row=row,
        channels=channels,
        modalities=list(dict.fromkeys(map(modality_of, channels))),
        sampling_rate=cfg.signals.sampling_rate,
        stride=cfg.stride,
        signals=cfg.signals,
        pack=cfg.pack,
        training=describe_training(read_labels(labels), roles=roles, task=task, cfg=cfg),
        metrics=excerpt(_read(metrics), task=task, tested=_tested(split), cfg=cfg),
        calibration=_calibration(_read(calibration), path=calibration, epochs=val_epochs, cfg=cfg),
        threshold=threshold,
        weights={name: sha256_file(path) for name, path in files.items()},
        code=cfg.code,
        config=sha256_json(cfg.model_dump(mode="json")),
    )
    write_bundle(bundle, about, files, write_card(about))
    log.info("%s: %s", about.name, about.training.statement)


def read_channels(path: Path) -> list[str]:
    """Give the channels that a model reads, from the header of its weights.

    Raises
    ------
    ValueError
        When the file is damaged or says none.
    """
    try:
        # Not through torch, which takes a second to import.
        with safe_open(path, framework="np") as file:
            about = json.loads((file.metadata() or {}).get("somnoflow", "{}"))
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}). Delete it, and it is made again") from error
    # A fine-tuned model of one channel names no others.
    channels = about.get("channels") or [about.get("channel")]
    if channels == [None]:
        raise ValueError(
            f"{path} does not say which channels it reads, wanted `channels` in its header. Delete "
            "it, and it is made again"
        )
    return list(channels)


def describe_training(
    labels: pl.DataFrame, *, roles: Roles, task: Task, cfg: BundleSlice
) -> Training:
    """Say who the weights of the fold were trained on.

    Parameters
    ----------
    labels
        Keys (`dataset` to `epoch`) of the labelled usable epochs that they were trained on.
    roles
        Of the fold's subjects.
    task, cfg
        What was asked, and which model it is.
    """
    hidden = sorted(set(roles.pretrain) - set(labels["subject"])) if _pretrained(cfg) else []
    seen = _datasets([*labels["subject"].unique(), *hidden])
    datasets = [dataset for dataset in cfg.datasets if dataset.name in seen]
    trained = Training(
        datasets=datasets,
        subjects=labels["subject"].n_unique(),
        recordings=labels.select("dataset", "recording").n_unique(),
        epochs=labels.height,
        fold=cfg.fold,
        folds=cfg.folds,
        statement="-",
    )
    kind = "stage" if task.name == "staging" else "label"
    said = [
        f"The weights are those of fold {cfg.fold} of {cfg.folds} (numbered from 0), trained on "
        f"{count(trained.epochs)} epochs with a {kind} and a usable signal, from "
        f"{plural(trained.recordings, 'recording')} of {plural(trained.subjects, 'subject')}.",
        f"{plural(len(roles.val), 'other subject')} of the fold made every choice (when to stop, "
        f"threshold, temperature); {plural(len(roles.test), 'test subject')} had no part.",
    ]
    if _pretrained(cfg):
        said.append(
            "The encoder was pre-trained without labels on "
            f"{plural(len(roles.pretrain), 'subject')}"
            + (f", {count(len(hidden))} of them not among the former." if hidden else ".")
        )
    if simulated := _simulated(seen, cfg=cfg):
        said.append(f"{simulated} of these subjects are simulated.")
    return trained.model_copy(update={"statement": " ".join(said)})


def excerpt(
    metrics: Mapping[str, Any], *, task: Task, tested: Sequence[str], cfg: BundleSlice
) -> Metrics:
    """Give what a bundle says of metrics.json, and of whom the numbers are.

    Parameters
    ----------
    metrics
        Of all folds.
    task
        What was asked.
    tested
        Test subjects of all folds.
    cfg
        Which fold the weights are of.
    """
    pooled, intervals = metrics["pooled"], metrics["intervals"]
    if task.rare:
        values = {
            name: _measure(pooled[key], intervals.get(key)) for name, key in OF_EVENTS.items()
        }
        values["prevalence"] = _measure(metrics["prevalence"], None)
        behind = (metrics.get("calibration") or {}).get(str(cfg.fold))
        if behind is not None:
            values["events_per_epoch"] = _measure(behind["events_per_epoch"], None)
        compared, per_class = metrics["counts"]["judged"], {}
    else:
        values = {name: _measure(pooled[name], intervals.get(name)) for name in OF_STAGES}
        compared = metrics["counts"]["scored"]
        per_class = {
            name: ClassMeasure(
                value=pooled["per_class"][name]["f1"],
                interval=intervals["f1"][name],
                epochs=pooled["per_class"][name]["support"],
            )
            for name in task.classes
        }
    return Metrics(
        statement=_of_whom(tested, cfg=cfg),
        subjects=metrics["subjects"],
        recordings=metrics["recordings"],
        epochs=compared,
        confidence=None if intervals.get("reason") else intervals["confidence"],
        values=values,
        per_class=per_class,
    )


def _of_whom(tested: Sequence[str], *, cfg: BundleSlice) -> str:
    if cfg.folds == 1:
        said = "The numbers are these weights' own, on subjects that had no part in training them."
    else:
        said = (
            f"The numbers are of the test subjects of all {cfg.folds} folds together, each tested "
            "by a model that was trained in the same way on others; they are not of these weights "
            f"alone, which are those of fold {cfg.fold}."
        )
    simulated = _simulated(_datasets(tested), cfg=cfg)
    return f"{said} {simulated} of the test subjects are simulated." if simulated else said


def _pretrained(cfg: BundleSlice) -> bool:
    return cfg.encoder.startswith(PRETRAINED) and tuning_of(cfg.method) != SCRATCH


def _datasets(subjects: Sequence[str]) -> set[str]:
    """Give the datasets of subjects, which are named `dataset/subject`."""
    return {subject.partition("/")[0] for subject in subjects}


def _simulated(datasets: set[str], *, cfg: BundleSlice) -> str:
    """Tell whether all or some of the subjects of these datasets are simulated; else nothing."""
    kinds = {dataset.simulated for dataset in cfg.datasets if dataset.name in datasets}
    return "" if True not in kinds else "Some" if False in kinds else "All"


def _measure(value: float | None, interval: Sequence[float] | None) -> Measure:
    return Measure(value=value, interval=None if interval is None else (interval[0], interval[1]))


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _tested(split: Path) -> list[str]:
    return [subject for fold in _read(split)["folds"] for subject in fold["test"]]


def _chosen(predictions: Path, *, task: Task) -> tuple[float | None, int]:
    """Give the threshold of an event, and how many epochs of validation subjects chose it."""
    label = "label" if task.rare else task.column
    event = ["threshold"] if task.rare else []
    rows = scan_columns(predictions, columns=["role", "usable", label, *event])
    table = rows.filter("usable", pl.col("role") == "val", pl.col(label) != UNKNOWN).collect()
    return (float(table["threshold"][0]) if event else None), table.height


def _calibration(
    content: Mapping[str, Any], *, path: Path, epochs: int, cfg: BundleSlice
) -> Calibration:
    own = [fold for fold in content["folds"] if fold["fold"] == cfg.fold]
    if not own:
        raise ValueError(
            f"{path} has the folds {[fold['fold'] for fold in content['folds']]}, wanted fold "
            f"{cfg.fold}. Make it again with the rule evaluate"
        )
    test = content["test"]
    return Calibration(
        temperature=own[0]["temperature"],
        ece_before=own[0]["ece_before"],
        ece_after=own[0]["ece_after"],
        val_epochs=epochs,
        test_ece_before=test["before"]["ece"],
        test_ece_after=test["after"]["ece"],
        review=Review(**{name: test["review"][name] for name in Review.model_fields}),
        reason=own[0].get("reason"),
    )


if __name__ == "__main__":
    command(bundle)
