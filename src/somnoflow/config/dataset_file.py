"""Read dataset.yaml."""

from pathlib import Path

from somnoflow.config.base import ConfigError
from somnoflow.config.dataset import Dataset
from somnoflow.config.plain_yaml import read_plain_yaml
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
    dataset = validate(Dataset, read_plain_yaml(path), what=str(path))
    if dataset.name != folder.name:
        raise ConfigError(f"{path} has the name '{dataset.name}', wanted '{folder.name}'")
    return dataset
