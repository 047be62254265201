"""manifest.tsv: every file of a dataset with its size, SHA-256, subject, night and role.

Standard library only: the Snakefile reads manifests each time it is parsed, and each job of a
cluster parses the Snakefile. So rows are read one at a time: 300,000 of them take seconds, and the
memory of one.
"""

import csv
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

COLUMNS = ("file", "bytes", "sha256", "subject", "night", "role")
ROLES = ("signal", "stages", "events", "companion")
NAME = r"[A-Za-z0-9_.-]+"
# Neither "." nor ".."; no control characters, backslashes or bytes that are no UTF-8 (surrogates).
_STEP = r"(?!\.\.?(?:/|\t|\Z))[^/\\\x00-\x1f\x7f\ud800-\udfff]+"
_CELLS = (
    (rf"{_STEP}(?:/{_STEP})*", "a plain relative path inside the folder"),
    (r"[0-9]*", "a whole number or nothing"),
    (r"[0-9a-f]{64}", "64 hex digits (0-9, a-f)"),
    (NAME, "letters, digits, '_', '-', '.'"),
    (r"[0-9]+", "a whole number"),
    ("|".join(ROLES), " or ".join(ROLES)),
)
_file_of = attrgetter("file")
_LINE = re.compile(r"\t".join(f"(?:{pattern})" for pattern, _ in _CELLS))

Entries = Sequence[tuple[str, os.DirEntry[str]]]


class ManifestError(ValueError):
    """A manifest that cannot be used."""


class Row(NamedTuple):
    """One file of a dataset; `bytes` is None where the publisher does not tell the size."""

    file: str
    bytes: int | None
    sha256: str
    subject: str
    night: int
    role: str

    def cells(self) -> tuple[str, ...]:
        """Give the row as the texts of its line."""
        size = "" if self.bytes is None else str(self.bytes)
        return (self.file, size, self.sha256, self.subject, str(self.night), self.role)

    def line(self) -> str:
        """Give the row as its line, without quotes: what a digest is of."""
        return "\t".join(self.cells()) + "\n"


def read_manifest(path: Path) -> list[Row]:
    """Read a manifest; rows come sorted by file.

    Raises
    ------
    ManifestError
        When the file is missing, or a line is wrong: the line, what it holds, what is wanted.
    """
    return list(iterate_manifest(path))


def iterate_manifest(path: Path) -> Iterator[Row]:
    """Give the rows of a manifest one at a time, sorted by file.

    Memory is that of one row where the file is sorted, as `write_manifest` leaves it.

    Raises
    ------
    ManifestError
        As `read_manifest` does.
    """
    if not path.is_file():
        raise ManifestError(
            f"{path} is missing. Write it with: somnoflow manifest FOLDER --dataset "
            f"{path.parent.name}"
        )
    try:
        yield from _rows(path) if _is_sorted(path) else _sort(_rows(path), path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(
            f"{path} is not a table: {error}. Wanted: text (UTF-8), tab-separated"
        ) from error


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """Write a manifest sorted by file.

    Raises
    ------
    ManifestError
        When a row could not be read again.
    """
    checked = _sort((_row(row.cells(), f"for {path}") for row in rows), path)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(row.cells() for row in checked)


def shard_of(dataset: str, subject: str, shards: int) -> int:
    """Give the shard of a subject: a stable hash, so a new subject moves no other one."""
    digest = hashlib.sha256(f"{dataset}/{subject}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % shards


def rows_digest(rows: Iterable[Row]) -> str:
    """Give the SHA-256 of manifest rows, in whatever order they come."""
    digest = hashlib.sha256()
    for row in sorted(rows, key=_file_of):
        digest.update(row.line().encode())
    return digest.hexdigest()


def shard_digests(rows: Iterable[Row], *, dataset: str, shards: int) -> dict[int, str]:
    """Give the `rows_digest` of each shard that has rows; these come sorted by file."""
    digests: dict[int, Any] = defaultdict(hashlib.sha256)
    for row in rows:
        digests[shard_of(dataset, row.subject, shards)].update(row.line().encode())
    return {shard: digest.hexdigest() for shard, digest in digests.items()}


def select_rows(rows: Iterable[Row], *, files: str | None, stages: str | None) -> Iterator[Row]:
    """Keep the rows of a subset, and of several scorings the one to use.

    Parameters
    ----------
    rows
        Rows of a manifest.
    files
        Regular expression of the subset's files; all where None.
    stages
        Regular expression of the scoring's files; all where None.
    """
    in_subset = re.compile(files).fullmatch if files is not None else None
    in_scoring = re.compile(stages).fullmatch if stages is not None else None
    for row in rows:
        if in_subset and not in_subset(row.file):
            continue
        if in_scoring and row.role == "stages" and not in_scoring(row.file):
            continue
        yield row


def identify(file: str, patterns: Iterable[tuple[str, str]]) -> tuple[str, str, int] | None:
    """Give role, subject and night of a path below the dataset's folder, or None.

    Parameters
    ----------
    file
        Path relative to the folder, with `/`.
    patterns
        Roles and their regular expressions, with the group `subject` and perhaps `night`; the
        first that fits counts.

    Raises
    ------
    ManifestError
        When the night is no number.
    """
    for role, pattern in patterns:
        match = re.fullmatch(pattern, file)
        if match:
            groups = match.groupdict()
            night = groups.get("night") or "1"
            if not night.isdecimal():
                raise ManifestError(
                    f"{file}: the group 'night' of '{pattern}' is '{night}', wanted a number. "
                    "Correct `files` in dataset.yaml"
                )
            # A subject may be named by folders: subject 1 of subgroup II.
            return role, (groups["subject"] or "").replace("/", "-"), int(night)
    return None


def files_below(folder: Path) -> Iterator[str]:
    """Give the relative paths of all files below `folder`, sorted as a manifest is.

    Hidden files and folders are left out, and linked folders are not followed. A folder that may
    not be read is given itself, with `/` behind its name: it is no file that anyone knows.
    Memory is that of one folder's list.
    """
    return _walk(_entries(folder), below="")


def _walk(entries: Entries, *, below: str) -> Iterator[str]:
    for name, entry in entries:
        if not name.endswith("/"):
            if entry.is_file():
                yield below + name
            continue
        try:
            inner = _entries(entry)
        except PermissionError:
            yield below + name
        else:
            yield from _walk(inner, below=below + name)


def _entries(folder: os.PathLike[str]) -> Entries:
    with os.scandir(folder) as found:
        # As whole paths are sorted: "a-b" goes before "a/b".
        return sorted(
            (f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name, entry)
            for entry in found
            if not entry.name.startswith(".")
        )


def shown(file: str) -> str:
    """Spell out the bytes of a file name that are no UTF-8: text could not hold them."""
    return file.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def stays_inside(file: str) -> bool:
    """Say whether a path is relative, in its shortest spelling, and leads nowhere else."""
    return re.fullmatch(_CELLS[0][0], file) is not None


def _is_sorted(path: Path) -> bool:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter="\t")
        next(reader, None)
        return all(one < other for one, other in pairwise(cells[0] for cells in reader if cells))


def _sort(rows: Iterable[Row], path: Path) -> list[Row]:
    found = sorted(rows, key=_file_of)
    twice = sorted({one.file for one, other in pairwise(found) if one.file == other.file})
    if twice:
        raise ManifestError(f"{path} names files twice: {', '.join(twice[:5])}")
    return found


def _rows(path: Path) -> Iterator[Row]:
    # "-sig": spreadsheets put a byte order mark before the first column's name.
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter="\t")
        header = next(reader, ["(none)"])
        if tuple(header) != COLUMNS:
            raise ManifestError(
                f"{path} has the columns {', '.join(header)}, "
                f"wanted {', '.join(COLUMNS)} (tab-separated)"
            )
        for cells in reader:
            if cells:
                yield _row(cells, f"{path}, line {reader.line_num}")


def _row(cells: Sequence[str], where: str) -> Row:
    # One match for the whole line: six for each of 300,000 rows would take several seconds.
    if len(cells) != len(COLUMNS) or not _LINE.fullmatch("\t".join(cells)):
        raise ManifestError(f"{where}: {_mistake(cells)}")
    file, size, sha256, subject, night, role = cells
    return Row(file, int(size) if size else None, sha256, subject, int(night), role)


def _mistake(cells: Sequence[str]) -> str:
    if len(cells) > len(COLUMNS):
        return f"more than {len(COLUMNS)} cells, wanted {', '.join(COLUMNS)}"
    given = [*cells, *[""] * (len(COLUMNS) - len(cells))]
    return next(
        f"{column} is '{cell}', wanted {wanted}"
        for column, cell, (pattern, wanted) in zip(COLUMNS, given, _CELLS, strict=True)
        if not re.fullmatch(pattern, cell)
    )
