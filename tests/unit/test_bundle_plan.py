"""Bundles in the plan: which models get one, what it is made from, and whose changes it notes."""

from pathlib import Path
from typing import Any

import pytest

from somnoflow.config.bundle import BundleSlice
from somnoflow.config.root import read_config
from somnoflow.grid import bundled_rows
from somnoflow.plan import Plan

DATASETS = Path(__file__).parents[2] / "workflow" / "datasets"
STUDY: dict[str, Any] = {
    "results": "out",
    "split": {"folds": 2},
    "pretrain": {"channels": ["EEG_C4"]},
    "heads": {"names": ["linear", "mamba"]},
    "finetune": {"names": ["partial-mamba", "scratch-mamba"]},
    "unimodal": {"channels": ["EEG_C4", "ECG"]},
    "synthsleepnet": {
        "channels": ["EEG_C4", "ECG"],
        "methods": ["linear", "lora-mamba2"],
        "tasks": ["apnea"],
    },
    "supervised": {"names": ["tinysleepnet"], "balance": ["published"]},
    "features": {"table": {"path": "table.parquet", "columns": ["a"]}},
    "baselines": {"yasa": ["EEG_C4"], "yasa_heads": ["boosting"], "yasa_stager": True},
    "label_efficiency": {"methods": ["linear"], "percents": [5]},
}
MODELS = {
    ("neuronet", "linear"),
    ("neuronet", "mamba"),
    ("neuronet", "partial-mamba"),
    ("neuronet", "scratch-mamba"),
    ("synthsleepnet", "linear"),
    ("synthsleepnet", "lora-mamba2"),
    ("tinysleepnet", "published"),
}


def plan(**changes: Any) -> Plan:
    values = {key: value for key, value in STUDY.items() if key != "features"}
    for section, options in changes.items():
        values[section] = {**values.get(section, {}), **options}
    return Plan(values, datasets=DATASETS)


def wildcards(encoder: str, method: str) -> dict[str, str]:
    [row] = [
        row for row in bundled_rows(plan().config) if (row.encoder, row.method) == (encoder, method)
    ]
    return row.wildcards


def given(of: Plan, encoder: str, method: str) -> BundleSlice:
    found: BundleSlice = of.slice("bundle", wildcards(encoder, method))
    return found


def test_models_of_signals_that_see_all_labels_become_bundles() -> None:
    """No table of features, no YASA, no constant answer, and no share of the labels."""
    found = bundled_rows(read_config(STUDY))
    assert {(row.encoder, row.method) for row in found} == MODELS
    assert {row.labels for row in found} == {"all"}


def test_each_has_one_zip_file_that_the_workflow_makes() -> None:
    made = plan()
    assert len(made.bundles()) == len(MODELS)
    assert "out/bundles/tinysleepnet/EEG_C4/published/task=staging/labels=all/bundle.zip" in (
        made.bundles()
    )
    planned = [one.path for one in made.artefacts() if one.rule == "bundle"]
    assert planned == made.bundles()


def test_it_is_made_of_the_first_fold() -> None:
    made = plan()
    frozen = wildcards("synthsleepnet", "linear")
    assert made.bundled_model(frozen) == [
        "out/pretrain/synthsleepnet/all/fold=0/encoder.safetensors",
        "out/heads/synthsleepnet/all/linear/task=apnea/labels=all/fold=0/head.safetensors",
    ]
    whole = wildcards("neuronet", "partial-mamba")
    at = "neuronet/EEG_C4/partial-mamba/task=staging/labels=all/fold=0"
    assert made.bundled_model(whole) == [f"out/heads/{at}/model.safetensors"]
    assert made.bundled_predictions(whole) == f"out/scores/{at}/predictions.parquet"
    assert made.bundled_labels(whole) == "out/labels/task=staging/labels=all/fold=0/labels.parquet"


def test_its_slice_names_model_and_data() -> None:
    found = given(plan(), "synthsleepnet", "lora-mamba2")
    assert (found.encoder, found.channel, found.task) == ("synthsleepnet", "all", "apnea")
    assert (found.fold, found.folds) == (0, 2)
    assert found.stride == plan().config.synthsleepnet.finetune.window
    assert [(one.name, one.simulated) for one in found.datasets] == [("simulated", True)]


# What a changed option of a training reaches.
NEURONET = {("neuronet", "linear"), ("neuronet", "mamba"), ("neuronet", "partial-mamba")}
FUSED = {("synthsleepnet", "linear"), ("synthsleepnet", "lora-mamba2")}


@pytest.mark.parametrize(
    ("changes", "reached"),
    [
        ({"pretrain": {"learning_rate": 0.5}}, NEURONET),
        ({"pretrain": {"frame_window": 2.5}}, {*NEURONET, ("neuronet", "scratch-mamba")}),
        ({"unimodal": {"passes": 9}}, FUSED),
        ({"synthsleepnet": {"learning_rate": 0.5}}, FUSED),
        ({"synthsleepnet": {"finetune": {"passes": 9}}}, {("synthsleepnet", "lora-mamba2")}),
        ({"heads": {"linear": {"passes": 9}}}, {("neuronet", "linear")}),
        ({"supervised": {"tinysleepnet": {"passes": 9}}}, {("tinysleepnet", "published")}),
        ({"report": {"hypnograms": 1}}, set()),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_how_a_model_is_trained_reaches_its_bundle_alone(
    changes: dict[str, Any], reached: set[tuple[str, str]]
) -> None:
    before, after = plan(), plan(**changes)
    assert {
        model for model in MODELS if given(before, *model).training != given(after, *model).training
    } == reached


def test_the_code_is_that_of_all_trainings_of_a_model() -> None:
    codes = {model: given(plan(), *model).code for model in MODELS}
    assert codes["neuronet", "linear"] == codes["neuronet", "mamba"]
    assert codes["neuronet", "partial-mamba"] != codes["neuronet", "scratch-mamba"]
    assert codes["synthsleepnet", "linear"] != codes["neuronet", "linear"]
