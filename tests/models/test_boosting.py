"""Gradient-boosted trees: chosen by validation, the same to the byte, and no pickle on disk."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from packed_shards import ROLES, write_json

from somnoflow.commands.head import head
from somnoflow.commands.score import score
from somnoflow.config.heads import Boosting, HeadSlice
from somnoflow.config.score import ScoreSlice
from somnoflow.data.subsets import KEY, write_labels
from somnoflow.io.digest import sha256_file
from somnoflow.models.boosting import BoostingProbe, write_boosting
from somnoflow.models.errors import WeightsError
from somnoflow.models.heads import load_head
from somnoflow.models.weights import read_about, read_tensors, write_weights
from somnoflow.tasks import TASKS, Task
from somnoflow.training.embedded import Labelled
from somnoflow.training.probing import fit_boosting

D = 6
CFG = Boosting(trees=12, leaves=7, learning_rate=0.3)


def make_epochs(
    seed: int, *, task: Task, epochs: int = 400, rate: float = 0.15, without: tuple[int, ...] = ()
) -> Labelled:
    """Make epochs whose class is told by two features together, which no linear layer can read."""
    rng = np.random.default_rng(seed)
    if task.rare:
        targets = (rng.random(epochs) < rate).astype(np.int64)
    else:
        targets = rng.choice([code for code in range(5) if code not in without], epochs)
    x = rng.normal(0, 0.3, (epochs, D))
    sign = rng.choice([-1, 1], epochs)
    x[:, 0] += 2 * sign
    x[:, 1] += sign * targets
    return Labelled(x.astype(np.float32), targets, task, epochs)


def make_pair(task: Task, **how: object) -> tuple[Labelled, Labelled]:
    return make_epochs(1, task=task, **how), make_epochs(2, task=task)


@pytest.mark.parametrize("name", ["staging", "apnea"])
def test_trees_learn_and_the_best_number_of_them_is_kept(name: str) -> None:
    task = TASKS[name]
    train, val = make_pair(task)
    probe, rows = fit_boosting(train, val, cfg=CFG)
    assert [row["pass"] for row in rows] == list(range(1, CFG.trees + 1))
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    column = "val_average_precision" if task.rare else "val_macro_f1"
    (best,) = (row for row in rows if row["best"])
    assert best[column] == max(row[column] for row in rows) > 0.8
    found = probe.predict_proba(val.embeddings)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    # What is deployed is what was chosen, not the last tree.
    loss = -np.log(found[np.arange(len(val)), val.targets]).mean()
    assert loss == pytest.approx(best["val_loss"], rel=1e-4)
    assert np.mean(found.argmax(axis=1) == val.targets) > 0.8


def test_fewer_trees_are_kept_where_more_do_not_help() -> None:
    train, val = make_pair(TASKS["staging"])
    shuffled = np.random.default_rng(0).permutation(val.targets)
    noise = Labelled(val.embeddings, shuffled, val.task, val.of)
    probe, rows = fit_boosting(train, noise, cfg=CFG.model_copy(update={"trees": 25}))
    (best,) = (row["pass"] for row in rows if row["best"])
    assert best < 25
    assert probe.text.count("Tree=") == best * 5


def test_the_same_epochs_give_the_same_bytes(tmp_path: Path) -> None:
    train, val = make_pair(TASKS["staging"])
    for name in ("one", "two"):
        write_boosting(tmp_path / name, fit_boosting(train, val, cfg=CFG)[0])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_trees_survive_the_disk_as_text(tmp_path: Path) -> None:
    train, val = make_pair(TASKS["apnea"])
    probe, _ = fit_boosting(train, val, cfg=CFG)
    path = tmp_path / "head.safetensors"
    write_boosting(path, probe)
    loaded = load_head(path, dimension=D)
    assert loaded.task == TASKS["apnea"]
    starts = np.zeros(len(val), bool)
    assert np.array_equal(
        loaded.predict_proba(val.embeddings, starts, stride=3), probe.predict_proba(val.embeddings)
    )
    assert loaded.predict_proba(val.embeddings[:0], starts[:0], stride=3).shape == (0, 2)
    text = read_tensors(path)["trees"]
    assert text.dtype == torch.uint8
    assert text.numpy().tobytes().startswith(b"tree\n")
    with pytest.raises(ValueError, match="embeddings of 6 values, found 7"):
        load_head(path, dimension=7)


def test_damaged_trees_are_named(tmp_path: Path) -> None:
    train, val = make_pair(TASKS["staging"])
    path = tmp_path / "head.safetensors"
    write_boosting(path, fit_boosting(train, val, cfg=CFG)[0])
    about = read_about(path, kind="head")
    for damaged in (read_tensors(path)["trees"][400:], torch.full((9,), 255, dtype=torch.uint8)):
        write_weights(path, {"trees": damaged}, about)
        with pytest.raises(WeightsError, match=r"head\.safetensors is damaged"):
            load_head(path, dimension=D)


def test_a_stage_that_nobody_has_is_never_predicted() -> None:
    train, val = make_pair(TASKS["staging"], without=(1, 3))
    probe, _ = fit_boosting(train, val, cfg=CFG)
    found = probe.predict_proba(val.embeddings)
    assert (found[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_one_stage_alone_is_the_answer() -> None:
    train, val = make_pair(TASKS["staging"], without=(0, 1, 3, 4))
    probe, _ = fit_boosting(train, val, cfg=CFG)
    assert (probe.predict_proba(val.embeddings)[:, 2] == 1).all()


def test_weights_find_more_of_a_rare_event() -> None:
    train, val = make_pair(TASKS["apnea"], rate=0.03)
    blurred = Labelled(train.embeddings * [1, 0.2, 1, 1, 1, 1], train.targets, train.task, train.of)
    found = [
        fit_boosting(blurred, val, cfg=CFG.model_copy(update={"class_weights": kind}))[0]
        .predict_proba(blurred.embeddings)[:, 1]
        .mean()
        for kind in ("none", "balanced")
    ]
    assert found[1] > 2 * found[0]


def test_epochs_without_a_label_to_choose_by_are_named() -> None:
    train, val = make_pair(TASKS["staging"])
    nobody = Labelled(val.embeddings[:0], val.targets[:0], val.task, 0)
    with pytest.raises(ValueError, match="validation subjects have 0 usable scored epochs"):
        fit_boosting(train, nobody, cfg=CFG)


def test_a_text_that_is_no_model_is_refused() -> None:
    with pytest.raises(ValueError, match="no trees that LightGBM can read"):
        BoostingProbe("hello", seen=np.array([0]))


def test_head_and_score_make_predictions_of_an_event(tmp_path: Path) -> None:
    nights = []
    for number, name in enumerate("abcde"):
        night = make_epochs(10 + number, task=TASKS["apnea"], epochs=80)
        nights.append(
            pl.DataFrame(
                {
                    "dataset": "sim",
                    "subject": f"sim/{name}",
                    "recording": f"{name}-n1",
                    "epoch": np.arange(80, dtype=np.int32),
                    "onset_s": 30.0 * np.arange(80),
                    "stage": np.zeros(80, np.int8),
                    "apnea": night.targets.astype(np.int8),
                    "usable": np.arange(80) != 4,
                    "embedding": night.embeddings,
                }
            )
        )
    table = pl.concat(nights)
    table.write_parquet(tmp_path / "part.parquet")
    part = {"file": "part.parquet", "sha256": sha256_file(tmp_path / "part.parquet")}
    index = write_json(
        tmp_path / "index.json", {"made_by": "embed", "dimension": D, "parts": [part]}
    )
    split = write_json(tmp_path / "split.json", {"folds": [{"fold": 0, **ROLES}]})
    train = table.filter(pl.col("subject").is_in(ROLES["train"]), "usable")
    write_labels(tmp_path / "labels.parquet", train.select(KEY))
    head(
        embeddings=index,
        split=split,
        labels=tmp_path / "labels.parquet",
        head=tmp_path / "head.safetensors",
        training=tmp_path / "training.csv",
        resume=tmp_path / "resume",
        name="boosting",
        fold=0,
        threads=1,
        cfg=HeadSlice(name="boosting", task="apnea", recipe=CFG),
    )
    score(
        embeddings=index,
        head=tmp_path / "head.safetensors",
        split=split,
        predictions=tmp_path / "predictions.parquet",
        fold=0,
        threads=1,
        cfg=ScoreSlice(task="apnea", stride=1),
    )
    history = pl.read_csv(tmp_path / "training.csv")
    assert history.columns == [
        "pass", "train_loss", "val_loss", "val_auroc", "val_average_precision", "best",
    ]  # fmt: skip
    assert history["best"].sum() == 1
    found = pl.read_parquet(tmp_path / "predictions.parquet", hive_partitioning=False)
    assert found.filter("usable").height == 158
    tested = found.filter(pl.col("role") == "test", "usable")
    assert (tested["predicted"] == tested["label"]).mean() > 0.85
