"""run.json is written wherever a job runs."""

import json
from pathlib import Path

import pytest

from somnoflow import provenance
from somnoflow.provenance import Run


def test_a_node_may_have_neither_git_nor_the_package_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conda environment of the rules has the pins, and the code comes from the checkout."""
    monkeypatch.setattr(provenance, "PACKAGES", ("no-such-package", "numpy"))
    monkeypatch.setenv("PATH", str(tmp_path))
    made = {"table": tmp_path / "table.tsv"}
    made["table"].write_text("1\n")
    provenance._git_commit.cache_clear()
    run = Run.start(module="somnoflow.commands.split", arguments={}, inputs={})
    run.finish(outputs=made, written=made)
    provenance._git_commit.cache_clear()
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["versions"]["no-such-package"] == "not installed"
    assert record["versions"]["numpy"]
    assert record["git_commit"] is None
