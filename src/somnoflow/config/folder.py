"""Folders of recordings, which the configuration may name by environment variables."""

import os
import re
from pathlib import Path

from somnoflow.config.base import ConfigError


def expand(named: str) -> Path:
    """Fill in the environment variables of a folder's name.

    Raises
    ------
    ConfigError
        When a variable is not set.
    """
    for variable in re.findall(r"\$\{?(\w+)\}?", named):
        if variable not in os.environ:
            raise ConfigError(
                f"the folder '{named}' needs the environment variable {variable}, which is not "
                f"set. Set it first: export {variable}=/folder/of/the/recordings"
            )
    return Path(os.path.expandvars(named)).expanduser()
