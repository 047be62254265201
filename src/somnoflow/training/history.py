"""training.csv: one row per pass."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_history(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one line per pass with all digits of its numbers: equal trainings are equal files."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
