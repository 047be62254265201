"""Manifests made from folders, from sums and with persons; folders compared with them by sizes."""

import csv
import hashlib
from collections import Counter
from pathlib import Path

import pytest

from somnoflow.config.dataset import Dataset, Files, Reading, SubjectTable
from somnoflow.config.dataset_file import read_dataset
from somnoflow.io.inventory import (
    Difference,
    compare_sizes,
    make_manifest,
    manifest_of_sums,
    require_records,
)
from somnoflow.io.manifest import ManifestError, Row, read_manifest, write_manifest
from somnoflow.io.persons import name_persons, read_persons

DATASETS = Path(__file__).parents[2] / "workflow/datasets"
TABLE = SubjectTable(file="participants.tsv", key="participant_id", subject="pid")
SIGNAL = r"(?P<subject>sub-\d+)/(?:ses-(?P<night>\d)/)?eeg\.edf"


def dataset(*, subjects: SubjectTable | None = None) -> Dataset:
    return Dataset(
        name="bids", title="t", source="folder", licence="l", citation="c", how_to_get="h",
        files=Files(signal=SIGNAL, subjects=subjects), reading=Reading(),
    )  # fmt: skip


def place(folder: Path, file: str, content: bytes = b"signal") -> str:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def sums(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_many_files_hashed_at_a_time_keep_their_names(tmp_path: Path) -> None:
    wanted = {
        f"sub-{number}/eeg.edf": place(tmp_path, f"sub-{number}/eeg.edf", bytes(number))
        for number in range(50)
    }
    rows = make_manifest(tmp_path, dataset(), threads=4).rows
    assert {row.file: row.sha256 for row in rows} == wanted
    assert {row.subject: row.bytes for row in rows} == {f"sub-{n}": n for n in range(50)}


def test_sums_make_a_manifest_without_sizes(tmp_path: Path) -> None:
    path = sums(
        tmp_path / "SHA256SUMS.txt",
        "a" * 64 + " sub-2/eeg.edf", "", "B" * 64 + "  ./sub-1/ses-2/eeg.edf",
        "c" * 64 + " *LICENSE.txt",
    )  # fmt: skip
    made = manifest_of_sums(path, dataset(), folder=None)
    assert sorted(made.rows, key=lambda row: row.file) == [
        Row("sub-1/ses-2/eeg.edf", None, "b" * 64, "sub-1", 2, "signal"),
        Row("sub-2/eeg.edf", None, "a" * 64, "sub-2", 1, "signal"),
    ]
    assert made.left_out == ["LICENSE.txt"]


@pytest.mark.parametrize(
    ("line", "said"),
    [("a" * 63 + "  sub-1/eeg.edf", "line 3 is 'aaa"), ("a" * 64, "line 3 is"),
     ("\\" + "a" * 64 + "  sub-1\\n", "line 3 is"),
     ("b" * 64 + "  sub-1/eeg.edf", "line 3: a second sum of sub-1/eeg.edf"),
     ("\xa0", "no recording in"), ("MD5 (x) = 0", "wanted 64 hex digits")],
)  # fmt: skip
def test_a_line_that_is_no_sum_is_named(tmp_path: Path, line: str, said: str) -> None:
    first = "a" * 64 + ("  x.edf" if line == "\xa0" else "  sub-1/eeg.edf")
    with pytest.raises(ManifestError, match=said):
        manifest_of_sums(sums(tmp_path / "s", first, "", line), dataset(), folder=None)
    (tmp_path / "s").write_bytes(b"\xff")
    with pytest.raises(ManifestError, match="no text"):
        manifest_of_sums(tmp_path / "s", dataset(), folder=None)


def test_records_and_recordings_must_agree(tmp_path: Path) -> None:
    rows = [Row(f"d.x/{name}.edf", 1, "0" * 64, name, 1, "signal") for name in ("a", "b")]
    rows.append(Row("d.x/a.txt", 1, "0" * 64, "a", 1, "stages"))
    require_records(rows, sums(tmp_path / "R", "d.x/a.edf", "", "d.x/b.edf"))
    require_records(rows, sums(tmp_path / "R", "d.x/a", "d.x/b"))
    with pytest.raises(ManifestError, match=r"1 records without a recording: d\.x/c"):
        require_records(rows, sums(tmp_path / "R", "d.x/a", "d.x/b", "d.x/c"))
    with pytest.raises(ManifestError, match=r"1 not listed: d\.x/b\.edf"):
        require_records(rows, sums(tmp_path / "R", "d.x/a.edf"))


def test_sizes_are_compared_and_nothing_else(tmp_path: Path) -> None:
    names = ["a-b.edf", "a/same.edf", "a/unsized.edf", "a/wrong.edf", "b/gone.edf", "z/linked.edf"]
    for name in [*names[:4], "a/extra.edf", "real/linked.edf"]:
        place(tmp_path, name)
    (tmp_path / "z").symlink_to(tmp_path / "real", target_is_directory=True)
    rows = [
        Row(
            name, {"a/unsized.edf": None, "a/wrong.edf": 7}.get(name, 6), "0" * 64, "S", 1, "signal"
        )
        for name in names
    ]
    assert list(compare_sizes(rows, tmp_path)) == [
        Difference("a/extra.edf", "not in the manifest", extra=True),
        Difference("a/wrong.edf", "wrong size (6 bytes, wanted 7)"),
        Difference("b/gone.edf", "missing"),
        Difference("real/linked.edf", "not in the manifest", extra=True),
    ]
    with pytest.raises(ManifestError, match="is not a folder"):
        list(compare_sizes(rows, tmp_path / "gone"))


def table(folder: Path, *lines: str, header: str = "participant_id\tage\tpid") -> Path:
    (folder / "participants.tsv").write_text("\n".join([header, *lines]), encoding="utf-8-sig")
    return folder


def test_the_person_is_the_subject_and_has_nights(tmp_path: Path) -> None:
    table(tmp_path, "sub-10\t30\tP1", "sub-2\t30\tP1", "sub-3\t40\tP2", "sub-4\t50\tP4")
    for name in ("sub-10", "sub-2/ses-2", "sub-2/ses-1", "sub-3/ses-2"):
        place(tmp_path, f"{name}/eeg.edf")
    rows = make_manifest(tmp_path, dataset(subjects=TABLE)).rows
    assert {row.file: (row.subject, row.night) for row in rows} == {
        "sub-10/eeg.edf": ("P1", 1),
        "sub-2/ses-1/eeg.edf": ("P1", 2),
        "sub-2/ses-2/eeg.edf": ("P1", 3),
        "sub-3/ses-2/eeg.edf": ("P2", 2),
    }


def test_sums_take_the_persons_from_the_folder(tmp_path: Path) -> None:
    table(tmp_path, "sub-1\t30\tP1")
    path = sums(tmp_path / "s", "a" * 64 + "  sub-1/eeg.edf")
    made = manifest_of_sums(path, dataset(subjects=TABLE), folder=tmp_path)
    assert made.rows[0].subject == "P1"
    with pytest.raises(ManifestError, match=r"has a table of persons, participants\.tsv"):
        manifest_of_sums(path, dataset(subjects=TABLE), folder=None)


@pytest.mark.parametrize(
    ("header", "line", "said"),
    [("participant_id\tage", "sub-1\t30", "wanted pid too"), ("", "", "columns (none)"),
     ("participant_id\tpid", "sub-1\tP 1", "line 3: pid is 'P 1'"),
     ("participant_id\tpid", "sub-1", "line 3: pid is ''"),
     ("participant_id\tpid", "sub-0\tP1", "line 3: sub-0 is P1, and P0 above"),
     ("participant_id\tpid", "sub-7\tP1", "no line for sub-1")],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_refused(
    tmp_path: Path, header: str, line: str, said: str
) -> None:
    table(tmp_path, "sub-0\tP0" if header else "", line, header=header)
    place(tmp_path, "sub-1/eeg.edf")
    with pytest.raises(ManifestError) as caught:
        make_manifest(tmp_path, dataset(subjects=TABLE))
    assert said in str(caught.value)


def test_a_table_of_persons_stays_in_the_folder(tmp_path: Path) -> None:
    table(tmp_path, "sub-1\t30\tP1")
    (tmp_path / "data").mkdir()
    outside = TABLE.model_copy(update={"file": "../participants.tsv"})
    with pytest.raises(ManifestError, match="wanted a plain path below"):
        read_persons(tmp_path / "data", outside)
    with pytest.raises(ManifestError, match="is missing"):
        read_persons(tmp_path / "data", TABLE)


def test_boas_counts_a_person_with_two_recordings_once(real_data: Path) -> None:
    persons = read_persons(real_data / "boas", TABLE)
    with (real_data / "boas/participants.tsv").open(newline="") as file:
        ids = [line["pid"] for line in csv.DictReader(file, delimiter="\t")]
    rows = [Row(name, 1, "0" * 64, name, 1, "signal") for name in persons]
    named = {row.file: (row.subject, row.night) for row in name_persons(rows, persons)}
    assert (len(rows), len({person for person, _ in named.values()})) == (128, len(set(ids)))
    assert (named["sub-1"], named["sub-2"], named["sub-3"]) == (("89", 1), ("89", 2), ("1", 1))
    assert len(set(named.values())) == 128


def test_the_manifest_of_sleep_edf_is_what_its_publisher_says(
    real_data: Path, tmp_path: Path
) -> None:
    folder = real_data / "sleep-edfx"
    made = manifest_of_sums(
        folder / "SHA256SUMS.txt", read_dataset(DATASETS / "sleep-edfx"), folder=None
    )
    require_records(made.rows, folder / "RECORDS")
    write_manifest(tmp_path / "m.tsv", made.rows)
    kept = DATASETS / "sleep-edfx/manifest.tsv"
    assert (tmp_path / "m.tsv").read_bytes() == kept.read_bytes()
    rows = read_manifest(kept)
    files = Counter((row.subject, row.night, row.role) for row in rows)
    assert len(rows) == 394
    assert set(files.values()) == {1}
    assert {role for *_, role in files} == {"signal", "stages"}
    hashed = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "hypnograms").glob("*.edf")
    }
    known = {Path(row.file).name: row.sha256 for row in rows}
    assert hashed
    assert hashed.items() <= known.items()
