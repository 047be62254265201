"""One workflow at a time on a results folder, from wherever it is started.

Snakemake's own lock is in the working directory: two checkouts, or two people, that name the same
results folder do not see each other. So the main process of a run holds the file `.lock` in the
results folder. Neither the clock of a machine nor the time of a file is asked:

- On one machine the kernel says whether the holder lives; its lock goes with the process, so that
  a killed run hinders nobody.
- Between machines a file system may share no locks. There the holder counts in the file, one beat
  after the other, and a count that stands still is that of a run that is no more.
"""

import atexit
import getpass
import json
import logging
import os
import shlex
import socket
import threading
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import NoReturn

from somnoflow.io.hold import hold, is_at
from somnoflow.io.rejection import Rejection

LOCK = ".lock"
BEAT_S = 20.0
# NFS may show what a folder held up to a minute ago.
PATIENCE_S = 120.0

logger = logging.getLogger("somnoflow")


class ResultsLock:
    """The right of one workflow to write to a results folder.

    Parameters
    ----------
    results
        The folder; made where it does not exist.
    beat_s
        Seconds between two beats of the holder.
    patience_s
        Seconds that the count of another machine's workflow must stand still; longer than several
        beats.
    """

    def __init__(
        self, results: str | Path, *, beat_s: float = BEAT_S, patience_s: float = PATIENCE_S
    ) -> None:
        self._path = Path(results).resolve() / LOCK
        self._beat_s = beat_s
        self._patience_s = patience_s
        self._file: FileIO | None = None
        self._ended = threading.Event()

    def take(self) -> None:
        """Hold the folder until `release`, or until this process ends.

        Raises
        ------
        Rejection
            When another workflow holds it; says whose, where, since when, and what to do.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while (file := self._open()) is None:
            pass
        self._file = file
        line = _line()
        _write(file, line, beat=0)
        atexit.register(self.release)
        threading.Thread(target=self._beat, args=(file, line), daemon=True).start()

    def release(self) -> None:
        """Give the folder back; does nothing where it is not held."""
        if self._file is None:
            return
        self._ended.set()
        if is_at(self._path, self._file):
            os.ftruncate(self._file.fileno(), 0)
            # In a folder where only its maker may remove a file, an empty one is as good.
            with suppress(PermissionError):
                self._path.unlink()
        self._file = None

    def _open(self) -> FileIO | None:
        """Give the lock, open and ours; None when its holder took it away in this moment."""
        try:
            new, number = True, os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            try:
                new, number = False, os.open(self._path, os.O_RDWR)
            except FileNotFoundError:
                return None
            except PermissionError:
                self._refuse()
        with ExitStack() as stack:
            file = stack.enter_context(FileIO(number, "r+"))
            if new:
                # Who may write to the folder may take over what a killed workflow left there.
                os.fchmod(number, self._path.parent.stat().st_mode & 0o666)
            try:
                certain = hold(file)
            except BlockingIOError:
                self._refuse()
            left = self._read()
            if not new and not (certain and _host(left) in ("", socket.gethostname())):
                self._watch(left)
            if is_at(self._path, file):
                stack.pop_all()
                return file
        return None

    def _watch(self, left: str) -> None:
        """Return when the count stands still or the file is gone; raise when it goes on."""
        logger.warning(
            "%s was left by %s; waiting %.0f s to see whether that workflow still runs",
            self._path,
            _holder(left),
            self._patience_s,
        )
        end = time.monotonic() + self._patience_s
        while time.monotonic() < end:
            time.sleep(min(1.0, self._patience_s / 10))
            now = self._read()
            if now and now != left:
                self._refuse()
            if not self._path.exists():
                return

    def _refuse(self) -> NoReturn:
        raise Rejection(
            problem=f"{self._path.parent} is not free",
            found=f"another workflow at work on it: {_holder(self._read())}",
            wanted="one workflow at a time on a results folder",
            advice="Wait until that one has ended, or write to another folder: --config "
            "results=FOLDER. Only if you are sure that it runs no more: rm -f "
            f"{shlex.quote(str(self._path))}",
        )

    def _read(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, PermissionError):
            return ""

    def _beat(self, file: FileIO, line: bytes) -> None:
        beat = 0
        while not self._ended.wait(self._beat_s):
            beat += 1
            try:
                if not is_at(self._path, file):
                    logger.warning(
                        "%s was removed: another workflow may be writing to this folder", self._path
                    )
                    return
                _write(file, line, beat=beat)
            except OSError as error:
                logger.warning("%s could not be renewed: %s", self._path, error)


def _write(file: FileIO, line: bytes, *, beat: int) -> None:
    """Write all anew, in place: the same length each time, so that a full disk does no harm."""
    content = line + b"%012d\n" % beat
    os.pwrite(file.fileno(), content, 0)
    os.ftruncate(file.fileno(), len(content))
    os.fsync(file.fileno())


def _line() -> bytes:
    """Give the line that says who holds the folder."""
    holder = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "user": getpass.getuser(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "folder": str(Path.cwd()),
    }
    return json.dumps(holder).encode() + b"\n"


def _host(left: str) -> str:
    """Give the host that a lock names: '' of an empty lock, '?' where it cannot be read."""
    return str(_parsed(left).get("host", "?")) if left else ""


def _holder(left: str) -> str:
    found = _parsed(left)
    if not found:
        return f"its lock says {left!r}" if left else "its lock may not be read, or is empty"
    return (
        f"process {found.get('pid')} of {found.get('user')} on {found.get('host')}, since "
        f"{found.get('since')}, started in {found.get('folder')}"
    )


def _parsed(left: str) -> dict[str, object]:
    try:
        found = json.loads(left.partition("\n")[0])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
