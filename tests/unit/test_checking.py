"""Files against their manifest: each problem once, with its reason; the rest goes on."""

import csv
import hashlib
import json
import os
from pathlib import Path

import pytest

from somnoflow.commands.check import check
from somnoflow.config.dataset import CheckSlice
from somnoflow.io.checking import Checked, check_files, extra_files
from somnoflow.io.manifest import Row, shard_of, write_manifest


def place(folder: Path, file: str, *, subject: str = "S1", night: int = 1, role: str) -> Row:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    content = f"{file} of {subject}".encode()
    path.write_bytes(content)
    return Row(file, len(content), hashlib.sha256(content).hexdigest(), subject, night, role)


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    return [
        place(tmp_path, f"{subject}{end}", subject=subject, role=role)
        for subject in ("S1", "S2")
        for end, role in ((".edf", "signal"), (".txt", "stages"), ("_e.tsv", "events"))
    ]


def run(rows: list[Row], folder: Path, *, stages_wanted: bool = True) -> Checked:
    checked = check_files(rows, folder=folder, stages_wanted=stages_wanted, threads=2)
    for problem in checked.problems:
        assert all(problem[name] for name in ("file", "problem", "found", "wanted", "advice"))
    return checked


def problems(checked: Checked) -> list[tuple[str, str]]:
    return [(problem["file"], problem["problem"]) for problem in checked.problems]


def test_good_files_become_recordings(tmp_path: Path, rows: list[Row]) -> None:
    checked = run(rows, tmp_path)
    assert checked.problems == []
    assert checked.recordings[0] == {
        "recording": "S1", "subject": "S1", "night": 1, "signal": "S1.edf", "stages": "S1.txt",
        "events": "S1_e.tsv",
    }  # fmt: skip
    assert [recording["subject"] for recording in checked.recordings] == ["S1", "S2"]
    assert checked.observed == {row.file: row.sha256 for row in rows}


def test_files_to_ignore_are_no_extra_files(tmp_path: Path, rows: list[Row]) -> None:
    (tmp_path / "notes.md").write_text("")
    (tmp_path / "left.edf").write_text("")
    (tmp_path / "results").mkdir()
    write_manifest(tmp_path / "manifest.tsv", rows)
    cfg = CheckSlice(
        dataset="lab", folder=str(tmp_path), shard=0, shards=1, stages_wanted=True,
        ignore=r"notes\.md|manifest\.tsv|problems\.tsv|results/.*",
    )  # fmt: skip
    check(
        shard_manifest=tmp_path / "manifest.tsv", manifest=tmp_path / "manifest.tsv",
        recordings=tmp_path / "results/recordings.json", problems=tmp_path / "problems.tsv",
        state=tmp_path / "results/lab/state/state.json", threads=1, cfg=cfg,
    )  # fmt: skip
    with (tmp_path / "problems.tsv").open() as file:
        assert [row["file"] for row in csv.DictReader(file, delimiter="\t")] == ["left.edf"]


def test_a_missing_file_costs_its_night_only(tmp_path: Path, rows: list[Row]) -> None:
    (tmp_path / "S1.edf").unlink()
    checked = run(rows, tmp_path)
    assert problems(checked) == [("S1.edf", "missing file")]
    assert [recording["recording"] for recording in checked.recordings] == ["S2"]
    assert checked.problems[0]["recording"] == "S1"
    assert checked.observed["S1.edf"] == "missing"


def test_wrong_size_and_wrong_content(tmp_path: Path, rows: list[Row]) -> None:
    (tmp_path / "S1.edf").write_bytes(b"short")
    content = (tmp_path / "S2.edf").read_bytes()
    (tmp_path / "S2.edf").write_bytes(content[::-1])
    checked = run(rows, tmp_path)
    assert problems(checked) == [("S1.edf", "wrong size"), ("S2.edf", "wrong checksum")]
    assert checked.problems[0]["found"] == "5 bytes"
    assert rows[3].sha256 in checked.problems[1]["wanted"]
    assert checked.recordings == []


def test_an_unknown_size_is_not_compared(tmp_path: Path, rows: list[Row]) -> None:
    unsized = [Row(row.file, None, row.sha256, row.subject, row.night, row.role) for row in rows]
    assert run(unsized, tmp_path).problems == []


@pytest.fixture
def locked(tmp_path: Path, rows: list[Row]) -> list[Row]:
    (tmp_path / "S1.edf").chmod(0)
    return rows


@pytest.mark.usefixtures("locked", "common_user")
def test_an_unreadable_file(tmp_path: Path, rows: list[Row]) -> None:
    assert problems(run(rows, tmp_path)) == [("S1.edf", "unreadable file")]


def test_a_folder_in_the_place_of_a_file(tmp_path: Path, rows: list[Row]) -> None:
    (tmp_path / "S1.edf").unlink()
    (tmp_path / "S1.edf").mkdir()
    assert problems(run(rows, tmp_path)) == [("S1.edf", "unreadable file")]


def test_two_recordings_of_one_subject_and_night(tmp_path: Path, rows: list[Row]) -> None:
    rows.append(place(tmp_path, "again.edf", subject="S1", role="signal"))
    checked = run(rows, tmp_path)
    assert [problem["problem"] for problem in checked.problems] == [
        "two recordings of the same subject and night"
    ]
    assert "S1.edf" in checked.problems[0]["found"]
    assert "again.edf" in checked.problems[0]["found"]
    assert [recording["recording"] for recording in checked.recordings] == ["S2"]


def test_two_nights_of_one_subject_are_two_recordings(tmp_path: Path) -> None:
    rows = [
        place(tmp_path, f"night{night}/psg.edf", night=night, role="signal") for night in (1, 2)
    ]
    checked = run(rows, tmp_path, stages_wanted=False)
    assert [recording["recording"] for recording in checked.recordings] == [
        "night1_psg", "night2_psg"
    ]  # fmt: skip


def test_a_missing_annotation(tmp_path: Path, rows: list[Row]) -> None:
    unlabelled = [row for row in rows if row.file != "S1.txt"]
    checked = run(unlabelled, tmp_path)
    assert problems(checked) == [("S1.edf", "annotation missing")]
    kept = run(unlabelled, tmp_path, stages_wanted=False)
    assert kept.problems == []
    assert kept.recordings[0]["stages"] is None


@pytest.mark.parametrize(
    ("file", "wanted"),
    [("S1_e.tsv", "events file not usable"), ("S1.txt", "annotation missing")],
)
def test_a_spoilt_annotation_is_not_dropped_silently(
    tmp_path: Path, rows: list[Row], file: str, wanted: str
) -> None:
    (tmp_path / file).write_bytes(b"something quite different")
    checked = run(rows, tmp_path)
    assert [problem["problem"] for problem in checked.problems] == ["wrong size", wanted]
    assert [recording["recording"] for recording in checked.recordings] == ["S2"]


def test_companions_go_with_their_recording(tmp_path: Path, rows: list[Row]) -> None:
    for end in (".eeg", ".vmrk"):
        rows.append(place(tmp_path, f"S1{end}", subject="S1", role="companion"))
    checked = run(rows, tmp_path)
    assert problems(checked) == []
    assert set(checked.recordings[0]) == set(checked.recordings[1])
    (tmp_path / "S1.vmrk").unlink()
    checked = run(rows, tmp_path)
    assert problems(checked) == [
        ("S1.vmrk", "missing file"), ("S1.edf", "companion file not usable")
    ]  # fmt: skip
    assert [recording["recording"] for recording in checked.recordings] == ["S2"]
    alone = run([row for row in rows if row.role == "companion"][:1], tmp_path)
    assert problems(alone) == [("S1.eeg", "files without a recording")]


def test_two_annotations_and_an_annotation_alone(tmp_path: Path, rows: list[Row]) -> None:
    rows.append(place(tmp_path, "other.txt", subject="S1", role="stages"))
    rows.append(place(tmp_path, "S3.txt", subject="S3", role="stages"))
    assert [problem for _, problem in problems(run(rows, tmp_path))] == [
        "two stages files of the same subject and night", "files without a recording"
    ]  # fmt: skip


def test_extra_files_are_rows_of_their_own() -> None:
    found = extra_files(["a", "b", "bad\udcff", "known"], known={"known"})
    assert [(row["file"], row["stage"]) for row in found] == [
        ("a", "extra"), ("b", "extra"), ("bad\\xff", "extra")
    ]  # fmt: skip


def command(
    tmp_path: Path, rows: list[Row], *, shards: int, folder: Path, made: Path
) -> dict[int, list[dict[str, str]]]:
    """Run `check` for each shard that has subjects; give its problems."""
    manifest = tmp_path / "manifest.tsv"
    write_manifest(manifest, rows)
    found = {}
    for shard in sorted({shard_of("lab", row.subject, shards) for row in rows}):
        own = [row for row in rows if shard_of("lab", row.subject, shards) == shard]
        place_of = made / f"shard={shard}"
        place_of.mkdir(parents=True, exist_ok=True)
        write_manifest(place_of / "manifest.tsv", own)
        check(
            shard_manifest=place_of / "manifest.tsv",
            manifest=manifest,
            recordings=place_of / "recordings.json",
            problems=place_of / "problems.tsv",
            state=place_of / "state.json",
            threads=1,
            cfg=CheckSlice(
                dataset="lab", folder=str(folder), shard=shard, shards=shards, stages_wanted=True
            ),
        )
        with (place_of / "problems.tsv").open(newline="") as file:
            found[shard] = list(csv.DictReader(file, delimiter="\t"))
    return found


@pytest.mark.parametrize("shards", [1, 3, 50])
def test_extra_files_are_reported_by_the_first_shard_that_has_subjects(
    tmp_path: Path, shards: int
) -> None:
    folder = tmp_path / "data"
    rows = [
        place(folder, f"{subject}.{end}", subject=subject, role=role)
        for subject in ("S1", "S2", "S3", "S4")
        for end, role in (("edf", "signal"), ("txt", "stages"))
    ]
    extra = [f"extra/{number}.bin" for number in range(20)]
    for name in extra:
        place(folder, name, role="signal")
    found = command(tmp_path, rows, shards=shards, folder=folder, made=tmp_path / "made")
    assert [row["file"] for row in found[min(found)]] == sorted(extra)
    assert not any(part for shard, part in found.items() if shard != min(found))


def test_what_the_workflow_writes_beside_downloads_is_not_extra(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    rows = [place(folder, "S1.edf", role="signal"), place(folder, "S1.txt", role="stages")]
    place(folder, "stray.edf", role="signal")
    found = command(tmp_path, rows, shards=2, folder=folder, made=folder)
    assert [row["file"] for part in found.values() for row in part] == ["stray.edf"]


def test_a_name_that_is_no_text_does_not_stop_the_check(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    rows = [place(folder, "S1.edf", role="signal"), place(folder, "S1.txt", role="stages")]
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/stray\xff.edf")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    found = command(tmp_path, rows, shards=1, folder=folder, made=tmp_path / "made")
    assert [row["file"] for row in found[0]] == ["stray\\xff.edf"]


def test_a_missing_folder_stops_the_command(tmp_path: Path) -> None:
    row = Row("S1.edf", 1, "0" * 64, "S1", 1, "signal")
    with pytest.raises(ValueError, match="the folder of lab is missing on this machine"):
        command(tmp_path, [row], shards=1, folder=tmp_path / "gone", made=tmp_path / "made")


def test_check_writes_what_parse_reads(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    rows = [place(folder, "S1.edf", role="signal"), place(folder, "S1.txt", role="stages")]
    command(tmp_path, rows, shards=1, folder=folder, made=tmp_path / "made")
    written = json.loads((tmp_path / "made/shard=0/recordings.json").read_text())
    assert written["folder"] == str(folder)
    assert [recording["signal"] for recording in written["recordings"]] == ["S1.edf"]
