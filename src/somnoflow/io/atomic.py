"""Files that are whole or absent: written under a temporary name, flushed, then renamed."""

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMPORARY = ".partial-"
FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "it is larger than a file may be here (ulimit -f)",
}
ROOM = 64 * 1024  # bytes; a disk with less is full, also where an error does not say so


class DiskFullError(OSError):
    """A file could not be written for want of room."""

    def __str__(self) -> str:
        return f"{self.filename} was not written: {self.strerror}"


@contextmanager
def atomic(path: Path, *, alone: bool = True) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block succeeds.

    The temporary file keeps the suffix of `path` and is removed when the block fails. After a
    kill it stays behind under a name no reader looks for, and the next writer removes it.

    Parameters
    ----------
    path
        File to write.
    alone
        Whether no other process can be writing `path` now; where one can, its temporary file is
        left in peace.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if alone:
        remove_partials(path)
    temporary = temporary_for(path)
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
    except Exception as error:
        raise_if_full(error, path=path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def raise_if_full(error: Exception, *, path: Path) -> None:
    """Raise `DiskFullError` for `path` where `error`, met while it was written, means want of room.

    Call it before what was written is removed: some libraries (NumPy, torch) only say that a write
    failed, and the room that is left tells why.
    """
    if isinstance(error, DiskFullError):  # of a file that was written meanwhile
        return
    free = shutil.disk_usage(path.parent).free
    number = getattr(error, "errno", None)
    if number not in FULL:
        # Polars tells the number in its words alone.
        told = isinstance(error, OSError | RuntimeError) and free < ROOM
        if not told and f"os error {errno.ENOSPC}" not in str(error):
            return
        number = errno.ENOSPC
    raise DiskFullError(
        number,
        f"{FULL[number]}, with {free / 1e6:.1f} MB free in {path.parent}. Nothing half-written is "
        "left. Make room there, or have the files written to a larger disk, and start again: what "
        "is finished is not done again",
        str(path),
    ) from error


def temporary_for(path: Path) -> Path:
    """Give a name beside `path` that no other process, here or on another machine, writes to."""
    return path.with_name(f"{TEMPORARY}{os.getpid()}{secrets.token_hex(4)}-{path.name}")


def flush(temporary: Path) -> None:
    """Wait until the file is on the disk; a full disk is an error here and not later."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())


def remove_partials(path: Path) -> None:
    """Remove what a killed writer of `path` left behind."""
    if not path.parent.is_dir():
        return
    own = re.compile(re.escape(TEMPORARY) + r"[0-9a-f]+-" + re.escape(path.name))
    for leftover in path.parent.iterdir():
        if own.fullmatch(leftover.name):
            leftover.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON with sorted keys: the same content is the same bytes."""
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
