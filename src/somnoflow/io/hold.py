"""Locks of files that go with the process that has them, however it ends."""

import errno
import fcntl
import os
from io import FileIO
from pathlib import Path


def hold(file: FileIO) -> bool:
    """Lock an open file for this process until it is closed; False where locks do not exist.

    Some cluster file systems have none: there, one process at a time is up to the caller.

    Raises
    ------
    BlockingIOError
        When another process holds the file.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        return False
    return True


def is_at(path: Path, file: FileIO) -> bool:
    """Say whether an open file still has that name; another process may have taken it away."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESTALE):
            raise
        return False
