"""Fine-tuning of SynthSleepNet: what is adapted, what stays, and recordings without a channel."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from packed_shards import ROLES, Cohort, make_cohort
from torch import nn

from somnoflow.commands.finetune_fused import finetune_fused
from somnoflow.commands.score_tuned import score_tuned
from somnoflow.config.score import ScoreSlice
from somnoflow.config.synthsleepnet import FusedFinetune, FusedFinetuneSlice
from somnoflow.data.packed import PackedEpochs
from somnoflow.models import synthsleepnet as synthsleepnet_module
from somnoflow.models.context import CONTEXTS
from somnoflow.models.fused_stager import FusedHead, FusedStager, load_fused_stager
from somnoflow.models.lora import merge_lora, merged_state
from somnoflow.models.neuronet import neuronet
from somnoflow.models.synthsleepnet import SynthSleepNet, save_synthsleepnet, synthsleepnet
from somnoflow.models.weights import read_tensors
from somnoflow.training.errors import TrainingError
from somnoflow.training.fused_tuning import ChannelEpochs
from somnoflow.training.supervised import Batch, Supervised
from somnoflow.training.validation import pass_scores

CHANNELS = ["EEG_C4", "EOG_L", "EMG_CHIN"]
KEYS = ["dataset", "subject", "recording", "epoch"]
ABSENT = {"sim/b": ["EMG_CHIN"], "sim/d": ["EMG_CHIN"], "sim/e": ["EEG_C4", "EOG_L"]}
SMALL = {"window": 5, "width": 16, "passes": 2, "batch_size": 3, "learning_rate": 1e-2}
D = 64


def make_encoder() -> SynthSleepNet:
    """Give a small fusion whose batch norms have statistics of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        unimodal = {
            name: neuronet("synth-tiny", encoder_dim=32, encoder_blocks=1) for name in CHANNELS
        }
        for encoder in unimodal.values():
            encoder(torch.randn(4, 3000))
        model = synthsleepnet("tiny", unimodal)
        model(torch.randn(8, 3, 3000), torch.ones(8, 3, dtype=torch.bool))
    return model.eval()


def build(*, context: str = "mamba2", lora: bool = True) -> FusedStager:
    torch.manual_seed(0)
    stager = FusedStager(make_encoder(), FusedHead(D, context=context, width=16, window=5))
    if lora:
        stager.adapt(rank=4, alpha=8, dropout=0.05)
    return stager


def stir(stager: FusedStager) -> FusedStager:
    """Give adapters other values than their first ones, which change nothing."""
    for name, parameter in stager.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    return stager


def make_signals(windows: int = 2, epochs: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Give signals (B, L, C, T) in which channels are absent, and valid (B, L)."""
    signals = torch.randn(
        windows, epochs, len(CHANNELS), 3000, generator=torch.Generator().manual_seed(2)
    )
    signals[0, 1, 2] = signals[1, 0, 0] = signals[1, 0, 2] = torch.nan
    valid = torch.ones(windows, epochs, dtype=torch.bool)
    valid[-1, 2:] = False
    return signals, valid


def make_slice(**changes: object) -> FusedFinetuneSlice:
    task, context = changes.pop("task", "staging"), changes.pop("context", "mamba2")
    recipe = FusedFinetune(**{**SMALL, **changes})
    return FusedFinetuneSlice(name="all", task=task, context=context, recipe=recipe)


def make_labels(cohort: Cohort, folder: Path) -> Path:
    shards = [pl.read_parquet(path.with_name("epochs.parquet")) for path in cohort.packed]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "labels.parquet"
    table = pl.concat(shards).filter(pl.col("subject").is_in(ROLES["train"]), pl.col("stage") >= 0)
    table.select(KEYS).write_parquet(path)
    return path


def run(cohort: Cohort, encoder: Path, folder: Path, *, cfg: FusedFinetuneSlice) -> Path:
    finetune_fused(
        packed=cohort.packed,
        split=cohort.split,
        labels=make_labels(cohort, folder),
        encoder=encoder,
        model=folder / "model.safetensors",
        training=folder / "training.csv",
        resume=folder / "resume",
        name="synthsleepnet/all/lora-mamba2/task=staging/labels=all",
        fold=0,
        gpus=0,
        threads=1,
        cfg=cfg,
    )
    return folder


def run_score(
    cohort: Cohort, folder: Path, *, task: str = "staging", stride: int = 5
) -> pl.DataFrame:
    path = folder / "predictions.parquet"
    score_tuned(
        packed=cohort.packed,
        model=folder / "model.safetensors",
        split=cohort.split,
        predictions=path,
        fold=0,
        gpus=0,
        threads=1,
        cfg=ScoreSlice(task=task, stride=stride),
    )
    return pl.read_parquet(path)


def files(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "model.safetensors").read_bytes(), (folder / "training.csv").read_bytes()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Subjects with and without EMG; of one there is nothing else."""
    folder = tmp_path_factory.mktemp("shared")
    return make_cohort(folder, epochs=13, channels=CHANNELS, absent=ABSENT, events=True)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_synthsleepnet(path, make_encoder(), {"channel": "all"})
    return path


@pytest.fixture(scope="module")
def tuned(shared: Cohort, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(shared, encoder, tmp_path_factory.mktemp("tuned"), cfg=make_slice())


# What is trained


def test_adapters_are_where_the_paper_has_them() -> None:
    """Both linear layers of each frame backbone, and the MLP of the last fused block."""
    trained = {name for name, p in build().encoder.named_parameters() if p.requires_grad}
    layers = [
        *(f"encoders.{c}.frame_backbone.feature_layer.{i}" for c in CHANNELS for i in (0, 2)),
        *(f"encoder_blocks.1.mlp.{layer}" for layer in ("fc1", "fc2")),
    ]
    assert trained == {f"{name}.lora_{ab}.default.weight" for name in layers for ab in "AB"}


def test_the_head_is_the_published_one() -> None:
    """Batch norm, residual Mamba2, then twice Linear, batch norm, ELU, dropout; then Linear."""
    head = FusedHead(512, context="mamba2")
    mamba = head.context.mamba
    assert head.context.norm.num_features == 512
    assert (mamba.d_state, mamba.conv1d.kernel_size, mamba.d_inner) == (16, (4,), 1024)
    linear = [(m.in_features, m.out_features) for m in head.fc if isinstance(m, nn.Linear)]
    assert linear == [(512, 256), (256, 256), (256, 5)]
    assert [m.p for m in head.fc if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    kinds = [type(m) for m in head.fc]
    assert kinds == [*(nn.Linear, nn.BatchNorm1d, nn.ELU, nn.Dropout) * 2, nn.Linear]


def test_every_trained_parameter_gets_a_gradient() -> None:
    stager = stir(build()).train()
    signals, valid = make_signals()
    stager(signals, valid)[valid].square().sum().backward()
    for name, parameter in stager.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert not parameter.requires_grad or parameter.grad.any(), name


def test_the_encoder_stays_in_evaluation_mode_but_for_the_dropout_of_adapters() -> None:
    """Defect N8."""
    stager = build().train()
    training = {name for name, m in stager.encoder.named_modules() if m.training}
    assert training
    assert all("lora_dropout" in name for name in training)
    assert stager.head.training
    assert not any(module.training for module in stager.eval().modules())


def test_nothing_of_the_convolutions_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect N19: all epochs of a batch at once, here three at a time; no graph before adapters."""
    seen = []
    stager = build().train()
    monkeypatch.setattr(synthsleepnet_module, "CHUNK", 3)
    for channel in CHANNELS:
        first = stager.encoder.encoder(channel).frame_backbone.feature_layer[0]
        first.register_forward_pre_hook(lambda _, x: seen.append((len(x[0]), x[0].requires_grad)))
    signals = torch.randn(2, 4, len(CHANNELS), 3000)
    stager(signals, torch.ones(2, 4, dtype=torch.bool))
    assert seen == [(3, False), (3, False), (2, False)] * len(CHANNELS)


def test_features_are_the_deployed_ones_however_many_are_encoded_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Defect N10; and adapters change nothing before they are trained."""
    signals, _ = make_signals()
    epochs = signals.flatten(0, 1)
    present = ~epochs[..., 0].isnan()
    wanted = make_encoder().forward_features(epochs.nan_to_num(7.0), present)
    monkeypatch.setattr(synthsleepnet_module, "CHUNK", 3)
    for stager in (build(), build(lora=False)):
        found = stager.eval().forward_features(epochs)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("context", sorted(CONTEXTS))
def test_padding_reaches_nothing(context: str) -> None:
    """Neither logits nor the statistics of a batch norm."""
    signals, valid = make_signals()
    found = []
    for padding in (0.0, 1e6, torch.nan):
        stager = build(context=context).train()
        torch.manual_seed(3)
        logits = stager(signals.masked_fill(~valid[..., None, None], padding), valid)[valid]
        found.append((logits, stager.state_dict()))
    (one, before), *others = found
    assert one.isfinite().all()
    for two, after in others:
        assert torch.equal(one, two)
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_only_valid_epochs_are_in_the_statistics_of_batch_norms() -> None:
    stager, rows = build().train(), []
    norms = [m for m in stager.head.modules() if isinstance(m, nn.BatchNorm1d)]
    for norm in norms:
        norm.register_forward_pre_hook(lambda _, x: rows.append(len(x[0])))
    signals, valid = make_signals()
    stager(signals, valid)
    assert rows == [int(valid.sum())] * 3


def test_an_absent_channel_is_not_looked_at() -> None:
    """The mark itself is no signal: NaN reaches no number."""
    signals, valid = make_signals()
    assert build().eval()(signals, valid)[valid].isfinite().all()


def test_merged_gives_the_outputs_of_the_adapted_model() -> None:
    stager = stir(build()).eval()
    signals, valid = make_signals()
    adapted = stager(signals, valid)
    plain = build(lora=False).eval()
    before = plain(signals, valid)
    plain.load_state_dict(merged_state(stager))
    torch.testing.assert_close(plain(signals, valid), adapted, rtol=0, atol=1e-5)
    assert not torch.allclose(before[valid], adapted[valid], atol=1e-3)
    merge_lora(stager)
    torch.testing.assert_close(stager(signals, valid), adapted, rtol=0, atol=1e-5)


# Training


def test_only_adapted_layers_differ_from_the_pretrained_ones(encoder: Path, tuned: Path) -> None:
    """Defects N8, S1; and that the adapters did learn."""
    before, after = read_tensors(encoder), read_tensors(tuned / "model.safetensors")
    ours = {name.removeprefix("encoder."): t for name, t in after.items() if "encoder." in name[:8]}
    adapted = {
        *(f"encoders.{c}.frame_backbone.feature_layer.{i}" for c in CHANNELS for i in (0, 2)),
        *(f"encoder_blocks.1.mlp.{layer}" for layer in ("fc1", "fc2")),
    }
    assert {name for name in ours if not torch.equal(ours[name], before[name])} == {
        f"{layer}.weight" for layer in adapted
    }
    assert any("running_mean" in name for name in ours)
    left_out = ("decoder", "mask_token", "projection", "lora", "base_layer")
    assert not any(part in name for part in left_out for name in after)


def test_what_is_written_is_whole(tuned: Path) -> None:
    stager, about = load_fused_stager(tuned / "model.safetensors")
    assert (about["channel"], about["channels"]) == ("all", CHANNELS)
    assert stager.head.architecture["context"] == "mamba2"
    assert not stager.training
    assert not any(p.requires_grad for p in stager.parameters())
    table = pl.read_csv(tuned / "training.csv")
    assert about["best_pass"] == table["best"].arg_max() + 1


def test_a_change_of_what_is_frozen_is_an_error(
    shared: Cohort, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FusedStager, "train", nn.Module.train)
    monkeypatch.setattr(SynthSleepNet, "train", nn.Module.train)
    with pytest.raises(TrainingError, match="batch norm statistics changed in training: their SHA"):
        run(shared, encoder, tmp_path, cfg=make_slice(passes=1))


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


def test_a_killed_tuning_ends_bit_equal(
    shared: Cohort, encoder: Path, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with killed_in_training(monkeypatch):
        run(shared, encoder, tmp_path, cfg=make_slice())
    assert len(list((tmp_path / "resume").rglob("last.ckpt"))) == 1
    assert files(run(shared, encoder, tmp_path, cfg=make_slice())) == files(tuned)


def test_gradients_of_batches_are_added_up(
    shared: Cohort, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, steps = [], []
    plain = Supervised.training_step
    monkeypatch.setattr(
        Supervised,
        "training_step",
        lambda self, batch, i: (
            batches.append(i) or steps.append(self.trainer.global_step) or plain(self, batch, i)
        ),
    )
    run(shared, encoder, tmp_path, cfg=make_slice(passes=1, batch_size=2, accumulate=2))
    assert batches == list(range(len(batches)))
    assert steps == [i // 2 for i in batches]
    assert len(batches) > 2


def test_signals_are_nan_where_a_channel_is_absent(shared: Cohort) -> None:
    packed = PackedEpochs(shared.packed, channels=CHANNELS, require="any")
    rows = np.flatnonzero(packed.table["usable"])[[0, 2, 20, 60]]
    found = ChannelEpochs(packed).read(rows)
    assert np.array_equal(np.isnan(found), ~packed.present[rows][..., None] & np.ones(3000, bool))
    assert np.array_equal(np.nan_to_num(found), packed.read(rows))
    assert np.isnan(found).any()


# Scoring


def best_scores(folder: Path, names: list[str]) -> dict[str, float]:
    best = pl.read_csv(folder / "training.csv").filter(pl.col("best") == 1).row(0, named=True)
    return {name: best[name] for name in names}


def validated(predictions: pl.DataFrame, folder: Path) -> None:
    """Compare the scores of the file on disk with those of its pass (defect N3)."""
    from somnoflow.tasks import TASKS

    task = TASKS["apnea" if "p_apnea" in predictions.columns else "staging"]
    known = "label" if task.rare else "stage"
    rows = predictions.filter(pl.col("role") == "val", "usable", pl.col(known) >= 0)
    found = pass_scores(
        rows[known].to_numpy().astype(int),
        rows.select(task.probabilities).to_numpy(),
        task=task,
    )
    assert found == pytest.approx(best_scores(folder, list(found)), abs=1e-6)


def test_recordings_without_a_modality_are_scored_once_and_as_chosen(
    shared: Cohort, tuned: Path
) -> None:
    """Defects N3, N6, N7: of one test subject there is EMG alone, another one has none."""
    table = run_score(shared, tuned)
    assert table.select(KEYS).n_unique() == len(table) == 2 * 13
    # Epoch 2 has no EEG: where EOG is there it is scored all the same.
    assert table["usable"].all()
    assert table["predicted"].is_between(0, 4).all()
    shares = table.select("p_W", "p_N1", "p_N2", "p_N3", "p_REM").to_numpy()
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    validated(table, tuned)


def test_events_are_tuned_and_scored(shared: Cohort, encoder: Path, tmp_path: Path) -> None:
    run(shared, encoder, tmp_path, cfg=make_slice(task="apnea", sampling="balanced", passes=1))
    table = run_score(shared, tmp_path, task="apnea")
    assert {"label", "threshold", "p_none", "p_apnea"} <= set(table.columns)
    assert set(table["predicted"]) <= {0, 1}
    validated(table, tmp_path)
    with pytest.raises(ValueError, match=r"was trained for apnea, wanted one for staging"):
        run_score(shared, tmp_path)


@pytest.mark.parametrize("context", ["mamba2", "lstm"])
def test_bfloat16_trains_and_is_chosen_by_what_is_deployed(
    shared: Cohort, encoder: Path, tmp_path: Path, context: str
) -> None:
    cfg = make_slice(context=context, passes=1, precision="bfloat16")
    run(shared, encoder, tmp_path, cfg=cfg)
    kept = read_tensors(tmp_path / "model.safetensors").values()
    assert {tensor.dtype for tensor in kept if tensor.is_floating_point()} == {torch.float32}
    validated(run_score(shared, tmp_path), tmp_path)


def test_tuning_learns_stages_from_signals(encoder: Path, tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path, epochs=20, channels=CHANNELS, absent=ABSENT)
    run(cohort, encoder, tmp_path / "out", cfg=make_slice(passes=6, stride=5, dropout=0.1))
    table = pl.read_csv(tmp_path / "out/training.csv")
    assert table["train_loss"][-1] < 0.8 * table["train_loss"][0]
    scores = run_score(cohort, tmp_path / "out").filter(pl.col("stage") >= 0)
    majority = scores["stage"].value_counts()["count"].max() / len(scores)
    assert (scores["stage"] == scores["predicted"]).mean() > majority + 0.1


# Errors


def test_an_encoder_of_something_else_is_named(
    shared: Cohort, encoder: Path, tmp_path: Path
) -> None:
    other = make_slice().model_copy(update={"name": "two"})
    with pytest.raises(ValueError, match=r"encoder\.safetensors was trained on all, wanted two"):
        run(shared, encoder, tmp_path, cfg=other)


def test_a_model_file_of_another_kind_is_named(encoder: Path, shared: Cohort) -> None:
    with pytest.raises(ValueError, match=r"holds 'synthsleepnet' .* wanted 'fused_stager'"):
        load_fused_stager(encoder)
    with pytest.raises(FileNotFoundError):
        run_score(shared, encoder.parent / "nothing")
