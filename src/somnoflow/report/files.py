"""Figures and tables of the page as files of their own: SVG and CSV.

The page collects them while it is filled in, so that what it shows and what lies beside it cannot
differ. They are written beside the page, and their digests into one file.
"""

import base64
import csv
import hashlib
import io
import re
from pathlib import Path

from somnoflow.io.atomic import atomic
from somnoflow.report.figures import Picture
from somnoflow.report.naming import anchored
from somnoflow.report.tables import MINUS, NOTHING, UNBROKEN, Table

FIGURES, TABLES = "figures", "tables"
SUFFIXES = {FIGURES: ".svg", TABLES: ".csv"}
GROUP = "Group"
PROLOG = b'<?xml version="1.0" encoding="utf-8"?>\n'


class Files:
    """Files of one page by their path beside it, such as `figures/cohort-stages.svg`."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def figure(self, name: str, picture: Picture) -> str:
        """Take a figure; give its path beside the page."""
        svg = base64.b64decode(picture.uri.partition("base64,")[2])
        return self._take(FIGURES, name, PROLOG + svg)

    def table(self, name: str, table: Table) -> str:
        """Take a table with all its rows; give its path beside the page."""
        return self._take(TABLES, name, to_csv(table).encode())

    def _take(self, folder: str, name: str, content: bytes) -> str:
        stem, suffix = slug(name), SUFFIXES[folder]
        path, number = f"{folder}/{stem}{suffix}", 1
        # Names that differ in signs only are numbered.
        while path in self.content:
            number += 1
            path = f"{folder}/{stem}-{number}{suffix}"
        self.content[path] = content
        return path


def slug(name: str) -> str:
    """Make a file's name of a text: letters and digits, with one hyphen between."""
    return re.sub("-+", "-", anchored(name)).strip("-")


def to_csv(table: Table) -> str:
    """Write a table as CSV: numbers as shown, with a plain minus; what is not defined is empty."""
    grouped = bool(table.groups)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*([GROUP] if grouped else []), *(column.name for column in table.columns)])
    for number, row in enumerate(table.rows):
        heading = [table.groups[number]] if grouped else []
        writer.writerow([*heading, *(_plain(cell) for cell in row)])
    return text.getvalue()


def _plain(cell: str) -> str:
    return "" if cell == NOTHING else cell.replace(MINUS, "-").replace(UNBROKEN, " ")


def write_files(folder: Path, files: Files) -> dict[str, str]:
    """Write the files into `folder`; remove those of an earlier page.

    Returns
    -------
    dict
        SHA-256 of each file by its path in the folder.
    """
    for name, suffix in SUFFIXES.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for old in (folder / name).glob(f"*{suffix}"):
            if f"{name}/{old.name}" not in files.content:
                old.unlink()
    for path, content in files.content.items():
        with atomic(folder / path) as temporary:
            temporary.write_bytes(content)
    return {
        path: hashlib.sha256(content).hexdigest() for path, content in sorted(files.content.items())
    }
