"""Downloads: the right bytes stay, wrong ones never, and one bad file does not stop the others."""

import gzip
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.workflow.project import Project

from somnoflow.commands.fetch import fetch
from somnoflow.config.dataset import FetchSlice
from somnoflow.entry import command
from somnoflow.io import download as module
from somnoflow.io.download import ATTEMPTS, HOPELESS, LONGEST_WAIT_S, download
from somnoflow.io.manifest import Row, read_manifest, rows_digest, shard_of, write_manifest
from somnoflow.io.publisher import Publisher, _root, read_token, redirected
from somnoflow.io.rejection import Rejection

NIGHT = bytes(range(256)) * 400
PAGE = b"<!DOCTYPE html><html><body>Please sign in</body></html>"
BUSY = "the server cannot give it now: found HTTP"
SECRET = "s3cret/t0ken"  # noqa: S105


@dataclass
class Act:
    """How one request is answered; as a good server would, where nothing else is said."""

    status: int | None = None
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop_after: int | None = None  # bytes of the body, then the connection is closed
    ignore_range: bool = False
    tell_size: bool = True
    hold: threading.Event | None = None  # wait here after `drop_after` bytes


@dataclass
class Asked:
    """One request, and the bytes that were sent."""

    path: str
    headers: Message
    sent: int = 0

    @property
    def range(self) -> str | None:
        return self.headers["Range"]


class Server:
    """A publisher of files, with a list of odd answers for each path that come first."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.acts: dict[str, list[Act]] = defaultdict(list)
        self.always: dict[str, Act] = {}
        self.asked: list[Asked] = []
        self.url = ""

    def sent(self) -> list[tuple[str | None, int]]:
        return [(asked.range, asked.sent) for asked in self.asked]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        acts = self.acts[handler.path]
        act = acts.pop(0) if acts else self.always.get(handler.path, Act())
        asked = Asked(handler.path, handler.headers)
        self.asked.append(asked)
        body = self.files.get(handler.path) if act.body is None else act.body
        status, headers = act.status or (404 if body is None else 200), dict(act.headers)
        body = body or b""
        if status == 200 and asked.range and not act.ignore_range:
            start = int(asked.range.removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < len(body) else 416
            place = f"{start}-{len(body) - 1}" if status == 206 else "*"
            headers = {"Content-Range": f"bytes {place}/{len(body)}", **headers}
            body = body[start:]
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if act.tell_size:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        part = body if act.drop_after is None else body[: act.drop_after]
        handler.wfile.write(part)
        handler.wfile.flush()
        asked.sent = len(part)
        if act.hold is not None:
            act.hold.wait(60)
        handler.close_connection = part != body or not act.tell_size


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    state.url = f"http://127.0.0.1:{http.server_port}"
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def pauses() -> list[float]:
    return []


Get = Callable[..., list[str]]


@pytest.fixture
def get(server: Server, tmp_path: Path, pauses: list[float]) -> Get:
    """Download from the server (or another address) without waiting; give the problems."""

    def run(*rows: Row, url: str | None = None, token: str | None = None, **how: Any) -> list[str]:
        publisher = Publisher(url or server.url, token=token)
        how = {"folder": tmp_path / "raw", "pause": pauses.append, **how}
        return download(rows, publisher=publisher, **how)

    return run


def row(file: str, content: bytes = NIGHT, *, subject: str = "S1", size: int | None = -1) -> Row:
    size = len(content) if size == -1 else size
    return Row(file, size, hashlib.sha256(content).hexdigest(), subject, 1, "signal")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def leave_part(folder: Path, content: bytes) -> None:
    (folder / "raw").mkdir()
    (folder / "raw/.a.edf.part").write_bytes(content)


def only(problems: list[str]) -> str:
    assert len(problems) == 1
    return problems[0]


# What should come, comes


def test_the_right_file_comes_and_is_not_fetched_again(
    tmp_path: Path, server: Server, get: Get
) -> None:
    server.files["/deep/a%20%231.edf"] = NIGHT
    for _ in range(2):
        assert get(row("deep/a #1.edf")) == []
    assert files(tmp_path) == ["raw/deep/a #1.edf"]
    assert (tmp_path / "raw/deep/a #1.edf").read_bytes() == NIGHT
    assert [asked.path for asked in server.asked] == ["/deep/a%20%231.edf"]


def test_an_empty_file_and_one_of_unknown_size_come(
    tmp_path: Path, server: Server, get: Get
) -> None:
    server.files |= {"/empty.txt": b"", "/a.edf": NIGHT}
    assert get(row("empty.txt", b""), row("none.txt", b"", size=None), row("a.edf", size=None)) == [
        f"{server.url}/none.txt was not downloaded: not at this address: found HTTP 404 "
        "(Not Found), wanted the file. The publisher has moved or renamed it: compare `url` and "
        "manifest.tsv with the publisher"
    ]
    assert files(tmp_path / "raw") == ["a.edf", "empty.txt"]


def test_a_spoilt_file_on_the_disk_is_replaced(tmp_path: Path, server: Server, get: Get) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.edf").write_bytes(b"half a sig")
    server.files["/a.edf"] = NIGHT
    assert get(row("a.edf")) == []
    assert (tmp_path / "raw/a.edf").read_bytes() == NIGHT


def test_several_come_at_a_time(tmp_path: Path, server: Server, get: Get) -> None:
    """Each answer waits until all four have been asked for."""
    together = threading.Barrier(4)

    class Meeting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            return together.wait(timeout) >= 0

    rows = [row(f"{number}.edf") for number in range(4)]
    for one in rows:
        server.files[f"/{one.file}"] = NIGHT
        server.acts[f"/{one.file}"] = [Act(drop_after=10, hold=Meeting())]
    assert get(*rows, threads=4) == []
    assert files(tmp_path / "raw") == [one.file for one in rows]


def test_files_come_from_a_file_address(tmp_path: Path, get: Get) -> None:
    source = tmp_path / "at the publisher"
    source.mkdir()
    (source / "a #1.edf").write_bytes(NIGHT)
    (source / "b.edf").write_bytes(NIGHT[:-1] + b"x")
    (source / "c.edf").mkdir()
    rows = [row(f"{name}.edf") for name in ("a #1", "b", "c", "d")]
    problems = get(*rows, url=source.as_uri())
    assert files(tmp_path / "raw") == ["a #1.edf"]
    assert [line.split(": ")[1] for line in problems] == [
        "not the file that the manifest names",
        "not at this address",
        "not at this address",
    ]


def test_a_file_address_is_resumed_too(tmp_path: Path, get: Get) -> None:
    """Its beginning is not read again: nobody sees that it is spoilt."""
    (tmp_path / "a.edf").write_bytes(bytes(1000) + NIGHT[1000:])
    leave_part(tmp_path, NIGHT[:1000])
    assert get(row("a.edf"), url=tmp_path.as_uri()) == []
    assert files(tmp_path / "raw") == ["a.edf"]


@pytest.fixture
def private(tmp_path: Path) -> None:
    """A file that nobody may read, and a folder that everybody may write to."""
    (tmp_path / "a.edf").write_bytes(NIGHT)
    (tmp_path / "a.edf").chmod(0)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw").chmod(0o777)


@pytest.mark.usefixtures("private", "common_user")
def test_an_unreadable_file_at_a_file_address_is_named(tmp_path: Path, get: Get) -> None:
    problem = only(get(row("a.edf"), url=tmp_path.as_uri()))
    assert "it cannot be read: found Permission denied, wanted a readable file" in problem
    assert files(tmp_path / "raw") == []


def test_bytes_are_kept_as_they_were_sent(tmp_path: Path, server: Server, get: Get) -> None:
    """Servers often call a file that ends with .gz an encoding of the file without it."""
    packed = gzip.compress(NIGHT)
    server.files["/a.edf.gz"] = packed
    server.always["/a.edf.gz"] = Act(headers={"Content-Encoding": "gzip"})
    assert get(row("a.edf.gz", packed)) == []
    assert (tmp_path / "raw/a.edf.gz").read_bytes() == packed


# Going on where it stopped


def test_a_dropped_connection_is_taken_up_where_it_broke(
    tmp_path: Path, server: Server, get: Get
) -> None:
    server.files["/a.edf"] = NIGHT
    server.acts["/a.edf"] = [Act(drop_after=40_000), Act(drop_after=30_000)]
    assert get(row("a.edf")) == []
    assert server.sent() == [
        (None, 40_000),
        ("bytes=40000-", 30_000),
        ("bytes=70000-", len(NIGHT) - 70_000),
    ]
    assert files(tmp_path) == ["raw/a.edf"]


def test_a_killed_download_transfers_only_the_rest(
    tmp_path: Path, server: Server, get: Get
) -> None:
    hold = threading.Event()
    server.files["/a.edf"] = NIGHT
    server.acts["/a.edf"] = [Act(drop_after=60_000, hold=hold)]
    one = row("a.edf")
    code = (
        "from pathlib import Path; from somnoflow.io.download import download\n"
        "from somnoflow.io.manifest import Row; from somnoflow.io.publisher import Publisher\n"
        f"download([{one!r}], publisher=Publisher({server.url!r}), folder=Path('raw'))"
    )
    started = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    part = tmp_path / "raw/.a.edf.part"
    while started.poll() is None and not (part.exists() and part.stat().st_size == 60_000):
        threading.Event().wait(0.01)
    started.send_signal(signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL
    hold.set()
    assert files(tmp_path) == ["raw/.a.edf.part"]
    assert get(one) == []
    assert server.sent() == [(None, 60_000), ("bytes=60000-", len(NIGHT) - 60_000)]
    assert files(tmp_path) == ["raw/a.edf"]


def test_what_came_before_the_last_attempt_failed_stays_for_the_next_start(
    tmp_path: Path, server: Server, get: Get
) -> None:
    server.files["/a.edf"] = NIGHT
    server.acts["/a.edf"] = [Act(drop_after=10)] * ATTEMPTS
    problem = only(get(row("a.edf")))
    assert "the connection was lost in the middle: found an early end (attempt 6 of 6)" in problem
    assert "The first 60 bytes are kept: the next start goes on from there" in problem
    assert files(tmp_path) == ["raw/.a.edf.part"]
    assert get(row("a.edf")) == []
    assert server.sent()[-1] == (f"bytes={10 * ATTEMPTS}-", len(NIGHT) - 10 * ATTEMPTS)


def test_attempts_are_not_counted_while_more_comes(
    server: Server, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROGRESS", 1000)
    server.files["/a.edf"] = NIGHT
    server.acts["/a.edf"] = [Act(drop_after=1000)] * (3 * ATTEMPTS)
    assert get(row("a.edf")) == []


def test_more_only_counts_beyond_what_was_there_before(
    server: Server, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without ranges that always breaks off would otherwise be asked for ever."""
    monkeypatch.setattr(module, "PROGRESS", 1000)
    server.files["/a.edf"] = NIGHT
    early, late = (Act(drop_after=size, ignore_range=True) for size in (1000, 5000))
    server.acts["/a.edf"] = [early, late] * ATTEMPTS
    assert "the connection was lost" in only(get(row("a.edf")))
    assert len(server.asked) == ATTEMPTS + 1


def test_a_server_without_ranges_sends_it_from_the_start(
    tmp_path: Path, server: Server, get: Get
) -> None:
    server.files["/a.edf"] = NIGHT
    server.acts["/a.edf"] = [Act(drop_after=60_000), Act(ignore_range=True)]
    assert get(row("a.edf")) == []
    assert (tmp_path / "raw/a.edf").read_bytes() == NIGHT


@pytest.mark.parametrize("size", [len(NIGHT), None], ids=["size known", "size unknown"])
@pytest.mark.parametrize(
    "part",
    [b"of another version", NIGHT[:-1] + b"x", NIGHT + b"more"],
    ids=["short", "as long", "too long"],
)
def test_a_part_of_something_else_is_thrown_away(
    tmp_path: Path, server: Server, get: Get, part: bytes, size: int | None
) -> None:
    leave_part(tmp_path, part)
    server.files["/a.edf"] = NIGHT
    assert get(row("a.edf", size=size)) == []
    assert files(tmp_path) == ["raw/a.edf"]
    assert server.sent()[-1] == (None, len(NIGHT))


@pytest.mark.parametrize(("size", "requests"), [(len(NIGHT), 0), (None, 1)])
def test_a_part_that_is_whole_is_not_transferred_again(
    tmp_path: Path, server: Server, get: Get, size: int | None, requests: int
) -> None:
    leave_part(tmp_path, NIGHT)
    server.files["/a.edf"] = NIGHT
    assert get(row("a.edf", size=size)) == []
    assert len(server.asked) == requests
    assert sum(asked.sent for asked in server.asked) == 0
    assert files(tmp_path) == ["raw/a.edf"]


@pytest.mark.parametrize("place", ["bytes 7-9/102400", "bytes a lot", "items 0-9/10"])
def test_a_part_that_nobody_asked_for_is_not_appended(
    tmp_path: Path, server: Server, get: Get, place: str
) -> None:
    leave_part(tmp_path, NIGHT[:1000])
    server.files["/a.edf"] = NIGHT
    server.acts["/a.edf"] = [Act(headers={"Content-Range": place})]
    assert get(row("a.edf")) == []
    assert server.sent()[-1] == (None, len(NIGHT))


def test_two_processes_do_not_write_one_part(tmp_path: Path, server: Server, get: Get) -> None:
    leave_part(tmp_path, NIGHT[:1000])
    server.files["/a.edf"] = NIGHT
    with module._held(tmp_path / "raw/.a.edf.part", count=lambda _: None):
        assert "it is being downloaded: found another process" in only(get(row("a.edf")))
    assert server.asked == []
    assert files(tmp_path) == ["raw/.a.edf.part"]
    assert get(row("a.edf")) == []


# Wrong bytes never stay


@pytest.mark.parametrize(
    "wrong",
    [
        (Act(body=b"x" * len(NIGHT)), -1, "found sha256 8b77ec70310a4f694fff"),
        (Act(body=b"other"), -1, f"found 5 bytes, wanted {len(NIGHT)} bytes"),
        (Act(body=b"other"), None, "found sha256 d9298a10d1b0735837dc"),
        (Act(body=NIGHT + b"x", tell_size=False), -1, f"found more than {len(NIGHT)} bytes"),
        (Act(body=PAGE), -1, f"found a web page of {len(PAGE)} bytes, wanted {len(NIGHT)} bytes."),
        (Act(body=PAGE), None, "found a web page, sha256 "),
    ],
    ids=["bytes", "size", "size unknown", "endless", "sign-in page", "page, size unknown"],
)  # fmt: skip
def test_wrong_bytes_are_refused_and_not_kept(
    tmp_path: Path, server: Server, get: Get, wrong: tuple[Act, int | None, str]
) -> None:
    act, size, found = wrong
    server.always["/a.edf"] = act
    server.files["/b.edf"] = NIGHT
    problem = only(get(row("a.edf", size=size), row("b.edf")))
    start = f"{server.url}/a.edf was not downloaded: not the file that the manifest names: "
    assert problem.startswith(start)
    assert found in problem
    assert ("It may be the sign-in page" in problem) == (act.body == PAGE)
    assert files(tmp_path) == ["raw/b.edf"]
    assert len(server.asked) == 2


def test_no_more_than_promised_is_written(
    tmp_path: Path, server: Server, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that never stops must not fill the disk."""
    largest = []
    write = module._Part.write

    def watched(part: module._Part, chunk: bytes) -> None:
        write(part, chunk)
        largest.append(part.path.stat().st_size)

    monkeypatch.setattr(module._Part, "write", watched)
    server.always["/a.edf"] = Act(body=NIGHT * 20, tell_size=False)
    assert "more than 102400 bytes" in only(get(row("a.edf")))
    assert max(largest, default=0) <= len(NIGHT)
    assert files(tmp_path) == []


def test_a_wrong_end_after_a_drop_is_fetched_once_from_the_start(
    tmp_path: Path, server: Server, get: Get
) -> None:
    server.files["/a.edf"] = NIGHT
    server.acts["/a.edf"] = [Act(drop_after=500), Act(body=bytes(len(NIGHT)))]
    assert get(row("a.edf")) == []
    assert server.sent()[-1] == (None, len(NIGHT))
    assert files(tmp_path) == ["raw/a.edf"]


def test_a_server_that_drops_and_sends_wrong_bytes_is_not_asked_for_ever(
    tmp_path: Path, server: Server, get: Get
) -> None:
    wrong = bytes(len(NIGHT))
    server.acts["/a.edf"] = [Act(body=wrong, drop_after=500), Act(body=wrong)] * 4
    assert "not the file that the manifest names" in only(get(row("a.edf")))
    assert len(server.asked) == 4
    assert files(tmp_path) == []


def test_a_body_that_ends_early_without_a_size_is_no_whole_file(
    tmp_path: Path, server: Server, get: Get
) -> None:
    server.files["/a.edf"] = NIGHT
    server.acts["/a.edf"] = [Act(drop_after=700, tell_size=False)] * ATTEMPTS
    problem = only(get(row("a.edf")))
    assert f"closed in the middle: found {700 * ATTEMPTS} bytes (attempt" in problem
    assert get(row("a.edf")) == []
    assert files(tmp_path) == ["raw/a.edf"]


# What the server says


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "you have no right to it: found HTTP 401 (Unauthorized), wanted the file. Ask the"),
        (403, "you have no right to it: found HTTP 403 (Forbidden), wanted the file. Ask the"),
        (404, "not at this address: found HTTP 404 (Not Found), wanted the file. The publisher"),
        (410, "not at this address: found HTTP 410 (Gone), wanted the file. The publisher"),
        (204, "the server does not give it: found HTTP 204 (No Content), wanted the file."),
        (416, "the server does not give it: found HTTP 416 ("),
        (499, "the server does not give it: found HTTP 499 (no known status), wanted the file."),
    ],
)
def test_a_final_answer_is_not_asked_for_again(
    tmp_path: Path, server: Server, get: Get, status: int, message: str
) -> None:
    server.always["/a.edf"] = Act(status=status, body=b"")
    server.files["/b.edf"] = NIGHT
    assert message in only(get(row("a.edf"), row("b.edf")))
    assert [asked.path for asked in server.asked] == ["/a.edf", "/b.edf"]
    assert files(tmp_path) == ["raw/b.edf"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520])
def test_a_server_that_recovers_is_enough(
    tmp_path: Path, server: Server, get: Get, pauses: list[float], status: int
) -> None:
    server.files["/a.edf"] = NIGHT
    server.acts["/a.edf"] = [Act(status=status, body=PAGE)] * (ATTEMPTS - 1)
    assert get(row("a.edf")) == []
    assert (tmp_path / "raw/a.edf").read_bytes() == NIGHT
    assert len(pauses) == ATTEMPTS - 1
    assert all(2**n / 2 <= pause <= 2**n for n, pause in enumerate(pauses))


def test_a_server_that_does_not_recover_is_named(tmp_path: Path, server: Server, get: Get) -> None:
    server.always["/a.edf"] = Act(status=503)
    assert f"{BUSY} 503 (Service Unavailable) (attempt 6 of 6), wanted" in only(get(row("a.edf")))
    assert len(server.asked) == ATTEMPTS
    assert files(tmp_path) == []


def test_a_part_outlives_a_refusal(tmp_path: Path, server: Server, get: Get) -> None:
    """A token that expires in the middle costs nothing of what had come."""
    leave_part(tmp_path, NIGHT[:1000])
    server.files["/a.edf"] = NIGHT
    server.acts["/a.edf"] = [Act(status=403)]
    assert "no right" in only(get(row("a.edf")))
    assert get(row("a.edf")) == []
    assert server.sent()[-1] == ("bytes=1000-", len(NIGHT) - 1000)


@pytest.mark.parametrize(
    ("asked", "pause"),
    [("0", 0), ("7", 7), ("Fri, 31 Dec 1999 23:59:59 GMT", 0)],
)
def test_the_wait_that_the_server_asks_for_is_kept(
    server: Server, get: Get, pauses: list[float], asked: str, pause: float
) -> None:
    server.files["/a.edf"] = NIGHT
    server.acts["/a.edf"] = [Act(status=429, headers={"Retry-After": asked})]
    assert get(row("a.edf")) == []
    assert pauses == [pause]


@pytest.mark.parametrize("asked", ["soon", "9" * 5000, "Fri, 31 Dec 99999 23:59:59 GMT", ""])
def test_a_wait_that_cannot_be_read_is_ours(
    server: Server, get: Get, pauses: list[float], asked: str
) -> None:
    server.files["/a.edf"] = NIGHT
    server.acts["/a.edf"] = [Act(status=429, headers={"Retry-After": asked})]
    assert get(row("a.edf")) == []
    assert 0.5 <= pauses[0] <= 1


def test_nobody_waits_for_hours(server: Server, get: Get, pauses: list[float]) -> None:
    server.always["/a.edf"] = Act(status=429, headers={"Retry-After": "3600"})
    problem = only(get(row("a.edf")))
    assert f"{BUSY} 429 (Too Many Requests), come back in 3600 s (attempt 1 of 6)" in problem
    assert pauses == []
    assert len(server.asked) == 1
    assert LONGEST_WAIT_S < 3600


def test_a_publisher_that_is_down_does_not_take_the_night(server: Server, get: Get) -> None:
    rows = [row(f"{number:02}.edf") for number in range(HOPELESS + 5)]
    for one in rows:
        server.always[f"/{one.file}"] = Act(status=500)
    problems = get(*rows)
    assert len(problems) == len(rows)
    assert [("not tried: found no answer" in line) for line in problems] == (
        [False] * HOPELESS + [True] * 5
    )


def test_one_good_file_is_hope_for_the_next(server: Server, get: Get) -> None:
    rows = [row(f"{number:02}.edf") for number in range(2 * HOPELESS)]
    for one in rows:
        server.always[f"/{one.file}"] = Act(status=500)
    del server.always[f"/{rows[HOPELESS - 1].file}"]
    server.files[f"/{rows[HOPELESS - 1].file}"] = NIGHT
    assert not any("not tried" in line for line in get(*rows))


def test_no_server_is_a_problem_of_each_file(tmp_path: Path, get: Get) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    problem = only(get(row("a.edf"), url=url))
    assert f"{url}/a.edf was not downloaded: no answer: found Connection refused" in problem
    assert files(tmp_path) == []


@pytest.mark.usefixtures("server")
def test_a_server_that_keeps_silent_is_left(
    tmp_path: Path, server: Server, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = threading.Event()
    server.files["/a.edf"] = NIGHT
    server.acts["/a.edf"] = [Act(drop_after=10, hold=hold)]
    monkeypatch.setattr("somnoflow.io.publisher.READ_TIMEOUT_S", 0.1)
    assert get(row("a.edf")) == []
    hold.set()
    assert server.sent()[1] == ("bytes=10-", len(NIGHT) - 10)


# Redirects


def test_a_redirect_is_followed_with_the_range(tmp_path: Path, server: Server, get: Get) -> None:
    leave_part(tmp_path, NIGHT[:1000])
    server.acts["/a.edf"] = [Act(status=302, headers={"Location": "/mirror/x"})]
    server.files["/mirror/x"] = NIGHT
    assert get(row("a.edf")) == []
    assert [(asked.path, asked.range) for asked in server.asked] == [
        ("/a.edf", "bytes=1000-"),
        ("/mirror/x", "bytes=1000-"),
    ]


@pytest.mark.parametrize("scheme", ["file", "ftp", "javascript"])
def test_a_redirect_out_of_http_is_refused(
    tmp_path: Path, server: Server, get: Get, scheme: str
) -> None:
    (tmp_path / "private.edf").write_bytes(NIGHT)
    there = f"{scheme}://{tmp_path}/private.edf"
    server.acts["/a.edf"] = [Act(status=302, headers={"Location": there})]
    problem = only(get(row("a.edf")))
    assert (
        f"the address leads elsewhere: found a redirect to {scheme}, wanted http or https"
        in problem
    )
    assert not (tmp_path / "raw/a.edf").exists()


def test_a_redirect_from_https_to_http_is_refused() -> None:
    assert redirected("https://a.org/x", "//b.org/y") == "https://b.org/y"
    assert redirected("http://a.org/x", "https://b.org/y") == "https://b.org/y"
    with pytest.raises(Rejection, match="wanted https"):
        redirected("https://a.org/x", "http://a.org/y")


def test_redirects_in_circles_end(server: Server, get: Get) -> None:
    server.always["/a.edf"] = Act(status=302, headers={"Location": "/a.edf"})
    assert "the address leads in circles" in only(get(row("a.edf")))


def test_a_redirect_to_nowhere_is_a_problem_of_the_file(server: Server, get: Get) -> None:
    server.always["/a.edf"] = Act(status=302, headers={"Location": "http://[/x"})
    assert "found a redirect to (no address), wanted http" in only(get(row("a.edf")))


def test_what_comes_with_a_redirect_is_not_read(
    server: Server, get: Get, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = threading.Event()
    monkeypatch.setattr("somnoflow.io.publisher.READ_TIMEOUT_S", 0.3)
    there = {"Location": "/b.edf"}
    server.acts["/a.edf"] = [Act(302, body=NIGHT, headers=there, drop_after=10, hold=hold)]
    server.files["/b.edf"] = NIGHT
    assert get(row("a.edf")) == []
    hold.set()
    assert pauses == []


# The disk


def test_what_cannot_be_read_in_its_place_is_named(
    tmp_path: Path, server: Server, get: Get
) -> None:
    (tmp_path / "raw/a.edf").mkdir(parents=True)
    assert "something that you may not read, wanted a readable file" in only(get(row("a.edf")))
    assert server.asked == []


def test_a_full_disk_stops_the_job_and_names_the_file(tmp_path: Path, server: Server) -> None:
    """In a process of its own, whose files may not grow beyond 50,000 bytes."""
    rows = [row(f"{number}.edf") for number in range(3)]
    server.files |= {f"/{one.file}": NIGHT for one in rows}
    code = (
        "import resource, signal; from pathlib import Path\n"
        "from somnoflow.io.download import download\n"
        "from somnoflow.io.manifest import Row; from somnoflow.io.publisher import Publisher\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        f"download({rows!r}, publisher=Publisher({server.url!r}), folder=Path('raw'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "File too large: 'raw/.0.edf.part'" in done.stderr.splitlines()[-1]
    assert not list((tmp_path / "raw").glob("[0-9]*"))


def test_a_stopped_job_takes_nothing_more() -> None:
    stop = threading.Event()
    flow = module._Flow(show=float, stop=stop, rate=0, now=lambda: 0.0, pause=float)
    flow.admit(1)
    stop.set()
    with pytest.raises(CancelledError):
        flow.admit(1)


# The rate


@pytest.mark.parametrize("threads", [1, 3])
def test_the_rate_is_of_all_files_together(server: Server, get: Get, threads: int) -> None:
    """With a clock that stands still, each wait is the time of all bytes before."""
    waited: list[float] = []
    rows = [row(f"{number}.edf") for number in range(5)]
    server.files |= {f"/{one.file}": NIGHT for one in rows}
    how: dict[str, Any] = {"threads": threads, "now": lambda: 0.0, "pause": waited.append}
    assert get(*rows, mb_per_s=0.1, **how) == []
    assert 4 * len(NIGHT) / 1e5 <= max(waited) < 5 * len(NIGHT) / 1e5


def test_without_a_rate_nobody_waits(server: Server, get: Get, pauses: list[float]) -> None:
    server.files["/a.edf"] = NIGHT
    assert get(row("a.edf"), mb_per_s=0) == []
    assert pauses == []


# Addresses and tokens


@pytest.mark.parametrize(
    "url",
    ["ftp://host/x", "host/x", "file://host/x", "file:x", "http:///x", "https://h/?a=b", "http://h/#x"],
)  # fmt: skip
def test_an_address_that_nothing_can_be_appended_to_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"the address is '{url}', wanted ")):
        Publisher(url)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="netrc") as refused:
        Publisher("https://me:pass@host/x")
    assert "pass@" not in str(refused.value)


def test_a_login_comes_from_netrc(
    tmp_path: Path, server: Server, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password pass\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.files["/a.edf"] = NIGHT
    assert get(row("a.edf")) == []
    assert server.asked[0].headers["Authorization"] == "Basic bWU6cGFzcw=="


def test_nobody_is_asked_to_compress(server: Server, get: Get) -> None:
    """Sizes and ranges would be those of other bytes."""
    server.files["/a.edf"] = NIGHT
    assert get(row("a.edf")) == []
    assert server.asked[0].headers["Accept-Encoding"] == "identity"


def test_the_token_is_sent(server: Server, get: Get) -> None:
    server.files["/s3cret%2Ft0ken/a.edf"] = NIGHT
    assert get(row("a.edf"), url=f"{server.url}/{{token}}", token=SECRET) == []


def test_a_missing_token_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_TOKEN", raising=False)
    assert read_token(None) is None
    with pytest.raises(ValueError, match=r"LAB_TOKEN is not set.*export LAB_TOKEN="):
        read_token("LAB_TOKEN")
    monkeypatch.setenv("LAB_TOKEN", " abc\n")
    assert read_token("LAB_TOKEN") == "abc"
    with pytest.raises(ValueError, match="wanted a token"):
        Publisher("https://host/{token}/x")


def test_the_token_is_in_no_message_log_or_run_json(tmp_path: Path, server: Server) -> None:
    """In a process of its own, whose log is the command's alone."""
    acts = [
        Act(status=403),
        Act(status=404),
        Act(status=500),
        Act(body=bytes(len(NIGHT))),
        Act(body=NIGHT, drop_after=5),
        Act(status=302, headers={"Location": f"ftp://h/{SECRET}"}),
        Act(status=302, headers={"Location": f"http://h:port/{SECRET}"}),
        Act(status=302, headers={"Location": f"http://[{SECRET}"}),
        Act(status=302, headers={"Location": "/s3cret%2Ft0ken/0.edf"}),
        Act(status=500, headers={"Odd Header": "x\r\nno header at all"}),
        Act(status=200, headers={"Content-Length": "5, 6"}, tell_size=False),
    ]
    rows = [row(f"{number}.edf") for number in range(len(acts))]
    server.always = {f"/s3cret%2Ft0ken/{number}.edf": act for number, act in enumerate(acts)}
    write_manifest(tmp_path / "manifest.tsv", rows)
    cfg = slice_of(sorted(rows), shards=1, **with_token(server.url))
    code = (
        "import somnoflow.io.download as module; from somnoflow.commands.fetch import fetch\n"
        "from somnoflow.entry import command; module._wait = lambda *_, **__: 0\n"
        f"command(fetch, {options(tmp_path, cfg)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LAB_TOKEN": SECRET}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    texts = {"stdout": done.stdout, "stderr": done.stderr}
    texts |= {path.name: path.read_text() for path in tmp_path.glob("*.*")}
    assert texts["fetch.log"].count("{token}/") == len(acts)
    assert "{token}" in texts["run.json"]
    assert [name for name, text in texts.items() if "t0ken" in text] == []


def test_a_server_that_repeats_the_token_does_not_bring_it_into_a_message(
    server: Server, get: Get
) -> None:
    server.always["/t0ken/a.edf"] = Act(status=302, headers={"Location": "t0ken://host"})
    problem = only(get(row("a.edf"), url=f"{server.url}/{{token}}", token="t0ken"))  # noqa: S106
    assert "found a redirect to {token}, wanted http" in problem


def test_what_a_server_says_of_the_token_is_masked() -> None:
    publisher = Publisher("https://host/{token}", token=SECRET)
    assert publisher.masked(f"no {SECRET}, no s3cret%2Ft0ken") == "no {token}, no {token}"
    assert SECRET not in _root(requests.exceptions.InvalidURL(f"bad: http://h/{SECRET}"))


def test_an_unreachable_server_does_not_show_the_token(get: Get) -> None:
    problem = only(get(row("a.edf"), url="http://127.0.0.1:9/{token}", token=SECRET))
    assert "{token}/a.edf" in problem
    assert "t0ken" not in problem


# The command


def slice_of(rows: list[Row], **changes: object) -> FetchSlice:
    values = {"dataset": "lab", "folder": None, "url": None, "shard": 0, "shards": 2,
              "rows": rows_digest(rows), **changes}  # fmt: skip
    return FetchSlice(**values)  # type: ignore[arg-type]


def with_token(url: str) -> dict[str, str]:
    return {"url": f"{url}/{{token}}", "token_variable": "LAB_TOKEN"}


def options(folder: Path, cfg: FetchSlice) -> list[str]:
    named = {"manifest": folder / "manifest.tsv", "folder": folder / "raw", "threads": 2,
               "shard-manifest": folder / "shard.tsv", "mb-per-s": 0, "log": folder / "fetch.log",
               "cfg": cfg.model_dump_json()}  # fmt: skip
    return [text for name, value in named.items() for text in (f"--{name}", str(value))]


def run_fetch(folder: Path, cfg: FetchSlice) -> None:
    command(fetch, options(folder, cfg))


def test_fetch_writes_its_shard_and_downloads_only_that(tmp_path: Path, server: Server) -> None:
    rows = [row(f"S{number}.edf", subject=f"S{number}") for number in range(6)]
    own = [one for one in rows if shard_of("lab", one.subject, 2) == 0]
    assert 0 < len(own) < 6
    server.files |= {f"/{one.file}": NIGHT for one in rows}
    write_manifest(tmp_path / "manifest.tsv", rows)
    run_fetch(tmp_path, slice_of(own, url=server.url))
    assert read_manifest(tmp_path / "shard.tsv") == own
    assert files(tmp_path / "raw") == [one.file for one in own]
    assert json.loads((tmp_path / "run.json").read_text())["arguments"]["threads"] == 2


def test_fetch_says_how_many_are_missing_and_goes_on(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [row("a.edf"), row("b.edf")]
    server.files["/b.edf"] = NIGHT
    write_manifest(tmp_path / "manifest.tsv", rows)
    run_fetch(tmp_path, slice_of(rows, url=server.url, shards=1))
    assert "1 of 2 files are missing. To try again: snakemake --forcerun fetch" in caplog.text
    assert read_manifest(tmp_path / "shard.tsv") == rows


def test_fetch_downloads_nothing_where_a_folder_is_named(tmp_path: Path, server: Server) -> None:
    rows = [row("a.edf", b"x")]
    write_manifest(tmp_path / "manifest.tsv", rows)
    run_fetch(tmp_path, slice_of(rows, url=server.url, folder="/somewhere", shards=1))
    assert server.asked == []


def test_fetch_without_its_token_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_TOKEN", raising=False)
    write_manifest(tmp_path / "manifest.tsv", [row("a.edf")])
    cfg = slice_of([row("a.edf")], shards=1, **with_token("https://host"))
    with pytest.raises(SystemExit) as stopped:
        run_fetch(tmp_path, cfg)
    assert stopped.value.code == 1
    assert not (tmp_path / "shard.tsv").exists()


def test_fetch_refuses_a_manifest_that_changed_meanwhile(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.tsv", [row("a.edf", b"x")])
    with pytest.raises(ValueError, match="changed while the workflow was running"):
        fetch(
            manifest=tmp_path / "manifest.tsv", folder=tmp_path, shard_manifest=tmp_path / "s.tsv",
            threads=1, mb_per_s=0, cfg=slice_of([], shards=1),
        )  # fmt: skip


@pytest.mark.workflow
def test_another_rate_or_number_of_threads_reruns_nothing(tmp_path: Path) -> None:
    project = Project.copy(tmp_path / "project", configfile="lab.yaml")
    (tmp_path / "source").mkdir()
    (tmp_path / "source/S1.edf").write_bytes(NIGHT)
    lab = project.folder / "workflow/datasets/lab"
    lab.mkdir()
    write_manifest(lab / "manifest.tsv", [row("S1.edf")])
    (lab / "dataset.yaml").write_text(
        f"name: lab\ntitle: Lab\nsource: url\nlicence: none\ncitation: none\nhow_to_get: ask\n"
        f"url: {(tmp_path / 'source').as_uri()}\nfiles:\n  signal: (?P<subject>S\\d)\\.edf\n"
        "reading:\n  channels: {}\n"
    )
    (project.folder / "lab.yaml").write_text("results: r\ndatasets: [lab]\nshards: 1\n")
    target = "r/raw/dataset=lab/shard=0/manifest.tsv"
    project.snakemake(target)
    assert (project.folder / "r/raw/dataset=lab/S1.edf").read_bytes() == NIGHT
    other = ("--set-resources", "fetch:mb_per_s=3", "--set-threads", "fetch=1")
    assert project.planned(target, *other) == {}
    assert project.planned(target, "--forcerun", "fetch", *other) == {"fetch": 1}


def test_the_documentation_lists_every_problem() -> None:
    root = Path(__file__).parents[2]
    named = re.findall(r"^\| `([^`]+)` \|", (root / "docs/fetch.md").read_text(), re.MULTILINE)
    code = "".join(
        (root / f"src/somnoflow/io/{name}.py").read_text() for name in ("publisher", "download")
    )
    given = re.findall(r'problem=f?"(?:\{path\} )?([^"]+)"', code)
    assert set(given) <= set(named)
    assert [problem for problem in named if f'{problem}"' not in code] == []
