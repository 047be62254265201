"""Pre-trained encoders as they lie on disk."""

from pathlib import Path
from typing import Any

from somnoflow.models.neuronet import NeuroNet
from somnoflow.models.weights import fill, read_about, read_tensors


def load_neuronet(path: Path) -> tuple[NeuroNet, dict[str, Any]]:
    """Rebuild a NeuroNet from its weights file; give the model and the file's description.

    The description has `architecture` (the arguments of `NeuroNet`), `preset`, `channel`,
    `sampling_rate` and `best_pass`.
    """
    about = read_about(path, kind="neuronet")
    model = NeuroNet(**about["architecture"])
    fill(model, read_tensors(path), path=path)
    return model, about


def load_frozen(path: Path) -> tuple[NeuroNet, dict[str, Any]]:
    """Rebuild a NeuroNet whose weights and batch norm statistics stay as they are (defect N8)."""
    model, about = load_neuronet(path)
    return model.eval().requires_grad_(False), about
