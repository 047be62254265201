"""Read dataset.yaml."""

from pathlib import Path

import yaml

from somnoflow.config.base import ConfigError
from somnoflow.config.dataset import Dataset
from somnoflow.config.root import validate


def read_dataset(folder: Path) -> Dataset:
    """Read `dataset.yaml` of a folder of `workflow/datasets`.

    Raises
    ------
    ConfigError
        When there is no such file, it is not YAML, or a value in it is wrong.
    """
    path = folder / "dataset.yaml"
    if not path.is_file():
        known = sorted(other.parent.name for other in folder.parent.glob("*/dataset.yaml"))
        raise ConfigError(
            f"no dataset '{folder.name}': {path} does not exist. Known datasets: "
            f"{', '.join(known) or '(none)'}. docs/datasets.md shows how to add one"
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    dataset = validate(Dataset, values, what=str(path))
    if dataset.name != folder.name:
        raise ConfigError(f"{path} has the name '{dataset.name}', wanted '{folder.name}'")
    return dataset
