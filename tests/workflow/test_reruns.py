"""A change reruns what depends on it, and nothing else."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workflow.project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("tiny")]

FOLDS, SHARDS = 2, 2
# Of NeuroNet: frozen heads (three, one of them also on half of the labels), a fine-tuned model.
HEADS, TUNED = 4, 1
# Of SynthSleepNet: a frozen and a fine-tuned model of each of two tasks, stages and events.
TASKS, MODALITIES = 2, 2
SUPERVISED = 3
# The table of all models is made once, and so is the report.
REPORT = {"report": 1}
JUDGED = {"compare": 1, **REPORT}


def together(*parts: dict[str, int]) -> dict[str, int]:
    """Add up jobs by rule, but the one comparison and the one report."""
    jobs: Counter[str] = Counter()
    for part in parts:
        jobs.update(part)
    return {**jobs, **JUDGED}


# Each model that sees all labels becomes a bundle when it has been judged.
HEAD = {
    "head": FOLDS * HEADS, "score": FOLDS * HEADS, "evaluate": HEADS, "bundle": HEADS - 1,
    **JUDGED,
}  # fmt: skip
FINETUNE = {
    "finetune": FOLDS * TUNED, "score_tuned": FOLDS * TUNED, "explain": TUNED,
    "evaluate": TUNED, "bundle": TUNED, **JUDGED,
}  # fmt: skip
PRETRAIN = together({"pretrain": FOLDS, "embed": FOLDS}, HEAD, FINETUNE)
FUSE = {
    "fuse": FOLDS, "embed": FOLDS, "project": 1,
    "head": FOLDS * TASKS, "score": FOLDS * TASKS,
    "finetune_fused": FOLDS * TASKS, "score_tuned": FOLDS * TASKS, "explain": 1,
    "ablate": FOLDS, "evaluate_ablation": 1, "evaluate": 2, "evaluate_events": 2,
    "bundle": TASKS * 2, **JUDGED,
}  # fmt: skip
UNIMODAL = together({"pretrain": FOLDS * MODALITIES}, FUSE)
ENCODERS = together(PRETRAIN, UNIMODAL)
RESCORED = {
    "score_tuned": FOLDS * SUPERVISED, "explain": SUPERVISED, "evaluate": SUPERVISED,
    "bundle": SUPERVISED, **JUDGED,
}  # fmt: skip
TRAIN = together({"train": FOLDS * SUPERVISED}, RESCORED)
BOOSTING = {"head": FOLDS, "score": FOLDS, "evaluate": 1, **JUDGED}
ONE_HEAD = {**BOOSTING, "bundle": 1}
MAJORITY = {"score_majority": FOLDS, "evaluate": 1, **JUDGED}
STAGER = {"score_yasa": FOLDS, "evaluate": 1, **JUDGED}
BUNDLES = {"bundle": HEADS - 1 + TUNED + TASKS * 2 + SUPERVISED}
EVALUATE = {
    "evaluate": HEADS + TUNED + 2 + SUPERVISED + 3, "evaluate_events": 2, "evaluate_ablation": 1,
    **BUNDLES, **JUDGED,
}  # fmt: skip
SUBSET = together({"subset": FOLDS * 3}, ENCODERS, TRAIN, BOOSTING, MAJORITY)
INDEX = together({"index": 1, "split": 1}, SUBSET, STAGER)
YASA = {"embed_yasa": FOLDS}
PARSE = together({"parse": SHARDS, "pack": SHARDS, "yasa": SHARDS}, YASA, INDEX)
PACK = together({"pack": SHARDS}, YASA, SUBSET)
ONE_SHARD = together({"parse": 1, "pack": 1, "yasa": 1}, YASA, INDEX)
LINEAR = {"head": FOLDS * 2, "score": FOLDS * 2, "evaluate": 2, "bundle": 1, **JUDGED}

Edit = Callable[[Project], None]


def edit(file: str, old: str, new: str) -> Edit:
    return lambda project: project.edit(file, old, new)


def append(file: str, text: str) -> Edit:
    def run(project: Project) -> None:
        path = project.folder / file
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")

    return run


def touch_everything(project: Project) -> None:
    for path in sorted(project.folder.rglob("*")):
        if ".snakemake" not in path.parts and path.is_file():
            os.utime(path)


def replace_under_old_time(project: Project) -> None:
    """Change one byte of a recording's signal and set its old modification time again."""
    path = raw_recording(project)
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def raw_recording(project: Project) -> Path:
    return project.folder / "results/tiny/raw/dataset=simulated/S0001.edf"


SOURCE = "src/somnoflow"
CASES: dict[str, tuple[Edit, dict[str, int]]] = {
    "nothing": (lambda project: None, {}),
    "comment in the code": (append(f"{SOURCE}/data/parsing.py", "\n# a remark\n"), {}),
    "docstring": (
        edit(f"{SOURCE}/data/parsing.py", '"""Parse one recording.', '"""Read one recording.'),
        {},
    ),
    "description of an option": (
        edit(f"{SOURCE}/config/pretrain.py", "AdamW's weight decay", "Decay of the weights"),
        {},
    ),
    "touch everything": (touch_everything, {}),
    "citation of a dataset": (
        edit("workflow/datasets/simulated/dataset.yaml", "citation: none", "citation: nothing"),
        BUNDLES,
    ),
    "learning rate": (
        edit("config/tiny.yaml", "pretrain:\n", "pretrain:\n  learning_rate: 0.002\n"),
        PRETRAIN,
    ),
    "SynthSleepNet's training": (
        edit("config/tiny.yaml", "synthsleepnet:\n", "synthsleepnet:\n  learning_rate: 0.002\n"),
        FUSE,
    ),
    "training of single modalities": (
        edit("config/tiny.yaml", "unimodal:\n", "unimodal:\n  learning_rate: 0.002\n"),
        UNIMODAL,
    ),
    "one more task": (
        edit("config/tiny.yaml", "[staging, respiratory]", "[staging, respiratory, hypopnea]"),
        {
            "subset": FOLDS,
            "head": FOLDS,
            "score": FOLDS,
            "finetune_fused": FOLDS,
            "score_tuned": FOLDS,
            "evaluate_events": 2,
            "bundle": 2,
            **JUDGED,
        },
    ),
    "picture of the embeddings": (
        edit("config/tiny.yaml", "evaluate:\n", "projection:\n  perplexity: 9\nevaluate:\n"),
        {"project": 1, **REPORT},
    ),
    "linear probe": (
        edit("config/tiny.yaml", "    passes: 2\n  knn:", "    passes: 3\n  knn:"),
        LINEAR,
    ),
    "context module, and with it how nights are cut": (
        edit("config/tiny.yaml", "context:\n    window: 5", "context:\n    window: 4"),
        ONE_HEAD,
    ),
    "overlapping windows": (
        edit("config/tiny.yaml", "  context:\n", "  score_stride: 2\n  context:\n"),
        {"score": FOLDS, "evaluate": 1, "bundle": 1, **JUDGED},
    ),
    "fine-tuning": (
        edit(
            "config/tiny.yaml", "finetune:\n  names", "finetune:\n  learning_rate: 0.002\n  names"
        ),
        FINETUNE,
    ),
    "one more head": (
        edit("config/tiny.yaml", "[linear, knn, mamba]", "[linear, knn, mamba, lstm]"),
        ONE_HEAD,
    ),
    "one more variant of pre-training": (
        edit(
            "config/tiny.yaml",
            "pretrain:\n",
            "pretrain:\n  variants: {masked: {objective: masked}}\n",
        ),
        {
            "pretrain": FOLDS,
            "embed": FOLDS,
            "head": FOLDS * 3,
            "score": FOLDS * 3,
            "evaluate": 3,
            "bundle": 3,
            **JUDGED,
        },
    ),
    "one more share of the labels": (
        edit("config/tiny.yaml", "percents: [50]", "percents: [50, 100]"),
        {"subset": FOLDS, "head": FOLDS, "score": FOLDS, "evaluate": 1, **REPORT},
    ),
    "cropped wake": (
        edit("config/tiny.yaml", "shards: 2", "shards: 2\nsignals:\n  wake_margin_minutes: 1"),
        PARSE,
    ),
    "scaling": (
        edit("config/tiny.yaml", "shards: 2", "shards: 2\npack:\n  scaling: median"),
        PACK,
    ),
    "another label of a channel": (
        edit(
            "workflow/datasets/simulated/dataset.yaml",
            "  channels:\n",
            "  channels:\n    Cannula: AIRFLOW\n",
        ),
        PARSE,
    ),
    "pictures of signal quality": (
        edit("config/tiny.yaml", "hypnograms: 2", "hypnograms: 2\n  quality_recordings: 3"),
        REPORT,
    ),
    "bootstrap": (edit("config/tiny.yaml", "resamples: 100", "resamples: 101"), EVALUATE),
    "title of the report": (edit("config/tiny.yaml", "Tiny run", "Small run"), REPORT),
    "code of parsing": (
        append(f"{SOURCE}/data/parsing.py", "\nUNUSED = 1\n"),
        PARSE,
    ),
    "code of the model": (
        append(f"{SOURCE}/models/neuronet.py", "\nUNUSED = 1\n"),
        together(ENCODERS, RESCORED),
    ),
    "code of a supervised model": (
        append(f"{SOURCE}/training/streams.py", "\nUNUSED = 1\n"),
        TRAIN,
    ),
    "training of a supervised model": (
        edit(
            "config/tiny.yaml", "  deepsleepnet:\n", "  deepsleepnet:\n    learning_rate: 0.002\n"
        ),
        {"train": FOLDS, "score_tuned": FOLDS, "explain": 1, "evaluate": 1, "bundle": 1, **JUDGED},
    ),
    "one more way with rare classes": (
        edit("config/tiny.yaml", "supervised:\n", "supervised:\n  balance: [published, weights]\n"),
        {
            "train": FOLDS * SUPERVISED,
            "score_tuned": FOLDS * SUPERVISED,
            "evaluate": SUPERVISED,
            "bundle": SUPERVISED,
            **JUDGED,
        },
    ),
    "gradient boosting": (
        edit("config/tiny.yaml", "heads:\n", "heads:\n  boosting:\n    leaves: 5\n"),
        BOOSTING,
    ),
    "explained epochs": (
        edit("config/tiny.yaml", "explain:\n  epochs: 1", "explain:\n  epochs: 2"),
        {"explain": SUPERVISED + TUNED + 1, **REPORT},
    ),
    "template of the report": (append(f"{SOURCE}/report/page.html", "<!-- x -->\n"), REPORT),
    "style of the report": (append(f"{SOURCE}/report/page.css", "/* x */\n"), JUDGED),
    "code of a figure": (append(f"{SOURCE}/report/figures.py", "\nUNUSED = 1\n"), REPORT),
    "meaning of a label": (
        edit("workflow/datasets/simulated/dataset.yaml", "Sleep stage R: REM", "Sleep stage R: W"),
        PARSE,
    ),
    "recording replaced under its old time": (
        replace_under_old_time,
        {"check": 1, **ONE_SHARD},
    ),
    "recording removed": (
        lambda project: raw_recording(project).unlink(),
        {"check": 1, **ONE_SHARD},
    ),
    "new subject": (
        edit("config/tiny.yaml", "subjects: 4", "subjects: 5"),
        {"simulate": 1, "check": 1, **ONE_SHARD},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_reruns(editable: Project, case: str) -> None:
    change, wanted = CASES[case]
    change(editable)
    assert editable.planned() == wanted
