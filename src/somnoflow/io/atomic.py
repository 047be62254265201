"""Files that are whole or absent: written under a temporary name, flushed, then renamed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMPORARY = ".partial-"


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block succeeds.

    The temporary file keeps the suffix of `path` and is removed when the block fails. After a
    kill it stays behind under a name no reader looks for, and the next writer removes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_partials(path)
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        yield temporary
        commit(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def commit(temporary: Path, path: Path) -> None:
    """Flush `temporary` to the disk and give it its name."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def remove_partials(path: Path) -> None:
    """Remove what a killed writer of `path` left behind."""
    for leftover in path.parent.glob(f"{TEMPORARY}*-{path.name}"):
        leftover.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON with sorted keys: the same content is the same bytes."""
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
