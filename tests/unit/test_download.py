"""Downloads: the right bytes stay, wrong ones never, and one bad file does not stop the others."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from somnoflow.commands.fetch import fetch
from somnoflow.config.dataset import FetchSlice
from somnoflow.io.download import ATTEMPTS, download
from somnoflow.io.manifest import Row, read_manifest, rows_digest, shard_of, write_manifest


class Server:
    """Answers per path: a list of (status, body), the last one for ever; and what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, bytes]]] = {}
        self.asked: list[str] = []
        self.url = ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            answers = state.answers.get(self.path, [(404, b"")])
            status, body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr("time.sleep", lambda _: None)  # pooch waits between attempts
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    state.url = f"http://127.0.0.1:{http.server_port}/files/"
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def row(file: str, content: bytes, subject: str = "S1") -> Row:
    return Row(file, len(content), hashlib.sha256(content).hexdigest(), subject, 1, "signal")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_right_file_comes_and_is_not_fetched_again(tmp_path: Path, server: Server) -> None:
    server.answers["/files/deep/a%20%231.edf"] = [(200, b"signal")]
    rows = [row("deep/a #1.edf", b"signal")]
    for _ in range(2):
        assert download(rows, url=server.url, folder=tmp_path) == []
    assert (tmp_path / "deep/a #1.edf").read_bytes() == b"signal"
    assert server.asked == ["/files/deep/a%20%231.edf"]


def test_wrong_bytes_are_refused_and_not_kept(tmp_path: Path, server: Server) -> None:
    server.answers["/files/a.edf"] = [(200, b"something else")]
    server.answers["/files/b.edf"] = [(200, b"right")]
    problems = download(
        [row("a.edf", b"signal"), row("b.edf", b"right")], url=server.url, folder=tmp_path
    )
    assert len(problems) == 1
    assert f"{server.url}a.edf was not downloaded" in problems[0]
    assert files(tmp_path) == ["b.edf"]


def test_a_missing_file_is_tried_again_and_named(tmp_path: Path, server: Server) -> None:
    problems = download([row("a.edf", b"signal")], url=server.url, folder=tmp_path)
    assert len(problems) == 1
    assert "404" in problems[0]
    assert server.asked == ["/files/a.edf"] * (ATTEMPTS + 1)
    assert files(tmp_path) == []


def test_a_server_that_recovers_is_enough(tmp_path: Path, server: Server) -> None:
    server.answers["/files/a.edf"] = [(500, b"later"), (200, b"signal")]
    assert download([row("a.edf", b"signal")], url=server.url, folder=tmp_path) == []
    assert (tmp_path / "a.edf").read_bytes() == b"signal"


def test_a_spoilt_file_on_the_disk_is_replaced(tmp_path: Path, server: Server) -> None:
    (tmp_path / "a.edf").write_bytes(b"half a sig")
    server.answers["/files/a.edf"] = [(200, b"signal")]
    assert download([row("a.edf", b"signal")], url=server.url, folder=tmp_path) == []
    assert (tmp_path / "a.edf").read_bytes() == b"signal"


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path, server: Server) -> None:
    (tmp_path / "a.edf").mkdir()
    problems = download([row("a.edf", b"signal")], url=server.url, folder=tmp_path)
    assert "cannot be read" in problems[0]
    assert server.asked == []


@pytest.mark.usefixtures("server")
def test_no_server_is_a_problem_of_each_file(tmp_path: Path) -> None:
    problems = download([row("a.edf", b"x")], url="http://127.0.0.1:9", folder=tmp_path)
    assert len(problems) == 1
    assert "http://127.0.0.1:9/a.edf was not downloaded" in problems[0]


def slice_of(rows: list[Row], **changes: object) -> FetchSlice:
    values = {"dataset": "lab", "folder": None, "url": None, "shard": 0, "shards": 2,
              "rows": rows_digest(rows), **changes}  # fmt: skip
    return FetchSlice(**values)  # type: ignore[arg-type]


def test_fetch_writes_its_shard_and_downloads_only_that(tmp_path: Path, server: Server) -> None:
    rows = [row(f"S{number}.edf", b"signal", subject=f"S{number}") for number in range(6)]
    own = [one for one in rows if shard_of("lab", one.subject, 2) == 0]
    assert 0 < len(own) < 6
    for one in rows:
        server.answers[f"/files/{one.file}"] = [(200, b"signal")]
    write_manifest(tmp_path / "manifest.tsv", rows)
    fetch(
        manifest=tmp_path / "manifest.tsv", folder=tmp_path / "raw",
        shard_manifest=tmp_path / "shard.tsv", cfg=slice_of(own, url=server.url),
    )  # fmt: skip
    assert read_manifest(tmp_path / "shard.tsv") == own
    assert files(tmp_path / "raw") == [one.file for one in own]


def test_fetch_downloads_nothing_where_a_folder_is_named(tmp_path: Path, server: Server) -> None:
    rows = [row("a.edf", b"x")]
    write_manifest(tmp_path / "manifest.tsv", rows)
    cfg = slice_of(rows, url=server.url, folder="/somewhere", shards=1)
    fetch(
        manifest=tmp_path / "manifest.tsv", folder=tmp_path / "raw",
        shard_manifest=tmp_path / "shard.tsv", cfg=cfg,
    )  # fmt: skip
    assert server.asked == []


def test_fetch_refuses_a_manifest_that_changed_meanwhile(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.tsv", [row("a.edf", b"x")])
    with pytest.raises(ValueError, match="changed while the workflow was running"):
        fetch(
            manifest=tmp_path / "manifest.tsv", folder=tmp_path, shard_manifest=tmp_path / "s.tsv",
            cfg=slice_of([], shards=1),
        )  # fmt: skip
