"""The cohort: rows of all shards, what was turned down, and when that stops the run."""

import json
from pathlib import Path
from typing import Any

import pytest

from somnoflow.commands.check import COLUMNS as PROBLEM_COLUMNS
from somnoflow.commands.index import index
from somnoflow.config.index import IndexSlice
from somnoflow.data.cohort import RECORDING_COLUMNS, gather
from somnoflow.io.digest import sha256_file
from somnoflow.io.table import read_table, write_table

REASON = {"problem": "empty file", "found": "0 bytes", "wanted": "an EDF file", "advice": "Copy it"}


def recording(name: str, subject: str, **changes: Any) -> dict[str, Any]:
    stages = {stage: 2 for stage in ("W", "N1", "N2", "N3", "REM")}
    return {
        "subject": subject, "recording": name, "night": 1, "start": "", "hours": 0.1, "epochs": 12,
        "scored": 10, "unscored": 2, **stages, "flat": 0,
        "lights_off_s": "", "lights_on_s": "", "sleep_minutes": "", "ahi": "",
        "usable_stages": stages, "notes": "",
        **changes,
    }  # fmt: skip


def part(
    folder: Path,
    *rows: dict[str, Any],
    shard: int = 0,
    rejected: tuple[str, ...] = (),
    dataset: str = "lab",
) -> Path:
    path = folder / f"signals/dataset={dataset}/shard={shard}/index.json"
    path.parent.mkdir(parents=True)
    content = {
        "dataset": dataset, "shard": shard, "simulated": False, "part": {"sha256": f"{shard}" * 64},
        "recordings": rows,
        "channels": [{"recording": row["recording"], "channel": "ECG"} for row in rows],
        "rejected": [{"file": f"{name}.edf", "recording": name, **REASON} for name in rejected],
    }  # fmt: skip
    path.write_text(json.dumps(content))
    return path


def problems(folder: Path, *rows: dict[str, str], shard: int = 0, dataset: str = "lab") -> Path:
    path = folder / f"check/dataset={dataset}/shard={shard}/problems.tsv"
    path.parent.mkdir(parents=True)
    write_table(path, rows, columns=PROBLEM_COLUMNS)
    return path


def problem(file: str, stage: str) -> dict[str, str]:
    return {"stage": stage, "file": file, "recording": "", **REASON}


def test_rows_of_all_shards_are_sorted_and_keyed_by_dataset(tmp_path: Path) -> None:
    parts = [
        part(tmp_path, recording("n3", "S3"), recording("n1", "S1"), shard=1),
        part(tmp_path, recording("n2", "S2"), shard=0),
        part(tmp_path, recording("n1", "S1"), dataset="abc"),
    ]
    cohort = gather(parts, [], strict=False)
    assert [row["subject"] for row in cohort.recordings] == ["abc/S1", "lab/S1", "lab/S2", "lab/S3"]
    assert list(cohort.recordings[0]) == list(RECORDING_COLUMNS)
    assert [row["recording"] for row in cohort.index["recordings"]] == ["n1", "n1", "n2", "n3"]
    assert cohort.index["recordings"][0]["usable_stages"]["W"] == 2
    assert [(one["dataset"], one["shard"]) for one in cohort.index["parts"]] == [
        ("abc", 0), ("lab", 0), ("lab", 1)
    ]  # fmt: skip
    assert cohort.index["parts"][2]["index_sha256"] == sha256_file(parts[0])
    assert gather(parts[::-1], [], strict=False) == cohort


def test_rejections_of_check_and_parse_are_one_sorted_table(tmp_path: Path) -> None:
    parts = [part(tmp_path, recording("n1", "S1"), rejected=("b",))]
    tables = [problems(tmp_path, problem("c.edf", "check"), problem("a.bin", "extra"))]
    rejected = gather(parts, tables, strict=False).rejected
    assert [(row["dataset"], row["file"], row["stage"]) for row in rejected] == [
        ("lab", "a.bin", "extra"), ("lab", "b.edf", "parse"), ("lab", "c.edf", "check")
    ]  # fmt: skip


def test_an_extra_file_of_two_tables_is_one_row(tmp_path: Path) -> None:
    tables = [problems(tmp_path, problem("a.bin", "extra"), shard=shard) for shard in (0, 1)]
    cohort = gather([part(tmp_path, recording("n1", "S1"))], tables, strict=False)
    assert [row["file"] for row in cohort.rejected] == ["a.bin"]


def test_strict_names_each_rejection(tmp_path: Path) -> None:
    parts = [part(tmp_path, recording("n1", "S1"), rejected=("b",))]
    tables = [problems(tmp_path, problem("c.edf", "check"), problem("a.bin", "extra"))]
    with pytest.raises(ValueError, match="strict: 2 rejections") as caught:
        gather(parts, tables, strict=True)
    lines = str(caught.value).splitlines()
    assert lines[1:] == [
        f"  {name}.edf: empty file; found 0 bytes, wanted an EDF file. Copy it" for name in "bc"
    ]


def test_strict_does_not_mind_extra_files(tmp_path: Path) -> None:
    parts = [part(tmp_path, recording("n1", "S1"))]
    tables = [problems(tmp_path, problem("a.bin", "extra"))]
    assert len(gather(parts, tables, strict=True).rejected) == 1


def test_recordings_of_one_name_in_a_dataset_are_refused(tmp_path: Path) -> None:
    parts = [part(tmp_path, recording("n1", f"S{shard}"), shard=shard) for shard in (0, 1)]
    with pytest.raises(ValueError, match="recordings with the same name: lab/n1"):
        gather(parts, [], strict=False)


def test_no_usable_recording_says_why(tmp_path: Path) -> None:
    parts = [part(tmp_path, rejected=tuple("abcdefg"))]
    with pytest.raises(ValueError, match="no recording is usable") as caught:
        gather(parts, [problems(tmp_path, problem("0.bin", "extra"))], strict=False)
    assert len(str(caught.value).splitlines()) == 6
    assert "the first 5 of 7 files" in str(caught.value)
    assert "a.edf: empty file; found 0 bytes" in str(caught.value)
    with pytest.raises(ValueError, match="the manifests name no recording"):
        gather([], [], strict=False)


def test_the_command_writes_tables_even_without_rows(tmp_path: Path) -> None:
    outputs = {name: tmp_path / name for name in ("index", "recordings", "rejected", "channels")}
    index(
        parts=[part(tmp_path, recording("n1", "S1", notes='a\t"b"'))],
        problems=[problems(tmp_path)],
        cfg=IndexSlice(shards={"lab": [0]}, strict=True),
        **outputs,
    )
    assert read_table(outputs["rejected"]) == []
    assert read_table(outputs["recordings"])[0]["notes"] == 'a\t"b"'
    assert read_table(outputs["channels"])[0]["channel"] == "ECG"
    assert json.loads(outputs["index"].read_text())["parts"][0]["dataset"] == "lab"
