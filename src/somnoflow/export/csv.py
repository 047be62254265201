"""A night as a CSV file: what is said of each epoch, with all probabilities.

Tables are written as text and not by polars itself, which refuses a path that is no UTF-8.
"""

from pathlib import Path

import polars as pl

from somnoflow.scoring.hypnogram import Hypnogram

DECIMALS = 6


def write_table(path: Path, hypnogram: Hypnogram) -> None:
    """Write a row for each epoch, in the columns of `Hypnogram.table`.

    A cell is empty where the epoch has no usable signal.
    """
    text = round_floats(hypnogram.table).write_csv()
    path.write_text(text, encoding="utf-8", newline="\n")


def round_floats(table: pl.DataFrame) -> pl.DataFrame:
    """Give a table whose times and probabilities have the decimals that are written."""
    return table.with_columns(pl.selectors.float().round(DECIMALS))
