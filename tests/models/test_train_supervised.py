"""Supervised models trained on signals: steps, optimisers, rare classes, state, resuming."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from packed_shards import ROLES, Cohort, make_cohort
from torch import Tensor, nn

from somnoflow.commands.score_tuned import score_tuned
from somnoflow.commands.train import train
from somnoflow.config.score import ScoreSlice
from somnoflow.config.supervised import Supervised as Section
from somnoflow.config.supervised import TrainSlice
from somnoflow.models.supervised import load_supervised
from somnoflow.models.weights import read_tensors
from somnoflow.tasks import TASKS
from somnoflow.training.balance import oversample, oversampled_size
from somnoflow.training.optimizing import adam
from somnoflow.training.streams import ByCohort, ByNight, Streams, in_order
from somnoflow.training.supervised import Batch, Course, Supervised, fit
from somnoflow.training.validation import validation_scores

RATE = 32
NAMES = ["deepsleepnet", "tinysleepnet", "seresnet_bilstm"]
KEYS = ["dataset", "subject", "recording", "epoch"]
SMALL: dict[str, dict[str, Any]] = {
    "deepsleepnet": {
        "cnn_passes": 2, "cnn_batch_size": 16, "passes": 2, "window": 3, "batch_size": 2,
    },
    "tinysleepnet": {"passes": 2, "window": 3, "batch_size": 2, "random_start": 2},
    "seresnet_bilstm": {
        "passes": 2, "batch_size": 8, "stride": 2,
        "augment": {"amplitude": 0.2, "shift": 0.1, "noise": 0.1, "band_stop": 1.0, "mask": 0.1},
    },
}  # fmt: skip


def make_slice(
    name: str, *, balance: str = "published", task: str = "staging", **changes: object
) -> TrainSlice:
    recipe = {**SMALL[name], "precision": "float32", **changes}
    return TrainSlice(
        name=name,
        channel="EEG_C4",
        sampling_rate=RATE,
        task=task,
        balance=balance,
        recipe=getattr(Section(**{name: recipe}), name),
    )


def make_labels(
    cohort: Cohort, folder: Path, *, keep: pl.Expr | None = None, column: str = "stage"
) -> Path:
    """Write the keys of the training subjects' labelled epochs, or of some of them."""
    shards = [pl.read_parquet(path.with_name("epochs.parquet")) for path in cohort.packed]
    table = pl.concat(shards).filter(
        pl.col(column) >= 0, pl.col("EEG_C4_quality") == 0, pl.col("subject").is_in(ROLES["train"])
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "labels.parquet"
    table.filter(True if keep is None else keep).select(KEYS).write_parquet(path)
    return path


def run(cohort: Cohort, folder: Path, *, cfg: TrainSlice, labels: Path | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    train(
        packed=cohort.packed,
        split=cohort.split,
        labels=labels or make_labels(cohort, folder, column=TASKS[cfg.task].column),
        model=folder / "model.safetensors",
        training=folder / "training.csv",
        resume=folder / "resume",
        tensorboard=folder / "tensorboard",
        name=f"{cfg.name}/EEG_C4/{cfg.balance}",
        fold=0,
        gpus=0,
        threads=1,
        cfg=cfg,
    )
    return folder


def run_score(cohort: Cohort, folder: Path, *, task: str = "staging") -> pl.DataFrame:
    path = folder / "predictions.parquet"
    score_tuned(
        packed=cohort.packed,
        model=folder / "model.safetensors",
        split=cohort.split,
        predictions=path,
        fold=0,
        gpus=0,
        threads=1,
        cfg=ScoreSlice(task=task, stride=1),
    )
    return pl.read_parquet(path)


def files(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "model.safetensors").read_bytes(), (folder / "training.csv").read_bytes()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Nights of 13 epochs, of which the third has no signal: runs of 2 and of 10."""
    return make_cohort(tmp_path_factory.mktemp("shared"), epochs=13, rate=RATE)


@pytest.fixture(scope="module")
def whole(shared: Cohort, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An uninterrupted training of each model."""
    return {
        name: run(shared, tmp_path_factory.mktemp(name), cfg=make_slice(name)) for name in NAMES
    }


# What is written


def best_scores(folder: Path) -> dict[str, float]:
    (best,) = pl.read_csv(folder / "training.csv").filter(pl.col("best") == 1).iter_rows(named=True)
    return {name: best[name] for name in ("val_accuracy", "val_macro_f1")}


@pytest.mark.parametrize("name", NAMES)
def test_the_pass_on_disk_reproduces_its_validation_score(
    shared: Cohort, whole: dict[str, Path], name: str
) -> None:
    """Defects N3, N6, N7; and nights are gone through in scoring as in validation."""
    table = run_score(shared, whole[name])
    assert table.select(KEYS).n_unique() == len(table) == 2 * 13
    usable = table["usable"]
    assert (table["predicted"] == -1).equals(~usable)
    shares = table.filter("usable").select("p_W", "p_N1", "p_N2", "p_N3", "p_REM").to_numpy()
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    rows = table.filter(pl.col("role") == "val", "usable", pl.col("stage") >= 0)
    found = validation_scores(
        rows["stage"].to_numpy().astype(int), rows["predicted"].to_numpy().astype(int)
    )
    assert found == best_scores(whole[name])


@pytest.mark.parametrize("name", NAMES)
def test_results_are_complete(whole: dict[str, Path], name: str) -> None:
    folder = whole[name]
    model, about = load_supervised(folder / "model.safetensors")
    assert (about["name"], about["channel"], about["channels"]) == (name, "EEG_C4", ["EEG_C4"])
    assert not any(p.requires_grad for p in model.parameters())
    table = pl.read_csv(folder / "training.csv")
    assert table["best"].sum() == 1
    assert about["best_pass"] == table.filter(pl.col("best") == 1)["pass"].item()
    kept = [path for path in (folder / "resume").rglob("*") if path.is_file()]
    assert sorted(path.name for path in kept) == [
        "sha256.json",
        "training.csv",
        "weights.safetensors",
    ]
    home = folder / f"tensorboard/{name}/EEG_C4/published/fold=0"
    parts = {"cnn", "sequence"} if name == "deepsleepnet" else {kept[0].parent.name}
    assert {path.parent.name for path in home.rglob("events*")} == parts


def test_both_steps_stand_in_one_table(whole: dict[str, Path]) -> None:
    table = pl.read_csv(whole["deepsleepnet"] / "training.csv")
    assert table["step"].to_list() == ["cnn", "cnn", "sequence", "sequence"]
    assert table["pass"].to_list() == [1, 2, 3, 4]
    second = table.filter(pl.col("step") == "sequence")
    assert (
        table.filter(pl.col("best") == 1)["pass"].item()
        == (second["pass"][second["val_macro_f1"].arg_max()])
    )


# Kills


class Killed(BaseException):
    """Stands for a kill inside this process."""


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("deepsleepnet", (2, 1)),
        ("deepsleepnet", (3, 0)),
        ("deepsleepnet", (4, 1)),
        ("tinysleepnet", (2, 1)),
        ("seresnet_bilstm", (2, 1)),
    ],
)
def test_killed_training_ends_bit_equal(
    shared: Cohort, tmp_path: Path, request: pytest.FixtureRequest, name: str, at: tuple[int, int]
) -> None:
    """In pass and step `at`; a finished step of DeepSleepNet is not done again."""
    whole: dict[str, Path] = request.getfixturevalue("whole")
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    plain = Supervised.training_step
    steps: list[int] = []

    def killed(self: Supervised, batch: Batch, batch_idx: int) -> Tensor | None:
        if (self.number, batch_idx) == at:
            raise Killed
        return plain(self, batch, batch_idx)

    def counted(self: Supervised, batch: Batch, batch_idx: int) -> Tensor | None:
        steps.append(self.number)
        return plain(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "training_step", killed)
        with pytest.raises(Killed):
            run(shared, tmp_path, cfg=make_slice(name))
    assert not (tmp_path / "model.safetensors").exists()
    torch.manual_seed(99)  # what other code drew in between changes nothing
    monkeypatch.setattr(Supervised, "training_step", counted)
    assert files(run(shared, tmp_path, cfg=make_slice(name))) == files(whole[name])
    assert min(steps) == at[0]


def test_the_global_generator_is_given_back(shared: Cohort, tmp_path: Path) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    run(shared, tmp_path, cfg=make_slice("tinysleepnet", passes=1))
    assert torch.equal(torch.rand(3), wanted)


# What may decide


@pytest.mark.parametrize("name", NAMES)
def test_hidden_labels_and_test_subjects_change_nothing(
    shared: Cohort, tmp_path: Path, name: str
) -> None:
    labels = make_labels(shared, tmp_path, keep=pl.col("subject") == "sim/b")
    changed = make_cohort(
        tmp_path / "changed",
        epochs=13,
        rate=RATE,
        salt={"sim/e": 9},
        stages={"sim/a": 1, "sim/c": 2, "sim/e": 3},
    )
    cfg = make_slice(name, balance="weights", passes=1)
    first = run(shared, tmp_path / "first", cfg=cfg, labels=labels)
    second = run(changed, tmp_path / "second", cfg=cfg, labels=labels)
    assert files(first) == files(second)
    whole = run(changed, tmp_path / "whole", cfg=cfg)
    assert files(whole)[0] != files(first)[0]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_done_for_rare_classes_changes_the_training(
    shared: Cohort, whole: dict[str, Path], tmp_path: Path, name: str
) -> None:
    found = {"published": files(whole[name])[0]}
    for balance in ("plain", "weights", "oversampling"):
        cfg = make_slice(name, balance=balance)
        found[balance] = files(run(shared, tmp_path / balance, cfg=cfg))[0]
    # Nothing is published for SE-ResNet-BiLSTM.
    assert len({*found.values()}) == (3 if name == "seresnet_bilstm" else 4)
    assert (found["plain"] == found["published"]) == (name == "seresnet_bilstm")


def test_oversampling_repeats_every_class_to_the_largest() -> None:
    targets = np.repeat([0, 2, 3], [10, 4, 3])
    rows = np.arange(100, 117)
    assert oversampled_size(targets) == 30
    passes = [
        oversample(rows, targets, generator=np.random.default_rng(number)) for number in range(20)
    ]
    for drawn in passes:
        count = np.bincount(drawn - 100)
        assert count[:10].tolist() == [1] * 10
        assert sorted(count[10:14].tolist()) == [2, 2, 3, 3]
        assert sorted(count[14:].tolist()) == [3, 3, 4]
    assert len({tuple(np.bincount(drawn - 100)) for drawn in passes}) > 5  # another rest
    assert (np.diff(passes[0]) < 0).any()  # shuffled


def spy(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Supervised], list[tuple[int, Batch]]]:
    """Keep all modules that train, and their batches by the number of the pass."""
    modules: list[Supervised] = []
    batches: list[tuple[int, Batch]] = []
    plain = Supervised.training_step

    def spied(self: Supervised, batch: Batch, batch_idx: int) -> Tensor | None:
        if self not in modules:
            modules.append(self)
        batches.append((self.number, batch))
        return plain(self, batch, batch_idx)

    monkeypatch.setattr(Supervised, "training_step", spied)
    return modules, batches


def test_the_cnns_see_all_classes_as_often(
    shared: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, batches = spy(monkeypatch)
    run(shared, tmp_path, cfg=make_slice("deepsleepnet", passes=1))
    first = [batch for number, batch in batches if number == 1]
    assert {batch.inputs.shape[1] for batch in first} == {1}
    count = torch.cat([batch.targets.ravel() for batch in first]).bincount(minlength=5)
    assert len({*count.tolist()}) == 1
    assert max(len(batch.inputs) for batch in first) <= 16
    # Nights come in order, with every epoch once; only their labels are not as many.
    night = [batch for number, batch in batches if number == 3]
    rows = torch.cat([batch.rows[batch.valid] for batch in night])
    assert rows.sort().values.tolist() == list(range(3 * 12))
    assert any(batch.continues.any() for batch in night)


@pytest.mark.parametrize("name", ["deepsleepnet", "tinysleepnet"])
def test_an_epoch_between_gaps_is_never_a_batch_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    cohort = make_cohort(tmp_path, epochs=4, rate=RATE)  # runs of two epochs and of one
    _, batches = spy(monkeypatch)
    cfg = make_slice(name, balance="oversampling", passes=3, batch_size=1)
    run(cohort, tmp_path / "out", cfg=cfg)
    sequences = [batch for _, batch in batches if batch.inputs.shape[1] > 1]
    assert sequences
    assert min(int(batch.valid.sum()) for _, batch in batches) >= 2


def test_n1_weighs_more_in_tinysleepnet_and_other_tasks_have_no_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = make_cohort(tmp_path / "events", epochs=30, rate=RATE, events=True)
    modules, _ = spy(monkeypatch)
    run(cohort, tmp_path / "stages", cfg=make_slice("tinysleepnet", passes=1, n1_weight=1.5))
    cfg = make_slice("tinysleepnet", task="apnea", passes=1)
    run(cohort, tmp_path / "apnea", cfg=cfg)
    run(cohort, tmp_path / "plain", cfg=make_slice("tinysleepnet", balance="plain", passes=1))
    stages, apnea, plain = (module.weights for module in modules)
    assert stages is not None
    assert stages.tolist() == [1, 1.5, 1, 1, 1]
    assert apnea is None
    assert plain is None


@pytest.mark.parametrize("name", NAMES)
def test_events_are_learned_too(tmp_path: Path, name: str) -> None:
    cohort = make_cohort(tmp_path, epochs=30, rate=RATE, events=True)
    cfg = make_slice(name, task="apnea", passes=1)
    folder = run(cohort, tmp_path / "out", cfg=cfg)
    assert pl.read_csv(folder / "training.csv")["val_average_precision"].is_between(0, 1).all()
    assert {"p_apnea", "threshold"} <= {*run_score(cohort, folder, task="apnea").columns}


# Optimisers


def test_adam_has_a_rate_and_a_penalty_for_each_part() -> None:
    model = nn.ModuleDict({name: nn.Linear(2, 2) for name in ("cnn", "head", "frozen")})
    model["frozen"].requires_grad_(False)
    optimizer = adam(
        model,
        learning_rate=0.1,
        weight_decay=0.3,
        decayed=[model["cnn"].weight],
        slower=list(model["cnn"].parameters()),
        slower_rate=0.01,
    )
    found = {
        id(p): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert found == {
        id(model["cnn"].weight): (0.01, 0.3),
        id(model["cnn"].bias): (0.01, 0.0),
        id(model["head"].weight): (0.1, 0.0),
        id(model["head"].bias): (0.1, 0.0),
    }
    assert optimizer.param_groups[-1]["lr"] == 0.1


def test_deepsleepnet_is_tuned_slowly_and_penalised_at_its_first_convolutions(
    shared: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules, _ = spy(monkeypatch)
    cfg = make_slice(
        "deepsleepnet",
        passes=1,
        cnn_learning_rate=1e-2,
        learning_rate=1e-3,
        tuned_learning_rate=1e-6,
        weight_decay=1e-3,
    )
    run(shared, tmp_path, cfg=cfg)
    cnns, sequence = modules
    for module, rates in ((cnns, {1e-2}), (sequence, {1e-6, 1e-3})):
        names = {id(p): name for name, p in module.model.named_parameters()}
        groups = module.trainer.optimizers[0].param_groups
        assert {group["lr"] for group in groups} == rates
        decayed = [names[id(p)] for g in groups if g["weight_decay"] for p in g["params"]]
        assert sorted(decayed) == ["encoder.large.0.0.weight", "encoder.small.0.0.weight"]
        slow = {names[id(p)] for g in groups if g["lr"] == 1e-6 for p in g["params"]}
        assert all(name.startswith("encoder.") for name in slow)
    assert cnns.trainer.gradient_clip_val is None
    assert sequence.trainer.gradient_clip_val == 10.0


def test_the_best_pass_of_the_cnns_is_where_the_second_step_begins(
    shared: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a learning rate of 0 they stay as they are, but for the norms' statistics."""
    states: dict[int, dict[str, Tensor]] = {}
    scores = {1: 0.2, 2: 0.8, 3: 0.3, 4: 0.5}
    record = Supervised.pass_record

    def spied(self: Supervised) -> dict[str, Any]:
        row = record(self)
        states[row["pass"]] = {k: v.clone() for k, v in self.model.encoder.state_dict().items()}
        return {**row, "val_macro_f1": scores[row["pass"]]}

    monkeypatch.setattr(Supervised, "pass_record", spied)
    cfg = make_slice("deepsleepnet", cnn_passes=3, passes=1, tuned_learning_rate=0.0)
    run(shared, tmp_path, cfg=cfg)
    kept = read_tensors(tmp_path / "model.safetensors")
    weights = [name for name in states[2] if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(kept[f"encoder.{name}"], states[2][name]) for name in weights)
    assert any(not torch.equal(kept[f"encoder.{name}"], states[3][name]) for name in weights)


# State


class Counter(nn.Module):
    """Counts the epochs since its state began; an input is its place in the run."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(1, 5)
        self.counted: dict[bool, list[tuple[float, float]]] = {True: [], False: []}

    def forward(
        self, x: Tensor, valid: Tensor, state: tuple[Tensor, ...] | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        begin = x.new_zeros(1, len(x), 1) if state is None else state[0]
        count = begin[0] + valid.cumsum(dim=1)  # (B, L)
        pairs = zip(x[valid].ravel().tolist(), count[valid].tolist(), strict=True)
        self.counted[self.training].extend(pairs)
        return self.last(count[..., None]), ((begin[0] + valid.sum(dim=1, keepdim=True))[None],)


class Places:
    """Nights whose inputs are the place of an epoch in its run, from 1."""

    def __init__(self, *runs: tuple[int, ...]) -> None:
        epochs = [np.arange(sum(night) + len(night) - 1) for night in runs]
        usable = [np.ones(len(night), bool) for night in epochs]
        place = []
        for night, lengths in zip(usable, runs, strict=True):
            gaps = np.cumsum(lengths)[:-1] + np.arange(len(lengths) - 1)
            night[gaps] = False
            place.append(np.concatenate([np.append(np.arange(1, n + 1), 0) for n in lengths])[:-1])
        self.places = np.concatenate(place).astype(np.float32)
        self.table = pl.concat(
            pl.DataFrame(
                {
                    "dataset": "toy",
                    "subject": f"toy/{number}",
                    "recording": f"{number}-n1",
                    "epoch": night.astype(np.int32),
                    "stage": (night % 5).astype(np.int8),
                    "usable": seen,
                }
            )
            for number, (night, seen) in enumerate(zip(epochs, usable, strict=True))
        )

    def read(self, rows: np.ndarray) -> np.ndarray:
        return self.places[rows, None]


@pytest.mark.parametrize("kind", ["night", "cohort"])
def test_the_state_goes_on_in_a_run_and_begins_anew_in_the_next(tmp_path: Path, kind: str) -> None:
    data = Streams(Places((9, 5), (8,), (12,)), task=TASKS["staging"])
    order: ByNight | ByCohort
    if kind == "night":  # one place of a night, so that a run is whole
        order = ByNight(data, length=3, lanes=1, seed=1)
    else:
        order = ByCohort(data, length=3, lanes=2, seed=1)
    model = Counter()
    fit(
        model,
        train=data,
        order=order,
        val=data,
        val_order=in_order(data, length=3, lanes=2),
        course=Course(passes=2, learning_rate=0.1, gradient_clip=0.0, seed=1, section="toy"),
        optimizer=lambda: adam(model, learning_rate=0.1),
        weights=None,
        seen=np.arange(5),
        tensors=model.state_dict,
        about={"kind": "toy"},
        folder=tmp_path,
        device=torch.device("cpu"),
    )
    for counted in model.counted.values():
        assert len(counted) == 2 * 34
        assert all(place == count for place, count in counted)


def test_batches_without_a_label_move_the_state_and_take_no_step(
    shared: Cohort, tmp_path: Path
) -> None:
    """Of each night one epoch in the middle is labelled."""
    labels = make_labels(shared, tmp_path, keep=pl.col("epoch") == 8)
    for name in NAMES:
        folder = run(shared, tmp_path / name, cfg=make_slice(name, roll=0.0) if name ==
                     "tinysleepnet" else make_slice(name), labels=labels)  # fmt: skip
        assert pl.read_csv(folder / "training.csv")["train_loss"].is_finite().all()


# Learning


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("deepsleepnet", {"cnn_passes": 8, "passes": 4, "window": 10}),
        ("tinysleepnet", {"passes": 15, "learning_rate": 3e-3}),
        ("seresnet_bilstm", {"passes": 15, "stride": 1, "augment": {}, "learning_rate": 3e-3}),
    ],
)
def test_stages_are_learned_from_signals(
    tmp_path: Path, name: str, changes: dict[str, Any]
) -> None:
    cohort = make_cohort(tmp_path, epochs=40, rate=RATE)
    folder = run(cohort, tmp_path / "out", cfg=make_slice(name, **changes))
    table = pl.read_csv(folder / "training.csv")
    test = run_score(cohort, folder).filter(
        pl.col("stage") >= 0, pl.col("role") == "test", "usable"
    )
    majority = test["stage"].value_counts()["count"].max() / len(test)
    assert (test["stage"] == test["predicted"]).mean() > majority + 0.2
    assert table["train_loss"][-1] < table["train_loss"][0]


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_trains_and_is_chosen_by_what_is_deployed(
    shared: Cohort, tmp_path: Path, name: str
) -> None:
    cfg = make_slice(name, passes=1, precision="bfloat16")
    folder = run(shared, tmp_path, cfg=cfg)
    rows = run_score(shared, folder).filter(pl.col("role") == "val", "usable", pl.col("stage") >= 0)
    found = validation_scores(
        rows["stage"].to_numpy().astype(int), rows["predicted"].to_numpy().astype(int)
    )
    assert found == best_scores(folder)


# Bad input


@pytest.mark.parametrize("name", NAMES)
def test_no_label_is_told_and_a_missing_class_is_never_predicted(
    shared: Cohort, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    cfg = make_slice(name, balance="oversampling", passes=1)
    none = make_labels(shared, tmp_path / "none", keep=pl.col("epoch") > 99)
    with pytest.raises(ValueError, match="training subjects have 0 usable scored epochs, wanted"):
        run(shared, tmp_path / "none", cfg=cfg, labels=none)
    some = make_labels(shared, tmp_path / "some", keep=pl.col("stage").is_in([0, 1, 2, 4]))
    with caplog.at_level(logging.WARNING):
        folder = run(shared, tmp_path / "some", cfg=cfg, labels=some)
    assert "no training epoch of stage N3: it will never be predicted" in caplog.text
    assert run_score(shared, folder).filter("usable")["p_N3"].max() == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("balance", ["published", "oversampling"])
def test_nights_shorter_than_the_window_are_learned_and_scored(
    shared: Cohort, tmp_path: Path, name: str, balance: str
) -> None:
    folder = run(shared, tmp_path, cfg=make_slice(name, balance=balance, passes=1, window=51))
    table = run_score(shared, folder)
    assert (table["predicted"] >= 0).equals(table["usable"])


@pytest.mark.parametrize("name", NAMES)
def test_another_sampling_rate_is_told(shared: Cohort, tmp_path: Path, name: str) -> None:
    cfg = make_slice(name).model_copy(update={"sampling_rate": 50})
    with pytest.raises(ValueError, match="has 32 Hz, the new model was trained on 50"):
        run(shared, tmp_path, cfg=cfg)


def test_a_rate_that_is_too_high_is_told(shared: Cohort, tmp_path: Path) -> None:
    cfg = make_slice("deepsleepnet", cnn_learning_rate=1e30)
    with pytest.raises(ValueError, match=r"lower supervised\.deepsleepnet\.cnn_learning_rate"):
        run(shared, tmp_path, cfg=cfg)


def test_a_band_that_is_too_wide_is_told(shared: Cohort, tmp_path: Path) -> None:
    cfg = make_slice("seresnet_bilstm", augment={"band_stop": 16.0})
    with pytest.raises(ValueError, match=r"augment\.band_stop is 16 Hz, wanted less"):
        run(shared, tmp_path, cfg=cfg)
