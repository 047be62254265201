"""The comparison as a page of its own, in the report's tables and style."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from somnoflow.report.page import CSS, TABLE
from somnoflow.report.tables import Table

TEMPLATE = Path(__file__).with_name("comparison.html")


def to_html(tables: Sequence[Table]) -> str:
    """Write tables as one HTML page without scripts that needs nothing but itself."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    texts = (path.read_text(encoding="utf-8") for path in (TABLE, TEMPLATE))
    template = environment.from_string("".join(texts))
    css = Markup(CSS.read_text(encoding="utf-8"))  # noqa: S704 - our own file
    return template.render(tables=tables, css=css)
