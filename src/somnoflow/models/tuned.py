"""Fine-tuned models as they lie on disk, whatever encoder they were tuned from."""

from pathlib import Path
from typing import Any

from somnoflow.models.fused_stager import KIND as FUSED
from somnoflow.models.fused_stager import FusedStager, load_fused_stager
from somnoflow.models.stager import Stager, load_stager
from somnoflow.models.weights import read_about


def load_tuned(path: Path) -> tuple[Stager | FusedStager, dict[str, Any]]:
    """Rebuild a fine-tuned model in evaluation mode, frozen; give the file's description too.

    Parameters
    ----------
    path
        Weights of kind `stager` or `fused_stager`.

    Returns
    -------
    model : Stager or FusedStager
        On the CPU.
    about : dict
        With `channel`, the encoder's name in the grid, and `channels`, what it reads.
    """
    if read_about(path, kind=("stager", FUSED))["kind"] == FUSED:
        return load_fused_stager(path)
    stager, about = load_stager(path)
    return stager, {**about, "channels": [about["channel"]]}
