"""What a profile says of the software on the nodes."""

from pathlib import Path

import pytest
import yaml

from somnoflow.config.base import ConfigError
from somnoflow.software import Software, take_software

PROFILES = sorted((Path(__file__).parents[2] / "profiles").glob("*/profile.yaml"))


def test_keys_are_taken_out_of_the_configuration() -> None:
    config = {"results": "r", "modules": "python/3.11 cuda/12.9", "image": "/apps/s.sif"}
    found = take_software(config, methods={"env-modules", "apptainer"})
    assert found == Software(modules=("python/3.11", "cuda/12.9"), image="/apps/s.sif")
    assert config == {"results": "r"}


@pytest.mark.parametrize("config", [{}, {"modules": None, "image": ""}])
def test_nothing_is_said_on_one_machine(config: dict[str, object]) -> None:
    assert take_software(config, methods={"conda"}) == Software(modules=(), image=None)
    assert config == {}


@pytest.mark.parametrize(
    ("method", "other", "key"),
    [("env-modules", "image", "modules"), ("apptainer", "modules", "image")],
)
def test_way_without_its_key_is_an_error(method: str, other: str, key: str) -> None:
    with pytest.raises(ConfigError, match=f"found {method} without '{key}'.*--config {key}="):
        take_software({other: "x"}, methods={method})


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.parent.name)
def test_the_same_results_whatever_brings_the_software(profile: Path) -> None:
    """A run that goes on elsewhere, with other names of modules, must not begin anew."""
    settings = yaml.safe_load(profile.read_text(encoding="utf-8"))
    assert set(settings["rerun-triggers"]) == {"mtime", "params", "input", "code"}
