"""A bundle of a trained model: its numbers are those of its files, and its words are honest."""

import json
import struct
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from somnoflow.bundles.bundle import Bundle, open_bundle
from somnoflow.commands.bundle import bundle, read_channels
from somnoflow.config.bundle import BundleDataset, BundleSlice
from somnoflow.config.pack import Pack
from somnoflow.config.signals import Signals
from somnoflow.io.digest import sha256_file

REAL = BundleDataset(name="lab", title="A lab", licence="CC0", citation="Doe", simulated=False)
MADE = BundleDataset(name="sim", title="Made nights", licence="CC0", citation="-", simulated=True)
ROLES = {
    "pretrain": ["lab/1", "lab/2", "lab/9"],
    "train": ["lab/1", "lab/2"],
    "val": ["lab/3"],
    "test": ["lab/4"],
}
OTHER = {"pretrain": ["lab/4"], "train": ["lab/4"], "val": ["lab/1"], "test": ["lab/2", "lab/3"]}
STAGES = ("W", "N1", "N2", "N3", "REM")
STAGED: dict[str, Any] = {
    "subjects": 3,
    "recordings": 4,
    "counts": {"scored": 77, "epochs": 90},
    "pooled": {
        "accuracy": 0.81,
        "macro_f1": 0.7,
        "kappa": 0.72,
        "per_class": {name: {"f1": 0.5, "support": 15} for name in sorted(STAGES)},
    },
    "intervals": {
        "confidence": 0.9,
        "reason": None,
        "accuracy": [0.7, 0.9],
        "macro_f1": [0.6, 0.8],
        "kappa": [0.61, 0.83],
        "f1": {**{name: [0.4, 0.6] for name in STAGES}, "REM": None},
    },
}
FOUND: dict[str, Any] = {
    "subjects": 3,
    "recordings": 4,
    "counts": {"judged": 66},
    "prevalence": 0.2,
    "pooled": {
        "auprc": 0.45, "f1": 0.5, "sensitivity": 0.6, "specificity": 0.9, "kappa": None,
    },
    "intervals": {"confidence": 0.9, "reason": None, "auprc": [0.3, 0.6], "kappa": None},
}  # fmt: skip


def write_weights(path: Path, **about: Any) -> Path:
    """Write a safetensors file of no tensor, as its format says."""
    header = json.dumps({"__metadata__": {"somnoflow": json.dumps(about)}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path


def make(folder: Path, *, parts: int = 1, **changes: Any) -> Bundle:
    """Make a bundle from small files; `changes` replace them, or fields of the slice."""
    task = changes.get("task", "staging")
    rare = task != "staging"
    names = ["model"] if parts == 1 else ["encoder", "head"]
    models = [
        write_weights(folder / f"{name}.safetensors", channels=["EEG_C4", "ECG"]) for name in names
    ]
    labels = pl.DataFrame(
        {
            "dataset": ["lab"] * 5,
            "subject": ["lab/1", "lab/1", "lab/1", "lab/2", "lab/2"],
            "recording": ["a", "a", "b", "c", "c"],
            "epoch": range(5),
        }
    )
    columns = {"label": [0, 1, -1, 0, 1], "threshold": [0.3] * 5} if rare else {}
    predictions = pl.DataFrame(
        {
            "role": ["val", "val", "val", "val", "test"],
            "usable": [True, True, True, False, True],
            "stage": [0, 2, -1, 1, 3],
            **columns,
        }
    )
    folds = [{"fold": 0, **ROLES}, {"fold": 1, **OTHER}]
    review = {"share": 0.8, "epochs": 77, "kept": 62, "kept_accuracy": 0.9, "all_accuracy": 0.81}
    ece: dict[str, Any] = {"before": {"ece": 0.11}, "after": {"ece": 0.04}}
    ece["review"] = {**review, "review_accuracy": 0.45}
    temperature = {"temperature": 1.25, "ece_before": 0.2, "ece_after": 0.1}
    contents = {
        "split": {"folds": folds},
        "metrics": FOUND if rare else STAGED,
        "calibration": {"folds": [{"fold": 0, **temperature}], "test": ece},
    }
    contents |= {name: changes.pop(name) for name in list(contents) if name in changes}
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    labels.write_parquet(folder / "labels.parquet")
    predictions.write_parquet(folder / "predictions.parquet")
    cfg = BundleSlice.model_validate(
        {
            "encoder": "neuronet",
            "channel": "EEG_C4",
            "method": "linear",
            "task": task,
            "labels": "all",
            "fold": 0,
            "folds": 2,
            "stride": 1,
            "signals": Signals(),
            "pack": Pack(),
            "datasets": [REAL, MADE],
            "code": "c" * 64,
            "training": "t" * 64,
            **changes,
        }
    )
    bundle(
        model=models,
        predictions=folder / "predictions.parquet",
        metrics=folder / "metrics.json",
        calibration=folder / "calibration.json",
        labels=folder / "labels.parquet",
        split=folder / "split.json",
        bundle=folder / "bundle.zip",
        cfg=cfg,
    )
    with open_bundle(folder / "bundle.zip") as opened:
        (folder / "card.md").write_text(opened.card)
        return opened


def card(folder: Path) -> str:
    return (folder / "card.md").read_text()


def test_a_stager_is_described(tmp_path: Path) -> None:
    about = make(tmp_path).about
    assert about.name == "neuronet-EEG_C4-linear-staging"
    assert about.channels == ["EEG_C4", "ECG"]
    assert about.modalities == ["EEG", "ECG"]
    assert about.weights == {"model.safetensors": sha256_file(tmp_path / "model.safetensors")}
    assert about.metrics.values["kappa"].interval == (0.61, 0.83)
    assert about.metrics.per_class["REM"].interval is None
    assert (about.metrics.epochs, about.metrics.subjects) == (77, 3)
    assert about.calibration.temperature == 1.25
    assert about.calibration.val_epochs == 2
    assert about.calibration.test_ece_after == 0.04
    assert about.threshold is None


def test_an_event_has_the_threshold_of_its_fold(tmp_path: Path) -> None:
    about = make(tmp_path, task="apnea", parts=2).about
    assert about.threshold == pytest.approx(0.3)
    assert about.calibration.val_epochs == 2
    assert about.metrics.epochs == 66
    assert about.metrics.values["average_precision"].interval == (0.3, 0.6)
    assert about.metrics.values["prevalence"].value == 0.2
    assert about.metrics.per_class == {}
    assert list(about.weights) == ["encoder.safetensors", "head.safetensors"]
    assert "apnea from EEG_C4, ECG" in card(tmp_path)


def test_it_counts_who_was_trained_on_and_nobody_else(tmp_path: Path) -> None:
    training = make(tmp_path).about.training
    assert (training.subjects, training.recordings, training.epochs) == (2, 3, 5)
    assert [dataset.name for dataset in training.datasets] == ["lab"]
    assert "fold 0 of 2" in training.statement
    assert "1 other subject of the fold made every choice" in training.statement
    assert "pre-trained without labels on 3 subjects, 1 of them not among" in training.statement
    assert "simulated" not in training.statement


def test_the_metrics_are_said_to_be_of_all_folds(tmp_path: Path) -> None:
    said = make(tmp_path).about.metrics.statement
    assert "test subjects of all 2 folds together" in said
    assert "not of these weights alone, which are those of fold 0" in said
    assert "simulated" not in said


def test_of_one_fold_the_metrics_are_the_weights_own(tmp_path: Path) -> None:
    split = {"folds": [{"fold": 0, **ROLES}]}
    assert "these weights' own" in make(tmp_path, folds=1, split=split).about.metrics.statement


@pytest.mark.parametrize("encoder", ["tinysleepnet", "seresnet_bilstm"])
def test_supervised_models_saw_nobody_without_labels(tmp_path: Path, encoder: str) -> None:
    said = make(tmp_path, encoder=encoder, method="plain").about.training.statement
    assert "pre-trained" not in said


def test_simulated_data_is_called_so(tmp_path: Path) -> None:
    about = make(tmp_path, datasets=[REAL.model_copy(update={"simulated": True})]).about
    assert "All of these subjects are simulated" in about.training.statement
    assert "All of the test subjects are simulated" in about.metrics.statement
    assert "**Trained on simulated nights.**" in card(tmp_path)
    assert "simulated). Licence" in card(tmp_path)


def test_a_dataset_that_only_pre_trained_is_named(tmp_path: Path) -> None:
    roles = {**ROLES, "pretrain": ["lab/1", "lab/2", "sim/1"]}
    split = {"folds": [{"fold": 0, **roles}, {"fold": 1, **OTHER}]}
    training = make(tmp_path, split=split).about.training
    assert [dataset.name for dataset in training.datasets] == ["lab", "sim"]
    assert "Some of these subjects are simulated" in training.statement
    assert "**Trained on simulated nights, among others.**" in card(tmp_path)


def test_the_card_says_what_a_user_must_know(tmp_path: Path) -> None:
    make(tmp_path)
    said = card(tmp_path)
    for part in (
        "somnoflow score night.edf --model bundle.zip",
        "NeuroNet (arXiv 2404.17585)",
        "| Filter of EEG | 0.5 to 40 Hz |",
        "**A lab** (`lab`, real). Licence: CC0. Citation: Doe",
        "| Kappa | 0.720 [0.610, 0.830] |",
        "| REM | 0.500 | 15 |",
        "90 % intervals over subjects",
        "Temperature 1.25, fitted to 2 epochs",
        "0.110 before, 0.040 after",
        "no medical device",
        "c" * 64,
    ):
        assert part in said
    assert "AIRFLOW" not in said
    assert said.index("| W |") < said.index("| N1 |") < said.index("| REM |")


def test_no_temperature_is_said_with_its_reason(tmp_path: Path) -> None:
    fold = {"fold": 0, "temperature": None, "ece_before": None, "ece_after": None}
    review = dict.fromkeys(("kept_accuracy", "all_accuracy", "review_accuracy"))
    none: dict[str, Any] = {"before": {"ece": None}, "after": {"ece": None}}
    none["review"] = {"share": 0.8, "epochs": 0, **review}
    content = {"folds": [{**fold, "reason": "one class"}], "test": none}
    about = make(tmp_path, calibration=content).about
    assert about.calibration.temperature is None
    assert "no temperature could be fitted: one class." in card(tmp_path)
    assert "left to review" not in card(tmp_path)


def test_what_a_review_is_worth_is_told(tmp_path: Path) -> None:
    review = make(tmp_path).about.calibration.review
    assert review is not None
    assert (review.share, review.epochs, review.review_accuracy) == (0.8, 77, 0.45)
    assert "Of the 80 % of their epochs" in card(tmp_path)
    assert "left to review 0.45" in card(tmp_path)


def test_events_behind_an_epoch_are_told_where_they_are_known(tmp_path: Path) -> None:
    known = {"0": {"events_per_epoch": 0.9}, "1": {"events_per_epoch": 0.7}}
    about = make(tmp_path, task="respiratory", metrics={**FOUND, "calibration": known}).about
    assert about.metrics.values["events_per_epoch"].value == 0.9
    about = make(tmp_path, task="apnea", metrics={**FOUND, "calibration": None}).about
    assert "events_per_epoch" not in about.metrics.values


def test_too_few_subjects_for_intervals_leave_them_out(tmp_path: Path) -> None:
    nothing = dict.fromkeys(("accuracy", "macro_f1", "kappa"))
    intervals = {**STAGED["intervals"], **nothing, "f1": dict.fromkeys(STAGES), "reason": "1"}
    about = make(tmp_path, metrics={**STAGED, "intervals": intervals}).about
    assert about.metrics.confidence is None
    assert "intervals over subjects" not in card(tmp_path)


def test_the_same_files_are_the_same_bytes(tmp_path: Path) -> None:
    digests = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        make(tmp_path / name)
        digests.append(sha256_file(tmp_path / name / "bundle.zip"))
    assert digests[0] == digests[1]


def test_another_fold_s_calibration_is_refused(tmp_path: Path) -> None:
    content = {"folds": [{"fold": 1}], "test": {}}
    with pytest.raises(ValueError, match=r"calibration.json has the folds \[1\], wanted fold 0"):
        make(tmp_path, calibration=content)


def test_channels_come_from_the_weights(tmp_path: Path) -> None:
    assert read_channels(write_weights(tmp_path / "a", channel="EEG_C3")) == ["EEG_C3"]
    with pytest.raises(ValueError, match="does not say which channels"):
        read_channels(write_weights(tmp_path / "b"))
    (tmp_path / "c").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="is damaged"):
        read_channels(tmp_path / "c")
