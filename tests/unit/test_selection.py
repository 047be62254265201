"""Subsets and other scorings: which rows of a manifest a configuration uses."""

from pathlib import Path
from typing import Any

import pytest
from tests.laboratory import LAB

from somnoflow.commands.fetch import fetch
from somnoflow.config.base import ConfigError
from somnoflow.io.manifest import Row, read_manifest, write_manifest
from somnoflow.plan import Plan

DATASET = (
    LAB
    + r"""files:
  signal: (?P<subject>[AB]\d)\.edf
  stages: (?P<subject>[AB]\d)-first\.txt
reading:
  channels: {EEG: EEG_C4}
  stages: {format: codes, stages: {0: W, 2: N2}}
subsets:
  pilot: {title: The first nights, files: 'A.*'}
  empty: {title: Nothing, files: 'Z.*'}
scorings:
  second:
    title: The second scorer
    files: (?P<subject>[AB]\d)-second\.txt
    reading: {format: codes, stages: {0: W, 4: N2}}
"""
)


def plan(folder: Path, **changes: Any) -> Plan:
    lab = folder / "datasets" / "lab"
    lab.mkdir(parents=True, exist_ok=True)
    (lab / "dataset.yaml").write_text(DATASET)
    rows = [
        Row(f"{subject}{end}", 1, "0" * 64, subject, 1, role)
        for subject in ("A1", "A2", "B1")
        for end, role in ((".edf", "signal"), ("-first.txt", "stages"), ("-second.txt", "stages"))
    ]
    write_manifest(lab / "manifest.tsv", rows)
    values = {"datasets": ["lab"], "folders": {"lab": str(folder)}, "shards": 1, **changes}
    return Plan(values, datasets=folder / "datasets")


def taken(folder: Path, chosen: Plan) -> list[str]:
    """Give the files of the manifest that the fetch job writes for its shard."""
    cfg = chosen.slice("fetch", {"dataset": "lab", "shard": "0"})
    fetch(
        manifest=folder / "datasets/lab/manifest.tsv",
        folder=folder,
        shard_manifest=folder / "shard.tsv",
        cfg=cfg,
        threads=1,
        mb_per_s=0,
    )
    return [row.file for row in read_manifest(folder / "shard.tsv")]


def test_a_missing_manifest_says_how_to_write_it_and_get_the_recordings(tmp_path: Path) -> None:
    plan(tmp_path)
    (tmp_path / "datasets/lab/manifest.tsv").unlink()
    values = {"datasets": ["lab"], "folders": {"lab": str(tmp_path)}}
    with pytest.raises(ConfigError, match=r"somnoflow manifest FOLDER --dataset lab\. How .*: ask"):
        Plan(values, datasets=tmp_path / "datasets")


def test_all_recordings_and_the_first_scoring_are_used_unless_said(tmp_path: Path) -> None:
    chosen = plan(tmp_path)
    assert taken(tmp_path, chosen) == [
        f"{subject}{end}" for subject in ("A1", "A2", "B1") for end in ("-first.txt", ".edf")
    ]
    reading = chosen.slice("parse", {"dataset": "lab"}).reading
    assert reading.stages.stages == {"0": "W", "2": "N2"}


def test_a_subset_and_another_scoring_are_chosen_by_name(tmp_path: Path) -> None:
    chosen = plan(tmp_path, subsets={"lab": "pilot"}, scorings={"lab": "second"})
    assert taken(tmp_path, chosen) == ["A1-second.txt", "A1.edf", "A2-second.txt", "A2.edf"]
    reading = chosen.slice("parse", {"dataset": "lab"}).reading
    assert reading.stages.stages == {"0": "W", "4": "N2"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subsets": {"lab": "Pilot"}}, "subsets.lab: found 'Pilot', wanted one of: pilot, empty"),
        ({"scorings": {"lab": "third"}}, "scorings.lab: found 'third', wanted one of: second"),
        ({"subsets": {"lob": "pilot"}}, "subsets.lob: no such dataset. Known here: lab"),
        ({"subsets": {"lab": "empty"}}, "has no row of lab's empty"),
    ],
)
def test_unknown_and_empty_choices_are_errors(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(tmp_path, **changes)
    assert message in str(caught.value)
