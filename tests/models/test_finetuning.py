"""Fine-tuning on signals and context heads on embeddings: what is trained, chosen and scored."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from packed_shards import ROLES, Cohort, make_cohort, write_json, write_shard
from torch import nn

from somnoflow.commands.embed import embed
from somnoflow.commands.finetune import finetune
from somnoflow.commands.head import head
from somnoflow.commands.score import score
from somnoflow.commands.score_tuned import score_tuned
from somnoflow.config.context import Context
from somnoflow.config.embed import EmbedSlice
from somnoflow.config.finetune import FinetuneRecipe, FinetuneSlice
from somnoflow.config.heads import HeadSlice
from somnoflow.config.pretrain import Recipe
from somnoflow.config.score import ScoreSlice
from somnoflow.fingerprint import closure
from somnoflow.models.backbone import FrameBackbone
from somnoflow.models.context import CONTEXTS, ContextHead
from somnoflow.models.neuronet import neuronet
from somnoflow.models.pretrained import load_neuronet
from somnoflow.models.stager import Stager, load_stager
from somnoflow.models.weights import read_about, read_tensors, write_weights
from somnoflow.training.embedded import EmbeddedEpochs, read_parts
from somnoflow.training.errors import TrainingError
from somnoflow.training.supervised import Batch, Supervised
from somnoflow.training.validation import validation_scores

ARCHITECTURE = Recipe(frame_step=1.5)
SMALL = {"window": 5, "width": 16, "passes": 2, "batch_size": 3}
KEYS = ["dataset", "subject", "recording", "epoch"]
KINDS = ("weight", "bias")


def make_encoder(folder: Path, **changes: object) -> Path:
    """Write a NeuroNet as `pretrain` does, with batch norm statistics of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = neuronet("tiny", **{"frame_step": 1.5, **changes})
        model(torch.randn(8, model.samples))
    about = {
        "kind": "neuronet",
        "architecture": model.architecture,
        "channel": "EEG_C4",
        "sampling_rate": model.sampling_rate,
    }
    path = folder / "encoder.safetensors"
    write_weights(path, model.state_dict(), about)
    return path


def make_slice(tuning: str, context: str = "mamba", **changes: object) -> FinetuneSlice:
    return FinetuneSlice(
        channel="EEG_C4",
        sampling_rate=100,
        task="staging",
        tuning=tuning,
        context=context,
        recipe=FinetuneRecipe(**{**SMALL, **changes}),
        architecture=ARCHITECTURE if tuning == "scratch" else None,
    )


def make_labels(cohort: Cohort, folder: Path, *, keep: pl.Expr | None = None) -> Path:
    """Write the keys of the training subjects' scored epochs, or of some of them."""
    shards = [pl.read_parquet(path.with_name("epochs.parquet")) for path in cohort.packed]
    table = pl.concat(shards).filter(
        pl.col("stage") >= 0, pl.col("EEG_C4_quality") == 0, pl.col("subject").is_in(ROLES["train"])
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "labels.parquet"
    table.filter(True if keep is None else keep).select(KEYS).write_parquet(path)
    return path


def run(
    cohort: Cohort,
    encoder: Path | None,
    folder: Path,
    *,
    cfg: FinetuneSlice,
    labels: Path | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    finetune(
        packed=cohort.packed,
        split=cohort.split,
        labels=labels or make_labels(cohort, folder),
        encoder=[encoder] if encoder else [],
        model=folder / "model.safetensors",
        training=folder / "training.csv",
        resume=folder / "resume",
        name="neuronet/EEG_C4/tuned/labels=all",
        fold=0,
        gpus=0,
        threads=1,
        cfg=cfg,
    )
    return folder


def files(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "model.safetensors").read_bytes(), (folder / "training.csv").read_bytes()


def run_score(cohort: Cohort, folder: Path, *, stride: int = 5) -> pl.DataFrame:
    path = folder / "predictions.parquet"
    score_tuned(
        packed=cohort.packed,
        model=folder / "model.safetensors",
        split=cohort.split,
        predictions=path,
        fold=0,
        gpus=0,
        threads=1,
        cfg=ScoreSlice(task="staging", stride=stride),
    )
    return pl.read_parquet(path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("shared"), epochs=13)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def partial(shared: Cohort, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(shared, encoder, tmp_path_factory.mktemp("partial"), cfg=make_slice("partial"))


@pytest.fixture(scope="module")
def full(shared: Cohort, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(shared, encoder, tmp_path_factory.mktemp("full"), cfg=make_slice("full", "lstm"))


def build(encoder: Path, tuning: str, context: str = "mamba") -> Stager:
    torch.manual_seed(0)
    model, _ = load_neuronet(encoder)
    return Stager(model, ContextHead(64, context=context, width=16, window=5), tuning=tuning)


# What is trained


def test_partial_trains_what_the_paper_unfreezes(encoder: Path) -> None:
    """Section IV: MLP and norm2 of the last encoder block, the encoder norm, the head."""
    stager = build(encoder, "partial")
    trained = {name for name, p in stager.named_parameters() if p.requires_grad}
    layers = ("norm2", "mlp.fc1", "mlp.fc2")
    assert {name for name in trained if name.startswith("encoder.")} == {
        *(f"encoder.encoder_blocks.1.{layer}.{kind}" for layer in layers for kind in KINDS),
        *(f"encoder.encoder_norm.{kind}" for kind in KINDS),
    }
    heads = {f"head.{name}" for name, _ in stager.head.named_parameters()}
    assert heads <= trained


@pytest.mark.parametrize("tuning", ["full", "scratch"])
def test_full_and_scratch_train_everything_of_the_encoder_side(encoder: Path, tuning: str) -> None:
    stager = build(encoder, tuning)
    assert all(p.requires_grad for p in stager.parameters())
    before = {name for name, _ in neuronet("tiny").named_parameters()}
    left_out = ("decoder_", "mask_token", "projection")
    assert {name for name, _ in stager.encoder.named_parameters()} == {
        name for name in before if not name.startswith(left_out)
    }


@pytest.mark.parametrize("tuning", ["partial", "full"])
def test_every_trained_parameter_gets_a_gradient(encoder: Path, tuning: str) -> None:
    stager = build(encoder, tuning).train()
    valid = torch.tensor([[True] * 4, [True, True, False, False]])
    stager(torch.randn(2, 4, 3000), valid)[valid].square().sum().backward()
    for name, parameter in stager.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


@pytest.mark.parametrize("tuning", ["partial", "full"])
def test_features_are_the_deployed_ones(encoder: Path, tuning: str) -> None:
    """Defect N10: the mean of the frame tokens, as the probes get it."""
    model, _ = load_neuronet(encoder)
    x = torch.randn(6, 3000)
    wanted = model.eval().forward_features(x)
    stager = build(encoder, tuning).eval()
    torch.testing.assert_close(stager.forward_features(x), wanted, rtol=0, atol=1e-6)


def test_a_frozen_encoder_stays_in_evaluation_mode(encoder: Path) -> None:
    """Defect N8."""
    stager = build(encoder, "partial").train()
    assert not any(module.training for module in stager.encoder.modules())
    assert stager.head.training
    assert not stager.eval().head.training
    assert all(module.training for module in build(encoder, "full").train().encoder.modules())


def test_the_frozen_part_is_one_call_without_gradients(
    encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect N19: all frames of all epochs of the batch at once."""
    calls = []
    forward = FrameBackbone.forward

    def spied(self: FrameBackbone, frames: torch.Tensor) -> torch.Tensor:
        calls.append((frames.numel(), torch.is_grad_enabled()))
        return forward(self, frames)

    monkeypatch.setattr(FrameBackbone, "forward", spied)
    valid = torch.ones(3, 4, dtype=torch.bool)
    for tuning in ("partial", "full"):
        build(encoder, tuning).train()(torch.randn(3, 4, 3000), valid)
    assert calls == [(12 * 19 * 300, False), (12 * 19 * 300, True)]


@pytest.mark.parametrize("tuning", ["partial", "full"])
def test_padding_reaches_nothing(encoder: Path, tuning: str) -> None:
    """Neither logits nor the statistics of a batch norm."""
    valid = torch.tensor([[True] * 4, [True, True, False, False]])
    x = torch.randn(2, 4, 3000)
    found = []
    for padding in (0.0, 1e6):
        stager = build(encoder, tuning).train()
        logits = stager(x.masked_fill(~valid[..., None], padding), valid)[valid]
        found.append((logits, stager.state_dict()))
    (one, before), (two, after) = found
    assert torch.equal(one, two)
    assert all(torch.equal(before[name], after[name]) for name in before)


# Training


def test_frozen_weights_and_statistics_are_those_of_the_encoder(
    encoder: Path, partial: Path
) -> None:
    """Defect N8, and that the rest did learn."""
    before, after = read_tensors(encoder), read_tensors(partial / "model.safetensors")
    trained = ("encoder_blocks.1.norm2", "encoder_blocks.1.mlp", "encoder_norm")
    ours = {name.removeprefix("encoder."): t for name, t in after.items() if "encoder." in name[:8]}
    assert any("running_mean" in name for name in ours)
    assert "positions" in ours
    for name, tensor in ours.items():
        assert torch.equal(tensor, before[name]) == (not name.startswith(trained)), name
    assert not any("decoder" in name or "projection" in name for name in after)


def test_full_tuning_moves_the_batch_norm_statistics(encoder: Path, full: Path) -> None:
    before, after = read_tensors(encoder), read_tensors(full / "model.safetensors")
    name = "frame_backbone.bn1.running_mean"
    assert not torch.equal(after[f"encoder.{name}"], before[name])
    assert torch.equal(after["encoder.positions"], before["positions"])


def test_a_change_of_what_is_frozen_is_an_error(
    shared: Cohort, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stager, "train", nn.Module.train)
    with pytest.raises(TrainingError, match="batch norm statistics changed in training: their SHA"):
        run(shared, encoder, tmp_path, cfg=make_slice("partial", passes=1))


def test_outputs_are_complete(partial: Path, full: Path) -> None:
    for folder, tuning, context in ((partial, "partial", "mamba"), (full, "full", "lstm")):
        stager, about = load_stager(folder / "model.safetensors")
        assert (about["tuning"], about["channel"]) == (tuning, "EEG_C4")
        assert stager.head.architecture["context"] == context
        assert not stager.training
        assert not any(p.requires_grad for p in stager.parameters())
        table = pl.read_csv(folder / "training.csv")
        assert table["best"].arg_max() == table["val_macro_f1"].arg_max()
        assert about["best_pass"] == table["best"].arg_max() + 1
        kept = [path for path in (folder / "resume").rglob("*") if path.is_file()]
        assert sorted(path.name for path in kept) == [
            "sha256.json",
            "training.csv",
            "weights.safetensors",
        ]


class Killed(BaseException):
    """Stands for a kill inside this process."""


@contextmanager
def killed_in_training(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the training inside be killed at the second step of its second pass."""
    plain = Supervised.training_step

    def killed(self: Supervised, batch: Batch, batch_idx: int) -> torch.Tensor:
        if (self.current_epoch, batch_idx) == (1, 1):
            raise Killed
        return plain(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "training_step", killed)
        with pytest.raises(Killed):
            yield


@pytest.mark.parametrize("tuning", ["partial", "full"])
def test_killed_tuning_ends_bit_equal(
    shared: Cohort, encoder: Path, tmp_path: Path, request: pytest.FixtureRequest, tuning: str
) -> None:
    whole: Path = request.getfixturevalue(tuning)
    cfg = make_slice(tuning, "mamba" if tuning == "partial" else "lstm")
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    with killed_in_training(monkeypatch):
        run(shared, encoder, tmp_path, cfg=cfg)
    assert not (tmp_path / "model.safetensors").exists()
    assert len(list((tmp_path / "resume").rglob("last.ckpt"))) == 1
    assert files(run(shared, encoder, tmp_path, cfg=cfg)) == files(whole)


def test_a_finished_tuning_is_not_trained_again(
    shared: Cohort, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = make_slice("partial", passes=1)
    first = files(run(shared, encoder, tmp_path, cfg=cfg))
    (tmp_path / "model.safetensors").unlink()
    monkeypatch.setattr(Supervised, "training_step", None)
    assert files(run(shared, encoder, tmp_path, cfg=cfg)) == first


def test_scratch_begins_from_its_seed_alone(shared: Cohort, tmp_path: Path) -> None:
    cfg = make_slice("scratch", passes=1, learning_rate=1e-12)
    one = run(shared, None, tmp_path / "one", cfg=cfg)
    again = run(shared, None, tmp_path / "again", cfg=cfg)
    other_cfg = make_slice("scratch", passes=1, learning_rate=1e-12, seed=2)
    other = run(shared, None, tmp_path / "other", cfg=other_cfg)
    assert files(one) == files(again)
    name = "encoder.patch_embed.weight"
    weights = [read_tensors(folder / "model.safetensors")[name] for folder in (one, other)]
    assert not torch.allclose(*weights)
    # The recipe of pre-training decides the architecture, and nothing else.
    assert read_about(one / "model.safetensors", kind="stager")["encoder"]["frame_step"] == 1.5


def test_hidden_labels_and_test_subjects_change_nothing(
    shared: Cohort, encoder: Path, tmp_path: Path
) -> None:
    """Defects N1, S10: labels outside the subset and everything of test subjects."""
    seen = pl.col("subject") == "sim/b"
    labels = make_labels(shared, tmp_path, keep=seen)
    changed = make_cohort(
        tmp_path / "changed",
        epochs=13,
        salt={"sim/e": 9},
        stages={"sim/a": 1, "sim/c": 2, "sim/e": 3},
    )
    cfg = make_slice("partial", passes=1, class_weights="balanced")
    first = run(shared, encoder, tmp_path / "first", cfg=cfg, labels=labels)
    second = run(changed, encoder, tmp_path / "second", cfg=cfg, labels=labels)
    assert files(first) == files(second)
    whole = run(changed, encoder, tmp_path / "whole", cfg=cfg)
    assert files(whole)[0] != files(first)[0]


def test_tuning_learns_stages_from_signals(tmp_path: Path) -> None:
    cohort, encoder = make_cohort(tmp_path, epochs=40), make_encoder(tmp_path, frame_step=3.0)
    cfg = make_slice("full", passes=8, learning_rate=3e-3, batch_size=4, stride=5)
    run(cohort, encoder, tmp_path / "out", cfg=cfg)
    table = pl.read_csv(tmp_path / "out/training.csv")
    scores = run_score(cohort, tmp_path / "out").filter(pl.col("stage") >= 0, "usable")
    test = scores.filter(pl.col("role") == "test")
    majority = test["stage"].value_counts()["count"].max() / len(test)
    assert (test["stage"] == test["predicted"]).mean() > majority + 0.2
    assert table["train_loss"][-1] < table["train_loss"][0]


@pytest.mark.parametrize("context", sorted(CONTEXTS))
def test_every_context_module_trains_in_bfloat16(
    shared: Cohort, encoder: Path, tmp_path: Path, context: str
) -> None:
    """And is chosen by what is deployed, which is float32."""
    cfg = make_slice("partial", context, passes=1, precision="bfloat16")
    run(shared, encoder, tmp_path, cfg=cfg)
    kept = read_tensors(tmp_path / "model.safetensors").values()
    assert {tensor.dtype for tensor in kept if tensor.is_floating_point()} == {torch.float32}
    assert validated(run_score(shared, tmp_path)) == best_scores(tmp_path)


# Scoring


def best_scores(folder: Path) -> dict[str, float]:
    best = pl.read_csv(folder / "training.csv").filter(pl.col("best") == 1).row(0, named=True)
    return {name: best[name] for name in ("val_accuracy", "val_macro_f1")}


def validated(predictions: pl.DataFrame) -> dict[str, float]:
    rows = predictions.filter(pl.col("role") == "val", "usable", pl.col("stage") >= 0)
    return validation_scores(
        rows["stage"].to_numpy().astype(int), rows["predicted"].to_numpy().astype(int)
    )


def test_every_epoch_is_scored_once_and_as_it_was_chosen(
    shared: Cohort, partial: Path, full: Path
) -> None:
    """Defects N3, N6, N7: the file on disk, read from signals, gives the score of its pass."""
    for folder in (partial, full):
        table = run_score(shared, folder)
        assert table.select(KEYS).n_unique() == len(table) == 2 * 13
        assert set(table["role"]) == {"val", "test"}
        usable = table["usable"]
        assert (table["predicted"] == -1).equals(~usable)
        assert (table["p_W"].is_null()).equals(~usable)
        shares = table.filter("usable").select("p_W", "p_N1", "p_N2", "p_N3", "p_REM").to_numpy()
        assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
        assert validated(table) == best_scores(folder)


def test_overlapping_windows_are_averaged(shared: Cohort, partial: Path) -> None:
    apart, overlapping = (run_score(shared, partial, stride=stride) for stride in (5, 2))
    assert apart.drop("predicted", "^p_.*$").equals(overlapping.drop("predicted", "^p_.*$"))
    assert not apart["p_W"].equals(overlapping["p_W"])


def test_scores_have_the_form_of_frozen_heads(
    shared: Cohort, embedded: Path, partial: Path, context_head: Path
) -> None:
    tuned = run_score(shared, partial)
    frozen = run_frozen_score(shared, embedded, context_head)
    assert tuned.schema == frozen.schema
    same = [*KEYS, "onset_s", "fold", "role", "stage", "usable"]
    assert tuned.select(same).equals(frozen.select(same))


def test_scoring_holds_one_recording_at_a_time(
    shared: Cohort, partial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from somnoflow.training import predicting

    seen = []
    embed_rows = predicting.embed_rows
    monkeypatch.setattr(predicting, "BATCH", 4)
    monkeypatch.setattr(
        predicting,
        "embed_rows",
        lambda model, epochs, rows, **options: (
            seen.append(epochs.table["recording"][rows].unique().to_list())
            or embed_rows(model, epochs, rows, **options)
        ),
    )
    whole = run_score(shared, partial)
    assert seen == [["d-n1"], ["e-n1"]]
    assert validated(whole) == best_scores(partial)


def test_no_window_crosses_a_recording(shared: Cohort, partial: Path, tmp_path: Path) -> None:
    """Other nights of the same shard do not change what a night gets."""
    table = run_score(shared, partial)
    roles = {**ROLES, "test": []}
    split = write_json(tmp_path / "split.json", {"folds": [{"fold": 0, **roles}]})
    alone = run_score(Cohort(shared.packed, split), partial)
    assert alone.drop("role").equals(table.filter(pl.col("subject") == "sim/d").drop("role"))


# Context heads on embeddings


@pytest.fixture(scope="module")
def embedded(shared: Cohort, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    index = tmp_path_factory.mktemp("embedded") / "index.json"
    cfg = EmbedSlice(channel="EEG_C4")
    embed(encoder=encoder, packed=shared.packed, index=index, gpus=0, threads=1, cfg=cfg)
    return index


def run_head(
    cohort: Cohort,
    embeddings: Path,
    folder: Path,
    *,
    context: str = "mamba",
    labels: Path | None = None,
    **changes: object,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    head(
        embeddings=embeddings,
        split=cohort.split,
        labels=labels or make_labels(cohort, folder),
        head=folder / "head.safetensors",
        training=folder / "training.csv",
        resume=folder / "resume",
        name=f"neuronet/EEG_C4/{context}/labels=all",
        fold=0,
        threads=1,
        cfg=HeadSlice(name=context, task="staging", recipe=Context(**{**SMALL, **changes})),
    )
    return folder


def run_frozen_score(cohort: Cohort, embeddings: Path, folder: Path) -> pl.DataFrame:
    path = folder / "predictions.parquet"
    score(
        embeddings=embeddings,
        head=folder / "head.safetensors",
        split=cohort.split,
        predictions=path,
        fold=0,
        threads=1,
        cfg=ScoreSlice(task="staging", stride=5),
    )
    return pl.read_parquet(path)


@pytest.fixture(scope="module")
def context_head(shared: Cohort, embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_head(shared, embedded, tmp_path_factory.mktemp("context"))


def test_embedded_nights_are_in_order_and_read_by_row(embedded: Path, tmp_path: Path) -> None:
    subjects = ["sim/a", "sim/b", "sim/d"]  # of both shards
    epochs = EmbeddedEpochs(embedded, subjects=subjects)
    whole = pl.concat(read_parts(embedded, subjects=subjects)).sort(KEYS)
    assert epochs.table.equals(whole.drop("embedding"))
    assert not whole["usable"].all()
    rows = np.flatnonzero(whole["usable"])[::-3]
    wanted = np.array(whole["embedding"][rows].to_list(), np.float32)
    assert np.array_equal(epochs.read(rows), wanted)
    with pytest.raises(ValueError, match=r"1 of 1 subjects of the split are not in .*: sim/x"):
        EmbeddedEpochs(embedded, subjects=["sim/x"])


@pytest.mark.parametrize("context", sorted(CONTEXTS))
def test_each_context_head_is_scored_as_it_was_chosen(
    shared: Cohort, embedded: Path, tmp_path: Path, context: str
) -> None:
    """Defect N3, for the head on disk."""
    run_head(shared, embedded, tmp_path, context=context)
    assert read_about(tmp_path / "head.safetensors", kind="head")["head"] == context
    assert validated(run_frozen_score(shared, embedded, tmp_path)) == best_scores(tmp_path)


def test_a_killed_context_head_ends_bit_equal(
    shared: Cohort,
    embedded: Path,
    context_head: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with killed_in_training(monkeypatch):
        run_head(shared, embedded, tmp_path)
    run_head(shared, embedded, tmp_path)
    for name in ("head.safetensors", "training.csv"):
        assert (tmp_path / name).read_bytes() == (context_head / name).read_bytes()


def test_a_head_never_predicts_a_stage_it_did_not_see(
    shared: Cohort, embedded: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = make_labels(shared, tmp_path, keep=pl.col("stage").is_in([1, 4]))
    with caplog.at_level(logging.WARNING):
        run_head(shared, embedded, tmp_path, labels=labels, passes=1)
    assert "no training epoch of stage W, N2, N3: it will never be predicted" in caplog.text
    table = run_frozen_score(shared, embedded, tmp_path)
    assert set(table.filter("usable")["predicted"]) <= {1, 4}
    assert table.select("p_W", "p_N2", "p_N3").sum().row(0) == (0, 0, 0)


# Errors


def test_an_encoder_of_something_else_is_named(
    shared: Cohort, encoder: Path, tmp_path: Path
) -> None:
    cfg = make_slice("partial")
    with pytest.raises(ValueError, match=r"encoder\.safetensors was trained on EEG_C4, wanted EOG"):
        run(shared, encoder, tmp_path, cfg=cfg.model_copy(update={"channel": "EOG_L"}))
    fast = make_encoder(tmp_path, sampling_rate=200, frame_window=2.0)
    with pytest.raises(ValueError, match=r"has 100 Hz, .* was trained on 200"):
        run(shared, fast, tmp_path, cfg=cfg)
    short = make_encoder(tmp_path, epoch_seconds=20)
    with pytest.raises(ValueError, match=r"has 3000 samples per epoch, .* was trained on 2000"):
        run(shared, short, tmp_path, cfg=cfg)


def test_shards_of_another_rate_are_not_scored(partial: Path, tmp_path: Path) -> None:
    shard = write_shard(
        tmp_path, dataset="sim", shard=0, subjects=["d", "e"], epochs=6, seed=1, rate=128
    )
    split = write_json(tmp_path / "split.json", {"folds": [{"fold": 0, **ROLES}]})
    with pytest.raises(ValueError, match=r"has 128 Hz, .*model\.safetensors was trained on 100"):
        run_score(Cohort([shard], split), partial)


def test_the_number_of_encoders_is_checked(shared: Cohort, encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found 0 encoders, wanted 1 to begin 'partial' from"):
        run(shared, None, tmp_path, cfg=make_slice("partial"))
    with pytest.raises(ValueError, match="wanted none: scratch begins without"):
        run(shared, encoder, tmp_path, cfg=make_slice("scratch"))


def test_a_model_file_of_another_kind_is_named(encoder: Path, partial: Path) -> None:
    with pytest.raises(ValueError, match="holds 'neuronet' in format 1, wanted 'stager'"):
        load_stager(encoder)
    with pytest.raises(ValueError, match="holds 'stager' in format 1, wanted 'neuronet'"):
        load_neuronet(partial / "model.safetensors")


def test_missing_subjects_and_labels_are_counted(
    shared: Cohort, encoder: Path, tmp_path: Path
) -> None:
    cfg = make_slice("partial")
    labels = make_labels(shared, tmp_path, keep=pl.col("epoch") > 99)
    with pytest.raises(ValueError, match="training subjects have 0 usable scored epochs, wanted"):
        run(shared, encoder, tmp_path, cfg=cfg, labels=labels)
    one = make_labels(
        shared, tmp_path, keep=(pl.col("subject") == "sim/a") & (pl.col("epoch") == 1)
    )
    lonely = make_slice("partial", window=1, batch_size=1)
    with pytest.raises(TrainingError, match=r"a batch of 1 window with 1 usable epoch, wanted at"):
        run(shared, encoder, tmp_path, cfg=lonely, labels=one)
    split = write_json(
        tmp_path / "split.json", {"folds": [{"fold": 0, **ROLES, "train": ["sim/x"]}]}
    )
    with pytest.raises(ValueError, match="1 of 1 subjects of the split are not in the packed"):
        run(Cohort(shared.packed, split), encoder, tmp_path, cfg=cfg)


def test_commands_import_only_what_they_need() -> None:
    assert "somnoflow.models.neuronet" not in closure("somnoflow.commands.head")
    for module in ("supervised", "pretraining", "resume"):
        assert f"somnoflow.training.{module}" not in closure("somnoflow.commands.score_tuned")
    assert "somnoflow.models.fused_stager" not in closure("somnoflow.commands.finetune")
    assert "somnoflow.models.stager" not in closure("somnoflow.commands.finetune_fused")
