"""The clusters' profiles know the rules there are, and change nothing else than where they run."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLUSTERS = ("slurm", "slurm-test", "lsf", "kubernetes")
RULE = re.compile(r"^rule (\w+):$(.*?)(?=^rule |\Z)", re.MULTILINE | re.DOTALL)
# What decides whether a job runs at all has to be the same everywhere.
RERUNS = ("max-checksum-file-size", "rerun-triggers", "rerun-incomplete")


def profile(name: str) -> dict[str, Any]:
    text = (ROOT / "profiles" / name / "profile.yaml").read_text(encoding="utf-8")
    read = yaml.safe_load(text)
    assert isinstance(read, dict)
    return read


def rules() -> dict[str, str]:
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk"))
    return {name: body for text in texts for name, body in RULE.findall(text)}


@pytest.mark.parametrize("name", CLUSTERS)
def test_named_rules_exist(name: str) -> None:
    read = profile(name)
    assert {*read["groups"], *read["set-resources"]} <= set(rules())
    assert set(read.get("group-components", ())) <= set(read["groups"].values())


@pytest.mark.parametrize("name", CLUSTERS)
def test_all_rules_that_use_a_gpu_are_told_about_it(name: str) -> None:
    using = {rule for rule, body in rules().items() if re.search(r"^ +gpu=", body, re.MULTILINE)}
    settings = profile(name)["set-resources"]
    assert using
    assert using <= set(settings)
    (alike,) = {tuple(settings[rule].items()) for rule in using}
    assert alike


@pytest.mark.parametrize("name", CLUSTERS)
def test_reruns_are_those_of_one_machine(name: str) -> None:
    here, there = profile("default"), profile(name)
    assert {key: there[key] for key in RERUNS} == {key: here[key] for key in RERUNS}


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_gpu_and_no_gpu_do_not_share_a_job(name: str) -> None:
    """Who waits for a GPU and holds it should use it."""
    read = profile(name)
    using = {rule for rule, body in rules().items() if re.search(r"^ +gpu=", body, re.MULTILINE)}
    for group in set(read["groups"].values()):
        members = {rule for rule, its in read["groups"].items() if its == group}
        assert not members & using or members <= using
