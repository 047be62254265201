"""Stages from every subset of modalities: the same numbers as without the shortcut."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from packed_shards import Cohort, make_cohort

from somnoflow.commands.ablate import ablate
from somnoflow.commands.embed import embed
from somnoflow.commands.score import score
from somnoflow.config.embed import EmbedSlice
from somnoflow.config.score import ScoreSlice
from somnoflow.config.synthsleepnet import AblateSlice
from somnoflow.data.packed import PackedEpochs
from somnoflow.evaluate.ablation import read_ablation
from somnoflow.models.heads import LinearProbe, write_linear
from somnoflow.models.neuronet import NeuroNet, neuronet
from somnoflow.models.synthsleepnet import (
    SynthSleepNet,
    load_synthsleepnet,
    save_synthsleepnet,
    synthsleepnet,
)
from somnoflow.training.ablation import modality_subsets, predict_subsets

# Two channels of one modality, and an order that is not that of a montage.
CHANNELS = ["ECG", "EEG_C4", "EOG_L", "EEG_C3"]
NAMES = ["EEG", "EOG", "ECG", "EEG+EOG", "EEG+ECG", "EOG+ECG", "EEG+EOG+ECG"]
NIGHT = ["dataset", "subject", "recording"]
ROLES = {
    "pretrain": ["sim/a"],
    "train": ["sim/a"],
    "val": ["sim/b"],
    "test": ["sim/c", "sim/d", "sim/e"],
}
ABSENT = {
    "sim/c": ["EEG_C3"],
    "sim/d": ["EEG_C4", "EEG_C3", "EOG_L"],
    "sim/e": ["EOG_L"],
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """In epoch 2 the first of the stored channels has no signal: of one subject, the only one."""
    folder = tmp_path_factory.mktemp("cohort")
    return make_cohort(folder, epochs=9, channels=CHANNELS, absent=ABSENT, roles=ROLES)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    unimodal = {name: neuronet("synth-tiny", encoder_dim=32, encoder_blocks=1) for name in CHANNELS}
    for each in unimodal.values():
        each(torch.randn(4, 3000))
    model = synthsleepnet("tiny", unimodal)
    model(torch.randn(8, 4, 3000), torch.ones(8, 4, dtype=torch.bool))
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_synthsleepnet(path, model, {"channel": "all"})
    return path


def make_probe(task: str = "staging", *, dimension: int = 64) -> LinearProbe:
    """Give a probe whose classes depend on the features: untrained ones hardly differ in them."""
    torch.manual_seed(2)
    probe = LinearProbe(dimension, dropout=0.5, hidden=[32], task=task)
    probe.fc[1].running_mean.copy_(torch.randn(32) * 0.2)
    probe.fc[1].running_var.fill_(1e-3)
    return probe.eval()


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("head") / "head.safetensors"
    write_linear(path, make_probe(), {})
    return path


def run(cohort: Cohort, encoder: Path, head: Path, folder: Path, *, batch_size: int = 4) -> Path:
    path = folder / "counts.parquet"
    ablate(
        encoder=encoder,
        head=head,
        packed=cohort.packed,
        split=cohort.split,
        counts=path,
        fold=0,
        gpus=0,
        threads=1,
        cfg=AblateSlice(batch_size=batch_size),
    )
    return path


@pytest.fixture(scope="module")
def counts(
    cohort: Cohort, encoder: Path, head: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return run(cohort, encoder, head, tmp_path_factory.mktemp("counts"))


def read_epochs(cohort: Cohort) -> PackedEpochs:
    return PackedEpochs(cohort.packed, channels=CHANNELS, subjects=ROLES["test"], require="any")


def test_every_subset_has_all_channels_of_its_modalities() -> None:
    subsets = modality_subsets(CHANNELS)
    assert list(subsets) == NAMES
    assert subsets["EEG"].tolist() == [False, True, False, True]
    assert subsets["EOG+ECG"].tolist() == [True, False, True, False]
    assert subsets["EEG+EOG+ECG"].all()
    assert list(modality_subsets(["ECG"])) == ["ECG"]


def straight(model: SynthSleepNet, epochs: PackedEpochs, kept: np.ndarray) -> np.ndarray:
    """Give the stages by one plain call of the model for each epoch; -1 where nothing is there."""
    probe, found = make_probe(), np.full(len(epochs), -1)
    signals = torch.from_numpy(epochs.read(np.arange(len(epochs))))
    for row, present in enumerate(epochs.present & kept):
        if present.any():
            shown = torch.from_numpy(present)[None]
            features = model.forward_features(signals[row : row + 1], shown).numpy()
            found[row] = probe.predict_proba(features).argmax()
    return found


def test_a_subset_is_a_call_of_the_model_with_its_channels(cohort: Cohort, encoder: Path) -> None:
    epochs, (model, _) = read_epochs(cohort), load_synthsleepnet(encoder)
    subsets = modality_subsets(CHANNELS)
    found = predict_subsets(
        model,
        make_probe(),
        epochs,
        np.arange(len(epochs)),
        subsets=subsets,
        batch_size=4,
        device=CPU,
    )
    for name, kept in subsets.items():
        assert found[name].tolist() == straight(model, epochs, kept).tolist(), name
    # The subsets differ, else the comparison would say nothing.
    assert len({tuple(values) for values in found.values()}) == len(NAMES)


def test_counts_are_of_test_subjects_and_of_epochs_with_a_stage(
    cohort: Cohort, encoder: Path, counts: Path
) -> None:
    table = pl.read_parquet(counts)
    assert table.schema == {
        "modalities": pl.String,
        **dict.fromkeys(NIGHT, pl.String),
        "true": pl.Int8,
        "predicted": pl.Int8,
        "n": pl.Int64,
    }
    assert table["modalities"].unique(maintain_order=True).to_list() == NAMES
    epochs, (model, _) = read_epochs(cohort), load_synthsleepnet(encoder)
    for name, kept in modality_subsets(CHANNELS).items():
        wanted = (
            epochs.table.with_columns(predicted=pl.Series(straight(model, epochs, kept)))
            .filter(pl.col("stage") >= 0)
            .group_by(*NIGHT, pl.col("stage").alias("true"), "predicted")
            .agg(n=pl.len())
        )
        found = table.filter(pl.col("modalities") == name).drop("modalities")
        keys = [*NIGHT, "true", "predicted"]
        assert found.sort(keys).rows() == wanted.select(found.columns).sort(keys).rows(), name
    # Of each night 9 epochs, of which 2 have no stage; each subset has them all.
    assert (table.group_by("modalities").agg(pl.col("n").sum())["n"] == 3 * 7).all()


def test_all_modalities_are_the_score_of_the_head(
    cohort: Cohort, encoder: Path, head: Path, counts: Path, tmp_path: Path
) -> None:
    index, predictions = tmp_path / "index.json", tmp_path / "predictions.parquet"
    cfg = EmbedSlice(channel="all")
    embed(encoder=encoder, packed=cohort.packed, index=index, gpus=0, threads=1, cfg=cfg)
    score(
        embeddings=index,
        head=head,
        split=cohort.split,
        predictions=predictions,
        fold=0,
        threads=1,
        cfg=ScoreSlice(task="staging", stride=1),
    )
    keys = [*NIGHT, "true", "predicted"]
    scored = (
        pl.read_parquet(predictions)
        .filter(pl.col("role") == "test", pl.col("stage") >= 0)
        .group_by(*NIGHT, pl.col("stage").alias("true"), "predicted")
        .agg(n=pl.len())
    )
    table = pl.read_parquet(counts).filter(pl.col("modalities") == NAMES[-1])
    assert table.select(*keys, "n").sort(keys).rows() == scored.sort(keys).rows()
    assert scored["predicted"].n_unique() > 2


def test_epochs_without_a_channel_of_the_subset_are_counted(counts: Path) -> None:
    unusable = (
        pl.read_parquet(counts)
        .filter(pl.col("predicted") == -1)
        .group_by("modalities", "subject")
        .agg(pl.col("n").sum())
    )
    found = {(name, subject): n for name, subject, n in unusable.iter_rows()}
    assert found == {
        **{("EEG", "sim/d"): 7, ("EOG", "sim/d"): 7, ("EEG+EOG", "sim/d"): 7, ("EOG", "sim/e"): 7},
        # Epoch 2, in which the ECG has no signal.
        **{("ECG", f"sim/{name}"): 1 for name in "cde"},
        **{(name, "sim/d"): 1 for name in ("EEG+ECG", "EOG+ECG", "EEG+EOG+ECG")},
        ("EOG+ECG", "sim/e"): 1,
    }


def test_unimodal_tokens_are_made_once(
    cohort: Cohort, encoder: Path, head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    plain = NeuroNet.embed_frames
    monkeypatch.setattr(
        NeuroNet, "embed_frames", lambda self, x: seen.append(len(x)) or plain(self, x)
    )
    run(cohort, encoder, head, tmp_path, batch_size=100)
    scored = 7
    # Subject c: ECG without epoch 2, EEG_C4, EOG_L. d: ECG alone. e: ECG, EEG_C4, EEG_C3.
    assert sum(seen) == (3 * scored - 1) + (scored - 1) + (3 * scored - 1)


def test_the_size_of_a_batch_changes_nothing(
    cohort: Cohort, encoder: Path, head: Path, counts: Path, tmp_path: Path
) -> None:
    other = run(cohort, encoder, head, tmp_path, batch_size=100)
    assert pl.read_parquet(other).equals(pl.read_parquet(counts))


def test_the_counts_are_what_the_evaluation_reads(counts: Path) -> None:
    assert read_ablation([counts]).modalities == ("EEG", "EOG", "ECG")


def test_another_head_is_named(cohort: Cohort, encoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    write_linear(path, make_probe("apnea"), {})
    with pytest.raises(ValueError, match=r"was trained for apnea, wanted one for staging"):
        run(cohort, encoder, path, tmp_path)
    write_linear(path, make_probe(dimension=32), {})
    with pytest.raises(ValueError, match=r"trained on embeddings of 32 values, found 64"):
        run(cohort, encoder, path, tmp_path)
