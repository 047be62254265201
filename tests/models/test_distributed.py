"""Several processes: the training of one, nothing that hangs, errors that are told."""

import logging
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from packed_shards import Cohort, make_cohort
from processes import layers, part_of_a_step, second_fails, second_is_killed, step, views

from somnoflow.commands.pretrain import pretrain
from somnoflow.config.pretrain import PretrainSlice, Recipe
from somnoflow.training.batches import PassOrder, validation_batches
from somnoflow.training.distributed import Rank, launch
from somnoflow.training.errors import TrainingError
from somnoflow.training.selfsupervised import make_batches

LOSSES = [
    f"{role}_{part}"
    for role in ("train", "val")
    for part in ("loss", "reconstruction", "contrastive")
]


def run(cohort: Cohort, folder: Path, *, processes: int, **changes: object) -> pl.DataFrame:
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"passes": 2, "batch_size": 8, "frame_step": 1.5, "precision": "float32"}
    pretrain(
        packed=cohort.packed,
        split=cohort.split,
        encoder=folder / "encoder.safetensors",
        training=folder / "training.csv",
        resume=folder / "resume",
        tensorboard=folder / "tensorboard",
        name="neuronet/EEG_C4",
        fold=0,
        gpus=0,
        threads=2,
        processes=processes,
        cfg=PretrainSlice(
            channel="EEG_C4",
            channels=["EEG_C4"],
            sampling_rate=100,
            recipe=Recipe(**{**settings, **changes}),
        ),
    )
    return pl.read_csv(folder / "training.csv")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.mark.parametrize(
    "changes", [{"choose_by": "knn", "accumulate": 3}, {"objective": "masked"}]
)
def test_two_processes_train_as_one(cohort: Cohort, tmp_path: Path, changes: dict) -> None:
    """Same batches, masks, batch norm statistics and contrast, hence the same curves."""
    one = run(cohort, tmp_path / "one", processes=1, **changes)
    two = run(cohort, tmp_path / "two", processes=2, **changes)
    assert len(one) == len(two) == 2
    assert abs(one["train_loss"][0] - one["train_loss"][1]) > 0.01
    known = [name for name in LOSSES if one[name].null_count() == 0]
    assert len(known) == (4 if changes.get("objective") == "masked" else 6)
    np.testing.assert_allclose(two.select(known), one.select(known), rtol=0, atol=1e-4)
    if "choose_by" in changes:
        assert two["val_knn_macro_f1"].null_count() == 0
    (folder,) = (tmp_path / "two/tensorboard/neuronet/EEG_C4/fold=0").iterdir()
    assert len(list(folder.iterdir())) == 1  # one process writes


def test_processes_share_batches_and_take_turns_at_validation() -> None:
    rows = np.arange(100, 123)
    whole = list(PassOrder(rows, batch_size=6, seed=1))
    parts = [list(PassOrder(rows, batch_size=6, seed=1, rank=Rank(n, 3))) for n in range(3)]
    for number, batch in enumerate(whole):
        assert np.concatenate([part[number] for part in parts]).tolist() == batch.tolist()
    turns = [
        validation_batches(rows, batch_size=6, seed=1, rank=Rank(number, 3)) for number in range(3)
    ]
    assert [[len(batch) for batch in turn] for turn in turns] == [
        [6, 0, 0, 5],
        [0, 6, 0, 0],
        [0, 0, 6, 0],
    ]


def test_gradients_and_statistics_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    """Batch norm and contrast over two processes; the state keeps its names."""
    launch(partial(part_of_a_step, folder=tmp_path), processes=2)
    model = layers()
    loss = step(model, views())
    for number in range(2):
        found = torch.load(tmp_path / f"{number}.pt", weights_only=True)
        torch.testing.assert_close(found["loss"], loss)
        torch.testing.assert_close(found["state"], model.state_dict(), rtol=1e-5, atol=1e-6)
        for got, parameter in zip(found["gradients"], model.parameters(), strict=True):
            torch.testing.assert_close(got, parameter.grad, rtol=1e-4, atol=1e-6)


def test_a_killed_process_ends_one_that_waits_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("somnoflow.training.distributed.GRACE", 0.2)
    with pytest.raises(TrainingError, match="one of 2 processes was ended by signal 9"):
        launch(second_is_killed, processes=2)


def test_bad_input_in_one_process_is_told_as_from_one(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(TrainingError, match="knows why") as error:
        launch(partial(second_fails, error=TrainingError), processes=2)
    assert "In process 2 of 2" in error.value.__notes__[0]
    assert [m for m in caplog.messages if m.startswith("began")] == ["began 0"]


def test_a_defect_in_one_process_is_a_defect(capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(RuntimeError, match="ended with exit code 1"):
        launch(partial(second_fails, error=KeyError), processes=2)
    assert "KeyError: 'the second knows why'" in capfd.readouterr().err


def test_batches_that_cannot_be_divided_are_named() -> None:
    with pytest.raises(TrainingError, match=r"batches of 7 epochs cannot .* 2 processes"):
        make_batches(
            np.arange(20),
            np.arange(5),
            cfg=Recipe(batch_size=7),
            section="pretrain",
            rank=Rank(number=0, of=2),
        )
