"""Notice a raw recording whose content changed, without reading it each time.

Recordings are too large to be hashed at every start. `check` notes the stat signature (size,
modification and change time, inode) and SHA-256 of each file. At the next start a file whose
signature is the same is taken as unchanged, any other file is hashed: touching a file changes
nothing, and new content is noticed even under its old modification time. Standard library only.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from somnoflow.io.atomic import atomic, write_json
from somnoflow.io.digest import sha256_file

Signature = list[int] | None

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


def signatures(files: Iterable[str], *, folder: Path) -> dict[str, Signature]:
    """Give the stat signature of each file (relative path), None where there is no such file."""
    return {file: _signature(os.path.join(folder, file)) for file in files}


def note(state: Path, *, seen: Mapping[str, Signature], observed: Mapping[str, str]) -> None:
    """Keep what `check` saw of each file.

    The first SHA-256 ever seen of a file is kept too: `changes` speaks relative to it, so that
    its answer depends on contents alone and not on how often anyone looked.

    Parameters
    ----------
    state
        File to write.
    seen
        `signatures` of the files, taken before they were read: a file that changed meanwhile has
        another one, and is read again at the next start.
    observed
        SHA-256 of each file by relative path.
    """
    known = _read(state)
    entries = {
        file: {
            "first": known.get(file, {}).get("first", sha256),
            "now": sha256,
            "checked": sha256,
            "stat": seen[file],
        }
        for file, sha256 in observed.items()
    }
    # A killed job's temporary file goes; whoever only refreshes meanwhile does without.
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
    news = {}
    for file, entry in entries.items():
        signature = _signature(os.path.join(folder, file))
        if signature != entry["stat"]:
            news[file] = {"stat": signature, "now": observe(folder / file)}
    if not news:
        return entries
    # Hashing takes a while, and `check` may have noted more meanwhile: add to what is there now.
    entries = _read(state)
    for file in news.keys() & entries.keys():
        entries[file] |= news[file]
    # Each cluster job reads the Snakefile, and so this state, at any time. Where `check` notes more
    # in this moment and takes the temporary file away, what it notes is newer.
    with suppress(FileNotFoundError), atomic(state, alone=False) as path:
        write_json(path, entries)
    return entries


def _read(state: Path) -> dict[str, dict[str, Any]]:
    if not state.exists():
        return {}
    try:
        return json.loads(state.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{state} is damaged: {error}. Delete it, and check the shard again with: "
            "snakemake --forcerun check"
        ) from error


def _signature(path: str) -> Signature:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
