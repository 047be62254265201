"""What all pages share: how a template is filled in, style, macros of head, pictures, tables."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

HEAD = Path(__file__).with_name("head.html")
TABLE = Path(__file__).with_name("table.html")
CSS = Path(__file__).with_name("page.css")


def fill_in(template: Path, /, **values: Any) -> str:
    """Fill in a template that may use the shared macros and `css`; every text is escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = "".join(path.read_text(encoding="utf-8") for path in (HEAD, TABLE, template))
    css = Markup(CSS.read_text(encoding="utf-8"))  # noqa: S704 - our own file
    return environment.from_string(text).render(css=css, **values)
