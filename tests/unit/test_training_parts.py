"""Roles, seeds, order and learning rate: the small parts of training."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from somnoflow.training.batches import PassOrder, validation_batches
from somnoflow.training.device import choose_device, choose_precision, choose_processes
from somnoflow.training.history import write_history
from somnoflow.training.optimizing import rate_factor
from somnoflow.training.resume import Choice, resume_key
from somnoflow.training.roles import read_roles, require_subjects
from somnoflow.training.seeds import seed_of

ROLES = {"pretrain": ["d/c", "d/a"], "train": ["d/a"], "val": ["d/v"], "test": ["d/t"]}


def write_split(folder: Path, **changes: list[str]) -> Path:
    path = folder / "split.json"
    path.write_text(json.dumps({"folds": [{"fold": 2, **ROLES, **changes}]}))
    return path


def test_roles_come_sorted_from_the_split_file(tmp_path: Path) -> None:
    roles = read_roles(write_split(tmp_path), fold=2)
    assert roles.pretrain == ("d/a", "d/c")
    assert (roles.val, roles.test) == (("d/v",), ("d/t",))
    with pytest.raises(ValueError, match=r"has the folds \[2\], wanted fold 0"):
        read_roles(tmp_path / "split.json", fold=0)


@pytest.mark.parametrize(
    ("role", "other"),
    [("pretrain", "val"), ("pretrain", "test"), ("train", "val"), ("val", "test")],
)
def test_nobody_chooses_or_tests_what_was_trained_on(tmp_path: Path, role: str, other: str) -> None:
    split = write_split(tmp_path, **{role: [*ROLES[role], *ROLES[other]]})
    with pytest.raises(ValueError, match=rf"1 subjects both in {role} and in {other}: d/"):
        read_roles(split, fold=2)


def test_missing_subjects_are_counted_and_named() -> None:
    require_subjects(["a", "b"], ["a", "b", "c"], where="x")
    with pytest.raises(ValueError, match="2 of 3 subjects of the split are not in x: b, c"):
        require_subjects(["a", "b", "c"], ["a"], where="x")


def test_seeds_differ_by_place_and_not_by_history() -> None:
    seeds = {seed_of(seed, *place) for seed in (1, 2) for place in [(), (0, 1), (1, 0), (1, 1)]}
    assert len(seeds) == 8
    assert seed_of(1, 2, 3) == seed_of(1, 2, 3)


def test_pass_order_is_whole_batches_of_other_epochs_each_pass() -> None:
    rows = np.arange(100, 123)
    order = PassOrder(rows, batch_size=5, seed=1)
    assert len(order) == 4
    passes = []
    for number in (0, 1, 0):
        order.set_epoch(number)
        batches = list(order)
        assert [len(batch) for batch in batches] == [5] * 4
        passes.append(np.concatenate(batches).tolist())
        assert len(set(passes[-1])) == 20
        assert set(passes[-1]) <= set(rows.tolist())
    assert passes[0] == passes[2]
    assert passes[0] != passes[1]
    assert set(passes[0]) != set(passes[1])


@pytest.mark.parametrize("count", [2, 5, 6, 11, 16])
def test_validation_sees_every_epoch_once_and_never_alone(count: int) -> None:
    """Defect N6: a last partial batch is not dropped, and a batch of one has no negatives."""
    batches = validation_batches(np.arange(count), batch_size=5, seed=1)
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    assert all(2 <= len(batch) <= 5 for batch in batches)


def test_learning_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    factors = [rate_factor(step, steps=100, warmup=0.1) for step in range(100)]
    assert np.allclose(np.diff(factors[:11]), 1 / 11)
    assert factors[10] == 1
    assert all(a > b for a, b in pairwise(factors[10:]))
    assert factors[55] == pytest.approx(0.5)
    assert factors[99] == pytest.approx(0, abs=1e-3)
    assert rate_factor(0, steps=1, warmup=0.0) == 1
    assert min(factors) > 0


def test_resume_key_changes_with_all_that_decides_the_result(tmp_path: Path) -> None:
    file = tmp_path / "index.json"
    file.write_text("one")
    same = {"code": "c", "settings": {"a": 1}, "inputs": [file], "fold": 0}
    key = resume_key(**same)
    assert resume_key(**same) == key
    others = [{"code": "d"}, {"settings": {"a": 2}}, {"inputs": [file, file]}, {"fold": 1}]
    keys = {resume_key(**{**same, **other}) for other in others}
    file.write_text("two")
    keys.add(resume_key(**same))
    assert len(keys) == 5
    assert key not in keys


def test_device_is_the_cpu_unless_a_gpu_is_granted_and_there() -> None:
    assert choose_device(0).type == "cpu"
    assert choose_device(1).type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_gpus_that_a_job_cannot_use_are_told(caplog: pytest.LogCaptureFixture) -> None:
    choose_device(1)
    choose_device(4, several=True)
    assert not caplog.text
    choose_device(4)
    assert "4 GPUs granted, this job uses one" in caplog.text


def test_history_keeps_every_digit(tmp_path: Path) -> None:
    write_history(tmp_path / "h.csv", [{"pass": 1, "loss": 0.1 + 0.2, "val": None}])
    assert (tmp_path / "h.csv").read_bytes() == b"pass,loss,val\n1,0.30000000000000004,\n"


def test_the_best_pass_is_the_first_with_the_lowest_or_highest_value() -> None:
    rows = [{"pass": n, "x": x} for n, x in enumerate((2.0, 1.0, 3.0, 1.0, 3.0), start=1)]
    assert Choice("x").best(rows)["pass"] == 2
    assert Choice("x", highest=True).best(rows)["pass"] == 3


def test_processes_are_one_per_granted_gpu_or_as_asked_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_processes(cpu, gpus=0, processes=3) == 3
    assert choose_processes(gpu, gpus=1, processes=3) == 1
    assert choose_processes(gpu, gpus=2, processes=1) == 2
    assert not caplog.text
    assert choose_processes(gpu, gpus=4, processes=1) == 2
    assert "4 GPUs granted, 2 found" in caplog.text


@pytest.mark.parametrize("hardware", ["amx_bf16", "avx512_bf16", None])
def test_auto_is_bfloat16_where_the_hardware_has_it(
    monkeypatch: pytest.MonkeyPatch, hardware: str | None
) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    known = {"amx_bf16": False, "avx512_bf16": False, "avx512_f": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {**known, hardware: True})
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: hardware is not None)
    wanted = "bf16-mixed" if hardware else "32-true"
    assert choose_precision("auto", device=cpu) == wanted
    assert choose_precision("auto", device=gpu) == wanted
    assert choose_precision("float32", device=gpu) == "32-true"
    assert choose_precision("bfloat16", device=cpu) == "bf16-mixed"
