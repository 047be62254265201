"""Seven laboratories in one run: every label and sample comes out as it went in, or has a reason.

The cohorts (tests/cohorts.py) are made of tones that are louder in some stages than in others: a
channel, sign, unit, label or second that goes astray on its way is seen.
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from somnoflow.data.packed import PackedEpochs
from tests.cohorts import EPOCH, WRITERS, Cohort, Night
from tests.workflow.project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("every")]

RESULTS = "results/every"
CONFIG = f"""\
results: {RESULTS}
shards: 1
datasets: [{", ".join(WRITERS)}]
folders:
{{folders}}
signals:
  minimum_minutes: 2
split:
  folds: 2
"""
EVENTS = ("obstructive_apnea", "central_apnea", "mixed_apnea", "hypopnea", "desaturation",
          "arousal")  # fmt: skip
# Filters ring where the loudness changes, and the airflow's at both ends of the recording.
INNER = slice(500, 2500)
TOLERANCE = 0.03


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Cohort]]:
    base = tmp_path_factory.mktemp("laboratories")
    made = {}
    for name, write in WRITERS.items():
        (base / name).mkdir()
        made[name] = (base / name, write(base / name))
    return made


@pytest.fixture(scope="module")
def every(
    cohorts: Mapping[str, tuple[Path, Cohort]], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A finished run of `data` over all datasets."""
    project = Project.copy(
        tmp_path_factory.mktemp("every") / "project", configfile="config/every.yaml"
    )
    folders = "\n".join(f"  {name}: {folder}" for name, (folder, _) in cohorts.items())
    (project.folder / "config/every.yaml").write_text(CONFIG.format(folders=folders))
    for name, (folder, cohort) in cohorts.items():
        made = project.somnoflow("manifest", str(folder), "--dataset", name)
        assert made.returncode == 0, made.stderr
        not_taken = [line for line in made.stdout.splitlines() if line.startswith("not taken")]
        assert [line.rpartition(": ")[2] for line in not_taken] == list(cohort.left_out)
        cohort.spoil(folder)
    project.snakemake("data")
    return project


def table(project: Project, name: str) -> list[dict[str, str]]:
    with (project.folder / RESULTS / f"signals/{name}.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.mark.parametrize("dataset", WRITERS)
def test_inspect_knows_each_dataset(
    every: Project, cohorts: Mapping[str, tuple[Path, Cohort]], dataset: str
) -> None:
    told = every.somnoflow("inspect", str(cohorts[dataset][0]))
    assert told.returncode == 0, told.stderr
    first = told.stdout.splitlines()[0]
    known = f"This looks like {dataset}: " if dataset != "folder" else "No known dataset is like"
    assert first.startswith(known)


@pytest.mark.parametrize("dataset", WRITERS)
def test_each_recording_comes_out_or_has_its_reason(
    every: Project, cohorts: Mapping[str, tuple[Path, Cohort]], dataset: str
) -> None:
    _, cohort = cohorts[dataset]
    rows = [row for row in table(every, "rejected") if row["dataset"] == dataset]
    assert all(row["found"] and row["wanted"] and row["advice"] for row in rows)
    told = {row["file"]: row["problem"] for row in rows}
    assert told == dict(cohort.rejected) | dict.fromkeys(cohort.left_out, "not in the manifest")
    recordings = {row["recording"] for row in table(every, "recordings")
                  if row["dataset"] == dataset}  # fmt: skip
    assert recordings == set(cohort.nights)


@pytest.mark.parametrize("dataset", WRITERS)
def test_every_label_and_sample_is_where_it_was(
    every: Project, cohorts: Mapping[str, tuple[Path, Cohort]], dataset: str
) -> None:
    _, cohort = cohorts[dataset]
    part = pl.read_parquet(
        every.folder / RESULTS / f"signals/dataset={dataset}/shard=0/part-0.parquet"
    )
    cells = {row["recording"]: row for row in table(every, "recordings")
             if row["dataset"] == dataset}  # fmt: skip
    for name, night in cohort.nights.items():
        rows = part.filter(pl.col("recording") == name).sort("epoch")
        assert rows["stage"].to_list() == night.codes, name
        assert rows["onset_s"].to_list() == [
            night.onset + EPOCH * n for n in range(len(night.stages))
        ]
        assert {cell: cells[name][cell] for cell in night.cells} == dict(night.cells), name
        for event in EVENTS:
            found = rows[f"{event}_s"].to_list()
            if event not in night.events:
                assert set(found) == {None}, (name, event)
            else:
                seconds = [night.events[event].get(n, 0) for n in range(len(found))]
                assert found == pytest.approx(seconds), (name, event)
        require_signals(name, night, rows)


def require_signals(name: str, night: Night, rows: pl.DataFrame) -> None:
    """Compare each channel of each epoch with its tones."""
    for channel in night.channels:
        whole = [n for n in range(len(rows)) if n not in night.missing]
        gone = [n for n, quality in enumerate(rows[f"{channel}_quality"]) if quality & 1]
        assert gone == list(night.missing), (name, channel)
        scale = rows[f"{channel}_scale"][0]
        # Two epochs at each end are left out of what is filtered over more than one.
        compared = whole[2:-2] if channel == "AIRFLOW" else whole
        for epoch in compared:
            stored = rows[channel][epoch].to_numpy().astype(float) * scale
            time = rows["onset_s"][epoch] + np.arange(len(stored)) / 100
            wanted = night.channel(channel, time)
            error = np.abs(stored - wanted)[INNER].max() / np.abs(wanted).max()
            assert error < TOLERANCE, (name, channel, epoch, error)


def test_training_reads_the_same_from_all_datasets_together(
    every: Project, cohorts: Mapping[str, tuple[Path, Cohort]]
) -> None:
    indexes = sorted((every.folder / RESULTS / "packed").glob("*/*/index.json"))
    assert len(indexes) == len(WRITERS)
    packed = PackedEpochs(indexes, channels=["EOG_L", "EEG_C4"])
    nights = {(dataset, name): night for dataset, (_, cohort) in cohorts.items()
              for name, night in cohort.nights.items() if "EEG_C4" in night.channels}  # fmt: skip
    usable = packed.rows(scored=False)
    values = packed.read(usable)
    seen = set()
    for row, (_, eeg) in zip(packed.table[usable].to_dicts(), values, strict=True):
        seen.add((row["dataset"], row["recording"]))
        night = nights[row["dataset"], row["recording"]]
        assert row["stage"] == night.codes[row["epoch"]]
        time = row["onset_s"] + np.arange(packed.samples) / 100
        same = np.corrcoef(eeg[INNER], night.channel("EEG_C4", time)[INNER])[0, 1]
        assert same > 1 - TOLERANCE, row
    assert seen == {key for key, night in nights.items() if "EOG_L" in night.channels}


@pytest.mark.parametrize("dataset", WRITERS)
def test_channels_tsv_says_what_was_taken(
    every: Project, cohorts: Mapping[str, tuple[Path, Cohort]], dataset: str
) -> None:
    _, cohort = cohorts[dataset]
    rows = {(row["recording"], row["channel"]): row for row in table(every, "channels")
            if row["dataset"] == dataset and row["channel"]}  # fmt: skip
    for name, night in cohort.nights.items():
        taken = {channel for (recording, channel), row in rows.items()
                 if recording == name and not row["problem"]}  # fmt: skip
        doubted = {channel for recording, channel in cohort.remarks if recording == name}
        assert taken == set(night.channels) | doubted
        for channel in set(night.channels) - doubted:
            row = rows[name, channel]
            assert int(row["epochs"]) == len(night.stages)
            assert int(row["missing"]) == len(night.missing)
            assert row["remark"] in ("", "guessed from the label"), (name, channel)
    for key, remark in cohort.remarks.items():
        assert remark in rows[key]["remark"]


def test_both_nights_of_a_person_stay_together(every: Project) -> None:
    subjects = [row["subject"] for row in table(every, "recordings")]
    assert {one for one in subjects if subjects.count(one) > 1} == {
        "shhs/200001", "isruc/subgroupII-1", "boas/89", "bids/sub-01"
    }  # fmt: skip
    split = json.loads((every.folder / RESULTS / "split/split.json").read_text())
    for fold in split["folds"]:
        roles = [set(fold[role]) for role in ("train", "val", "test")]
        assert sum(map(len, roles)) == len(set.union(*roles))


def test_a_second_run_has_nothing_to_do(every: Project) -> None:
    assert every.planned("data") == {}


def test_another_scorer_and_a_part_of_a_dataset_reach_these_datasets_alone(
    every: Project, tmp_path: Path
) -> None:
    over = tmp_path / "over.yaml"
    over.write_text("scorings: {isruc: scorer2}\nsubsets: {shhs: shhs2}\n", encoding="utf-8")
    # Snakemake lays the second file over the first.
    jobs = every.planned("data", "--configfile", every.configfile, str(over))
    shards = dict.fromkeys(("fetch", "check", "parse", "pack"), 2)
    assert jobs == {**shards, "index": 1, "split": 1}
