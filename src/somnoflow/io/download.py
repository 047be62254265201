"""Download the files of a manifest with pooch; only a file with the right SHA-256 stays."""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import pooch
import requests
from tqdm import tqdm

from somnoflow.io.manifest import Row
from somnoflow.io.rawstate import UNREADABLE, observe

ATTEMPTS = 3


def download(rows: Iterable[Row], *, url: str, folder: Path) -> list[str]:
    """Download what is not there yet; give one line for each file that could not be had.

    Parameters
    ----------
    rows
        Files to have.
    url
        Address that the files' relative paths are appended to.
    folder
        Where to put them.

    Raises
    ------
    OSError
        When a file cannot be written: the next one could not either.
    """
    problems = []
    for row in tqdm(list(rows), desc="fetch", unit="file", disable=None):
        path = folder / row.file
        found = observe(path)
        if found == row.sha256:
            continue
        if found == UNREADABLE:
            problems.append(f"{path} is there but cannot be read; nothing was downloaded")
            continue
        address = f"{url.rstrip('/')}/{quote(row.file)}"
        try:
            pooch.create(
                path=path.parent,
                base_url="",
                registry={path.name: f"sha256:{row.sha256}"},
                urls={path.name: address},
                retry_if_failed=ATTEMPTS,
            ).fetch(path.name)
        except (requests.RequestException, ValueError) as error:
            problems.append(f"{address} was not downloaded: {error}")
    return problems
