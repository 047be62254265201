"""Read config.yaml and what is laid over it, as Snakemake does."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from somnoflow.config.base import ConfigError

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
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
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
