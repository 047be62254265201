"""Pre-training: repeatable, resumable to the bit, blind to test subjects and to stages."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lightning.pytorch as lightning
import numpy as np
import polars as pl
import pytest
import torch
from packed_shards import ROLES, Cohort, make_cohort, write_json, write_shard
from tensorboardX.proto.event_pb2 import Event, SessionLog

from somnoflow.commands.pretrain import pretrain
from somnoflow.config.pretrain import PretrainSlice, Recipe
from somnoflow.data.packed import PackedEpochs
from somnoflow.data.pooled import PooledChannels
from somnoflow.models.neuronet import Losses, NeuroNet
from somnoflow.models.pretrained import load_frozen, load_neuronet
from somnoflow.models.weights import read_tensors
from somnoflow.training.batches import PassOrder, validation_batches
from somnoflow.training.device import has_bfloat16
from somnoflow.training.errors import TrainingError
from somnoflow.training.initial import build_neuronet
from somnoflow.training.neighbours import NeighboursProbe
from somnoflow.training.optimizing import rate_factor
from somnoflow.training.pretraining import Pretraining
from somnoflow.training.resume import CheckpointError
from somnoflow.training.seeds import MASKS, torch_generator

SETTINGS = {"passes": 3, "batch_size": 8, "frame_step": 1.5}


def make_slice(
    *,
    channel: str = "EEG_C4",
    channels: list[str] | None = None,
    sampling_rate: int = 100,
    **changes: object,
) -> PretrainSlice:
    return PretrainSlice(
        channel=channel,
        channels=channels or [channel],
        sampling_rate=sampling_rate,
        recipe=Recipe(**{**SETTINGS, **changes}),
    )


def run(
    cohort: Cohort,
    folder: Path,
    *,
    cfg: PretrainSlice | None = None,
    name: str = "neuronet/EEG_C4",
    **changes: object,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pretrain(
        packed=cohort.packed,
        split=cohort.split,
        encoder=folder / "encoder.safetensors",
        training=folder / "training.csv",
        resume=folder / "resume",
        tensorboard=folder / "tensorboard",
        name=name,
        fold=0,
        gpus=0,
        threads=1,
        cfg=cfg or make_slice(**changes),
    )
    return folder


def files(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "encoder.safetensors").read_bytes(), (folder / "training.csv").read_bytes()


def checkpoints(folder: Path) -> list[Path]:
    return list((folder / "resume").glob("**/last.ckpt"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
def whole(shared: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted training."""
    return run(shared, tmp_path_factory.mktemp("whole"))


def test_outputs_are_complete_and_nothing_is_left(shared: Cohort, whole: Path) -> None:
    table = pl.read_csv(whole / "training.csv")
    assert table["pass"].to_list() == [1, 2, 3]
    assert table["best"].sum() == 1
    assert table["best"].arg_max() == table["val_loss"].arg_min()
    assert np.allclose(
        table["train_loss"], table["train_reconstruction"] + table["train_contrastive"]
    )
    results = {"encoder.safetensors", "training.csv"}
    assert {path.name for path in whole.iterdir() if path.is_file()} == results
    kept = [path for path in (whole / "resume").rglob("*") if path.is_file()]
    assert {path.name for path in kept} == {"weights.safetensors", "training.csv", "sha256.json"}
    assert (kept[0].parent / "weights.safetensors").read_bytes() == files(whole)[0]
    assert (kept[0].parent / "training.csv").read_bytes() == files(whole)[1]
    model, about = load_neuronet(whole / "encoder.safetensors")
    assert (about["channel"], about["sampling_rate"], about["format"]) == ("EEG_C4", 100, 1)
    assert about["best_pass"] == table.filter(pl.col("best") == 1)["pass"].item()
    assert len(list(model.decoder_blocks)) == 1  # the whole model, so that training can go on


def test_best_weights_come_from_disk_and_give_their_loss_again(shared: Cohort, whole: Path) -> None:
    """Defect N3: the reloaded model reproduces the validation loss it was chosen for."""
    model, _ = load_frozen(whole / "encoder.safetensors")
    cfg = make_slice().recipe
    epochs = PackedEpochs(shared.packed, channels=["EEG_C4"], subjects=ROLES["val"])
    rows = epochs.rows(scored=False)
    module = Pretraining(model, cfg=cfg, batches=1)
    module.on_validation_epoch_start()
    with torch.inference_mode():
        for number, batch in enumerate(validation_batches(rows, batch_size=8, seed=cfg.seed)):
            module.validation_step(torch.from_numpy(epochs.read(batch)[:, 0]), number)
    loss = module._sums["val"][0].item() / module._epochs["val"]
    recorded = pl.read_csv(whole / "training.csv").filter(pl.col("best") == 1)["val_loss"].item()
    assert module._epochs["val"] == len(rows) == 13
    assert loss == pytest.approx(recorded, rel=1e-5)


def test_an_earlier_best_pass_is_what_is_kept(
    shared: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect N3 again: with the best pass in the middle, its weights and not the last ones."""
    states: dict[int, dict[str, torch.Tensor]] = {}
    losses = {1: 3.0, 2: 1.0, 3: 2.0}
    record = Pretraining.pass_record

    def spied(self: Pretraining) -> dict:
        row = record(self)
        states[row["pass"]] = {k: v.clone() for k, v in self.model.state_dict().items()}
        return {**row, "val_loss": losses[row["pass"]]}

    monkeypatch.setattr(Pretraining, "pass_record", spied)
    run(shared, tmp_path)
    kept = read_tensors(tmp_path / "encoder.safetensors")
    assert all(torch.equal(kept[name], states[2][name]) for name in kept)
    assert any(not torch.equal(kept[name], states[3][name]) for name in kept)
    assert pl.read_csv(tmp_path / "training.csv")["best"].to_list() == [0, 1, 0]


def test_validation_is_in_evaluation_mode_and_without_gradients(
    shared: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect N16; and training goes back to training mode after it."""
    seen: dict[str, set[tuple[bool, bool]]] = {"train": set(), "val": set()}
    count = Pretraining._count

    def spied(self: Pretraining, role: str, losses: Losses, epochs: int) -> None:
        seen[role].add((self.model.training, torch.is_grad_enabled()))
        count(self, role, losses, epochs)

    monkeypatch.setattr(Pretraining, "_count", spied)
    run(shared, tmp_path, passes=2)
    assert seen == {"train": {(True, True)}, "val": {(False, False)}}


def test_training_learns(shared: Cohort, tmp_path: Path) -> None:
    """On validation subjects too, in evaluation mode, from the first pass to the best one."""
    run(shared, tmp_path, passes=12)
    table = pl.read_csv(tmp_path / "training.csv")
    best = table.filter(pl.col("best") == 1).row(0, named=True)
    first = table.row(0, named=True)
    assert best["val_loss"] < 0.7 * first["val_loss"]
    assert best["train_contrastive"] < 0.7 * first["train_contrastive"]


def test_killed_training_continues_and_ends_bit_equal(shared: Cohort, tmp_path: Path) -> None:
    """SIGKILL after the first finished pass; the second run ends as if nothing had happened."""
    passes = 8  # so many that the kill comes in time on a busy machine too
    whole = run(shared, tmp_path / "whole", passes=passes)
    arguments = [
        sys.executable, "-m", "somnoflow.commands.pretrain",
        "--packed", *map(str, shared.packed), "--split", str(shared.split),
        "--encoder", str(tmp_path / "encoder.safetensors"),
        "--training", str(tmp_path / "training.csv"), "--resume", str(tmp_path / "resume"),
        "--tensorboard", str(tmp_path / "tensorboard"), "--name", "neuronet/EEG_C4",
        "--fold", "0", "--gpus", "0", "--threads", "1",
        "--cfg", make_slice(passes=passes).model_dump_json(),
    ]  # fmt: skip
    with (tmp_path / "first.log").open("w") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log)
    deadline = time.monotonic() + 120
    while not checkpoints(tmp_path) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, (tmp_path / "first.log").read_text()
    assert not (tmp_path / "encoder.safetensors").exists()
    second = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "continuing after the last finished pass" in second.stderr
    assert 0 < second.stderr.count(" train loss ") < passes
    assert "Warning" not in second.stderr
    assert files(tmp_path) == files(whole)
    assert not checkpoints(tmp_path)


class Killed(BaseException):
    """Stands for a kill inside this process."""


def killed_in_pass(number: int, patch: pytest.MonkeyPatch) -> None:
    """Let the process end in the second batch of a pass."""
    step = Pretraining.training_step

    def dying(self: Pretraining, epochs: torch.Tensor, batch_idx: int) -> torch.Tensor:
        if (self.current_epoch + 1, batch_idx) == (number, 1):
            raise Killed
        return step(self, epochs, batch_idx)

    patch.setattr(Pretraining, "training_step", dying)


@pytest.mark.parametrize(
    "options",
    [
        {"accumulate": 3},
        {"precision": "bfloat16"},
        {"choose_by": "knn"},
        {"objective": "masked", "block_masking": 2, "stop_gradient": True},
        {"objective": "contrastive", "accumulate": 2, "precision": "bfloat16", "choose_by": "knn"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_every_option_continues_bit_equal_and_with_one_curve(
    shared: Cohort, tmp_path: Path, options: dict
) -> None:
    whole = run(shared, tmp_path / "whole", **options)
    with pytest.MonkeyPatch.context() as patch:
        killed_in_pass(2, patch)
        with pytest.raises(Killed):
            run(shared, tmp_path / "killed", **options)
    assert checkpoints(tmp_path / "killed")
    assert files(run(shared, tmp_path / "killed", **options)) == files(whole)
    assert curves(tmp_path / "killed") == curves(whole)


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read event files as TensorBoard does: a start drops what came after its step before."""
    found: dict[str, list[tuple[int, float]]] = {}
    events = []
    for path in folder.glob("tensorboard/neuronet/EEG_C4/fold=0/*/*"):
        content, place = path.read_bytes(), 0
        while place < len(content):  # length (8 bytes), its sum (4), event, its sum (4)
            size = int.from_bytes(content[place : place + 8], "little")
            events.append(Event.FromString(content[place + 12 : place + 12 + size]))
            place += size + 16
    for event in sorted(events, key=lambda event: event.wall_time):
        if event.session_log.status == SessionLog.START:
            for name, points in found.items():
                found[name] = [point for point in points if point[0] < event.step]
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_curves_have_each_pass_and_each_step(whole: Path) -> None:
    found = curves(whole)
    table = pl.read_csv(whole / "training.csv")
    assert [step for step, _ in found["step_loss"]] == list(range(1, 13))  # 3 passes of 4 steps
    assert [step for step, _ in found["val_loss"]] == [4, 8, 12]
    assert [value for _, value in found["val_loss"]] == pytest.approx(table["val_loss"].to_list())
    names = {path.name[:6] for path in whole.glob("tensorboard/**/*") if path.is_file()}
    assert names == {"events"}


def test_accumulated_steps_are_those_of_a_plain_loop(shared: Cohort, tmp_path: Path) -> None:
    """4 batches in groups of 3 and 1: mean gradients, clipped after, a rate per optimiser step."""
    options = {"accumulate": 3, "passes": 2, "gradient_clip": 0.1, "warmup": 0.3}
    options |= {"precision": "float32"}
    run(shared, tmp_path, **options)
    cfg = make_slice(**options).recipe
    epochs = PackedEpochs(shared.packed, channels=["EEG_C4"], subjects=ROLES["pretrain"])
    model = build_neuronet(cfg, sampling_rate=100)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    )
    order = PassOrder(epochs.rows(scored=False), batch_size=8, seed=cfg.seed)
    states, step = [], 0
    for number in range(2):
        order.set_epoch(number)
        batches = list(order)
        for group in (range(3), range(3, 4)):
            optimizer.zero_grad()
            for index in group:
                noise = model.draw_noise(
                    8, generator=torch_generator(cfg.seed, MASKS, number, index)
                )
                loss = model(torch.from_numpy(epochs.read(batches[index])[:, 0]), noise=noise).total
                (loss / len(group)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            for part in optimizer.param_groups:
                part["lr"] = cfg.learning_rate * rate_factor(step, steps=4, warmup=0.3)
            optimizer.step()
            step += 1
        states.append({name: value.clone() for name, value in model.state_dict().items()})
    kept = read_tensors(tmp_path / "encoder.safetensors")
    _, about = load_neuronet(tmp_path / "encoder.safetensors")
    wanted = states[about["best_pass"] - 1]
    for name in ("decoder_pred.weight", "patch_embed.weight", "frame_backbone.conv1.weight"):
        torch.testing.assert_close(kept[name], wanted[name], rtol=1e-4, atol=1e-5)


def test_the_choice_by_neighbours_is_the_highest_macro_f1_and_deployed(
    shared: Cohort, tmp_path: Path
) -> None:
    """The kept encoder gives the macro-F1 that it was chosen for, by the feature of `embed`."""
    run(shared, tmp_path, choose_by="knn", passes=4)
    table = pl.read_csv(tmp_path / "training.csv")
    assert table["best"].arg_max() == table["val_knn_macro_f1"].arg_max()
    model, _ = load_frozen(tmp_path / "encoder.safetensors")
    train, val = (
        PackedEpochs(shared.packed, channels=["EEG_C4"], subjects=ROLES[role])
        for role in ("train", "val")
    )
    assert set(train.table["subject"]) == {"sim/a", "sim/b", "sim/c"}
    score = NeighboursProbe(train, val, seed=1, device=torch.device("cpu")).macro_f1(model)
    assert score == pytest.approx(table["val_knn_macro_f1"].max())
    assert score > 0.3  # five stages whose frequencies differ: chance is below


def test_neighbours_are_a_seeded_sample_of_the_scored_epochs(
    shared: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("somnoflow.training.neighbours.SAMPLE", 10)
    epochs = PackedEpochs(shared.packed, channels=["EEG_C4"], subjects=ROLES["train"])
    samples = [
        NeighboursProbe(epochs, epochs, seed=seed, device=torch.device("cpu"))._train_rows.tolist()
        for seed in (1, 1, 2)
    ]
    assert samples[0] == samples[1] != samples[2]
    assert len(set(samples[0])) == 10
    assert set(samples[0]) <= set(epochs.rows(scored=True).tolist())


def test_test_subjects_do_not_reach_the_choice_by_neighbours(
    shared: Cohort, tmp_path: Path
) -> None:
    """Defect N1 once more, with labels in play."""
    changed = make_cohort(tmp_path / "changed", salt={"sim/e": 9}, stages={"sim/e": 1})
    one = run(shared, tmp_path / "one", choose_by="knn", passes=2)
    assert files(run(changed, tmp_path / "other", choose_by="knn", passes=2)) == files(one)


def test_neighbours_without_labels_are_named(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path, roles={**ROLES, "train": []})
    with pytest.raises(TrainingError, match=r"have 0 scored usable epochs of EEG_C4 .* 'loss'"):
        run(cohort, tmp_path / "out", choose_by="knn")


@pytest.mark.parametrize("objective", ["masked", "contrastive"])
def test_half_an_objective_leaves_its_other_half_as_it_was(
    shared: Cohort, tmp_path: Path, objective: str
) -> None:
    """Neither gradient nor weight decay moves what is not used; its columns are empty."""
    run(shared, tmp_path, objective=objective, passes=1)
    kept = read_tensors(tmp_path / "encoder.safetensors")
    start = build_neuronet(make_slice().recipe, sampling_rate=100).state_dict()
    unused, used = ("projection", "decoder_") if objective == "masked" else ("decoder_", "proj")
    assert all(torch.equal(kept[k], start[k]) for k in kept if k.startswith(unused))
    assert any(not torch.equal(kept[k], start[k]) for k in kept if k.startswith(used))
    table = pl.read_csv(tmp_path / "training.csv")
    empty = "contrastive" if objective == "masked" else "reconstruction"
    assert {name for name in table.columns if table[name].null_count()} == {
        f"train_{empty}",
        f"val_{empty}",
    }


def test_precision_is_said_and_used(
    shared: Cohort, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run(shared, tmp_path / "auto", precision="auto", passes=1)
    chosen = "bfloat16" if has_bfloat16(torch.device("cpu")) else "float32"
    assert f"precision: auto is {chosen} on this cpu" in caplog.text
    plain, mixed = (
        run(shared, tmp_path / name, precision=name, passes=1) for name in ("float32", "bfloat16")
    )
    assert files(tmp_path / "auto") == files(tmp_path / chosen)
    assert files(plain) != files(mixed)
    losses = [
        pl.read_csv(folder / "training.csv")["train_loss"].item() for folder in (plain, mixed)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert all(
        tensor.dtype in (torch.float32, torch.int64)
        for tensor in read_tensors(mixed / "encoder.safetensors").values()
    )


def test_a_kill_inside_a_checkpoint_write_costs_one_pass(
    shared: Cohort, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = lightning.Trainer.save_checkpoint

    def torn(self: lightning.Trainer, path: Path, **options: object) -> None:
        save(self, path, **options)
        if self.current_epoch == 1:
            path.write_bytes(path.read_bytes()[:1000])
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(lightning.Trainer, "save_checkpoint", torn)
        with pytest.raises(Killed):
            run(shared, tmp_path)
    (state,) = checkpoints(tmp_path)
    kept = torch.load(state, weights_only=True)
    assert (kept["epoch"], kept["global_step"]) == (0, 4)  # 39 epochs, batches of 8 (N15)
    # What a real kill leaves behind and `atomic` could not remove.
    state.with_name(".partial-1-last.ckpt").write_bytes(b"torn")
    assert files(run(shared, tmp_path)) == files(whole)


def never(*_: object) -> None:
    """Stand in for a step of training that must not be taken."""
    raise AssertionError("trained again")


def run_to_a_full_disk(
    shared: Cohort, folder: Path, monkeypatch: pytest.MonkeyPatch, **recipe: object
) -> None:
    """Train to the last pass and find no room for the results."""

    def full(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("somnoflow.training.resume.shutil.copyfile", full)
        with pytest.raises(OSError, match="disk full"):
            run(shared, folder, **recipe)


def test_a_kill_after_the_last_pass_costs_nothing(
    shared: Cohort, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_to_a_full_disk(shared, tmp_path, monkeypatch)
    assert checkpoints(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Pretraining, "training_step", never)
        assert files(run(shared, tmp_path)) == files(whole)


def test_a_finished_training_is_not_trained_again(
    shared: Cohort, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workflow that died after the job had ended deletes the outputs and asks for them again."""
    run(shared, tmp_path)
    (tmp_path / "encoder.safetensors").unlink()
    (tmp_path / "training.csv").unlink()

    monkeypatch.setattr(Pretraining, "training_step", never)
    assert files(run(shared, tmp_path)) == files(whole)


def test_missing_best_weights_are_named(
    shared: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_to_a_full_disk(shared, tmp_path, monkeypatch, passes=1)
    next((tmp_path / "resume").glob("**/best-1.safetensors")).unlink()
    with pytest.raises(CheckpointError, match=r"best-1\.safetensors is missing .* Delete the"):
        run(shared, tmp_path, passes=1)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "flipped"])
def test_a_damaged_checkpoint_is_named(
    shared: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    run_to_a_full_disk(shared, tmp_path, monkeypatch, passes=1)
    (state,) = checkpoints(tmp_path)
    content = state.read_bytes()
    middle = len(content) // 2
    state.write_bytes(
        {
            "truncated": content[:middle],
            "garbage": b"not even a checkpoint",
            "empty": b"",
            "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        }[damage]
    )
    with pytest.raises(CheckpointError, match=r"last\.ckpt .* is damaged.* Delete the folder"):
        run(shared, tmp_path, passes=1)


def test_a_checkpoint_of_other_settings_is_not_continued(
    shared: Cohort, whole: Path, tmp_path: Path
) -> None:
    stale = tmp_path / "resume/pretrain/neuronet/EEG_C4/fold=0/0123456789abcdef"
    stale.mkdir(parents=True)
    (stale / "last.ckpt").write_bytes(b"not even a checkpoint")
    assert files(run(shared, tmp_path)) == files(whole)
    assert not stale.exists()


def test_test_subjects_and_stages_do_not_reach_the_encoder(whole: Path, tmp_path: Path) -> None:
    """Defects N1 and N18: other test signals and other stages, the same encoder to the bit."""
    changed = make_cohort(
        tmp_path / "changed",
        salt={"sim/e": 9},
        stages={f"sim/{name}": 1 for name in "abcde"},
    )
    assert files(run(changed, tmp_path / "out")) == files(whole)


def test_validation_subjects_do_reach_the_choice(whole: Path, tmp_path: Path) -> None:
    """The test above can fail: a changed validation subject changes the record."""
    changed = make_cohort(tmp_path / "changed", salt={"sim/d": 9})
    assert files(run(changed, tmp_path / "out"))[1] != files(whole)[1]


def test_seed_changes_the_weights() -> None:
    one, again, other = (build_neuronet(Recipe(seed=s), sampling_rate=100) for s in (1, 1, 2))
    assert torch.equal(one.patch_embed.weight, again.patch_embed.weight)
    assert not torch.equal(one.patch_embed.weight, other.patch_embed.weight)


def test_few_epochs_make_a_smaller_batch(
    shared: Cohort, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run(shared, tmp_path, batch_size=500, passes=1)
    assert "39 usable epochs are fewer than pretrain.batch_size = 500: batches of 39" in caplog.text


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"val": []}, "the validation subjects have 0 usable epochs of EEG_C4, wanted at least 2"),
        ({"pretrain": []}, "the pre-training subjects have 0 usable epochs"),
        ({"val": ["sim/x"]}, "1 of 4 subjects of the split are not in the packed shards: sim/x"),
    ],
)
def test_too_few_subjects_are_named(
    shared: Cohort, tmp_path: Path, roles: dict, message: str
) -> None:
    split = write_json(tmp_path / "split.json", {"folds": [{"fold": 0, **ROLES, **roles}]})
    with pytest.raises(ValueError, match=message):
        run(Cohort(shared.packed, split), tmp_path)


def test_one_subject_is_enough_to_train(shared: Cohort, tmp_path: Path) -> None:
    roles = {**ROLES, "pretrain": ["sim/a"], "train": ["sim/a"]}
    split = write_json(tmp_path / "split.json", {"folds": [{"fold": 0, **roles}]})
    run(Cohort(shared.packed, split), tmp_path, passes=1)
    assert (tmp_path / "encoder.safetensors").exists()


def write_cohort(folder: Path, **changes: object) -> Cohort:
    """One shard of one training and one validation subject."""
    common = {"dataset": "sim", "epochs": 6, "seed": 3, "unusable": (), "unscored": ()}
    packed = [write_shard(folder, shard=0, subjects=["a", "d"], **{**common, **changes})]
    roles = {"pretrain": ["sim/a"], "train": ["sim/a"], "val": ["sim/d"], "test": []}
    return Cohort(packed, write_json(folder / "split.json", {"folds": [{"fold": 0, **roles}]}))


def test_one_epoch_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="pre-training subjects have 1 usable epochs of EEG"):
        run(write_cohort(tmp_path, epochs=1), tmp_path / "out")


def test_one_subject_alone_is_named(shared: Cohort, tmp_path: Path) -> None:
    roles = {"pretrain": ["sim/a"], "train": ["sim/a"], "val": [], "test": []}
    split = write_json(tmp_path / "split.json", {"folds": [{"fold": 0, **roles}]})
    with pytest.raises(TrainingError, match="one subject to train on and another one"):
        run(Cohort(shared.packed, split), tmp_path)


def test_a_missing_channel_is_named(shared: Cohort, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds the channels EEG_C4, EOG_L, wanted ECG"):
        run(shared, tmp_path, channel="ECG")


def test_a_pool_of_one_channel_is_that_channel(shared: Cohort) -> None:
    one = PackedEpochs(shared.packed, channels=["EEG_C4"])
    pool = PooledChannels(shared.packed, channels=["EEG_C4"])
    assert pool.channels == one.channels
    assert pool.table.equals(one.table)
    rows = pool.rows(scored=False)
    np.testing.assert_array_equal(rows, one.rows(scored=False))
    np.testing.assert_array_equal(pool.read(rows[::-3]), one.read(rows[::-3]))


def test_a_pool_has_each_usable_epoch_of_each_channel_once(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path, absent={"sim/b": ["EOG_L"]})
    channels = ["EOG_L", "EEG_C4"]
    pool = PooledChannels(cohort.packed, channels=channels, subjects=ROLES["pretrain"])
    part = pool.only(["sim/b", "sim/c"])
    assert (len(pool), len(part)) == (2 * 42, 2 * 28)
    for chosen in (pool, part):
        subjects = set(chosen.table["subject"])
        packed = PackedEpochs(cohort.packed, channels=channels, subjects=subjects)
        wanted = [
            (channel, row)
            for channel in range(2)
            for row in packed.present[:, channel].nonzero()[0]
        ]
        rows = chosen.rows(scored=False)
        assert len(rows) == len(wanted) == chosen.present.sum()
        order = np.random.default_rng(1).permutation(len(rows))
        found = chosen.read(rows[order])
        for values, place in zip(found, order, strict=True):
            channel, row = wanted[place]
            np.testing.assert_array_equal(values[0], packed.read(np.array([row]))[0, channel])
            assert chosen.table.row(int(rows[place]))[:9] == packed.table.row(int(row))[:9]


def test_all_channels_of_a_modality_train_one_encoder(tmp_path: Path) -> None:
    """A channel that some lack is no hindrance; the neighbours' probe sees all of them."""
    both = ["EEG_C4", "EEG_C3"]
    cohort = make_cohort(tmp_path, channels=both, absent={"sim/a": ["EEG_C3"]})
    cfg = make_slice(channel="EEG", channels=both, passes=1, choose_by="knn")
    run(cohort, tmp_path / "both", cfg=cfg)
    model, about = load_frozen(tmp_path / "both/encoder.safetensors")
    assert (about["channel"], about["channels"]) == ("EEG", both)
    run(cohort, tmp_path / "one", channel="EEG_C4", passes=1, choose_by="knn")
    assert files(tmp_path / "both") != files(tmp_path / "one")
    one, _ = load_frozen(tmp_path / "one/encoder.safetensors")
    # 39 epochs of C4 alone are 4 batches of 8; with 28 of C3 they are 8.
    batches = [m.frame_backbone.bn1.num_batches_tracked.item() for m in (one, model)]
    assert batches == [4, 8]


def test_a_modality_that_nobody_has_says_what_to_do(tmp_path: Path) -> None:
    absent = {f"sim/{name}": ["EMG_CHIN"] for name in "abcde"}
    cohort = make_cohort(tmp_path, channels=["EMG_CHIN", "ECG"], absent=absent)
    cfg = make_slice(channel="EMG", channels=["EMG_CHIN"])
    with pytest.raises(TrainingError, match=r"0 usable epochs of EMG_CHIN.*unimodal\.channels"):
        run(cohort, tmp_path / "out", cfg=cfg, name="unimodal/EMG")


def test_shards_of_two_sampling_rates_are_named(tmp_path: Path) -> None:
    packed = [
        write_shard(
            tmp_path, dataset="sim", shard=number, subjects=[name], epochs=6, seed=3, rate=rate
        )
        for number, name, rate in ((0, "a", 100), (1, "d", 128))
    ]
    split = write_cohort(tmp_path / "other").split
    with pytest.raises(ValueError, match=r"shards differ in sampling rate: \[100, 128\] Hz"):
        run(Cohort(packed, split), tmp_path / "out")


@pytest.mark.parametrize(
    ("channel", "rate", "framing"),
    [
        ("EOG_L", 100, {"frame_window": 4.0, "frame_step": 1.0}),
        ("EMG_CHIN", 64, {"frame_window": 5.0, "frame_step": 2.5}),
        ("ECG", 128, {"frame_window": 3.0, "frame_step": 3.0}),
    ],
)
def test_any_modality_rate_and_framing_trains(
    tmp_path: Path, channel: str, rate: int, framing: dict
) -> None:
    cohort = write_cohort(tmp_path, rate=rate, channels=[channel, "EEG_C4"])
    run(cohort, tmp_path / "out", channel=channel, sampling_rate=rate, batch_size=4, **framing)
    model, about = load_frozen(tmp_path / "out/encoder.safetensors")
    assert (about["channel"], about["sampling_rate"]) == (channel, rate)
    assert model.forward_features(torch.randn(2, 30 * rate)).shape == (2, 64)


def test_another_sampling_rate_is_named(shared: Cohort, tmp_path: Path) -> None:
    cfg = make_slice().model_copy(update={"sampling_rate": 128})
    with pytest.raises(ValueError, match="is at 100 Hz, wanted 128 Hz"):
        run(shared, tmp_path, cfg=cfg)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_pass(
    shared: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = NeuroNet.forward
    steps: list[int] = []

    def poisoned(self: NeuroNet, epochs: torch.Tensor, **options: object) -> Losses:
        losses = forward(self, epochs, **options)
        steps.append(1)
        # 4 steps and 2 validation batches per pass: the second step of pass 2.
        return losses._replace(total=losses.total * float("nan")) if len(steps) == 8 else losses

    monkeypatch.setattr(NeuroNet, "forward", poisoned)
    with pytest.raises(TrainingError, match=r"loss is nan in pass 2, step 2, .*learning_rate"):
        run(shared, tmp_path)
    (state,) = checkpoints(tmp_path)
    assert torch.load(state, weights_only=True)["epoch"] == 0
    assert all(
        t.isfinite().all() for t in read_tensors(state.with_name("best-1.safetensors")).values()
    )
    assert not (tmp_path / "encoder.safetensors").exists()
    monkeypatch.undo()
    run(shared, tmp_path)  # the cause mended, it goes on from there
    assert pl.read_csv(tmp_path / "training.csv")["pass"].to_list() == [1, 2, 3]


def test_bad_signals_are_named(
    shared: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = PackedEpochs.read

    def poisoned(self: PackedEpochs, rows: np.ndarray) -> np.ndarray:
        batch = read(self, rows)
        batch[1, 0, 5] = np.nan
        return batch

    with monkeypatch.context() as patch:
        patch.setattr(PackedEpochs, "read", poisoned)
        with pytest.raises(
            ValueError, match=r"not finite in 1 of 8 epochs .* epoch \d+ of recording \w-n1, subj"
        ):
            run(shared, tmp_path)
    monkeypatch.setattr(PackedEpochs, "read", lambda self, rows: 0 * read(self, rows))
    with pytest.raises(ValueError, match="EEG_C4 is constant in all 8 epochs of a batch"):
        run(shared, tmp_path)


def test_a_huge_learning_rate_ends_with_a_clear_error(shared: Cohort, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"lower pretrain\.learning_rate"):
        run(shared, tmp_path, learning_rate=1e30, gradient_clip=0, warmup=0)


def test_description_is_json_with_one_key(whole: Path) -> None:
    header = (whole / "encoder.safetensors").read_bytes()
    size = int.from_bytes(header[:8], "little")
    metadata = json.loads(header[8 : 8 + size])["__metadata__"]
    assert list(metadata) == ["somnoflow"]


def test_a_training_ended_by_sigterm_is_no_success_and_goes_on(
    shared: Cohort, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clusters end jobs by SIGTERM; Lightning alone would leave with exit code 0."""
    step = Pretraining.training_step

    def ended(module: Pretraining, epochs: torch.Tensor, batch_idx: int) -> torch.Tensor:
        if module.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(module, epochs, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Pretraining, "training_step", ended)
        with pytest.raises(SystemExit) as caught:
            run(shared, tmp_path)
    assert caught.value.code == 143
    assert len(checkpoints(tmp_path)) == 1
    run(shared, tmp_path)
    assert files(tmp_path) == files(whole)
