"""SynthSleepNet's training: repeatable, resumable to the bit, with channels that are missing."""

import json
import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from packed_shards import ROLES, Cohort, make_cohort

from somnoflow.commands.embed import embed
from somnoflow.commands.fuse import fuse
from somnoflow.config.embed import EmbedSlice
from somnoflow.config.synthsleepnet import FuseSlice, FusionRecipe
from somnoflow.config.unimodal import UnimodalRecipe
from somnoflow.data.packed import PackedEpochs
from somnoflow.models.encoders import load_encoder
from somnoflow.models.neuronet import Losses
from somnoflow.models.synthsleepnet import SynthSleepNet, load_synthsleepnet
from somnoflow.models.weights import read_tensors, write_weights
from somnoflow.training.batches import ChannelBatches, Channels, validation_batches
from somnoflow.training.errors import TrainingError
from somnoflow.training.fusion import Fusing, leave_out
from somnoflow.training.initial import build_neuronet

CHANNELS = ["EEG_C4", "EOG_L", "ECG"]
SHARD = {"channels": CHANNELS, "absent": {"sim/b": ["ECG"], "sim/d": ["EOG_L"]}}
SETTINGS = {"passes": 3, "batch_size": 8, "precision": "float32"}


def write_encoder(folder: Path, modality: str, *, rate: int = 100, **recipe: object) -> Path:
    """Write an encoder as `pretrain` does, with batch norm statistics of its own."""
    cfg = UnimodalRecipe(**{"frame_step": 4.0, "seed": sum(map(ord, modality)), **recipe})
    model = build_neuronet(cfg, sampling_rate=rate)
    model(torch.randn(8, 30 * rate, generator=torch.Generator().manual_seed(0)))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{modality}.safetensors"
    about = {
        "kind": "neuronet",
        "architecture": model.architecture,
        "channel": modality,
        "channels": [modality],
        "sampling_rate": rate,
    }
    write_weights(path, model.state_dict(), about)
    return path


def run(
    cohort: Cohort,
    encoders: list[Path],
    folder: Path,
    *,
    channels: list[str] = CHANNELS,
    rate: int = 100,
    processes: int = 1,
    **recipe: object,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    fuse(
        encoders=encoders,
        packed=cohort.packed,
        split=cohort.split,
        encoder=folder / "encoder.safetensors",
        training=folder / "training.csv",
        resume=folder / "resume",
        tensorboard=folder / "tensorboard",
        name="synthsleepnet/all",
        fold=0,
        gpus=0,
        threads=1,
        processes=processes,
        cfg=FuseSlice(
            name="all",
            channels=channels,
            sampling_rate=rate,
            recipe=FusionRecipe(**{**SETTINGS, **recipe}),
        ),
    )
    return folder


def run_embed(cohort: Cohort, encoder: Path, folder: Path, *, channel: str) -> pl.DataFrame:
    folder.mkdir(parents=True, exist_ok=True)
    embed(
        encoder=encoder,
        packed=cohort.packed,
        index=folder / "index.json",
        gpus=0,
        threads=1,
        cfg=EmbedSlice(channel=channel, batch_size=5),
    )
    parts = json.loads((folder / "index.json").read_text())["parts"]
    tables = [pl.read_parquet(folder / part["file"], hive_partitioning=False) for part in parts]
    return pl.concat(tables).sort("subject", "epoch")


def files(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "encoder.safetensors").read_bytes(), (folder / "training.csv").read_bytes()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("shared"), epochs=10, **SHARD)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("encoders")
    return [write_encoder(folder, modality) for modality in ("EEG", "EOG", "ECG")]


@pytest.fixture(scope="module")
def whole(shared: Cohort, encoders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted training."""
    return run(shared, encoders, tmp_path_factory.mktemp("whole"))


def test_outputs_are_complete_and_the_best_pass_is_kept(whole: Path) -> None:
    table = pl.read_csv(whole / "training.csv")
    assert table.columns == [
        "pass", "train_loss", "train_reconstruction", "train_contrastive", "val_loss",
        "val_reconstruction", "val_contrastive", "learning_rate", "best",
    ]  # fmt: skip
    assert table["best"].arg_max() == table["val_loss"].arg_min()
    model, about = load_encoder(whole / "encoder.safetensors")
    assert isinstance(model, SynthSleepNet)
    assert (about["kind"], about["channel"], about["preset"]) == ("synthsleepnet", "all", "tiny")
    assert about["channels"] == CHANNELS
    assert about["best_pass"] == table["best"].arg_max() + 1
    assert not [name for name in read_tensors(whole / "encoder.safetensors") if "lora" in name]
    kept = {path.name for path in (whole / "resume").rglob("*") if path.is_file()}
    assert kept == {"weights.safetensors", "training.csv", "sha256.json"}
    assert list(whole.glob("tensorboard/synthsleepnet/all/fold=0/*/events*"))


def test_the_kept_weights_give_their_loss_again(shared: Cohort, whole: Path) -> None:
    """Defect N3, and adapters that are merged: the loss of the file is the one it was kept for."""
    model, _ = load_synthsleepnet(whole / "encoder.safetensors")
    epochs = PackedEpochs(shared.packed, channels=CHANNELS, subjects=ROLES["val"], require="any")
    cfg = FusionRecipe(**SETTINGS)
    module = Fusing(model, cfg=cfg, batches=1)
    module.on_validation_epoch_start()
    batches = ChannelBatches(epochs)
    with torch.inference_mode():
        for number, rows in enumerate(
            validation_batches(epochs.rows(scored=False), batch_size=8, seed=cfg.seed)
        ):
            module.validation_step(batches[rows], number)
    table = pl.read_csv(whole / "training.csv").filter(pl.col("best") == 1)
    assert module._means("val")["total"] == pytest.approx(table["val_loss"].item(), rel=1e-5)


def test_training_learns(shared: Cohort, encoders: list[Path], tmp_path: Path) -> None:
    """On validation subjects, of whom EOG is missing, too."""
    run(shared, encoders, tmp_path, passes=8)
    table = pl.read_csv(tmp_path / "training.csv")
    assert table["val_loss"].min() < 0.9 * table["val_loss"][0]
    assert table["train_reconstruction"][-1] < 0.9 * table["train_reconstruction"][0]


def test_encoders_change_by_their_adapters_alone(whole: Path, encoders: list[Path]) -> None:
    """Defects S1 and N8: weights and statistics are those of the files, but for `attn.proj`."""
    kept = read_tensors(whole / "encoder.safetensors")
    for channel, path in zip(CHANNELS, encoders, strict=True):
        prefix = f"encoders.{channel}."
        own = {name.removeprefix(prefix): t for name, t in kept.items() if name.startswith(prefix)}
        before = read_tensors(path)
        changed = {name for name, tensor in own.items() if not torch.equal(tensor, before[name])}
        assert changed == {f"encoder_blocks.{n}.attn.proj.weight" for n in range(2)}


class Killed(BaseException):
    """Stands for a kill inside this process."""


@pytest.mark.parametrize(
    "options", [{}, {"accumulate": 2, "precision": "bfloat16", "stop_gradient": True}]
)
def test_a_killed_training_continues_bit_equal(
    shared: Cohort, encoders: list[Path], tmp_path: Path, options: dict
) -> None:
    """Masks, left-out channels and the dropout of adapters do not depend on the stop."""
    whole = run(shared, encoders, tmp_path / "whole", **options)
    step = Fusing.training_step

    def dying(self: Fusing, batch: Channels, batch_idx: int) -> torch.Tensor:
        if (self.current_epoch, batch_idx) == (1, 1):
            raise Killed
        return step(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fusing, "training_step", dying)
        with pytest.raises(Killed):
            run(shared, encoders, tmp_path / "killed", **options)
    assert list((tmp_path / "killed/resume").glob("**/last.ckpt"))
    torch.rand(3)  # another state of the global generator
    assert files(run(shared, encoders, tmp_path / "killed", **options)) == files(whole)


def test_a_finished_training_is_not_trained_again(
    shared: Cohort, encoders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = files(run(shared, encoders, tmp_path, passes=1))

    def never(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Fusing, "training_step", never)
    assert files(run(shared, encoders, tmp_path, passes=1)) == one


def test_test_subjects_and_labels_do_not_reach_the_model(
    whole: Path, encoders: list[Path], tmp_path: Path
) -> None:
    changed = make_cohort(
        tmp_path / "changed",
        epochs=10,
        salt={"sim/e": 9},
        stages={f"sim/{name}": 1 for name in "abcde"},
        **SHARD,
    )
    assert files(run(changed, encoders, tmp_path / "out")) == files(whole)


def test_validation_subjects_do_reach_the_choice(
    whole: Path, encoders: list[Path], tmp_path: Path
) -> None:
    """The test above can fail."""
    changed = make_cohort(tmp_path / "changed", epochs=10, salt={"sim/d": 9}, **SHARD)
    assert files(run(changed, encoders, tmp_path / "out"))[1] != files(whole)[1]


def test_channels_are_left_out_in_training_alone(
    shared: Cohort, encoders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And others in each pass; validation sees all that are there, in evaluation mode."""
    seen: dict[bool, list[int]] = {True: [], False: []}
    forward = SynthSleepNet.forward

    def spied(self: SynthSleepNet, signals: torch.Tensor, present: torch.Tensor, **o: object):
        seen[self.training].append(int(present.sum()))
        return forward(self, signals, present, **o)

    monkeypatch.setattr(SynthSleepNet, "forward", spied)
    run(shared, encoders, tmp_path, modality_dropout=0.5, passes=2)
    # 29 epochs of EEG and 30 of EOG, 20 of ECG; a validation subject with EEG (9) and ECG (10).
    passes = [seen[True][:3], seen[True][3:]]
    assert passes[0] != passes[1]
    assert all(3 * 8 <= sum(numbers) < 0.75 * 79 for numbers in passes)
    assert sum(seen[False]) == 2 * 19


def test_at_least_one_channel_stays() -> None:
    generator = torch.Generator().manual_seed(1)
    present = torch.rand(2000, 4, generator=generator) < 0.6
    present[:, 0] |= ~present.any(dim=1)
    draw = torch.rand(2000, 4, generator=generator)
    assert torch.equal(leave_out(present, draw, chance=0), present)
    for chance in (0.3, 0.99):
        kept = leave_out(present, draw, chance=chance)
        assert kept.any(dim=1).all()
        assert not (kept & ~present).any()
    full = leave_out(torch.ones(2000, 4, dtype=torch.bool), draw, chance=0.3)
    assert full.float().mean() == pytest.approx(0.7 + 0.3**4 / 4, abs=0.02)
    alone = torch.eye(4, dtype=torch.bool)
    assert torch.equal(leave_out(alone, draw[:4], chance=0.99), alone)


def test_recordings_without_a_modality_are_embedded(
    shared: Cohort, whole: Path, tmp_path: Path
) -> None:
    table = run_embed(shared, whole / "encoder.safetensors", tmp_path, channel="all")
    lacking = {"sim/b": "EEG+EOG", "sim/d": "EEG+ECG"}
    for (subject,), rows in table.group_by("subject"):
        found = lacking.get(str(subject), "EEG+EOG+ECG")
        wanted = [found.replace("EEG+", "") if n == 2 else found for n in range(10)]
        assert rows["modalities"].to_list() == wanted
        assert rows["quality"].to_list() == [int(n == 2 or subject in lacking) for n in range(10)]
    assert table["usable"].all()
    model, _ = load_encoder(whole / "encoder.safetensors")
    epochs = PackedEpochs(shared.packed, channels=CHANNELS, require="any")
    rows = np.array([3, 13, 33])
    with torch.inference_mode():
        wanted = model.forward_features(
            torch.from_numpy(epochs.read(rows)), torch.from_numpy(epochs.present[rows])
        )
    found = table["embedding"].to_numpy()[rows]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_an_epoch_without_any_channel_is_not_usable(
    whole: Path, encoders: list[Path], tmp_path: Path
) -> None:
    cohort = make_cohort(tmp_path, epochs=6, channels=CHANNELS, absent={"sim/b": ["EOG_L", "ECG"]})
    table = run_embed(cohort, whole / "encoder.safetensors", tmp_path / "fused", channel="all")
    lost = table.filter(~pl.col("usable"))
    assert lost.select("subject", "epoch", "modalities").rows() == [("sim/b", 2, "")]
    assert lost["embedding"].null_count() == 1
    alone = run_embed(cohort, encoders[2], tmp_path / "ecg", channel="ECG")
    assert set(alone["modalities"]) == {"ECG", ""}
    assert alone.filter(~pl.col("usable"))["subject"].to_list() == ["sim/b"] * 6


# Bad input


def test_a_loss_that_is_not_finite_names_its_section(
    shared: Cohort, encoders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = SynthSleepNet.forward

    def poisoned(self: SynthSleepNet, *batch: torch.Tensor, **options: object) -> Losses:
        losses = forward(self, *batch, **options)
        return losses._replace(total=losses.total * float("nan"))

    monkeypatch.setattr(SynthSleepNet, "forward", poisoned)
    with pytest.raises(TrainingError, match=r"loss is nan in pass 1, .*synthsleepnet\.learning_r"):
        run(shared, encoders, tmp_path)


def test_a_frozen_weight_that_moves_is_named(
    shared: Cohort, encoders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Fusing.training_step

    def moving(self: Fusing, batch: Channels, batch_idx: int) -> torch.Tensor:
        with torch.no_grad():
            self.model.encoders["EOG_L"].patch_embed.bias.add_(1e-3)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Fusing, "training_step", moving)
    with pytest.raises(TrainingError, match="frozen weights or batch norm statistics changed"):
        run(shared, encoders, tmp_path, passes=1)
    assert not (tmp_path / "encoder.safetensors").exists()


def test_encoders_that_are_not_the_channels_are_named(
    shared: Cohort, encoders: list[Path], tmp_path: Path
) -> None:
    eeg, eog, ecg = encoders
    with pytest.raises(ValueError, match=r"found encoders of ECG, EEG, wanted EOG too .*EOG_L"):
        run(shared, [eeg, ecg], tmp_path)
    with pytest.raises(ValueError, match=r"ECG\.safetensors is an encoder of ECG, wanted .* EEG, "):
        run(shared, encoders, tmp_path, channels=["EEG_C4", "EOG_L"])
    with pytest.raises(ValueError, match="are both encoders of EOG, wanted one"):
        run(shared, [eeg, eog, eog, ecg], tmp_path)


def test_encoders_of_another_framing_or_rate_are_named(
    shared: Cohort, encoders: list[Path], tmp_path: Path
) -> None:
    framed = write_encoder(tmp_path / "framed", "EOG", frame_window=3.0, frame_step=3.0)
    with pytest.raises(ValueError, match=r"EEG_C4 has a frame in samples of 400, .* EOG_L 300"):
        run(shared, [encoders[0], framed, encoders[2]], tmp_path)
    faster = write_encoder(tmp_path / "faster", "EOG", rate=128)
    with pytest.raises(ValueError, match=r"has 100 Hz, .*EOG\.safetensors was trained on 128"):
        run(shared, [encoders[0], faster, encoders[2]], tmp_path)


def test_shards_of_another_rate_are_named(encoders: list[Path], tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path, epochs=4, rate=128, **SHARD)
    with pytest.raises(ValueError, match="is at 128 Hz, wanted 100 Hz"):
        run(cohort, encoders, tmp_path / "out")
    with pytest.raises(ValueError, match=r"has 128 Hz, .*EEG\.safetensors was trained on 100"):
        run(cohort, encoders, tmp_path / "out", rate=128)


def test_a_channel_that_nobody_has_is_named(
    encoders: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    absent = {f"sim/{name}": ["ECG"] for name in "abc"}
    cohort = make_cohort(tmp_path / "a", epochs=6, channels=CHANNELS, absent=absent)
    with pytest.raises(
        TrainingError, match=r"ECG is absent or constant in all 18 epochs .*take it"
    ):
        run(cohort, encoders, tmp_path)
    cohort = make_cohort(
        tmp_path / "b", epochs=6, channels=CHANNELS, absent={"sim/d": ["ECG", "EOG_L"]}
    )
    with caplog.at_level(logging.INFO):
        run(cohort, encoders, tmp_path, passes=1)
    assert "no epoch of the validation subjects has ECG" in caplog.text
    assert "EEG_C4: in 15 of 18 training and 5 of 6 validation epochs" in caplog.text


def test_no_usable_epoch_is_named(encoders: list[Path], tmp_path: Path) -> None:
    absent = {f"sim/{name}": CHANNELS for name in "abc"}
    cohort = make_cohort(tmp_path, epochs=6, channels=CHANNELS, absent=absent)
    with pytest.raises(
        TrainingError, match="pre-training subjects have 0 usable epochs of EEG_C4,"
    ):
        run(cohort, encoders, tmp_path / "out")


def test_a_constant_channel_is_named(encoders: list[Path], tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path, epochs=6, channels=CHANNELS)
    for packed in cohort.packed:
        signals = np.load(packed.with_name("signals.npy"))
        signals[:, 1] = 40
        np.save(packed.with_name("signals.npy"), signals)
    with pytest.raises(ValueError, match="channel EOG_L is constant in all 8 epochs of a batch"):
        run(cohort, encoders, tmp_path / "out")


def test_several_processes_are_refused(
    shared: Cohort, encoders: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="found --processes 2, wanted 1"):
        run(shared, encoders, tmp_path, processes=2)


def test_another_fusion_is_not_embedded_by_mistake(
    shared: Cohort, whole: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="was trained on all, wanted head"):
        run_embed(shared, whole / "encoder.safetensors", tmp_path, channel="head")
