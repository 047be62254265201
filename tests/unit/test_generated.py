"""Files made from definitions are what the definitions make today."""

import importlib
import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
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


@pytest.fixture(scope="module")
def pin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pin", ROOT / "envs/pin.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def packages_of(environment: str) -> list[str]:
    text = (ROOT / "envs" / environment).read_text(encoding="utf-8")
    return yaml.safe_load(text)["dependencies"][-1]["pip"]


def test_conda_environments_have_the_pins(pin: ModuleType) -> None:
    constraints = (ROOT / "envs/constraints.txt").read_text(encoding="utf-8")
    made = pin.environments(constraints)
    assert {path.name for path in (ROOT / "envs").glob("*.yaml")} == set(made)
    for file, text in made.items():
        assert (ROOT / "envs" / file).read_text(encoding="utf-8") == text, f"{file}: {ADVICE}"
        assert set(packages_of(file)) <= set(constraints.splitlines())
    assert "torch==2.13.0" in packages_of("somnoflow.yaml")
    names = {package.split("==")[0] for package in packages_of("somnoflow.yaml")}
    assert not names & {"pytest", "ruff", "mypy"}


def test_controller_is_small_and_can_send_jobs() -> None:
    names = {package.split("==")[0] for package in packages_of("controller.yaml")}
    assert {"snakemake", "snakemake-executor-plugin-slurm", "pydantic", "pyyaml"} <= names
    assert not names & {"torch", "mne", "lightning", "pytest"}


def test_image_installs_the_pins_and_names_no_version_itself() -> None:
    text = (ROOT / "envs/somnoflow.def").read_text(encoding="utf-8")
    assert re.search(r"^ +envs/constraints\.txt ", text, re.MULTILINE)
    installs = re.findall(r"pip install .*", text)
    assert installs
    assert all("--constraint constraints.txt" in line for line in installs)
    assert not re.findall(r"[=<>~]=", text)
    copied = re.findall(r"^    (\S+) /opt/somnoflow/", text, re.MULTILINE)
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_one_version_of_python_everywhere(pin: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    image = (ROOT / "envs/somnoflow.def").read_text(encoding="utf-8")
    assert project["project"]["requires-python"] == f">={pin.PYTHON}"
    assert project["tool"]["mypy"]["python_version"] == pin.PYTHON
    assert f"\nFrom: python:{pin.PYTHON}-slim\n" in image


def test_every_rule_takes_its_software_as_the_others_do() -> None:
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        jobs = text.count(" -m somnoflow.commands.")
        assert jobs
        assert text.count('    conda:\n        "../../envs/somnoflow.yaml"\n') == jobs, path.name
        assert text.count("    envmodules:\n        *software.modules,\n") == jobs, path.name


def test_licences_are_those_of_the_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "envs")
    module = importlib.import_module("licences")
    constraints = (ROOT / "envs/constraints.txt").read_text(encoding="utf-8")
    # Raises where a package says no licence.
    assert (ROOT / "docs/licences.md").read_text(encoding="utf-8") == module.page(constraints), (
        "run: python envs/licences.py"
    )
    found = {name: said for rows in module.licences(constraints).values()
             for name, (_, said) in rows.items()}  # fmt: skip
    assert set(found) == set(re.findall(r"^([\w.-]+)==", constraints, re.M))
    assert not [name for name, said in found.items() if not said or "unknown" in said.lower()]


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
