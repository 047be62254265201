"""Files of published checkpoints: read without running what is in them, and checked.

Reading knows no model. What is checked is named with numbers: how many entries are missing, which
shape was found and which wanted.
"""

import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from somnoflow.models.errors import WeightsError

ZIP = b"PK\x03\x04"  # how files of torch begin
MOST = 3


def is_torch_file(path: Path) -> bool:
    """Tell by how a file begins whether torch saved it."""
    with path.open("rb") as file:
        return file.read(len(ZIP)) == ZIP


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a published checkpoint; no object but tensors, numbers, text, lists and maps is made.

    Raises
    ------
    WeightsError
        When the file is damaged, no torch file, or holds objects of other classes.
    """
    if not zipfile.is_zipfile(path):
        raise WeightsError(
            f"{path} has {path.stat().st_size} bytes and ends before its list of contents: an "
            "interrupted download? Fetch it again"
        )
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()  # torch itself does not compare the sums that it writes
    if damaged:
        raise WeightsError(f"{path} is damaged: {damaged} has another sum. Fetch it again")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise WeightsError(
            f"{path} holds {found[1] if found else 'objects'}, which could run code when loaded, "
            "and was not loaded. Wanted: tensors, numbers, text, lists and maps only"
        ) from error
    except RuntimeError as error:
        raise WeightsError(
            f"{path} cannot be read: {str(error).splitlines()[0]}. Fetch it again"
        ) from error
    if not isinstance(checkpoint, dict):
        raise WeightsError(
            f"{path} holds a {type(checkpoint).__name__}, wanted a map of weights and parameters"
        )
    return checkpoint


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put a file's name before what is wrong with its content."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def require_tensors(state: Mapping[str, Any], *, wanted: Mapping[str, Tensor]) -> None:
    """Raise `WeightsError` unless all tensors have the wanted shapes and only finite values."""
    for name, tensor in wanted.items():
        found = state[name]
        if not isinstance(found, Tensor) or found.shape != tensor.shape:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise WeightsError(f"{name} is {shape}, wanted {tuple(tensor.shape)}")
        if not found.isfinite().all():
            raise WeightsError(f"{name} has {int((~found.isfinite()).sum())} values not finite")


def require_entries(found: Any, wanted: set[str], *, of: str, closed: bool = False) -> None:
    """Raise `WeightsError` unless a map has the wanted names and, where `closed`, no others."""
    if not isinstance(found, Mapping):
        raise WeightsError(f"{of} is a {type(found).__name__}, wanted a map")
    missing = sorted(wanted - set(found))
    unknown = sorted(set(found) - wanted) if closed else []
    if missing or unknown:
        raise WeightsError(
            f"{of} has {len(found)} entries: {len(missing)} of {len(wanted)} are missing"
            f"{_listed(missing)}, {len(unknown)} are unknown{_listed(unknown)}"
        )


def _listed(names: list[str]) -> str:
    more = ", ..." if len(names) > MOST else ""
    return f" ({', '.join(names[:MOST])}{more})" if names else ""
