"""What files of weights tell of trained networks: how many parameters, and what they read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from safetensors import safe_open

from somnoflow.models.fused_stager import PRETRAINING_ONLY as FUSION_ONLY
from somnoflow.models.neuronet import PRETRAINING_ONLY
from somnoflow.models.weights import read_about
from somnoflow.report.naming import ModelName, Source
from somnoflow.report.sources import network_of

KINDS = ("neuronet", "synthsleepnet", "stager", "fused_stager", "supervised", "head")
# Neighbours and trees are no weights.
WITHOUT_PARAMETERS = ("knn", "boosting")
BUFFERS = ("running_mean", "running_var", "num_batches_tracked", "seen")
POSITIONS, TRAINED_POSITIONS = "positions", "cls_position"


@dataclass(frozen=True)
class Network:
    """One file of weights.

    Attributes
    ----------
    parameters
        Those that scoring an epoch needs; None for a head that has none.
    channels
        What it reads; empty for heads.
    """

    parameters: int | None
    channels: tuple[str, ...] = ()


Networks = Mapping[Source | ModelName, Network]


def read_networks(paths: Iterable[Path]) -> dict[Source | ModelName, Network]:
    """Read what the files of weights tell, by encoder or model.

    Parameters
    ----------
    paths
        `pretrain/<encoder>/<channel>/fold=<k>/encoder.safetensors` and
        `heads/<encoder>/<channel>/<method>/task=<task>/labels=all/fold=<k>/<name>.safetensors`.

    Raises
    ------
    ValueError
        Where a file is damaged or of another kind.
    """
    return {network_of(path): read_network(path) for path in paths}


def size_of(name: ModelName, networks: Networks) -> int | None:
    """Give the parameters of a model with the frozen encoder under it; None where not known."""
    own, encoder = networks.get(name), networks.get(name.source)
    # A tuned encoder is in the model's own file.
    if own is None or own.parameters is None or encoder is None or name.tuning:
        return own.parameters if own else None
    return own.parameters + (encoder.parameters or 0)


def channels_of(name: ModelName, networks: Networks) -> tuple[str, ...]:
    """Give the channels that a model reads."""
    known = (networks[one].channels for one in (name, name.source) if one in networks)
    return next(filter(None, known), (name.source.channel,))


def read_network(path: Path) -> Network:
    """Read what one file of weights tells.

    What only pre-training needs, buffers and fixed positions are no parameters.
    """
    about = read_about(path, kind=KINDS)
    if about.get("head") in WITHOUT_PARAMETERS:
        return Network(None)
    unused = {*PRETRAINING_ONLY, *FUSION_ONLY}
    with safe_open(path, framework="pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    parameters = sum(
        prod(shape)
        for name, shape in shapes.items()
        if name.partition(".")[0] not in unused and not _is_buffer(name, shapes)
    )
    return Network(parameters, tuple(about.get("channels", ())))


def _is_buffer(name: str, known: Iterable[str]) -> bool:
    module, _, own = name.rpartition(".")
    if own != POSITIONS:
        return own in BUFFERS
    # Where positions are trained, that of the class token is beside them.
    beside = f"{module}.{TRAINED_POSITIONS}" if module else TRAINED_POSITIONS
    return beside not in known
