"""Heads: as published, safe on missing stages, and the same after a trip to disk."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from somnoflow.models.context import CONTEXTS, ContextHead
from somnoflow.models.heads import (
    Head,
    LinearProbe,
    load_head,
    write_context,
    write_linear,
)
from somnoflow.models.knn import KnnProbe, write_knn
from somnoflow.models.weights import read_about, read_tensors, write_weights


@pytest.fixture
def blobs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    stages = np.repeat([0, 1, 2, 4], 20)
    centres = rng.normal(0, 5, (5, 12))
    return (centres[stages] + rng.normal(0, 1, (80, 12))).astype(np.float32), stages


def test_linear_probe_is_the_published_one() -> None:
    probe = LinearProbe(512, dropout=0.5)
    assert [type(layer) for layer in probe.fc] == [
        nn.Linear, nn.BatchNorm1d, nn.ELU, nn.Dropout, nn.Linear,
    ]  # fmt: skip
    assert probe.fc[0].weight.shape == (1024, 512)
    assert probe.fc[4].weight.shape == (5, 1024)
    assert probe.fc[3].p == 0.5


def test_linear_probe_gives_unseen_stages_nothing_and_one_epoch_a_stage() -> None:
    probe = LinearProbe(6, dropout=0.5, seen=np.array([0, 2])).train()
    probabilities = probe.predict_proba(np.random.default_rng(0).normal(size=(1, 6)).astype("f4"))
    assert probabilities.shape == (1, 5)
    assert (probabilities[:, [1, 3, 4]] == 0).all()
    assert probabilities.sum() == pytest.approx(1)
    assert probe.training
    assert probe.predict_proba(np.zeros((0, 6), np.float32)).shape == (0, 5)


def test_knn_votes_and_reduces_components(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, stages = blobs
    probe = KnnProbe.fit(x, stages, components=50, neighbours=5)
    assert probe.components.shape == (12, 12)
    probabilities = probe.predict_proba(x)
    assert (probabilities[:, 3] == 0).all()
    assert (probabilities.argmax(1) == stages).mean() > 0.95
    assert set(np.unique(np.round(probabilities * 5))) <= {0, 1, 2, 3, 4, 5}
    assert KnnProbe.fit(x[:3], stages[:3], components=50, neighbours=5).neighbours == 3
    assert probe.predict_proba(x[:0]).shape == (0, 5)


def test_heads_survive_the_disk(tmp_path: Path, blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, stages = blobs
    knn = KnnProbe.fit(x, stages, components=4, neighbours=3)
    write_knn(tmp_path / "knn", knn)
    linear = LinearProbe(12, dropout=0.2, seen=np.array([0, 1]))
    write_linear(tmp_path / "linear", linear, {"best_pass": 3})
    for path, head in ((tmp_path / "knn", knn), (tmp_path / "linear", linear)):
        loaded = load_head(path, dimension=12)
        assert np.array_equal(loaded.predict_proba(x), head.predict_proba(x))
        with pytest.raises(ValueError, match="embeddings of 12 values, found 7"):
            load_head(path, dimension=7)
    assert read_about(tmp_path / "linear", kind="head")["best_pass"] == 3


def make_context_head(name: str = "mamba") -> ContextHead:
    torch.manual_seed(0)
    seen = np.array([0, 1, 4])
    return ContextHead(12, context=name, width=16, dropout=0.1, window=7, seen=seen)


@pytest.mark.parametrize("name", CONTEXTS)
def test_context_heads_survive_the_disk(tmp_path: Path, name: str) -> None:
    head = make_context_head(name)
    head.train()(torch.randn(4, 7, 12), torch.ones(4, 7, dtype=torch.bool))  # its batch norms move
    write_context(tmp_path / "one", head, {"best_pass": 2})
    loaded = load_head(tmp_path / "one", dimension=12)
    assert isinstance(loaded, ContextHead)
    assert not loaded.training
    x = np.random.default_rng(0).normal(size=(30, 12)).astype(np.float32)
    starts = np.isin(np.arange(30), [0, 17])
    found = loaded.predict_proba(x, starts, stride=4)
    assert np.array_equal(found, head.predict_proba(x, starts, stride=4))
    assert (found[:, [2, 3]] == 0).all()
    about = read_about(tmp_path / "one", kind="head")
    assert (about["head"], about["dimension"], about["best_pass"]) == (name, 12, 2)
    assert about["architecture"] == head.architecture
    write_context(tmp_path / "two", loaded, {"best_pass": 2})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_probes_look_at_neither_runs_nor_stride(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, stages = blobs
    starts = np.arange(len(x)) % 9 == 0
    heads: list[Head] = [
        LinearProbe(12, dropout=0.2),
        KnnProbe.fit(x, stages, components=4, neighbours=3),
    ]
    for head in heads:
        wanted = head.predict_proba(x[::-1], starts[::-1], stride=3)[::-1]
        assert np.array_equal(head.predict_proba(x, starts, stride=20), wanted)


def test_a_context_head_of_another_dimension_is_named(tmp_path: Path) -> None:
    write_context(tmp_path / "head", make_context_head(), {})
    with pytest.raises(ValueError, match=r"trained on embeddings of 12 values, found 768"):
        load_head(tmp_path / "head", dimension=768)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_file_that_was_cut_off_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "head"
    write_context(path, make_context_head(), {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"head is damaged \(.*\): .* remove it"):
        load_head(path, dimension=12)


def test_weights_are_for_all_whom_the_folder_is_for(tmp_path: Path) -> None:
    """A laboratory shares a folder; safetensors' own writer lets nobody but the owner read."""
    write_context(tmp_path / "head", make_context_head(), {})
    (tmp_path / "other").touch()
    assert (tmp_path / "head").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_an_unknown_head_is_named(tmp_path: Path) -> None:
    about = {"kind": "head", "head": "gru", "dimension": 12}
    write_weights(tmp_path / "head", {"a": torch.zeros(1)}, about)
    wanted = "holds the head 'gru', wanted one of linear, knn, boosting, lstm"
    with pytest.raises(ValueError, match=wanted):
        load_head(tmp_path / "head", dimension=12)


def test_weights_that_do_not_fit_their_description_are_named(tmp_path: Path) -> None:
    path = tmp_path / "head"
    write_context(path, make_context_head(), {})
    about, tensors = read_about(path, kind="head"), read_tensors(path)
    write_weights(path, {**tensors, "fc.weight": torch.zeros(5, 9)}, about)
    with pytest.raises(
        ValueError, match=r"1 of 21 differ, fc.weight \(5, 9\) instead of \(5, 16\)"
    ):
        load_head(path, dimension=12)
    del tensors["context.mamba.D"]
    write_weights(path, tensors, about)
    with pytest.raises(ValueError, match=r"context.mamba.D absent instead of \(32,\)"):
        load_head(path, dimension=12)


def test_equal_weights_are_equal_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.ones(3), "a": torch.zeros(2, 2)}
    about = {"kind": "head", "z": 1, "a": [1, 2], "m": None}
    write_weights(tmp_path / "one", tensors, about)
    write_weights(tmp_path / "two", dict(reversed(tensors.items())), dict(reversed(about.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_other_peoples_files_are_refused_by_name(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "foreign")
    with pytest.raises(ValueError, match="not written by Somnoflow"):
        read_about(tmp_path / "foreign", kind="head")
    write_weights(tmp_path / "encoder", {"a": torch.zeros(1)}, {"kind": "neuronet"})
    with pytest.raises(ValueError, match="holds 'neuronet' in format 1, wanted 'head'"):
        read_about(tmp_path / "encoder", kind="head")
