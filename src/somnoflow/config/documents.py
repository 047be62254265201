"""Documents made from the configuration's definition: config.yaml, JSON schema, option table.

They are committed and a test keeps them equal to what these functions give.
"""

import json
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from somnoflow.config.base import Section
from somnoflow.config.root import Config

WIDTH = 96


def document(name: str) -> str:
    """Give a document of `DOCUMENTS` for the default configuration."""
    return DOCUMENTS[name](Config())


def as_yaml(config: Config) -> str:
    """Give the configuration as YAML, each option under its description."""
    opening = [
        "# What to compute: science only. How it is run (threads, memory, GPUs, cluster) is said",
        "# in a profile. These are the defaults; a test keeps them equal to the option's",
        "# definitions in src/somnoflow/config. To change some, write a file with those lines only",
        "# and lay it over this one: snakemake --configfile FILE ...",
        "",
    ]
    return "\n".join([*opening, *_yaml_lines(config, indent=0)]).rstrip() + "\n"


def as_schema(config: Config) -> str:
    """Give the JSON schema of the configuration."""
    return json.dumps(type(config).model_json_schema(), indent=1, sort_keys=True) + "\n"


def as_markdown(config: Config) -> str:
    """Give the page of all options."""
    lines = [
        "# Configuration",
        "",
        "`config.yaml` holds the science: what is computed. Threads, memory, GPUs and clusters",
        "belong into a profile (`profiles/`). Every key is checked before anything runs; a key",
        "that does not exist is an error that names the nearest one.",
        "",
        "Write a file with only the lines that you change, and lay it over the defaults:",
        "",
        "```bash",
        "snakemake --cores 8 all --configfile my.yaml",
        "somnoflow config --configfile my.yaml     # print the outcome, all defaults filled in",
        "```",
        "",
        "Sections are merged, lists are replaced. A step reruns when an option that it depends on",
        "changes, and so does what is made from it; nothing else does.",
        "",
        "A JSON schema for editors is in `config/schema.json`. This page is made from the",
        "definitions in `src/somnoflow/config/` by `make generated`, and a test keeps it so.",
        "",
        "| option | default | what it is |",
        "|---|---|---|",
    ]
    for key, value, field in _options(config):
        shown = json.dumps(value, ensure_ascii=False)
        description = (field.description or "").replace("|", "\\|")
        lines.append(f"| `{key}` | `{shown}` | {description}{_allowed(field)} |")
    return "\n".join(lines) + "\n"


DOCUMENTS: dict[str, Callable[[Config], str]] = {
    "yaml": as_yaml,
    "schema": as_schema,
    "markdown": as_markdown,
}


def _yaml_lines(section: BaseModel, *, indent: int) -> Iterator[str]:
    margin = " " * indent
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            summary = (type(value).__doc__ or "").strip().splitlines()[0]
            yield f"{margin}# {summary}"
            yield f"{margin}{name}:"
            yield from _yaml_lines(value, indent=indent + 2)
        else:
            yield from textwrap.wrap(
                (field.description or "") + _allowed(field),
                WIDTH,
                initial_indent=f"{margin}# ",
                subsequent_indent=f"{margin}# ",
            )
            plain = section.model_dump(mode="json")[name]
            style = None if isinstance(plain, dict | list) else False
            dumped = yaml.safe_dump({name: plain}, default_flow_style=style, width=10_000)
            yield from (f"{margin}{line}" for line in dumped.rstrip().splitlines())
        if indent == 0:
            yield ""


def _options(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, FieldInfo]]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _options(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", section.model_dump(mode="json")[name], field


def _allowed(field: FieldInfo) -> str:
    """Name the bounds of a number, in words."""
    bounds = {
        attribute: getattr(constraint, attribute)
        for constraint in field.metadata
        for attribute in ("ge", "gt", "le", "lt")
        if getattr(constraint, attribute, None) is not None
    }
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    said = ", ".join(f"{words[name]} {bounds[name]:g}" for name in words if name in bounds)
    return f" ({said})" if said else ""
