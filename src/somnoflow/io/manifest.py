"""manifest.tsv: every file of a dataset with its size, SHA-256, subject, night and role.

Standard library only: the Snakefile reads manifests each time it is parsed.
"""

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

COLUMNS = ("file", "bytes", "sha256", "subject", "night", "role")
ROLES = ("signal", "stages", "events", "companion")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


class ManifestError(ValueError):
    """A manifest that cannot be used."""


@dataclass(frozen=True, order=True)
class Row:
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


def read_manifest(path: Path) -> list[Row]:
    """Read a manifest; rows come sorted by file.

    Raises
    ------
    ManifestError
        When the file is missing, or a line is wrong: the line, what it holds, what is wanted.
    """
    if not path.is_file():
        raise ManifestError(
            f"{path} is missing. Write it with: somnoflow manifest FOLDER --dataset "
            f"{path.parent.name}"
        )
    try:
        rows = _rows(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(
            f"{path} is not a table: {error}. Wanted: text (UTF-8), tab-separated"
        ) from error
    names = [row.file for row in rows]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ManifestError(f"{path} names files twice: {', '.join(twice[:5])}")
    return sorted(rows)


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """Write a manifest sorted by file.

    Raises
    ------
    ManifestError
        When a row could not be read again.
    """
    rows = [_row(dict(zip(COLUMNS, row.cells(), strict=True)), f"for {path}") for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(row.cells() for row in sorted(rows))


def shard_of(dataset: str, subject: str, shards: int) -> int:
    """Give the shard of a subject: a stable hash, so a new subject moves no other one."""
    digest = hashlib.sha256(f"{dataset}/{subject}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % shards


def rows_digest(rows: Iterable[Row]) -> str:
    """Give the SHA-256 of manifest rows."""
    text = "\n".join("\t".join(row.cells()) for row in sorted(rows))
    return hashlib.sha256(text.encode()).hexdigest()


def select_rows(rows: Iterable[Row], *, files: str | None, stages: str | None) -> list[Row]:
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
    return [
        row
        for row in rows
        if (files is None or re.fullmatch(files, row.file))
        and (stages is None or row.role != "stages" or re.fullmatch(stages, row.file))
    ]


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
            return role, groups["subject"] or "", int(night)
    return None


def files_below(folder: Path) -> Iterator[str]:
    """Give the sorted relative paths of all files below `folder`, hidden ones left out."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            yield relative.as_posix()


def _rows(path: Path) -> list[Row]:
    # "-sig": spreadsheets put a byte order mark before the first column's name.
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, delimiter="\t", restkey="(more)")
        if reader.fieldnames is None or tuple(reader.fieldnames) != COLUMNS:
            raise ManifestError(
                f"{path} has the columns {', '.join(reader.fieldnames or ['(none)'])}, "
                f"wanted {', '.join(COLUMNS)} (tab-separated)"
            )
        return [_row(cells, f"{path}, line {reader.line_num}") for cells in reader]


def _row(cells: Mapping[str, str | None], where: str) -> Row:
    if "(more)" in cells:
        raise ManifestError(f"{where}: more than {len(COLUMNS)} cells, wanted {', '.join(COLUMNS)}")
    values = {name: cells.get(name) or "" for name in COLUMNS}
    checks = (
        (_stays_inside(values["file"]), "file", "a plain relative path inside the folder"),
        (not values["bytes"] or values["bytes"].isdecimal(), "bytes", "a whole number or nothing"),
        (_SHA256.fullmatch(values["sha256"]), "sha256", "64 hex digits (0-9, a-f)"),
        (_NAME.fullmatch(values["subject"]), "subject", "letters, digits, '_', '-', '.'"),
        (values["night"].isdecimal(), "night", "a whole number"),
        (values["role"] in ROLES, "role", " or ".join(ROLES)),
    )
    for good, column, wanted in checks:
        if not good:
            raise ManifestError(f"{where}: {column} is '{values[column]}', wanted {wanted}")
    return Row(
        file=values["file"],
        bytes=int(values["bytes"]) if values["bytes"] else None,
        sha256=values["sha256"],
        subject=values["subject"],
        night=int(values["night"]),
        role=values["role"],
    )


def _stays_inside(file: str) -> bool:
    """Say whether a path is relative, in its shortest spelling, and leads nowhere else.

    Control characters, backslashes and bytes that are no UTF-8 (surrogates) are refused too.
    """
    path = PurePosixPath(file)
    odd = any(sign < " " or sign in "\\\x7f" or "\ud800" <= sign <= "\udfff" for sign in file)
    inside = not path.is_absolute() and ".." not in path.parts
    return bool(path.parts) and str(path) == file and inside and not odd
