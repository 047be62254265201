"""Files made from definitions are what the definitions make today."""

import importlib.util
import json
from pathlib import Path

import yaml

from somnoflow.config.documents import DOCUMENTS, document
from somnoflow.config.root import Config, read_config
from somnoflow.paths import Paths

ROOT = Path(__file__).parents[2]
FILES = {"yaml": "config.yaml", "schema": "config/schema.json", "markdown": "docs/config.md"}
ADVICE = "run: make generated"


def test_documents_are_up_to_date() -> None:
    assert set(FILES) == set(DOCUMENTS)
    for name, file in FILES.items():
        assert (ROOT / file).read_text(encoding="utf-8") == document(name), f"{file}: {ADVICE}"


def test_config_yaml_holds_all_defaults() -> None:
    values = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    assert read_config(values) == Config() == read_config({})
    assert values == Config().model_dump(mode="json")


def test_schema_forbids_unknown_keys() -> None:
    schema = json.loads(document("schema"))
    objects = [schema, *schema["$defs"].values()]
    assert all(found["additionalProperties"] is False for found in objects)


def test_every_option_is_described() -> None:
    for line in document("markdown").splitlines():
        if line.startswith("| `"):
            assert line.split("|")[3].strip(), line


def test_conda_environment_has_the_pins() -> None:
    spec = importlib.util.spec_from_file_location("pin", ROOT / "envs/pin.py")
    assert spec is not None
    assert spec.loader is not None
    pin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pin)
    constraints = (ROOT / "envs/constraints.txt").read_text(encoding="utf-8")
    assert (ROOT / "envs/somnoflow.yaml").read_text(encoding="utf-8") == pin.environment(
        constraints
    )
    packages = yaml.safe_load(pin.environment(constraints))["dependencies"][-1]["pip"]
    assert "torch==2.13.0" in packages
    assert not {package.split("==")[0] for package in packages} & {"pytest", "ruff", "mypy"}


def test_ready_configs_are_valid() -> None:
    for path in sorted((ROOT / "config").glob("*.yaml")):
        read_config(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_every_artefact_is_in_the_docs() -> None:
    text = (ROOT / "docs/outputs.md").read_text(encoding="utf-8")
    short = {
        "dataset": "<d>", "shard": "<k>", "fold": "<f>", "channel": "<c>", "head": "<h>",
        "encoder": "<e>", "method": "<m>", "tuning": "<t>", "labels": "<l>", "table": "<table>",
        "task": "<task>",
    }  # fmt: skip
    patterns = [
        pattern
        for name, pattern in vars(Paths("results")).items()
        if name not in {"results", "raw_folder", "raw_state", "resume", "tensorboard"}
    ]
    assert len(patterns) > 20
    for pattern in patterns:
        assert f"`{pattern.format(**short).removeprefix('results/')}`" in text
