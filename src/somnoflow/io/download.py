"""Download the files of a manifest: several at a time, resumed, retried, verified on arrival.

What has come of `a.edf` is in `.a.edf.part` beside it, a hidden file that no other step sees, held
by one process at a time. A start that finds one goes on from its end. Only a whole file with the
size and SHA-256 of its row gets the name; a part that turns out wrong is thrown away, and fetched
once more from the beginning if it was made of pieces. A part whose connection was lost stays for
the next start.
"""

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from io import FileIO
from pathlib import Path

from tqdm import tqdm

from somnoflow.io.atomic import flush
from somnoflow.io.digest import sha256_file
from somnoflow.io.hold import hold, is_at
from somnoflow.io.manifest import Row
from somnoflow.io.publisher import Answer, Interruption, Publisher, WrongContent
from somnoflow.io.rawstate import UNREADABLE, observe
from somnoflow.io.rejection import Rejection

ATTEMPTS = 6
PROGRESS = 2**20  # bytes that make an interrupted attempt no failure
LONGEST_WAIT_S = 120.0
HOPELESS = 8  # files in a row

logger = logging.getLogger("somnoflow.fetch")


def download(
    rows: Iterable[Row],
    *,
    publisher: Publisher,
    folder: Path,
    threads: int = 1,
    mb_per_s: float = 0,
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], object] | None = None,
) -> list[str]:
    """Download what is not there yet; give one line for each file that could not be had.

    Parameters
    ----------
    rows
        Files to have.
    publisher
        Where they come from.
    folder
        Where to put them.
    threads
        Files downloaded at a time.
    mb_per_s
        Highest rate of all together in MB/s (10^6 bytes); no limit where 0.
    now, pause
        The clock in seconds, and how to wait; the real ones unless a test has its own.

    Raises
    ------
    OSError
        When a file cannot be written: the next one could not either.
    """
    rows = list(rows)
    sizes = [row.bytes for row in rows if row.bytes is not None]
    stop = threading.Event()
    pause = pause or stop.wait
    total = sum(sizes) if len(sizes) == len(rows) else None
    with (
        tqdm(desc="fetch", total=total, unit="B", unit_scale=True, disable=None) as bar,
        ThreadPoolExecutor(max_workers=threads) as pool,
    ):
        flow = _Flow(show=bar.update, stop=stop, rate=mb_per_s * 1e6, now=now, pause=pause)
        job = _Job(publisher, folder=folder, flow=flow, pause=pause)
        futures = [pool.submit(job.bring, row) for row in rows]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    return [line for future in futures if (line := future.result()) is not None]


class _Flow:
    """What all threads share: the rate, the progress bar, and whether to stop."""

    def __init__(
        self,
        *,
        show: Callable[[float], object],
        stop: threading.Event,
        rate: float,
        now: Callable[[], float],
        pause: Callable[[float], object],
    ) -> None:
        self._show = show
        self._stop = stop
        self._rate = rate
        self._now = now
        self._pause = pause
        self._lock = threading.Lock()
        self._free_at = now()

    def count(self, size: int) -> None:
        """Move the progress bar by so many bytes, backwards where they are negative."""
        with self._lock:
            self._show(size)

    def admit(self, size: int) -> None:
        """Wait until so many bytes more are within the rate."""
        if self._stop.is_set():
            raise CancelledError
        if self._rate == 0:
            return
        with self._lock:
            now = self._now()
            wait_s = max(self._free_at - now, 0)
            self._free_at = now + wait_s + size / self._rate
        if wait_s > 0:
            self._pause(wait_s)


class _Part:
    """The bytes of a file that have come so far.

    Attributes
    ----------
    pieced
        Whether they are of more than one answer, and so perhaps of more than one version.
    """

    def __init__(self, path: Path, file: FileIO, *, count: Callable[[int], None]) -> None:
        self.path = path
        self._file = file
        self._count = count
        self.size = file.seek(0, os.SEEK_END)
        self.pieced = self.size > 0
        count(self.size)

    def write(self, chunk: bytes) -> None:
        """Append; no buffer keeps anything back, so a killed process loses nothing."""
        left = memoryview(chunk)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self.size += len(chunk)
        self._count(len(chunk))

    def restart(self) -> None:
        """Throw away what has come."""
        self._file.truncate(0)
        self._count(-self.size)
        self.size = 0
        self.pieced = False


class _Job:
    """The download of one shard's files."""

    def __init__(
        self,
        publisher: Publisher,
        *,
        folder: Path,
        flow: _Flow,
        pause: Callable[[float], object],
    ) -> None:
        self._publisher = publisher
        self._folder = folder
        self._flow = flow
        self._pause = pause
        self._lost_in_a_row = 0

    def bring(self, row: Row) -> str | None:
        """Have one file, or give a line that says why it could not be had."""
        path = self._folder / row.file
        found = observe(path)
        if found == row.sha256:
            self._flow.count(path.stat().st_size)
            return None
        try:
            if found == UNREADABLE:
                raise Rejection(
                    problem=f"{path} is in its place",
                    found="something that you may not read",
                    wanted="a readable file, or nothing",
                    advice="Remove it, or ask for the right to read it",
                )
            self._have(row, path)
        except Rejection as rejection:
            lost = isinstance(rejection, Interruption)
            self._lost_in_a_row = self._lost_in_a_row + 1 if lost else 0
            address = self._publisher.shown(row.file)
            return self._publisher.masked(f"{address} was not downloaded: {rejection}")
        self._lost_in_a_row = 0
        return None

    def _have(self, row: Row, path: Path) -> None:
        if self._lost_in_a_row >= HOPELESS:
            raise Interruption(
                problem="not tried",
                found=f"no answer for {HOPELESS} files in a row",
                wanted="a publisher that answers",
                advice="Try again later",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with _held(path.with_name(f".{path.name}.part"), count=self._flow.count) as part:
            self._complete(row, part)
            flush(part.path)
            part.path.replace(path)

    def _complete(self, row: Row, part: _Part) -> None:
        """Fill the part until it is the file; start anew, once, when pieces do not fit."""
        for last in (False, True):
            try:
                self._fill(row, part)
                return _require(row, part)
            except WrongContent:
                pieced = part.pieced
                part.restart()
                if last or not pieced:
                    raise

    def _fill(self, row: Row, part: _Part) -> None:
        """Append what is missing, in as many attempts as it takes while more comes."""
        failures, furthest = 0, part.size
        while part.size != row.bytes:
            try:
                return self._append(row, part)
            except Interruption as failure:
                failures = 1 if part.size >= furthest + PROGRESS else failures + 1
                furthest = max(furthest, part.size)
                wait_s = _wait(failures, asked=failure.wait_s)
                if failures == ATTEMPTS or wait_s > LONGEST_WAIT_S:
                    raise _given_up(failure, attempt=failures, kept=part.size) from None
                text = f"{row.file}: {failure.problem} ({failure.found})"
                again = self._publisher.masked(text)
                logger.info("%s; once more in %.0f s", again, wait_s)
                self._pause(wait_s)

    def _append(self, row: Row, part: _Part) -> None:
        """Append what one answer gives.

        Raises
        ------
        Interruption
            When it ends too early.
        WrongContent
            When it is not of the row's size, or not what follows.
        """
        part.pieced = part.size > 0
        with self._publisher.open(row.file, offset=part.size) as answer:
            if answer.start == 0:
                part.restart()
            if answer.start != part.size:
                raise _wrong(f"a part from byte {answer.start} on", f"byte {part.size}")
            if row.bytes is not None and answer.size not in (None, row.bytes):
                raise _other_size(row, answer)
            for chunk in answer.chunks:
                self._flow.admit(len(chunk))
                if row.bytes is not None and part.size + len(chunk) > row.bytes:
                    raise _wrong(f"more than {row.bytes} bytes", f"{row.bytes} bytes")
                part.write(chunk)
        if row.bytes is not None and part.size < row.bytes:
            raise Interruption(
                problem="the connection was closed in the middle",
                found=f"{part.size} bytes",
                wanted=f"{row.bytes} bytes",
                advice="Try again later",
            )


@contextmanager
def _held(path: Path, *, count: Callable[[int], None]) -> Iterator[_Part]:
    """Open a part for this process alone; an empty one does not stay."""
    with path.open("ab", buffering=0) as file:
        try:
            hold(file)
        except BlockingIOError:
            raise _busy() from None
        # Whoever was faster has renamed it.
        if not is_at(path, file):
            raise _busy()
        part = _Part(path, file, count=count)
        try:
            yield part
        finally:
            if part.size == 0 and is_at(path, file):
                path.unlink()


def _busy() -> Rejection:
    return Rejection(
        problem="it is being downloaded",
        found="another process at work on it",
        wanted="one at a time",
        advice="Wait until that one has ended, and look for it with: ps aux | grep somnoflow",
    )


def _given_up(failure: Interruption, *, attempt: int, kept: int) -> Interruption:
    """Give the last failure with what a reader of the log wants to know of those before."""
    stays = f"The first {kept} bytes are kept: the next start goes on from there"
    return replace(
        failure,
        found=f"{failure.found} (attempt {attempt} of {ATTEMPTS})",
        advice=stays if kept else failure.advice,
    )


def _wait(failures: int, *, asked: float | None) -> float:
    """Give the seconds to the next attempt: what the server asks for, else 1, 2, 4, 8, ..."""
    if asked is not None:
        return asked
    # Half of it by chance, so that many jobs do not come back in the same moment.
    return 2.0 ** (failures - 1) * random.uniform(0.5, 1)  # noqa: S311 - no secret


def _require(row: Row, part: _Part) -> None:
    found = sha256_file(part.path)
    if found == row.sha256:
        return
    with part.path.open("rb") as file:
        page = _is_page(file.read(1024))
    raise _wrong(f"{'a web page, ' if page else ''}sha256 {found}", f"sha256 {row.sha256}", page)


def _other_size(row: Row, answer: Answer) -> WrongContent:
    page = _is_page(next(answer.chunks, b""))
    found = f"{'a web page of ' if page else ''}{answer.size} bytes"
    return _wrong(found, f"{row.bytes} bytes", page)


def _wrong(found: str, wanted: str, page: bool = False) -> WrongContent:
    return WrongContent(
        problem="not the file that the manifest names",
        found=found,
        wanted=wanted,
        advice="It may be the sign-in page: ask the publisher for access, or renew the token"
        if page
        else "Nothing of it was kept. The publisher has another version, or a proxy spoils it: "
        "compare manifest.tsv with the publisher's list",
    )


def _is_page(beginning: bytes) -> bool:
    """Say whether bytes are the beginning of a web page."""
    start = beginning[:1024].lower()
    return b"<html" in start or b"<!doctype html" in start
