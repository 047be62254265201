"""Several processes: the training of one, nothing that hangs, errors that are told."""

import logging
import os
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest
import torch
from packed_shards import Cohort, make_cohort
from processes import differ, layers, part_of_a_step, second_fails, second_is_killed, step, views

from somnoflow.commands.pretrain import pretrain
from somnoflow.config.pretrain import PretrainSlice, Recipe
from somnoflow.training.batches import PassOrder, validation_batches
from somnoflow.training.distributed import ALONE, Rank, joined, launch
from somnoflow.training.errors import TrainingError
from somnoflow.training.selfsupervised import make_batches

LOSSES = [
    f"{role}_{part}"
    for role in ("train", "val")
    for part in ("loss", "reconstruction", "contrastive")
]


# What a job of Slurm sees; ranks are not taken from there.
NOT_OURS = {
    "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "job", "SLURM_NTASKS": "4", "SLURM_PROCID": "3",
    "SLURM_LOCALID": "3", "SLURM_NODEID": "1", "SLURM_NTASKS_PER_NODE": "2",
}  # fmt: skip
CONTRASTED = {"choose_by": "knn", "accumulate": 3}


def arguments(cohort: Cohort, folder: Path, **changes: object) -> dict[str, object]:
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"passes": 2, "batch_size": 8, "frame_step": 1.5, "precision": "float32"}
    return {
        "packed": cohort.packed,
        "split": cohort.split,
        "encoder": folder / "encoder.safetensors",
        "training": folder / "training.csv",
        "resume": folder / "resume",
        "tensorboard": folder / "tensorboard",
        "name": "neuronet/EEG_C4",
        "fold": 0,
        "gpus": 0,
        "threads": 2,
        "cfg": PretrainSlice(
            channel="EEG_C4",
            channels=["EEG_C4"],
            sampling_rate=100,
            recipe=Recipe(**{**settings, **changes}),
        ),
    }


def run(cohort: Cohort, folder: Path, *, processes: int = 1, **changes: object) -> pl.DataFrame:
    pretrain(**arguments(cohort, folder, **changes), processes=processes)
    return pl.read_csv(folder / "training.csv")


def torchrun(
    cohort: Cohort, folder: Path, *options: str, **changes: object
) -> subprocess.Popen[str]:
    values = arguments(cohort, folder, **changes)
    packed = values.pop("packed")
    cfg = values.pop("cfg").model_dump_json()
    return subprocess.Popen(
        [
            sys.executable, "-m", "torch.distributed.run", *options,
            "-m", "somnoflow.commands.pretrain", "--packed", *map(str, packed), "--cfg", cfg,
            *(part for name, value in values.items() for part in (f"--{name}", str(value))),
        ],
        env=os.environ | NOT_OURS,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def assert_same_curves(found: pl.DataFrame, wanted: pl.DataFrame, *, columns: int = 6) -> None:
    assert len(found) == len(wanted)
    known = [name for name in LOSSES if wanted[name].null_count() == 0]
    assert len(known) == columns
    np.testing.assert_allclose(found.select(known), wanted.select(known), rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def one(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    rows = run(cohort, tmp_path_factory.mktemp("one"), **CONTRASTED)
    assert abs(rows["train_loss"][0] - rows["train_loss"][1]) > 0.01
    return rows


def test_two_processes_train_as_one(cohort: Cohort, one: pl.DataFrame, tmp_path: Path) -> None:
    """Same batches, masks, batch norm statistics and contrast, hence the same curves."""
    two = run(cohort, tmp_path, processes=2, **CONTRASTED)
    assert_same_curves(two, one)
    assert two["val_knn_macro_f1"].null_count() == 0
    (folder,) = (tmp_path / "tensorboard/neuronet/EEG_C4/fold=0").iterdir()
    assert len(list(folder.iterdir())) == 1  # one process writes


def test_two_processes_without_a_contrast_train_as_one(cohort: Cohort, tmp_path: Path) -> None:
    one = run(cohort, tmp_path / "one", objective="masked")
    two = run(cohort, tmp_path / "two", processes=2, objective="masked")
    assert_same_curves(two, one, columns=4)


def test_torchrun_trains_as_one_process(cohort: Cohort, one: pl.DataFrame, tmp_path: Path) -> None:
    begun = torchrun(cohort, tmp_path, "--standalone", "--nproc-per-node=2", **CONTRASTED)
    said = begun.communicate()[1]
    assert begun.returncode == 0, said
    assert_same_curves(pl.read_csv(tmp_path / "training.csv"), one)
    assert said.count("process 1 of 2 on 1 machines") == said.count("pass 2 of 2") == 1
    assert "process 2 of 2" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "encoder.safetensors", "resume", "run.json", "tensorboard", "training.csv",
    ]  # fmt: skip


def test_a_machine_that_fails_ends_the_other_and_one_process_goes_on(
    cohort: Cohort, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two machines of one process each; the second one's is killed after a pass."""
    long = {"passes": 4}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ("--nnodes=2", "--master-addr=127.0.0.1", f"--master-port={port}")
    folder = tmp_path / "two"
    machines = [
        torchrun(cohort, folder, *where, f"--node-rank={number}", **long) for number in range(2)
    ]
    try:
        while not list(folder.glob("resume/**/last.ckpt")):
            assert [machine.poll() for machine in machines] == [None, None]
            time.sleep(0.02)
        (process,) = psutil.Process(machines[1].pid).children()
        process.kill()
        first, second = (machine.communicate()[1] for machine in machines)
    finally:
        for machine in machines:
            machine.kill()
    assert machines[0].returncode > 0, first
    assert machines[1].returncode > 0, second
    assert "process 1 of 2 lost another one" in first
    assert not (folder / "encoder.safetensors").exists()
    assert "pass 4 of 4" not in first
    caplog.set_level(logging.INFO)
    found = run(cohort, folder, **long)
    assert "continuing after the last finished pass" in caplog.text
    assert_same_curves(found, run(cohort, tmp_path / "one", **long))


def test_processes_that_would_go_on_from_different_passes_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"differ in the pass \(0: 3, 1: 4\)"):
        launch(differ, processes=2)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in {
        "RANK": 5, "WORLD_SIZE": 8, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 4,
        "MASTER_ADDR": "first", "MASTER_PORT": 29500,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    return monkeypatch


def test_a_process_knows_its_place_from_torchruns_variables(told: pytest.MonkeyPatch) -> None:
    assert joined() == Rank(5, 8, machines=2)
    assert joined().here == 4
    told.setenv("WORLD_SIZE", "7")
    with pytest.raises(ValueError, match="7 processes with 4 of them on this machine"):
        joined()
    told.delenv("LOCAL_WORLD_SIZE")
    with pytest.raises(ValueError, match="WORLD_SIZE is 7, but LOCAL_WORLD_SIZE is not set"):
        joined()
    told.setenv("WORLD_SIZE", "1")
    assert joined() == ALONE
    told.delenv("WORLD_SIZE")
    assert joined() == ALONE


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
