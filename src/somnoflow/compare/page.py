"""The comparison as a page of its own, in the report's tables and style."""

from collections.abc import Sequence
from pathlib import Path

from somnoflow.report.tables import Table
from somnoflow.report.template import fill_in

TEMPLATE = Path(__file__).with_name("comparison.html")
TITLE = "Models beside published results"


def to_html(tables: Sequence[Table]) -> str:
    """Write tables as one HTML page without scripts that needs nothing but itself."""
    return fill_in(TEMPLATE, title=TITLE, tables=tables)
