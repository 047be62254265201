"""Which software the jobs find on the nodes, as a profile says it.

A profile is the one file that a cluster's user edits, and all that it can hand to the Snakefile is
`config`. Its two keys are taken out here: they are no part of the science.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from somnoflow.config.base import ConfigError


@dataclass(frozen=True)
class Software:
    """Names of environment modules, and the container image; nothing where neither is used."""

    modules: tuple[str, ...]
    image: str | None


def take_software(config: dict[str, Any], *, methods: Collection[str]) -> Software:
    """Take the keys `modules` and `image` out of `config`.

    Parameters
    ----------
    config
        What Snakemake has read: configuration files, profile and command line.
    methods
        Ways in which Snakemake is to bring software to the jobs: `env-modules`, `apptainer`,
        `conda`.

    Raises
    ------
    ConfigError
        When a way is to be used and its key is not there: jobs would take whatever Python the node
        has.
    """
    named = {key: str(config.pop(key, None) or "") for key in ("modules", "image")}
    for method, key, example in (
        ("env-modules", "modules", "somnoflow/0.1"),
        ("apptainer", "image", "/apps/somnoflow.sif"),
    ):
        if method in methods and not named[key]:
            raise ConfigError(
                f"software-deployment-method: found {method} without '{key}', wanted e.g. "
                f"`config: {{{key}: {example}}}` in the profile. A --config on the command line "
                f"replaces that of the profile: repeat it there, --config {key}={example}"
            )
    return Software(modules=tuple(named["modules"].split()), image=named["image"] or None)
