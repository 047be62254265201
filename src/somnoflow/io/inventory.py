"""Make a manifest from a folder or from a publisher's list of sums, and compare sizes with one.

What is decided here:

- Every file of a folder is hashed, each time. A manifest holds no times of files, and one that was
  replaced under its old size and time must not keep its old sum. A killed run leaves the manifest
  that was there.
- A publisher's sums need none of the recordings; sizes are then not known.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from somnoflow.config.dataset import Dataset
from somnoflow.io.manifest import ManifestError, Row, files_below, identify
from somnoflow.io.persons import name_persons, read_persons

THREADS = min(8, os.cpu_count() or 1)
_SUM = re.compile(r"([0-9a-fA-F]{64}) [ *]?(.+)")


@dataclass(frozen=True)
class Inventory:
    """The rows of a manifest, and the files that no pattern fits."""

    rows: list[Row]
    left_out: list[str]


@dataclass(frozen=True)
class Difference:
    """A file that is not as the manifest says; `extra` where the manifest does not name it."""

    file: str
    problem: str
    extra: bool = False


def make_manifest(folder: Path, dataset: Dataset, *, threads: int = THREADS) -> Inventory:
    """Hash the recordings and annotations below `folder`, several at a time.

    Raises
    ------
    ManifestError
        When there is no such folder, no recording in it fits the pattern, a file that fits
        cannot be named in a manifest, or the table of persons does not fit.
    """
    _require_folder(folder)
    made = _recognise(files_below(folder), dataset=dataset, where=str(folder))
    paths = [folder / row.file for row in made.rows]
    with (
        ThreadPoolExecutor(max_workers=threads) as pool,
        tqdm(
            desc="manifest", unit="B", unit_scale=True, disable=None,
            total=sum(path.stat().st_size for path in paths),
        ) as bar,
    ):  # fmt: skip
        rows = []
        for row, (size, sha256) in zip(made.rows, pool.map(_hash, paths), strict=True):
            rows.append(row._replace(bytes=size, sha256=sha256))
            bar.update(size)
    return Inventory(_with_persons(rows, dataset=dataset, folder=folder), made.left_out)


def manifest_of_sums(sums: Path, dataset: Dataset, *, folder: Path | None) -> Inventory:
    """Make a manifest from what `sha256sum` wrote at the publisher, without any recording.

    Parameters
    ----------
    sums
        Lines of SHA-256 and path below the dataset's folder.
    dataset
        Whose patterns recognise the files.
    folder
        Where the dataset's table of persons is, if it has one.

    Raises
    ------
    ManifestError
        When a line is no sum, no recording fits the pattern, or the table of persons does not fit.
    """
    digests = _read_sums(sums)
    made = _recognise(digests, dataset=dataset, where=str(sums))
    rows = [row._replace(sha256=digests[row.file]) for row in made.rows]
    return Inventory(_with_persons(rows, dataset=dataset, folder=folder), made.left_out)


def require_records(rows: Iterable[Row], records: Path) -> None:
    """Compare recordings with a publisher's RECORDS: one path per line, with or without suffix.

    Raises
    ------
    ManifestError
        When a record has no signal file among `rows`, or a signal file is no record.
    """
    wanted = {line.strip() for _, line in _lines(records)}
    spelt = {
        row.file: {row.file, str(PurePosixPath(row.file).with_suffix(""))}
        for row in rows
        if row.role == "signal"
    }
    absent = wanted.difference(*spelt.values())
    unlisted = {file for file, names in spelt.items() if not names & wanted}
    for files, problem in ((absent, "records without a recording"), (unlisted, "not listed")):
        if files:
            raise ManifestError(
                f"{records} names {len(wanted)} records, found were {len(spelt)} recordings. "
                f"{len(files)} {problem}: {', '.join(sorted(files)[:5])}. Wanted: the same on both "
                "sides. Correct files.signal in dataset.yaml, or take the list of this version"
            )


def compare_sizes(rows: Iterable[Row], folder: Path) -> Iterator[Difference]:
    """Give each file of the manifest or the folder that the other has not, or not in this size.

    Memory is that of one folder's list; no file is read.

    Parameters
    ----------
    rows
        Rows of the manifest, sorted by file.
    folder
        Folder that their paths are relative to.
    """
    _require_folder(folder)
    listed = ((row.file, row) for row in rows)
    found = ((name, None) for name in files_below(folder))
    for name, same in groupby(merge(listed, found, key=itemgetter(0)), key=itemgetter(0)):
        row = next(same)[1]
        if row is None:
            yield Difference(name, "not in the manifest", extra=True)
            continue
        try:
            # Of those in linked folders too, which are not walked.
            size = os.stat(os.path.join(folder, name)).st_size
        except FileNotFoundError:
            yield Difference(name, "missing")
            continue
        if row.bytes is not None and size != row.bytes:
            yield Difference(name, f"wrong size ({size} bytes, wanted {row.bytes})")


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ManifestError(f"{folder} is not a folder. Wanted: the folder with the recordings")


def _recognise(names: Iterable[str], *, dataset: Dataset, where: str) -> Inventory:
    """Give a row without size and sum for each name that a pattern fits."""
    patterns = dataset.patterns()
    rows: list[Row] = []
    left_out: list[str] = []
    for name in names:
        known = identify(name, patterns)
        if known is None:
            if not (dataset.files.ignore and re.fullmatch(dataset.files.ignore, name)):
                left_out.append(name)
            continue
        role, subject, night = known
        rows.append(Row(name, None, "", subject, night, role))
    if not any(row.role == "signal" for row in rows):
        raise ManifestError(
            f"no recording in {where} fits the pattern '{dataset.files.signal}' of dataset.yaml. "
            f"Found: {', '.join(left_out[:5]) or 'no file'}"
        )
    return Inventory(rows, left_out)


def _hash(path: Path) -> tuple[int, str]:
    """Give the number of bytes that were hashed, and their SHA-256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def _read_sums(path: Path) -> dict[str, str]:
    digests: dict[str, str] = {}
    for number, line in _lines(path):
        match = _SUM.fullmatch(line)
        if match is None:
            raise ManifestError(
                f"{path}, line {number} is '{line[:100]}', wanted 64 hex digits, a space, and a "
                "path, as sha256sum writes them"
            )
        file, sha256 = match[2].removeprefix("./"), match[1].lower()
        if digests.setdefault(file, sha256) != sha256:
            raise ManifestError(f"{path}, line {number}: a second sum of {file}, wanted one")
    return digests


def _lines(path: Path) -> list[tuple[int, str]]:
    """Give number and text of each line that is not empty."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is no text: {error}. Wanted: UTF-8") from error
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def _with_persons(rows: list[Row], *, dataset: Dataset, folder: Path | None) -> list[Row]:
    table = dataset.files.subjects
    if table is None:
        return rows
    if folder is None:
        raise ManifestError(
            f"{dataset.name} has a table of persons, {table.file}. Wanted: the folder that it is "
            "in, as somnoflow manifest FOLDER ..."
        )
    return name_persons(rows, read_persons(folder, table))
