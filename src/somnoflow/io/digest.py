"""SHA-256 of files and of small values."""

import hashlib
import json
from pathlib import Path
from typing import Any


class DigestError(ValueError):
    """A file is not the one that its digest names."""


def sha256_file(path: Path) -> str:
    """Give the SHA-256 of a file's content as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Give the SHA-256 of a value's canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def require_sha256(path: Path, wanted: str, *, made_by: str) -> None:
    """Raise `DigestError` unless `path` has the SHA-256 `wanted`.

    Parameters
    ----------
    path
        File to read.
    wanted
        64 hex digits.
    made_by
        Rule that makes the file, named in the message as the one to run again.
    """
    advice = f"Make it again with: snakemake --forcerun {made_by}"
    if not path.exists():
        raise DigestError(f"{path} is missing, wanted a file with sha256 {wanted}. {advice}")
    found = sha256_file(path)
    if found != wanted:
        raise DigestError(
            f"{path} has changed since it was written: found sha256 {found}, wanted {wanted}. "
            f"{advice}"
        )
