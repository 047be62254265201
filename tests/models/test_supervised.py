"""The supervised loop: windows of one night each, labels that may be seen, resuming to the bit."""

import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from somnoflow.config.context import Context
from somnoflow.models.weights import read_about, read_tensors
from somnoflow.tasks import TASKS
from somnoflow.training.balance import chances, class_weights
from somnoflow.training.errors import TrainingError
from somnoflow.training.supervised import (
    Batch,
    Course,
    Supervised,
    WindowOrder,
    Windows,
    fit,
    fit_windows,
    label_loss,
    validation_order,
    visible_targets,
    weight_of,
)
from somnoflow.training.validation import validation_scores

CPU = torch.device("cpu")
STAGING = TASKS["staging"]
KEYS = ["dataset", "subject", "recording", "epoch"]
RECIPE = Context(window=6, stride=3, width=8, passes=3, batch_size=4, learning_rate=0.02)


class Night:
    """Epochs in memory: the stage of an epoch is told by the input of the one before."""

    def __init__(
        self,
        names: str,
        *,
        epochs: int = 40,
        seed: int = 0,
        salt: dict[str, float] | None = None,
        lost: tuple[int, ...] = (),
    ) -> None:
        tables, inputs = [], []
        for name in names:
            rng = np.random.default_rng([seed, ord(name)])
            told = rng.integers(0, 5, epochs)
            stages = np.concatenate([[-1], told[:-1]])
            x = np.eye(5)[told] + rng.normal(0, 0.1, (epochs, 5)) + (salt or {}).get(name, 0.0)
            inputs.append(x.astype(np.float32))
            tables.append(
                pl.DataFrame(
                    {
                        "dataset": "toy",
                        "subject": f"toy/{name}",
                        "recording": f"{name}-n1",
                        "epoch": np.arange(epochs, dtype=np.int32),
                        "stage": stages.astype(np.int8),
                        "usable": [epoch not in lost for epoch in range(epochs)],
                    }
                )
            )
        self.table = pl.concat(tables)
        self.inputs = np.concatenate(inputs)

    def read(self, rows: np.ndarray) -> np.ndarray:
        assert self.table["usable"].to_numpy()[rows].all()
        return self.inputs[rows]


class Neighbours(nn.Module):
    """A small convolution over the epochs, with batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(5, 16, 3, padding=1)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.1)
        self.last = nn.Linear(16, 5)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = (x * valid[..., None]).transpose(1, 2)
        return self.last(self.drop(self.norm(self.conv(x)).relu().transpose(1, 2)))


def build() -> Neighbours:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Neighbours()


def train_windows(epochs: Night, labels: pl.DataFrame | None = None, **changes: int) -> Windows:
    sizes = {"length": RECIPE.window, "stride": RECIPE.stride, **changes}
    return Windows(epochs, task=STAGING, labels=labels, whole=True, **sizes)


def val_windows(epochs: Night) -> Windows:
    return Windows(epochs, task=STAGING, length=RECIPE.window, stride=RECIPE.window, whole=False)


def run(
    folder: Path,
    *,
    train: Windows | None = None,
    val: Windows | None = None,
    model: nn.Module | None = None,
    precision: str = "32-true",
    accumulate: int = 1,
    **changes: object,
) -> tuple[Path, list[dict]]:
    model = build() if model is None else model
    return fit_windows(
        model,
        train=train_windows(Night("abc")) if train is None else train,
        val=val_windows(Night("d", epochs=33)) if val is None else val,
        cfg=RECIPE.model_copy(update=changes),
        section="toy",
        tensors=model.state_dict,
        about={"kind": "toy"},
        folder=folder,
        device=CPU,
        precision=precision,
        accumulate=accumulate,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    """An uninterrupted training."""
    return run(tmp_path_factory.mktemp("whole"))


def test_a_pass_that_was_left_no_label_has_no_training_loss(tmp_path: Path) -> None:
    def forget(batch: Batch, generator: torch.Generator) -> Batch:
        return batch._replace(targets=torch.full_like(batch.targets, -1))

    model = build()
    windows = val_windows(Night("d"))
    order = validation_order(windows, 4)
    _, rows = fit(
        model, train=windows, order=order, val=windows, val_order=order,
        course=Course(1, 0.02, 0, 1, "toy"), optimizer=lambda: torch.optim.SGD(model.parameters()),
        weights=None, seen=np.arange(5), tensors=model.state_dict, about={"kind": "toy"},
        folder=tmp_path, device=CPU, vary=forget,
    )  # fmt: skip
    assert rows[0]["train_loss"] is None
    assert np.isfinite(rows[0]["val_loss"])


# Windows


def test_a_batch_is_read_once_with_its_stages_and_padding() -> None:
    night = Night("ab", epochs=8, lost=(3,))
    windows = Windows(night, task=STAGING, length=5, stride=5, whole=False)
    # Usable rows of each night: 0-2, then 4-7 (3 is lost).
    assert windows.windows.tolist() == [[0, 3], [3, 7], [7, 10], [10, 14]]
    batch = windows[np.array([0, 3])]
    assert batch.inputs.shape == (2, 4, 5)
    assert batch.valid.tolist() == [[True] * 3 + [False], [True] * 4]
    usable = np.flatnonzero(night.table["usable"])
    for window, (rows, valid) in enumerate(zip(batch.rows, batch.valid, strict=True)):
        inputs = batch.inputs[window][valid].numpy()
        assert np.array_equal(inputs, night.inputs[usable[rows[valid]]])
        stages = night.table["stage"].to_numpy()[usable[rows[valid]]]
        assert batch.targets[window][valid].tolist() == stages.tolist()
    assert batch.targets[0, 3] == -1


def test_no_window_holds_two_recordings_or_a_gap() -> None:
    """Defect S12."""
    night = Night("abc", epochs=11, lost=(4,))
    table = night.table.filter("usable")
    for windows in (train_windows(night), val_windows(night)):
        for first, last in windows.windows:
            inside = table[int(first) : int(last)]
            assert inside["recording"].n_unique() == 1
            assert (inside["epoch"].diff().drop_nulls() == 1).all()


def test_only_labels_that_may_be_seen_are_seen() -> None:
    night = Night("ab", epochs=12)
    labels = night.table.filter(pl.col("epoch").is_in([2, 7]), pl.col("subject") == "toy/b")
    stages = visible_targets(night.table, labels.select(KEYS), task=STAGING)
    assert np.flatnonzero(stages != -1).tolist() == [14, 19]
    assert stages[[14, 19]].tolist() == night.table["stage"].to_numpy()[[14, 19]].tolist()
    assert np.array_equal(
        visible_targets(night.table, None, task=STAGING), night.table["stage"].to_numpy()
    )
    windows = train_windows(night, labels.select(KEYS))
    assert len(windows.known) == 2
    held = [(w[0] <= 14 < w[1]) or (w[0] <= 19 < w[1]) for w in windows.windows.tolist()]
    assert windows.labelled().tolist() == np.flatnonzero(held).tolist()


def test_each_pass_has_every_window_once_in_batches_of_like_size() -> None:
    order = WindowOrder(np.arange(3, 14), batch_size=4, seed=1)
    assert len(order) == 3
    drawn = []
    for number in (0, 1):
        order.set_epoch(number)
        batches = list(order)
        assert [len(batch) for batch in batches] == [4, 4, 3]
        drawn.append(np.concatenate(batches))
        assert sorted(drawn[-1]) == list(range(3, 14))
    assert not np.array_equal(*drawn)
    again = WindowOrder(np.arange(3, 14), batch_size=4, seed=1)
    again.set_epoch(1)
    assert np.array_equal(np.concatenate(list(again)), drawn[1])


def test_a_window_counts_as_the_rarest_class_that_it_has() -> None:
    night = Night("a", epochs=12)
    stages = [0, 0, 0, 0, 0, 2, 2, 0, 4, -1, -1, -1]
    night.table = night.table.with_columns(stage=pl.Series(stages, dtype=pl.Int8))
    windows = Windows(night, task=STAGING, length=3, stride=3, whole=False)
    assert windows.labelled().tolist() == [0, 1, 2]
    assert windows.rarest(windows.labelled()).tolist() == [0, 2, 4]
    assert windows.rarest(np.array([2, 0])).tolist() == [4, 0]


def test_balanced_windows_are_drawn_as_often_for_each_class() -> None:
    rarest = np.repeat([0, 3], [90, 10])
    order = WindowOrder(
        np.arange(100, 200), batch_size=7, seed=1, chance=chances(rarest, sampling="balanced")
    )
    drawn = []
    for number in range(30):
        order.set_epoch(number)
        batches = list(order)
        assert {len(batch) for batch in batches} <= {6, 7}
        drawn.append(np.concatenate(batches))
        assert len(drawn[-1]) == 100
    assert np.mean(np.stack(drawn) >= 190) == pytest.approx(0.5, abs=0.03)
    assert not np.array_equal(drawn[0], drawn[1])
    order.set_epoch(3)  # as after a kill
    assert np.array_equal(np.concatenate(list(order)), drawn[3])
    # The shortest window may be drawn twice: six windows of at least 2 epochs.
    assert order.fewest_epochs(np.append(np.full(99, 20), 2)) == 12


# Loss


def test_loss_is_the_weighted_mean_computed_by_hand() -> None:
    stages = np.array([0, 0, 0, 0, 0, 0, 2, 2, 2, 4])
    assert class_weights(stages, kind="none", classes=5) is None
    # Shares 0.6, 0.3, 0.1, so 1 / 0.6, 1 / 0.3 and 1 / 0.1 over their mean, 3.
    balanced = class_weights(stages, kind="balanced", classes=5)
    assert balanced.tolist() == pytest.approx([5 / 9, 0, 10 / 9, 0, 10 / 3])
    root = class_weights(stages, kind="root", classes=5)
    assert (root**2 / root[0] ** 2).tolist() == pytest.approx([1, 0, 2, 0, 6], rel=1e-5)
    assert root[torch.from_numpy(stages)].mean().item() == pytest.approx(1)
    torch.manual_seed(0)
    logits, seen = torch.randn(2, 3, 5), torch.tensor([[0, -1, 2], [4, 0, -1]])
    logs = logits.double().log_softmax(-1)
    known = [(0, 0, 0), (0, 2, 2), (1, 0, 4), (1, 1, 0)]
    by_hand = sum(-balanced[s].item() * logs[b, e, s].item() for b, e, s in known)
    by_hand /= 2 * 5 / 9 + 10 / 9 + 10 / 3
    assert label_loss(logits, seen, weights=balanced).item() == pytest.approx(by_hand, rel=1e-5)
    assert weight_of(seen, weights=balanced).item() == pytest.approx(2 * 5 / 9 + 10 / 9 + 10 / 3)
    plain = sum(-logs[b, e, s].item() for b, e, s in known) / 4
    assert label_loss(logits, seen, weights=None).item() == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("kind", ["balanced", "root"])
def test_class_weights_change_the_training(
    tmp_path: Path, whole: tuple[Path, list[dict]], kind: str
) -> None:
    best, rows = run(tmp_path, class_weights=kind)
    assert rows[0]["train_loss"] != whole[1][0]["train_loss"]
    changed, plain = read_tensors(best), read_tensors(whole[0])
    assert not torch.equal(changed["last.weight"], plain["last.weight"])


# Training


def test_rows_are_complete_and_the_best_is_the_first_of_the_highest(
    whole: tuple[Path, list[dict]],
) -> None:
    best, rows = whole
    assert [row["pass"] for row in rows] == [1, 2, 3]
    assert list(rows[0]) == [
        "pass", "train_loss", "val_loss", "val_accuracy", "val_macro_f1", "learning_rate", "best",
    ]  # fmt: skip
    chosen = int(np.argmax([row["val_macro_f1"] for row in rows]))
    assert [row["best"] for row in rows] == [int(n == chosen) for n in range(3)]
    assert read_about(best, kind="toy")["best_pass"] == chosen + 1


def test_training_learns_what_only_the_context_tells(tmp_path: Path) -> None:
    _, rows = run(tmp_path, passes=15)
    majority = 0.2 + 0.1  # five stages, equally often
    assert max(row["val_accuracy"] for row in rows) > 2 * majority
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]
    rates = [row["learning_rate"] for row in rows]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.01 * RECIPE.learning_rate


@torch.inference_mode()
def scores_of(path: Path, windows: Windows) -> dict[str, float]:
    model = build()
    model.load_state_dict(read_tensors(path))
    model.eval()
    predicted = np.full(len(windows.targets), -2)
    for numbers in validation_order(windows, RECIPE.batch_size):
        batch = windows[numbers]
        logits = model(batch.inputs, batch.valid)
        predicted[batch.rows[batch.valid]] = logits[batch.valid].argmax(-1)
    assert (predicted >= 0).all()
    scored = windows.targets >= 0
    return validation_scores(windows.targets[scored], predicted[scored])


def test_the_reloaded_model_reproduces_its_validation_score(
    whole: tuple[Path, list[dict]],
) -> None:
    """Defect N3."""
    path, rows = whole
    (best,) = (row for row in rows if row["best"])
    again = scores_of(path, val_windows(Night("d", epochs=33)))
    assert again == {name: best[name] for name in ("val_accuracy", "val_macro_f1")}


def test_an_earlier_best_pass_is_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: dict[int, dict[str, Tensor]] = {}
    scores = {1: 0.2, 2: 0.6, 3: 0.6}
    record = Supervised.pass_record

    def spied(self: Supervised) -> dict:
        row = record(self)
        states[row["pass"]] = {k: v.clone() for k, v in self.model.state_dict().items()}
        return {**row, "val_macro_f1": scores[row["pass"]]}

    monkeypatch.setattr(Supervised, "pass_record", spied)
    best, rows = run(tmp_path)
    kept = read_tensors(best)
    assert all(torch.equal(kept[name], states[2][name]) for name in kept)
    assert any(not torch.equal(kept[name], states[3][name]) for name in kept)
    assert [row["best"] for row in rows] == [0, 1, 0]


def test_validation_is_in_evaluation_mode_float32_and_without_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect N16; and a pass is chosen in the arithmetic that it is deployed in."""
    seen = set()
    forward = Neighbours.forward

    def spied(self: Neighbours, x: Tensor, valid: Tensor) -> Tensor:
        autocast = torch.is_autocast_enabled("cpu")
        assert autocast == (forward(self, x, valid).dtype == torch.bfloat16)
        seen.add((self.training, torch.is_grad_enabled(), autocast))
        return forward(self, x, valid)

    monkeypatch.setattr(Neighbours, "forward", spied)
    run(tmp_path, precision="bf16-mixed", passes=2)
    assert seen == {(True, True, True), (False, False, False)}


def test_batches_are_added_up_to_one_step(
    tmp_path: Path, whole: tuple[Path, list[dict]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step of a pass may have fewer batches; it is a mean over those that it has."""
    modules: list[Supervised] = []
    factors: list[float] = []
    plain = Supervised.training_step

    def spied(self: Supervised, batch: Batch, batch_idx: int) -> Tensor:
        modules.append(self)
        loss = plain(self, batch, batch_idx)
        with torch.no_grad():
            factors.append((loss / self.trainer.callback_metrics["loss"]).item())
        return loss

    monkeypatch.setattr(Supervised, "training_step", spied)
    run(tmp_path, passes=1, accumulate=4)
    assert len(factors) == 10
    trainer = modules[0].trainer
    assert trainer.global_step == 3
    (rate,) = {*trainer.lr_scheduler_configs[0].scheduler.get_last_lr()}
    assert rate == pytest.approx(0, abs=1e-9)  # these were all the steps that were planned
    assert factors == pytest.approx([1] * 8 + [2, 2])


class Killed(BaseException):
    """Stands for a kill inside this process."""


@pytest.mark.parametrize("step", [1, 12])
def test_killed_training_continues_and_ends_bit_equal(
    tmp_path: Path, whole: tuple[Path, list[dict]], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """A kill in the first pass, and one in the second; order and dropout go on as they would."""
    steps: list[int] = []
    plain = Supervised.training_step

    def killed(self: Supervised, batch: Batch, batch_idx: int) -> Tensor:
        steps.append(self.current_epoch)
        if len(steps) == step:
            raise Killed
        return plain(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "training_step", killed)
        with pytest.raises(Killed):
            run(tmp_path)
    assert (tmp_path / "last.ckpt").exists() == (step > 10)  # 10 steps in a pass
    torch.manual_seed(99)  # what other code drew in between changes nothing
    best, rows = run(tmp_path)
    assert rows == whole[1]
    assert best.read_bytes() == whole[0].read_bytes()


def test_the_global_generator_is_given_back(tmp_path: Path) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    run(tmp_path, passes=1)
    assert torch.equal(torch.rand(3), wanted)


def test_hidden_labels_and_recordings_without_labels_change_nothing(tmp_path: Path) -> None:
    """A label outside the subset, and any window across two recordings, would show here."""
    trained = []
    for number, (shift, salt) in enumerate([(0, 0.0), (1, 50.0)]):
        night = Night("abc", salt={"a": salt, "c": salt})
        labels = night.table.filter(
            pl.col("subject") == "toy/b", pl.col("epoch") % 3 == 1, pl.col("stage") >= 0
        ).select(KEYS)
        hidden = night.table.join(labels, on=KEYS, how="anti").select(*KEYS, nonsense=True)
        night.table = (
            night.table.join(hidden, on=KEYS, how="left", maintain_order="left")
            .with_columns(
                stage=pl.when("nonsense").then((pl.col("stage") + shift) % 5).otherwise("stage")
            )
            .drop("nonsense")
        )
        best, _ = run(tmp_path / str(number), train=train_windows(night, labels))
        trained.append(best.read_bytes())
    assert trained[0] == trained[1]


def test_a_visible_label_changes_the_training(tmp_path: Path) -> None:
    """The test above can fail."""
    trained = []
    for number in (0, 1):
        night = Night("b")
        first = pl.col("epoch") == 4
        night.table = night.table.with_columns(
            stage=pl.when(first).then((pl.col("stage") + number) % 5).otherwise("stage")
        )
        best, _ = run(tmp_path / str(number), train=train_windows(night))
        trained.append(best.read_bytes())
    assert trained[0] != trained[1]


def test_windows_without_a_label_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    night = Night("abc")
    labels = night.table.filter((pl.col("subject") == "toy/b") & (pl.col("epoch") == 1))
    with caplog.at_level(logging.INFO):
        run(tmp_path, train=train_windows(night, labels.select(KEYS)), passes=1)
    assert "1 of 120 usable epochs have a label to learn from; 1 of 39 windows" in caplog.text
    assert "validation by 32 of 33 epochs" in caplog.text


# Errors


def test_no_label_or_one_stage_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    night = Night("ab")
    none = night.table.filter(pl.col("epoch") > 99).select(KEYS)
    with pytest.raises(ValueError, match="training subjects have 0 usable scored epochs, wanted"):
        run(tmp_path, train=train_windows(night, none))
    unscored = Night("d")
    unscored.table = unscored.table.with_columns(stage=pl.lit(-1, pl.Int8))
    with pytest.raises(ValueError, match="validation subjects have 0 usable scored epochs"):
        run(tmp_path, val=val_windows(unscored))
    wake = night.table.filter(pl.col("stage") == 0).select(KEYS)
    with caplog.at_level(logging.WARNING):
        run(tmp_path, train=train_windows(night, wake), passes=1)
    assert f"all {len(wake)} training epochs have the stage W: nothing else" in caplog.text
    assert "no training epoch of stage N1, N2, N3, REM: it will never be predicted" in caplog.text


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Neighbours.forward
    steps: list[int] = []

    def poisoned(self: Neighbours, x: Tensor, valid: Tensor) -> Tensor:
        steps.append(self.training)
        logits = forward(self, x, valid)
        return logits * float("nan") if self.training and sum(steps) == 12 else logits

    monkeypatch.setattr(Neighbours, "forward", poisoned)
    with pytest.raises(
        TrainingError, match=r"loss is nan in pass 2, step 2, .*toy\.learning_rate \(now 0\.02"
    ):
        run(tmp_path)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 0
    assert (tmp_path / "best-1.safetensors").exists()


def test_a_validation_that_is_not_finite_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Neighbours.forward
    monkeypatch.setattr(
        Neighbours,
        "forward",
        lambda self, x, valid: forward(self, x, valid) + (0.0 if self.training else float("nan")),
    )
    with pytest.raises(TrainingError, match="validation loss is nan after pass 1 over 32 epochs"):
        run(tmp_path)
