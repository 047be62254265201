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
        When a variable is not set or empty, or `~name` is no user.
    """
    for variable in re.findall(r"\$\{?(\w+)\}?", named):
        # An empty variable would make the current folder, or the root, the dataset's.
        if not os.environ.get(variable):
            raise ConfigError(
                f"the folder '{named}' needs the environment variable {variable}, which is not "
                f"set. Set it first: export {variable}=/folder/of/the/recordings"
            )
    try:
        return Path(os.path.expandvars(named)).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"the folder '{named}' cannot be found: {error}") from error
