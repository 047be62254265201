"""Models that tell classes from signals as they lie on disk, whatever they were trained from."""

from pathlib import Path
from typing import Any

from somnoflow.models.fused_stager import KIND as FUSED
from somnoflow.models.fused_stager import FusedStager, load_fused_stager
from somnoflow.models.recurrent import NightModel
from somnoflow.models.stager import Stager, load_stager
from somnoflow.models.supervised import KIND as SUPERVISED
from somnoflow.models.supervised import load_supervised
from somnoflow.models.weights import read_about

Tuned = Stager | FusedStager | NightModel


def load_tuned(path: Path) -> tuple[Tuned, dict[str, Any]]:
    """Rebuild a model in evaluation mode, frozen; give the file's description too.

    Parameters
    ----------
    path
        Weights of kind `stager`, `fused_stager` or `supervised`.

    Returns
    -------
    model : Stager, FusedStager or NightModel
        On the CPU.
    about : dict
        With `channel`, the encoder's name in the grid, and `channels`, what it reads.
    """
    kind = read_about(path, kind=("stager", FUSED, SUPERVISED))["kind"]
    if kind == FUSED:
        return load_fused_stager(path)
    if kind == SUPERVISED:
        return load_supervised(path)
    stager, about = load_stager(path)
    return stager, {**about, "channels": [about["channel"]]}
