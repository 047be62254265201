"""YAML as it is wanted here: plain values, each key once, and nothing longer than it looks.

Of keys that stand twice YAML's own reader takes the last without a word, and a label would lose its
meaning. Aliases make a small file a large one: ten lines of ten each are 10^10 values.
"""

from pathlib import Path
from typing import Any

import yaml

from somnoflow.config.base import ConfigError


def read_plain_yaml(path: Path, *, anchors: bool = False) -> Any:
    """Read a YAML file that holds mappings, lists, texts and numbers.

    Parameters
    ----------
    path
        The file.
    anchors
        Whether values may be named and used again.

    Raises
    ------
    ConfigError
        When it is not YAML, has a key twice, is nested too deeply or has anchors.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return yaml.load(text, Loader=_Named if anchors else _Plain)  # noqa: S506 - both are safe
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML as it is wanted here: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is not YAML as it is wanted here: nested too deeply") from error


class _Named(yaml.SafeLoader):
    """Plain values, each key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"found '{key.value}' twice, wanted each key once", key.start_mark
                )
            if name is not None:
                seen.add(name)
        return super().construct_mapping(node, deep=deep)


class _Plain(_Named):
    """The same without anchors."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if getattr(event, "anchor", None) is not None:
            raise yaml.composer.ComposerError(
                None, None, f"found '{event.anchor}', wanted values without anchors",
                event.start_mark,
            )  # fmt: skip
        return super().compose_node(parent, index)
