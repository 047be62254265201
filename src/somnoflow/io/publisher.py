"""The bytes of one file at its publisher, over http(s) or from file://, and what answers mean.

Decided here: which answers are final (`Rejection`), which may be better at the next attempt
(`Interruption`) and which belong to another file (`WrongContent`); that redirects lead to http(s)
alone and never from https to http; that bodies are taken as they were sent, since sizes and
digests are of those bytes; and that no text for people holds the token. Errors of `requests` and
`urllib3` name the whole address, so none of their texts is passed on, not even as a cause.
"""

import http
import http.client
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import url2pathname

import requests
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.util import Retry

from somnoflow.io.rejection import Rejection

TOKEN = "{token}"  # noqa: S105 - the place of a token, and none itself
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
REDIRECTS = 10
CHUNK = 2**18
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(?:(\d{1,18})|\*)")
_BUSY = frozenset({408, 425, 429})

_NO_RIGHT = "you have no right to it"
_ASK = (
    "Ask the publisher for access, renew the token, or put login and password into ~/.netrc "
    "(`how_to_get` in dataset.yaml)"
)
_GONE = (
    "not at this address",
    "The publisher has moved or renamed it: compare `url` and manifest.tsv with the publisher",
)

# urllib3 warns of odd headers with the whole address, and so with the token.
logging.getLogger("urllib3").setLevel(logging.ERROR)


@dataclass
class Interruption(Rejection):
    """A failure that may be gone at the next attempt, perhaps after a wait the server asked for."""

    wait_s: float | None = None


class WrongContent(Rejection):
    """Bytes that are not of the file that was wanted."""


@dataclass(frozen=True)
class Answer:
    """A file's bytes from `start` to the end; `size` is the whole file's, None where not told."""

    start: int
    size: int | None
    chunks: Iterator[bytes]


class Publisher:
    """A folder of files at an http(s) or file address.

    Parameters
    ----------
    url
        Address that relative paths are appended to; it may hold `{token}`.
    token
        What stands for `{token}` in requests, and in requests only.

    Raises
    ------
    ValueError
        When nothing can be appended to the address, or it holds a password.
    """

    def __init__(self, url: str, *, token: str | None = None) -> None:
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise ValueError(
                f"the address at {parts.hostname} holds a login, wanted one without: it is "
                "written to logs. Put login and password into ~/.netrc"
            )
        local = parts.scheme == "file"
        wanted = "file:///folder" if local else "http(s)://host/folder, or file:///folder"
        good = (
            parts.netloc in ("", "localhost") and parts.path.startswith("/")
            if local
            else parts.scheme in ("http", "https") and parts.hostname is not None
        )
        if not good or parts.query or parts.fragment:
            raise ValueError(f"the address is '{url}', wanted {wanted}, without ? and #")
        if TOKEN in url and token is None:
            raise ValueError(f"the address is '{url}', wanted a token for {TOKEN}")
        self._url = url.rstrip("/")
        self._token = token
        self._threads = _Sessions()

    def shown(self, file: str) -> str:
        """Give the address of a file as people may see it."""
        return f"{self._url}/{quote(file)}"

    def masked(self, text: str) -> str:
        """Give a text without the token, should a server have put it there."""
        if self._token is None:
            return text
        return text.replace(self._token, TOKEN).replace(quote(self._token, safe=""), TOKEN)

    def open(self, file: str, *, offset: int) -> AbstractContextManager[Answer]:
        """Ask for the bytes of a file from `offset` on; an answer may start at 0 all the same.

        Raises
        ------
        Interruption
            When it may go better at the next attempt.
        WrongContent
            When a part was sent that nobody asked for.
        Rejection
            When the file cannot be had.
        """
        url = self._url.replace(TOKEN, quote(self._token or "", safe=""))
        address = f"{url}/{quote(file)}"
        parts = urlsplit(address)
        if parts.scheme == "file":
            return _open_file(Path(url2pathname(parts.path)), offset=offset)
        return _open_http(self._threads.session, address, offset=offset)


class _Sessions(threading.local):
    """One session for each thread: `requests` does not promise that threads can share one."""

    def __init__(self) -> None:
        self.session = requests.Session()
        # Not gzip: sizes and ranges are then of the file itself.
        self.session.headers.update({"User-Agent": "somnoflow", "Accept-Encoding": "identity"})


def read_token(variable: str | None) -> str | None:
    """Give the token that an environment variable holds; None where none is needed.

    Raises
    ------
    ValueError
        When the variable is missing or empty.
    """
    if variable is None:
        return None
    token = os.environ.get(variable, "").strip()
    if not token:
        raise ValueError(
            f"the environment variable {variable} is not set, wanted your personal token of the "
            "publisher (`how_to_get` in dataset.yaml says where to ask for one). Then: "
            f"export {variable}=... before snakemake; it is written to no file"
        )
    return token


@contextmanager
def _open_file(path: Path, *, offset: int) -> Iterator[Answer]:
    try:
        if not path.is_file():
            raise Rejection(
                problem="not at this address",
                found="no such file",
                wanted="the file",
                advice="Compare `url` and manifest.tsv with the folder",
            )
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(error) from error
    with file:
        file.seek(offset)
        size = os.fstat(file.fileno()).st_size
        yield Answer(start=offset, size=size, chunks=_file_chunks(file))


def _file_chunks(file: BinaryIO) -> Iterator[bytes]:
    try:
        while chunk := file.read(CHUNK):
            yield chunk
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> Rejection:
    return Rejection(
        problem="it cannot be read",
        found=str(error.strerror),
        wanted="a readable file",
        advice="Ask for the right to read it, or have its disk looked at",
    )


@contextmanager
def _open_http(session: requests.Session, address: str, *, offset: int) -> Iterator[Answer]:
    with closing(_ask(session, address, offset=offset)) as response:
        if response.status_code == 200:
            size = response.raw.length_remaining
            yield Answer(start=0, size=size, chunks=_body(response))
        elif response.status_code == 206 and offset:
            start, size = _range(response)
            yield Answer(start=start, size=size, chunks=_body(response))
        elif response.status_code == 416 and offset:
            # The file ends at or before the offset; its digest will tell whether all is there.
            yield Answer(start=offset, size=offset, chunks=iter(()))
        else:
            raise _refusal(response)


def _ask(session: requests.Session, address: str, *, offset: int) -> requests.Response:
    """Follow redirects to http(s) alone, without reading what comes with them."""
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    for _ in range(REDIRECTS):
        try:
            settings = session.merge_environment_settings(address, {}, True, None, None)
            # Session.get would read what comes with a redirect, be it endless.
            response = session.get_adapter(address).send(
                session.prepare_request(requests.Request("GET", address, headers=headers)),
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                stream=True,
                proxies=settings["proxies"],
                verify=settings["verify"] or True,
            )
            target = session.get_redirect_target(response)
        except (requests.RequestException, HTTPError, UnicodeError) as error:
            failure = _no_answer(error)
        else:
            if target is None:
                return response
            response.close()
            address = redirected(address, target)
            continue
        # Not inside `except`: a traceback must not lead to the error that names the address.
        raise failure
    raise Rejection(
        problem="the address leads in circles",
        found=f"more than {REDIRECTS} redirects",
        wanted="the file",
        advice="Correct `url` in dataset.yaml",
    )


def redirected(address: str, target: str) -> str:
    """Give the address that a redirect leads to.

    Raises
    ------
    Rejection
        When it leaves http(s), or https for http.
    """
    wanted = {"https"} if address.lower().startswith("https:") else {"http", "https"}
    try:
        there = urljoin(address, target)
        scheme = urlsplit(there).scheme
    except ValueError:
        there, scheme = "", "(no address)"
    if scheme not in wanted:
        raise Rejection(
            problem="the address leads elsewhere",
            found=f"a redirect to {scheme[:20]}",
            wanted=" or ".join(sorted(wanted)),
            advice="Correct `url` in dataset.yaml",
        )
    return there


def _body(response: requests.Response) -> Iterator[bytes]:
    """Give what comes as it comes, so that nothing is lost when the connection is."""
    failure = None
    while failure is None:
        try:
            chunk = response.raw.read1(CHUNK, decode_content=False)
        except (HTTPError, OSError) as error:
            failure = Interruption(
                problem="the connection was lost in the middle",
                found=_root(error),
                wanted="all of the file",
                advice="Try again later",
            )
        else:
            if not chunk:
                return
            yield chunk
    raise failure


def _range(response: requests.Response) -> tuple[int, int | None]:
    """Give where the sent part starts, and the size of the whole file where it is told."""
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        raise WrongContent(
            problem="no way to continue the file",
            found="a part without its place in the file",
            wanted="a Content-Range",
            advice="Tell the publisher",
        )
    return int(match[1]), int(match[2]) if match[2] else None


def _refusal(response: requests.Response) -> Rejection:
    """Say what a status without the file means."""
    status = response.status_code
    name = http.HTTPStatus(status).phrase if status in list(http.HTTPStatus) else "no known status"
    found = f"HTTP {status} ({name})"
    if status in _BUSY or status >= 500:
        wait_s = _wait_asked_for(response.headers.get("Retry-After"))
        return Interruption(
            problem="the server cannot give it now",
            found=f"{found}, come back in {wait_s:.0f} s" if wait_s else found,
            wanted="the file",
            advice="Try again later",
            wait_s=wait_s,
        )
    problem, advice = {
        401: (_NO_RIGHT, _ASK),
        403: (_NO_RIGHT, _ASK),
        404: _GONE,
        410: _GONE,
    }.get(status, ("the server does not give it", "Correct `url` in dataset.yaml"))
    return Rejection(problem=problem, found=found, wanted="the file", advice=advice)


def _no_answer(error: Exception) -> Rejection:
    """Say why there was no answer at all."""
    found = _root(error)
    if "CERTIFICATE_VERIFY_FAILED" in found:
        return Rejection(
            problem="the server cannot prove who it is",
            found=found,
            wanted="a certificate that this machine trusts",
            advice="Set REQUESTS_CA_BUNDLE to your institution's certificates, or set the clock",
        )
    if isinstance(error, requests.exceptions.InvalidURL | UnicodeError):
        return Rejection(
            problem="no such address",
            found=found,
            wanted="an address of the publisher",
            advice="Correct `url` in dataset.yaml",
        )
    return Interruption(
        problem="no answer",
        found=found,
        wanted=f"a connection within {CONNECT_TIMEOUT_S} s and an answer within {READ_TIMEOUT_S} s",
        advice="Look at the network, the proxy (https_proxy) and the publisher's status page",
    )


def _root(error: BaseException) -> str:
    """Say what lies at the bottom of a failed connection, which does not name the address."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    if isinstance(error, http.client.IncompleteRead):
        return "an early end"
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return error.strerror or str(error)
    return type(error).__name__


def _wait_asked_for(header: str | None) -> float | None:
    """Read Retry-After, seconds or a date; what is neither is as good as none."""
    if header is None:
        return None
    try:
        return Retry().parse_retry_after(header)
    except (InvalidHeader, ValueError, OverflowError):
        return None
