"""Tables of the report as plain text cells; the template escapes and draws them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
LITTLE = "under 1 %"
UNBROKEN = "\N{NO-BREAK SPACE}"
MAX_ROWS = 200
MAX_NAMED = 6
# The 4 of C4 is no number.
NUMBER = r"\b\d+([.,]\d+)*\b"


@dataclass(frozen=True)
class Column:
    """Heading of a column; numbers stand to the right, prose may break into lines."""

    name: str
    numeric: bool = False
    prose: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its caption; a page shows its first rows, its file holds all.

    Attributes
    ----------
    caption
        What the rows are, with their number.
    columns, rows
        Headings and text cells; the first cell of a row names it.
    total
        Number of all rows, so that the reader learns what is not shown.
    simulated
        "simulated", "partly simulated" or empty, shown beside the caption.
    groups
        Heading that each row stands under, or nothing; rows of a group are neighbours.
    links
        Place on the page and path of what each row is about, or nothing.
    quiet
        Whether each row only stands by for the one above it, or nothing.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: list[list[str]]
    total: int
    simulated: str = ""
    groups: tuple[str, ...] = ()
    links: tuple[tuple[str, str] | None, ...] = ()
    quiet: tuple[bool, ...] = ()

    @property
    def shown(self) -> list[list[str]]:
        """Rows that a page shows: the first `MAX_ROWS`."""
        return self.rows[:MAX_ROWS]


def make_table(
    caption: str,
    *,
    columns: Sequence[str],
    numeric: Iterable[str] = (),
    prose: Iterable[str] = (),
    rows: Sequence[Sequence[str]],
    total: int | None = None,
    simulated: str = "",
    groups: Sequence[str] = (),
    links: Sequence[tuple[str, str] | None] = (),
    quiet: Sequence[bool] = (),
) -> Table:
    """Make a table; `total` says how many rows there are where not all are given."""
    right, breaking = set(numeric), set(prose)
    return Table(
        caption=caption,
        columns=tuple(Column(name, name in right, name in breaking) for name in columns),
        rows=[list(row) for row in rows],
        total=len(rows) if total is None else total,
        simulated=simulated,
        groups=tuple(groups),
        links=tuple(links),
        quiet=tuple(quiet),
    )


def score(value: float | None) -> str:
    """Write a value of 0..1 with three decimals; a dash where it is not defined."""
    return NOTHING if value is None or math.isnan(value) else f"{value:.3f}".replace("-", MINUS)


def score_with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """Write a value with its interval in brackets, where there is one."""
    if interval is None or value is None:
        return score(value)
    return f"{score(value)} [{score(interval[0])}, {score(interval[1])}]"


def difference(value: float | None, interval: Sequence[float] | None = None) -> str:
    """Write a difference of scores with its sign, and its interval where there is one."""
    if value is None:
        return NOTHING
    signed = [
        f"{x:+.3f}".replace("-", MINUS) if round(x, 3) else "0.000"
        for x in (value, *(interval or ()))
    ]
    return signed[0] if interval is None else f"{signed[0]} [{signed[1]}, {signed[2]}]"


def count(value: float | None) -> str:
    """Write a whole number with thousands separated; a dash where there is none."""
    return NOTHING if value is None else f"{int(value):,}"


def share(part: float, whole: float) -> str:
    """Write a percentage without decimals; a dash where the whole is 0."""
    return f"{100 * part / whole:.0f} %" if whole else NOTHING


def rough_share(part: float, whole: float) -> str:
    """Write a percentage without decimals in which a little never looks like nothing or all."""
    if 0 < part < 0.01 * whole:
        return LITTLE
    if 0.99 * whole < part < whole:
        return "over 99 %"
    return share(part, whole)


def decimal(value: float | None, *, places: int) -> str:
    """Write a number with so many decimals; a dash where there is none."""
    return NOTHING if value is None else f"{value:,.{places}f}"


def tally(counts: Iterable[tuple[str, int]], *, most: int = MAX_NAMED) -> str:
    """Write texts, the most frequent first, with their counts where there are several.

    "C4-A1 (12), EEG (3)", but "C4-A1" where there is nothing else.
    """
    ranked = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
    if len(ranked) == 1:
        return ranked[0][0] or NOTHING
    named = [f"{text or NOTHING}{UNBROKEN}({n:,})" for text, n in ranked[:most]]
    rest = len(ranked) - len(named)
    return ", ".join([*named, *([f"{rest:,} more"] if rest else [])]) or NOTHING


def alike(name: str) -> pl.Expr:
    """Give a column's texts with their numbers left out, to group by, as `alike`."""
    return pl.col(name).str.replace_all(NUMBER, "#").alias("alike")


def plural(number: int, noun: str) -> str:
    """Write a number with its noun: "1 subject", "2 subjects", "2 passes"."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"
