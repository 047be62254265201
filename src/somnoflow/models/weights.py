"""Weights and what describes them, in one safetensors file: no pickle is ever loaded.

The description is one JSON value under one key of the header. safetensors writes several keys in
a random order, so only one keeps the file's bytes the same for the same weights.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from somnoflow.models.errors import WeightsError
from somnoflow.tasks import Task

KEY = "somnoflow"
FORMAT = 1


def write_weights(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and their description; the same content is the same bytes."""
    text = json.dumps({"format": FORMAT, **about}, sort_keys=True, allow_nan=False)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Not save_file: what it writes is for its owner alone to read, whatever the folder's custom is.
    path.write_bytes(save(whole, metadata={KEY: text}))


def describe_head(name: str, *, task: Task) -> dict[str, Any]:
    """Give how the description of every head begins: what it is, and what it is asked."""
    return {"kind": "head", "head": name, "task": task.name, "classes": list(task.classes)}


def read_about(path: Path, *, kind: str | tuple[str, ...]) -> dict[str, Any]:
    """Read the description of weights and check that they are of a `kind`, such as `neuronet`."""
    with _whole(path), safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(KEY)
    if text is None:
        raise ValueError(f"{path} was not written by Somnoflow: its header has no {KEY!r} entry")
    try:
        about: Any = json.loads(text)
        found = about["kind"], about["format"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise WeightsError(
            f"{path} is damaged: its header describes no weights ({type(error).__name__}). Get the "
            "file again"
        ) from error
    kinds = (kind,) if isinstance(kind, str) else kind
    if found[1] != FORMAT or found[0] not in kinds:
        raise ValueError(
            f"{path} holds {found[0]!r} in format {found[1]}, "
            f"wanted {' or '.join(map(repr, kinds))} in format {FORMAT}"
        )
    return dict(about)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a weights file."""
    with _whole(path):
        tensors: dict[str, Tensor] = load_file(path)
    return tensors


def fill(module: nn.Module, tensors: Mapping[str, Tensor], *, path: Path) -> None:
    """Give a module the weights of a file.

    Raises `WeightsError` where they do not fit it, or a value is not finite: a damaged file would
    give usable epochs embeddings that are no numbers.
    """
    wanted = module.state_dict()
    wrong = [
        f"{name} {_shape(tensors.get(name))} instead of {_shape(wanted.get(name))}"
        for name in sorted({*tensors, *wanted})
        if _shape(tensors.get(name)) != _shape(wanted.get(name))
    ]
    if wrong:
        raise WeightsError(
            f"{path} does not hold the weights that its description promises: {len(wrong)} of "
            f"{len(wanted)} differ, {wrong[0]} the first; remove it and train it again"
        )
    for name, tensor in sorted(tensors.items()):
        # A sum is not finite where a value is not, and takes a tenth of the time to look at.
        if not tensor.sum().isfinite() and (strange := int((~tensor.isfinite()).sum())):
            raise WeightsError(
                f"{path} is damaged: {name} has {strange} of {tensor.numel()} values that are not "
                "finite. Copy it again, or remove it and train it again"
            )
    module.load_state_dict(tensors)


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else str(tuple(tensor.shape))


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is damaged ({error}): of its {path.stat().st_size} bytes no whole safetensors "
            "file can be read. After an interrupted copy, copy it again; else remove it, and "
            "the workflow makes it anew"
        ) from error
