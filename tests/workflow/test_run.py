"""One tiny run from simulated EDF files to the report, and what it leaves behind."""

import csv
import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from tests.cluster.node import missing
from tests.workflow.project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("tiny")]

RESULTS = "results/tiny"
VOLATILE = ("run.json", "state.json")
NEURONET, FUSED = "neuronet/EEG_C4", "synthsleepnet/all"
ENCODERS = (NEURONET, "unimodal/EEG", "unimodal/ECG", FUSED)
YASA = "yasa/EEG_C4"
EMBEDDED = (NEURONET, FUSED, YASA)
STAGING, SUBSET = "task=staging/labels=all", "task=staging/labels=epochs-50-seed1"
EVENTS = "task=respiratory/labels=all"
FROZEN = (
    *(f"{NEURONET}/{head}/{STAGING}" for head in ("knn", "linear", "mamba")),
    f"{NEURONET}/linear/{SUBSET}",
    *(f"{FUSED}/linear/{labels}" for labels in (STAGING, EVENTS)),
    f"{YASA}/boosting/{STAGING}",
)
TUNED = (
    f"{NEURONET}/partial-mamba/{STAGING}",
    *(f"{FUSED}/lora-mamba2/{labels}" for labels in (STAGING, EVENTS)),
    *(
        f"{model}/EEG_C4/published/{STAGING}"
        for model in ("deepsleepnet", "tinysleepnet", "seresnet_bilstm")
    ),
)
UNTRAINED = (f"{YASA}/stager/{STAGING}", f"majority/none/constant/{STAGING}")
EXPLAINED = (TUNED[0], f"{FUSED}/linear/{STAGING}", *TUNED[3:])
MODELS = (*FROZEN, *TUNED, *UNTRAINED)
BUNDLED = tuple(model for model in (*FROZEN, *TUNED) if YASA not in model and SUBSET not in model)
FOLD = [
    *(f"embeddings/{encoder}/fold={{fold}}/index.json" for encoder in EMBEDDED),
    *(
        f"pretrain/{encoder}/fold={{fold}}/{file}"
        for encoder in ENCODERS
        for file in ("encoder.safetensors", "training.csv")
    ),
    *(
        f"labels/{labels}/fold={{fold}}/{file}"
        for labels in (STAGING, SUBSET, EVENTS)
        for file in ("labels.parquet", "counts.json")
    ),
    *(f"heads/{model}/fold={{fold}}/head.safetensors" for model in FROZEN),
    *(f"heads/{model}/fold={{fold}}/model.safetensors" for model in TUNED),
    *(f"heads/{model}/fold={{fold}}/training.csv" for model in (*FROZEN, *TUNED)),
    *(f"scores/{model}/fold={{fold}}/predictions.parquet" for model in MODELS),
    f"ablation/{FUSED}/fold={{fold}}/counts.parquet",
]
SHARD = [
    "check/dataset=simulated/shard={shard}/problems.tsv",
    "check/dataset=simulated/shard={shard}/recordings.json",
    "packed/dataset=simulated/shard={shard}/epochs.parquet",
    "packed/dataset=simulated/shard={shard}/index.json",
    "packed/dataset=simulated/shard={shard}/signals.npy",
    "raw/dataset=simulated/shard={shard}/manifest.tsv",
    "signals/dataset=simulated/shard={shard}/index.json",
    "signals/dataset=simulated/shard={shard}/part-0.parquet",
    "yasa/EEG_C4/dataset=simulated/shard={shard}/features.parquet",
    *(f"embeddings/{encoder}/fold={fold}/dataset=simulated/shard={{shard}}.parquet"
      for encoder in EMBEDDED for fold in (0, 1)),
]  # fmt: skip
ONCE = [
    f"ablation/{FUSED}/metrics.json",
    f"projection/{FUSED}/fold=0/projection.parquet",
    *(f"explain/{model}/fold=0/explanation.parquet" for model in EXPLAINED),
    *(f"comparison/comparison.{end}" for end in ("csv", "html", "tex")),
    *(f"metrics/{model}/{file}"
      for model in MODELS for file in ("metrics.json", "recordings.tsv", "calibration.json")),
    *(f"bundles/{model}/bundle.zip" for model in BUNDLED),
    *(f"raw/dataset=simulated/S000{n}{end}.edf"
      for n in (1, 2, 3, 4) for end in ("", "-annotations")),
    *(f"signals/{file}"
      for file in ("channels.tsv", "index.json", "recordings.tsv", "rejected.tsv")),
    "split/split.json",
]  # fmt: skip


def golden() -> set[str]:
    return {
        *ONCE,
        *(name.format(fold=fold) for name in FOLD for fold in (0, 1)),
        *(name.format(shard=shard) for name in SHARD for shard in (0, 1)),
    }


def artefacts(project: Project) -> dict[str, Path]:
    results = project.folder / RESULTS
    return {
        path.relative_to(results).as_posix(): path
        for path in results.rglob("*")
        if path.is_file()
        and path.relative_to(results).parts[0]
        not in {"logs", "benchmarks", "resume", "tensorboard", "report"}
        and path.name not in VOLATILE
    }


def test_every_expected_file_is_there_and_no_other(finished: Project) -> None:
    assert set(artefacts(finished)) == golden()
    assert (finished.folder / RESULTS / "report/index.html").exists()


def test_a_second_run_has_nothing_to_do(finished: Project) -> None:
    assert "Nothing to be done" in finished.snakemake("all")


@pytest.mark.skipif(not missing(), reason="test_slurm.py repeats a run on a cluster")
def test_another_run_of_a_fold_gives_the_same_bytes(finished: Project, tmp_path: Path) -> None:
    again = Project.copy(tmp_path)
    asked = {name.format(fold=0) for name in FOLD} | {name for name in ONCE if "fold=0" in name}
    again.snakemake(*(f"{RESULTS}/{name}" for name in sorted(asked)))
    first, second = artefacts(finished), artefacts(again)
    assert asked < set(second) < set(first)
    different = [name for name in second if first[name].read_bytes() != second[name].read_bytes()]
    assert not different


def test_run_json_stands_beside_every_artefact(finished: Project) -> None:
    runs = sorted((finished.folder / RESULTS).rglob("run.json"))
    modules = Counter(json.loads(path.read_text())["module"].rsplit(".", 1)[1] for path in runs)
    assert modules == {
        "simulate": 2, "check": 2, "parse": 2, "pack": 2, "index": 1, "split": 1, "pretrain": 6,
        "fuse": 2, "subset": 6, "embed": 4, "head": 14, "finetune": 2, "finetune_fused": 4,
        "train": 6, "yasa": 2, "embed_yasa": 2, "score_yasa": 2, "score_majority": 2,
        "score": 14, "score_tuned": 12, "evaluate": 13, "evaluate_events": 2, "ablate": 2,
        "evaluate_ablation": 1, "project": 1, "explain": 5, "bundle": 11, "compare": 1, "report": 1,
    }  # fmt: skip
    wanted = {
        "module", "code", "arguments", "inputs", "outputs", "versions", "device", "git_commit",
        "started", "seconds", "peak_memory_mib", "platform",
    }  # fmt: skip
    for path in runs:
        assert set(json.loads(path.read_text())) == wanted


def test_epochs_add_up_from_the_edf_files_to_the_metrics(finished: Project) -> None:
    results = finished.folder / RESULTS
    with (results / "signals/recordings.tsv").open() as file:
        epochs = sum(int(row["epochs"]) for row in csv.DictReader(file, delimiter="\t"))
    parquet = pl.scan_parquet(results / "signals/**/*.parquet").select(pl.len()).collect().item()
    assert epochs == 4 * 12 == parquet
    for model in (*FROZEN, *TUNED):
        counts = json.loads((results / f"metrics/{model}/metrics.json").read_text())["counts"]
        kinds = ("judged", "unlabelled") if EVENTS in model else ("scored", "unscored")
        assert counts["epochs"] == epochs
        assert sum(counts[kind] for kind in (*kinds, "unusable")) == epochs


def test_no_subject_has_two_roles(finished: Project) -> None:
    split = json.loads((finished.folder / RESULTS / "split/split.json").read_text())
    for fold in split["folds"]:
        roles = [set(fold[role]) for role in ("train", "val", "test")]
        assert sum(map(len, roles)) == len(set.union(*roles)) == 4
        assert not set(fold["pretrain"]) & (roles[1] | roles[2])


def test_of_a_finished_training_only_its_results_are_kept(finished: Project) -> None:
    results = finished.folder / RESULTS
    for fold in (0, 1):
        made = results / f"pretrain/{NEURONET}/fold={fold}"
        (kept,) = (results / f"resume/pretrain/{NEURONET}/fold={fold}").iterdir()
        assert sorted(path.name for path in kept.iterdir()) == [
            "sha256.json",
            "training.csv",
            "weights.safetensors",
        ]
        for one, other in (
            ("weights.safetensors", "encoder.safetensors"), ("training.csv", "training.csv"),
        ):  # fmt: skip
            assert (kept / one).read_bytes() == (made / other).read_bytes()


def verdicts(project: Project) -> tuple[int, Counter[str], str]:
    done = project.somnoflow("check", "--configfile", project.configfile)
    assert not done.stderr, done.stderr
    lines = done.stdout.splitlines()[:-1]
    return done.returncode, Counter(line.split()[0] for line in lines), done.stdout


def test_check_finds_everything_fresh(finished: Project) -> None:
    code, counts, _ = verdicts(finished)
    assert (code, counts) == (0, {"fresh": 125})


def test_check_names_the_option_that_changed(editable: Project) -> None:
    old = "pretrain:\n  passes: 2\n  batch_size: 16"
    editable.edit("config/tiny.yaml", old, old.replace("16", "8"))
    code, counts, text = verdicts(editable)
    assert code == 1
    # Of NeuroNet everything, of SynthSleepNet nothing.
    assert counts == {"fresh": 89, "stale": 36}
    assert "the configuration changed: recipe.batch_size was 16, is 8" in text


def test_check_names_the_code_that_changed(editable: Project) -> None:
    path = editable.folder / "src/somnoflow/evaluate/metrics.py"
    path.write_text(path.read_text() + "\nUNUSED = 1\n")
    _, counts, text = verdicts(editable)
    assert counts == {"fresh": 100, "stale": 25}
    assert "the code of somnoflow.commands.evaluate changed" in text


def test_check_finds_a_result_that_was_edited(editable: Project) -> None:
    split = editable.folder / RESULTS / "split/split.json"
    split.write_text(split.read_text().replace('"fold": 0', '"fold":  0'))
    _, counts, text = verdicts(editable)
    assert counts == {"fresh": 13, "stale": 112}
    assert "split.json has changed" in text


def test_check_finds_a_recording_that_was_replaced(editable: Project) -> None:
    raw = editable.folder / RESULTS / "raw/dataset=simulated/S0002.edf"
    raw.write_bytes(raw.read_bytes() + b"x")
    _, _, text = verdicts(editable)
    assert "the raw file S0002.edf has changed" in text


def test_check_says_what_is_missing(editable: Project) -> None:
    (editable.folder / RESULTS / "report/index.html").unlink()
    code, counts, _ = verdicts(editable)
    assert (code, counts) == (1, {"fresh": 124, "missing": 1})
