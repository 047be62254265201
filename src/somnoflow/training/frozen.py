"""That training left alone what is frozen."""

from typing import Protocol

from somnoflow.training.errors import TrainingError


class Frozen(Protocol):
    """A model of which something is frozen."""

    def frozen_digest(self) -> str:
        """Give the SHA-256 of the names and values of all that is frozen."""
        ...


def require_unchanged(model: Frozen, *, before: str) -> None:
    """Raise `TrainingError` where something frozen is not what it was (defect N8)."""
    if (after := model.frozen_digest()) != before:
        raise TrainingError(
            f"frozen weights or batch norm statistics changed in training: their SHA-256 was "
            f"{before}, found {after}. This is an error of the program; please report it"
        )
