"""A damaged state of a training is refused by name, and never continued."""

from pathlib import Path

import pytest
import torch

from somnoflow.io.digest import sha256_file
from somnoflow.training.resume import CHECKPOINT, CheckpointError, Choice, PassCheckpoints
from tests.faults.test_corruption import DAMAGES, Damage

ROWS = [{"pass": 1, "val_loss": 0.5}, {"pass": 2, "val_loss": 0.7}]


@pytest.fixture
def kept(tmp_path: Path) -> PassCheckpoints:
    """Give what is kept of a training after its second pass; the first was better."""
    torch.save({"weights": torch.arange(1000.0)}, tmp_path / CHECKPOINT)
    (tmp_path / "best-1.safetensors").write_bytes(bytes(range(256)) * 16)
    return PassCheckpoints(tmp_path, weights=lambda: ({}, {}), choice=Choice("val_loss"))


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_refused(kept: PassCheckpoints, damage: Damage) -> None:
    assert kept.find_checkpoint() == kept.checkpoint
    kept.checkpoint.write_bytes(damage(kept.checkpoint.read_bytes()))
    with pytest.raises(CheckpointError, match=r"last\.ckpt .* is damaged.*Delete the folder"):
        kept.find_checkpoint()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_best_weights_are_refused(kept: PassCheckpoints, damage: Damage) -> None:
    best = kept.checkpoint.with_name("best-1.safetensors")
    state = {"rows": ROWS, "best_sha256": sha256_file(best)}
    kept.load_state_dict(state)
    assert kept.state_dict() == state
    best.write_bytes(damage(best.read_bytes()))
    with pytest.raises(CheckpointError, match=r"best-1\.safetensors is missing or damaged"):
        kept.load_state_dict(state)
