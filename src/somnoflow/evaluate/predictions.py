"""Predictions are checked before they are judged: columns, values, each epoch and subject once."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

RECORDING_KEY = ["dataset", "subject", "recording"]
SUM_TOLERANCE = 1e-3
REMAKE = "Make it again with the rule score."


def scan_columns(path: Path, *, columns: Sequence[str], remake: str = REMAKE) -> pl.LazyFrame:
    """Give these columns of a fold's predictions, not yet read; `remake` is said to who lacks one.

    Raises
    ------
    ValueError
        Where a column is missing.
    """
    scan = pl.scan_parquet(path, hive_partitioning=False)
    missing = [name for name in columns if name not in scan.collect_schema().names()]
    if missing:
        raise ValueError(f"{path} lacks the columns {missing}. {remake}")
    return scan.select(columns)


def impossible(probabilities: Sequence[str]) -> pl.Expr:
    """Tell where probabilities of a usable epoch are not 0..1 with the sum 1."""
    total = pl.sum_horizontal(probabilities, ignore_nulls=False)
    possible = pl.all_horizontal(pl.col(name).is_between(0, 1) for name in probabilities)
    right = (possible & ((total - 1).abs() <= SUM_TOLERANCE)).fill_null(value=False)
    return pl.col("usable") & ~right


def outside(column: str, lowest: int, highest: int) -> pl.Expr:
    """Tell where a column is empty or not in a range."""
    return ~pl.col(column).is_between(lowest, highest).fill_null(value=False)


def refuse_rows(
    scan: pl.LazyFrame, *, problems: Mapping[str, pl.Expr], shown: Sequence[str], path: Path
) -> None:
    """Raise `ValueError` where any row has a problem, with one such row's columns `shown`."""
    found = scan.select(
        condition.sum().alias(problem) for problem, condition in problems.items()
    ).collect(engine="streaming")
    for problem, rows in found.row(0, named=True).items():
        if rows:
            row = scan.filter(problems[problem]).head(1).collect().row(0, named=True)
            values = {name: row[name] for name in shown}
            raise ValueError(
                f"{path}: {problem} ({rows} row(s), one of them: {row['subject']} "
                f"{row['recording']} epoch {row['epoch']}, {values}). {REMAKE}"
            )


def refuse_repeated(table: pl.DataFrame, *, path: Path) -> None:
    """Raise `ValueError` where a recording has more rows (`epochs`) than `different` epochs."""
    for row in table.filter(pl.col("epochs") != pl.col("different")).iter_rows(named=True):
        raise ValueError(
            f"{path}: an epoch appears more than once: {row['subject']} {row['recording']} has "
            f"{row['epochs']} rows of {row['different']} epochs. {REMAKE}"
        )


def note_tested(subjects: Iterable[str], *, path: Path, tested: dict[str, Path]) -> None:
    """Note in `tested` where each subject is tested; raise `ValueError` where it already was."""
    for subject in sorted(subjects):
        if subject in tested:
            raise ValueError(
                f"subject {subject} is a test subject in {tested[subject]} and in {path}, "
                "wanted in one fold only. Make the split and the scores again, and give "
                "each fold's file once."
            )
        tested[subject] = path


def no_test_rows(files: int) -> ValueError:
    """Give the error of predictions that test nobody."""
    return ValueError(
        f"no row has the role 'test' in {files} file(s) of predictions, wanted at "
        "least one. Look at the split: each fold needs test subjects."
    )
