"""The plan: who works on which rows, and whose configuration a change reaches."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.laboratory import LAB

from somnoflow.config.base import ConfigError
from somnoflow.config.parse import ParseSlice
from somnoflow.io.manifest import Row, rows_digest, shard_of, write_manifest
from somnoflow.plan import Plan

SHARDS = 40
DATASET = (
    LAB
    + r"""files:
  signal: (?P<subject>S\d+)\.edf
  stages: (?P<subject>S\d+)-a\.txt
reading:
  channels: {EEG: EEG_C4}
  stages: {format: codes, stages: {"0": W}}
subsets:
  first: {title: The first ten, files: 'S00\d(\.edf|-[ab]\.txt)'}
  none: {title: Nobody, files: X}
scorings:
  b:
    title: The second scorer
    files: (?P<subject>S\d+)-b\.txt
    reading: {format: codes, stages: {"0": W}}
"""
)


def rows_of(number: int) -> list[Row]:
    subject = f"S{number:03}"
    return [
        Row(f"{subject}{end}", 5, f"{number:064}", subject, 1, role)
        for end, role in ((".edf", "signal"), ("-a.txt", "stages"), ("-b.txt", "stages"))
    ]


@pytest.fixture
def datasets(tmp_path: Path) -> Path:
    folder = tmp_path / "datasets/lab"
    folder.mkdir(parents=True)
    (folder / "dataset.yaml").write_text(DATASET)
    write(tmp_path / "datasets", range(100))
    return tmp_path / "datasets"


def write(datasets: Path, numbers: range) -> list[Row]:
    rows = [row for number in numbers for row in rows_of(number)]
    write_manifest(datasets / "lab/manifest.tsv", rows)
    return rows


def make(datasets: Path, **values: Any) -> Plan:
    base = {"datasets": ["lab"], "folders": {"lab": str(datasets)}, "shards": SHARDS}
    return Plan({**base, **values}, datasets=datasets)


def slices(plan: Plan) -> dict[tuple[str, str], str]:
    """Give what each shard's jobs depend on of the configuration and the manifest."""
    return {
        (rule, shard): plan.cfg(rule)({"dataset": "lab", "shard": shard})
        for rule in ("fetch", "check", "parse", "pack")
        for shard in map(str, plan.shards("lab"))
    }


def changed(before: Mapping[Any, str], after: Mapping[Any, str]) -> set[Any]:
    return {key for key in before | after if before.get(key) != after.get(key)}


def test_a_shard_has_the_rows_of_its_subjects(datasets: Path) -> None:
    rows = write(datasets, range(100))
    plan = make(datasets, scorings={"lab": "b"})
    used = [row for row in rows if not row.file.endswith("-a.txt")]
    for shard in plan.shards("lab"):
        own = [row for row in used if shard_of("lab", row.subject, SHARDS) == shard]
        given = json.loads(plan.cfg("fetch")({"dataset": "lab", "shard": str(shard)}))
        assert given["rows"] == rows_digest(own)
    assert plan.shards("lab") == sorted({shard_of("lab", row.subject, SHARDS) for row in rows})


def test_a_new_subject_reaches_one_shard(datasets: Path) -> None:
    before = slices(make(datasets))
    write(datasets, range(101))
    after = slices(make(datasets))
    assert changed(before, after) == {("fetch", str(shard_of("lab", "S100", SHARDS)))}


def test_a_row_elsewhere_changes_nothing(datasets: Path) -> None:
    first = {"subsets": {"lab": "first"}}
    before = slices(make(datasets, **first))
    assert len(before) == 4 * len({shard_of("lab", f"S00{n}", SHARDS) for n in range(10)})
    write(datasets, range(101))
    assert changed(before, slices(make(datasets, **first))) == set()


def test_labels_and_scaling_reach_pack_alone(datasets: Path) -> None:
    before = slices(make(datasets))
    after = slices(make(datasets, pack={"scaling": "median", "apnea_seconds": 3}))
    assert {rule for rule, _ in changed(before, after)} == {"pack"}


def test_the_order_of_channels_reaches_parse(datasets: Path) -> None:
    """The first label that a recording has is taken, so their order says which is better."""
    before = slices(make(datasets))
    described = datasets / "lab/dataset.yaml"
    labels = "{NEW AIR: AIRFLOW, AIRFLOW: AIRFLOW}"
    described.write_text(DATASET.replace("{EEG: EEG_C4}", labels))
    first = slices(make(datasets))
    given = ParseSlice.model_validate_json(first["parse", "0"])
    assert list(given.reading.channels) == ["NEW AIR", "AIRFLOW"]
    labels = "{AIRFLOW: AIRFLOW, NEW AIR: AIRFLOW}"
    described.write_text(DATASET.replace("{EEG: EEG_C4}", labels))
    for other in (before, slices(make(datasets))):
        assert {rule for rule, _ in changed(first, other)} == {"parse"}


def test_a_subset_without_files_is_an_error(datasets: Path) -> None:
    with pytest.raises(ConfigError, match="has no row of lab's none"):
        make(datasets, subsets={"lab": "none"})


def test_the_plan_imports_nothing_heavy() -> None:
    code = "import somnoflow.plan, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"numpy", "polars", "pyarrow", "torch", "scipy", "mne", "pandas", "edfio", "tqdm"}
    assert not heavy & {name.split(".")[0] for name in loaded}


FUSED: dict[str, Any] = {
    "datasets": ["simulated"],
    "unimodal": {"tasks": ["staging"]},
    "synthsleepnet": {"methods": ["linear", "lora-mamba2"], "tasks": ["staging", "apnea"]},
    "label_efficiency": {"methods": ["linear"], "encoders": ["neuronet", "synthsleepnet"]},
}


def jobs(**changes: Any) -> dict[str, str]:
    """Give what each job of SynthSleepNet beside NeuroNet depends on, by rule, encoder and path."""
    values = {key: {**value} if isinstance(value, dict) else value for key, value in FUSED.items()}
    for section, options in changes.items():
        values[section] = {**values.get(section, {}), **options}
    plan = Plan(values, datasets=Path(__file__).parents[2] / "workflow" / "datasets")
    return {
        f"{one.rule} {one.wildcards.get('encoder', '')} {one.path}": plan.cfg(one.rule)(
            one.wildcards
        )
        for one in plan.artefacts()
    }


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"synthsleepnet": {"learning_rate": 0.5}}, {"fuse synthsleepnet"}),
        ({"synthsleepnet": {"lora": {"rank": 2}}}, {"fuse synthsleepnet"}),
        ({"unimodal": {"passes": 9}}, {"pretrain unimodal"}),
        ({"unimodal": {"channels": ["EEG_C4", "EEG_C3", "EOG_L", "EMG_CHIN", "ECG"]}},
         {"pretrain unimodal"}),
        ({"pretrain": {"learning_rate": 0.5}}, {"pretrain neuronet"}),
        ({"synthsleepnet": {"linear": {"passes": 9}}}, {"head synthsleepnet", "head unimodal"}),
        ({"synthsleepnet": {"finetune": {"passes": 9}}}, {"finetune_fused synthsleepnet"}),
        ({"synthsleepnet": {"finetune": {"window": 9}}},
         {"finetune_fused synthsleepnet", "score_tuned synthsleepnet"}),
        ({"heads": {"linear": {"passes": 9}}}, {"head neuronet"}),
        ({"projection": {"perplexity": 9}}, {"project synthsleepnet"}),
        ({"evaluate": {"resamples": 200}},
         {"evaluate neuronet", "evaluate unimodal", "evaluate synthsleepnet",
          "evaluate deepsleepnet", "evaluate tinysleepnet", "evaluate seresnet_bilstm",
          "evaluate majority", "evaluate_events synthsleepnet", "evaluate_ablation "}),
        ({"supervised": {"tinysleepnet": {"learning_rate": 0.5}}}, {"train tinysleepnet"}),
        ({"supervised": {"deepsleepnet": {"tuned_learning_rate": 0.5}}}, {"train deepsleepnet"}),
        ({"supervised": {"seresnet_bilstm": {"augment": {"noise": 0.5}}}},
         {"train seresnet_bilstm"}),
        ({"explain": {"seed": 2}},
         {f"explain {model}" for model in (
             "neuronet", "synthsleepnet", "deepsleepnet", "tinysleepnet", "seresnet_bilstm")}),
    ],
    # A set has no order of its own, and each worker of the tests must find the same names.
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)  # fmt: skip
def test_an_option_reaches_the_jobs_that_it_is_for(
    changes: dict[str, Any], wanted: set[str]
) -> None:
    before, after = jobs(), jobs(**changes)
    assert before.keys() == after.keys()
    # The table of all models and a model's bundle say how it was trained, and are made anew after
    # it in any case.
    found = {key.rpartition(" ")[0] for key in changed(before, after)}
    assert {key for key in found if key.split()[0] not in ("compare", "bundle")} == wanted


@pytest.mark.parametrize(
    "changes",
    [
        {"synthsleepnet": {"tasks": ["staging", "apnea", "hypopnea"]}},
        {"synthsleepnet": {"others": {"heart": ["ECG"]}}},
        {"unimodal": {"tasks": ["staging", "apnea"]}},
        {"heads": {"tasks": ["staging", "respiratory"]}},
    ],
    ids=str,
)
def test_one_more_task_or_fusion_adds_jobs_and_changes_none(changes: dict[str, Any]) -> None:
    before, after = jobs(), jobs(**changes)
    assert before.items() < after.items()


def test_one_modality_more_leaves_the_other_encoders_alone() -> None:
    channels = ["EEG_C4", "EOG_L", "EMG_CHIN", "ECG", "AIRFLOW"]
    before, after = jobs(), jobs(unimodal={"channels": channels})
    assert before.items() < after.items()
    assert {key.split()[1] for key in after.keys() - before.keys()} == {"unimodal"}
