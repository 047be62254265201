"""Who a recording is of, where a dataset numbers its recordings and tells the persons in a table.

A split by such numbers would put one person on both sides, so the person is the manifest's subject.
Recordings of a person with several numbers are nights 1, 2, ... in the order of the table.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from somnoflow.config.dataset import SubjectTable
from somnoflow.io.manifest import NAME, ManifestError, Row, stays_inside


def read_persons(folder: Path, table: SubjectTable) -> dict[str, str]:
    """Read which person each name stands for, in the order of the table.

    Raises
    ------
    ManifestError
        When there is no such table below `folder`, a column is missing, a person cannot be named
        in a manifest, or a name stands for two.
    """
    path = folder / table.file
    if not stays_inside(table.file):
        raise ManifestError(
            f"files.subjects.file is '{table.file}', wanted a plain path below the dataset's folder"
        )
    if not path.is_file():
        raise ManifestError(f"{path} is missing. It says which recordings are of one person")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter="\t")
            columns = reader.fieldnames or ()
            missing = [name for name in (table.key, table.subject) if name not in columns]
            if missing:
                raise ManifestError(
                    f"{path} has the columns {', '.join(columns) or '(none)'}, wanted "
                    f"{', '.join(missing)} too (tab-separated)"
                )
            lines = [(row[table.key], row[table.subject], reader.line_num) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(
            f"{path} is not a table: {error}. Wanted: text (UTF-8), tab-separated"
        ) from error
    persons: dict[str, str] = {}
    for name, person, line in lines:
        if not re.fullmatch(NAME, person or ""):
            raise ManifestError(
                f"{path}, line {line}: {table.subject} is '{person or ''}', wanted letters, "
                "digits, '_', '-', '.'"
            )
        if persons.setdefault(name, person) != person:
            raise ManifestError(
                f"{path}, line {line}: {name} is {person}, and {persons[name]} above; wanted one"
            )
    return persons


def name_persons(rows: Sequence[Row], persons: Mapping[str, str]) -> list[Row]:
    """Give the rows with the person as subject, and the person's nights.

    Raises
    ------
    ManifestError
        When a row's subject is not in the table.
    """
    unknown = sorted({row.subject for row in rows} - persons.keys())
    if unknown:
        raise ManifestError(
            f"the table of persons (files.subjects) has no line for {', '.join(unknown[:5])}. "
            f"Wanted: one for each of the {len(unknown)} that are missing"
        )
    nights = _number_nights(rows, persons)
    return [
        row._replace(subject=persons[row.subject], night=nights[row.subject, row.night])
        for row in rows
    ]


def _number_nights(rows: Iterable[Row], persons: Mapping[str, str]) -> dict[tuple[str, int], int]:
    """Give the night of each name and night: another one where a person has several names."""
    place = {name: number for number, name in enumerate(persons)}
    found = {(row.subject, row.night) for row in rows}
    own = defaultdict(list)
    for name, night in sorted(found, key=lambda pair: (place[pair[0]], pair[1])):
        own[persons[name]].append((name, night))
    return {
        pair: number if len({name for name, _ in pairs}) > 1 else pair[1]
        for pairs in own.values()
        for number, pair in enumerate(pairs, start=1)
    }
