"""Read config.yaml and what is laid over it, as Snakemake does."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from somnoflow.config.base import ConfigError
from somnoflow.config.plain_yaml import read_plain_yaml

DEFAULT = Path("config.yaml")


def load_values(overlays: Iterable[Path] = (), *, default: Path = DEFAULT) -> dict[str, Any]:
    """Read `default` and lay `overlays` over it: sections are merged, lists are replaced.

    Raises
    ------
    ConfigError
        When a file is missing, not YAML or not a mapping.
    """
    values: dict[str, Any] = {}
    for path in (default, *overlays):
        values = _merge(values, _read(path))
    return values


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(
            f"{path} does not exist. Wanted: a configuration; run this in the project's folder"
        )
    values = read_plain_yaml(path, anchors=True) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}, wanted sections and values")
    return values


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        known = merged.get(key, {})
        if not isinstance(value, Mapping):
            merged[key] = value
        elif isinstance(known, Mapping):
            merged[key] = _merge(known, value)
        elif value:  # over a plain value Snakemake lays a section, but not an empty one
            merged[key] = _merge({}, value)
    return merged
