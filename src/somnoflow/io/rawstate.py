"""Notice a raw recording whose content changed, without reading it each time.

Recordings are too large to be hashed at every start. `check` notes the stat signature (size,
modification and change time, inode) and SHA-256 of each file. At the next start a file whose
signature is the same is taken as unchanged, any other file is hashed: touching a file changes
nothing, and new content is noticed even under its old modification time. Standard library only.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from somnoflow.io.atomic import atomic, write_json
from somnoflow.io.digest import sha256_file

MISSING = "missing"
UNREADABLE = "unreadable"


def observe(path: Path) -> str:
    """Give the SHA-256 of a file, or say that it is missing or unreadable."""
    try:
        return sha256_file(path)
    except FileNotFoundError:
        return MISSING
    except OSError:
        return UNREADABLE


def note(state: Path, *, folder: Path, observed: Mapping[str, str]) -> None:
    """Keep what `check` saw of each file (relative path to SHA-256).

    The first SHA-256 ever seen of a file is kept too: `changes` speaks relative to it, so that
    its answer depends on contents alone and not on how often anyone looked.
    """
    known = _read(state)
    entries = {
        file: {
            "first": known.get(file, {}).get("first", sha256),
            "now": sha256,
            "checked": sha256,
            "stat": _signature(folder / file),
        }
        for file, sha256 in observed.items()
    }
    with atomic(state) as path:
        write_json(path, entries)


def changes(state: Path, *, folder: Path) -> str:
    """Give a digest of all files whose content is not what `check` first saw; "" where none.

    Files whose stat signature changed are hashed, and the signature is kept for the next time.
    """
    entries = _refresh(state, folder=folder)
    changed = sorted(
        f"{file} {entry['now']}"
        for file, entry in entries.items()
        if entry["now"] != entry["first"]
    )
    return hashlib.sha256("\n".join(changed).encode()).hexdigest() if changed else ""


def unchecked(state: Path, *, folder: Path) -> list[str]:
    """Give the files whose content is not what `check` saw when it last ran."""
    entries = _refresh(state, folder=folder)
    return sorted(file for file, entry in entries.items() if entry["now"] != entry["checked"])


def _refresh(state: Path, *, folder: Path) -> dict[str, dict[str, Any]]:
    entries = _read(state)
    dirty = False
    for file, entry in entries.items():
        signature = _signature(folder / file)
        if signature != entry["stat"]:
            entry["now"], entry["stat"], dirty = observe(folder / file), signature, True
    if dirty:
        with atomic(state) as path:
            write_json(path, entries)
    return entries


def _read(state: Path) -> dict[str, dict[str, Any]]:
    return json.loads(state.read_text(encoding="utf-8")) if state.exists() else {}


def _signature(path: Path) -> list[int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
