"""Manifests: what is written is read, and each wrong cell is named with its line."""

import hashlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somnoflow.config.annotation import Annotation
from somnoflow.config.dataset import Dataset, Files, Reading
from somnoflow.io.inventory import make_manifest
from somnoflow.io.manifest import (
    COLUMNS,
    ManifestError,
    Row,
    files_below,
    identify,
    iterate_manifest,
    read_manifest,
    rows_digest,
    shard_digests,
    shard_of,
    stays_inside,
    write_manifest,
)

SHA = "0" * 64
LAB = Dataset(
    name="lab",
    title="A laboratory",
    source="folder",
    licence="internal",
    citation="none",
    how_to_get="ask",
    files=Files(
        signal=r"(?:.*/)?(?P<subject>S\d+)n(?P<night>\d)\.edf",
        stages=r"(?:.*/)?(?P<subject>S\d+)\.txt",
    ),
    reading=Reading(channels={"EEG": "EEG_C4"}, stages=Annotation(format="codes")),
)


def row(file: str = "a.edf", **changes: object) -> Row:
    cells = {"bytes": 5, "sha256": SHA, "subject": "S1", "night": 1, "role": "signal", **changes}
    return Row(file=file, **cells)  # type: ignore[arg-type]


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["\t".join(COLUMNS), *lines, ""]), encoding="utf-8")
    return path


def test_rows_come_back_sorted(tmp_path: Path) -> None:
    rows = [
        row("b/z.edf", night=12), row("b/a b.edf", bytes=None), row("ä'\"é.txt", role="events"),
    ]  # fmt: skip
    write_manifest(tmp_path / "m.tsv", rows)
    assert read_manifest(tmp_path / "m.tsv") == sorted(rows)
    again = tmp_path / "again.tsv"
    write_manifest(again, reversed(rows))
    assert again.read_bytes() == (tmp_path / "m.tsv").read_bytes()


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (f"/etc/a.edf\t1\t{SHA}\tS1\t1\tsignal", "file is '/etc/a.edf'"),
        (f"../a.edf\t1\t{SHA}\tS1\t1\tsignal", "file is '../a.edf'"),
        (f"b/../../a.edf\t1\t{SHA}\tS1\t1\tsignal", "file is 'b/../../a.edf'"),
        (f"./a.edf\t1\t{SHA}\tS1\t1\tsignal", "file is './a.edf'"),
        (f"b//a.edf\t1\t{SHA}\tS1\t1\tsignal", "file is 'b//a.edf'"),
        (f".\t1\t{SHA}\tS1\t1\tsignal", "file is '.'"),
        (f"b\\a.edf\t1\t{SHA}\tS1\t1\tsignal", "file is 'b\\a.edf'"),
        (f"a\0.edf\t1\t{SHA}\tS1\t1\tsignal", "file is 'a"),
        (f"\t1\t{SHA}\tS1\t1\tsignal", "file is ''"),
        (f"a.edf\t1 kB\t{SHA}\tS1\t1\tsignal", "bytes is '1 kB'"),
        (f"a.edf\t-1\t{SHA}\tS1\t1\tsignal", "bytes is '-1'"),
        (f"a.edf\t1\t{SHA[:-1]}\tS1\t1\tsignal", f"sha256 is '{SHA[:-1]}'"),
        (f"a.edf\t1\t{'A' * 64}\tS1\t1\tsignal", "64 hex digits (0-9, a-f)"),
        (f"a.edf\t1\t{SHA}\tS 1\t1\tsignal", "subject is 'S 1'"),
        (f"a.edf\t1\t{SHA}\t\t1\tsignal", "subject is ''"),
        (f"a.edf\t1\t{SHA}\tS1\tone\tsignal", "night is 'one'"),
        (f"a.edf\t1\t{SHA}\tS1\t1\tsignals", "wanted signal or stages or events"),
        (f"a.edf\t1\t{SHA}\tS1\t1", "role is ''"),
        (f"a.edf\t1\t{SHA}\tS1\t1\tsignal\tmore", "more than 6 cells"),
    ],
)
def test_a_wrong_cell_is_named_with_its_line(tmp_path: Path, cells: str, said: str) -> None:
    good = f"good.edf\t1\t{SHA}\tS1\t1\tsignal"
    with pytest.raises(ManifestError) as caught:
        read_manifest(table(tmp_path / "m.tsv", good, cells))
    assert said in str(caught.value)
    assert "m.tsv, line 3:" in str(caught.value)


def test_a_file_named_twice_is_refused(tmp_path: Path) -> None:
    line = f"a.edf\t1\t{SHA}\tS1\t1\tsignal"
    unsized = line.replace("\t1\t0", "\t\t0").replace("S1", "S2")
    with pytest.raises(ManifestError, match=r"names files twice: a\.edf"):
        read_manifest(table(tmp_path / "m.tsv", line, unsized))
    with pytest.raises(ManifestError, match=r"names files twice: a\.edf"):
        write_manifest(tmp_path / "m.tsv", [row(), row(bytes=None)])


def test_rows_in_any_order_are_given_in_one(tmp_path: Path) -> None:
    lines = [f"{name}.edf\t1\t{SHA}\tS1\t1\tsignal" for name in ("c", '"a""b"', "b", "a-b", "a/b")]
    rows = list(iterate_manifest(table(tmp_path / "m.tsv", *lines[:1], "", *lines[1:])))
    assert rows == read_manifest(tmp_path / "m.tsv")
    assert [row.file for row in rows] == ['a"b.edf', "a-b.edf", "a/b.edf", "b.edf", "c.edf"]


def test_a_sorted_manifest_is_read_in_the_memory_of_a_row(tmp_path: Path) -> None:
    rows = [row(f"{number:06}.edf", sha256=f"{number:064}") for number in range(5000)]
    write_manifest(tmp_path / "m.tsv", rows)
    del rows
    tracemalloc.start()
    try:
        assert sum(1 for _ in iterate_manifest(tmp_path / "m.tsv")) == 5000
        assert tracemalloc.get_traced_memory()[1] < 200_000
        assert len(read_manifest(tmp_path / "m.tsv")) == 5000
        assert tracemalloc.get_traced_memory()[1] > 1_000_000
    finally:
        tracemalloc.stop()


@given(st.text(alphabet="ab./\\\x00\t \udc80é\x7f", max_size=8))
def test_a_path_stays_inside_where_its_parts_do(file: str) -> None:
    path = PurePosixPath(file)
    plain = bool(path.parts) and str(path) == file and not path.is_absolute()
    odd = set(file) & set("\\\x00\t\udc80\x7f")
    assert stays_inside(file) == (plain and ".." not in path.parts and not odd)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "(none)"), (b"file,bytes\n", "file,bytes"), (b"\xff\xfe\x00", "not a table"),
     (("\t".join(COLUMNS) + '\n"' + "x" * 200_000).encode(), "not a table")],
)  # fmt: skip
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "m.tsv").write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        read_manifest(tmp_path / "m.tsv")
    assert said in str(caught.value)


def test_a_missing_manifest_says_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="somnoflow manifest FOLDER --dataset lab"):
        read_manifest(tmp_path / "lab" / "manifest.tsv")


def test_what_a_spreadsheet_saves_is_read(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.tsv", [row()])
    content = (tmp_path / "m.tsv").read_bytes().replace(b"\n", b"\r\n")
    (tmp_path / "m.tsv").write_bytes(b"\xef\xbb\xbf" + content)
    assert read_manifest(tmp_path / "m.tsv") == [row()]


@pytest.mark.parametrize("file", ["../a.edf", "a\n.edf", "a\udcff.edf"])
def test_a_row_that_could_not_be_read_is_not_written(tmp_path: Path, file: str) -> None:
    with pytest.raises(ManifestError, match="file is"):
        write_manifest(tmp_path / "m.tsv", [row(file)])


def test_patterns_give_role_subject_and_night() -> None:
    patterns = LAB.patterns()
    assert identify("S7n2.edf", patterns) == ("signal", "S7", 2)
    assert identify("deep/er/S7.txt", patterns) == ("stages", "S7", 1)
    assert identify("S7n2.edf.bak", patterns) is None
    assert identify("II/1/1.rec", [("signal", r"(?P<subject>I+/\d)/\d\.rec")]) == (
        "signal", "II-1", 1,
    )  # fmt: skip
    assert identify("notes.md", patterns) is None
    with pytest.raises(ManifestError, match=r"'night' of .* is 'B', wanted a number"):
        identify("S7B.edf", [("signal", r"(?P<subject>S\d)(?P<night>[A-Z])\.edf")])


@given(st.sets(st.text(min_size=1, max_size=8), min_size=1), st.integers(1, 50))
def test_a_shard_depends_on_the_subject_alone(subjects: set[str], shards: int) -> None:
    dealt = {subject: shard_of("lab", subject, shards) for subject in subjects}
    assert all(0 <= shard < shards for shard in dealt.values())
    assert dealt == {subject: shard_of("lab", subject, shards) for subject in sorted(subjects)}
    digest = hashlib.sha256(f"lab/{max(subjects)}".encode()).digest()
    assert dealt[max(subjects)] == int.from_bytes(digest[:8], "big") % shards


def test_shards_are_about_equal() -> None:
    count = [0] * 4
    for number in range(4000):
        count[shard_of("lab", f"S{number}", 4)] += 1
    assert min(count) > 900


def test_rows_have_one_digest_in_any_order_and_another_for_any_change() -> None:
    rows = [row("a.edf"), row("b.edf")]
    assert rows_digest(rows) == rows_digest(rows[::-1])
    assert rows_digest(rows) != rows_digest([row("a.edf"), row("b.edf", subject="S2")])
    assert rows_digest(rows) != rows_digest(rows[:1])


def test_the_digest_of_a_shard_is_that_of_its_rows() -> None:
    rows = sorted(row(f"{number}.edf", subject=f"S{number}") for number in range(40))
    dealt = shard_digests(rows, dataset="lab", shards=6)
    own = {
        shard: [row for row in rows if shard_of("lab", row.subject, 6) == shard] for shard in dealt
    }
    assert sum(map(len, own.values())) == 40
    assert dealt == {shard: rows_digest(found[::-1]) for shard, found in own.items()}


def test_files_are_found_in_the_order_of_a_manifest(tmp_path: Path) -> None:
    names = ["a-b/x", "a.edf", "a/b/c", "a/b-", "ab", "é/z"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "a" / "link.edf").symlink_to(tmp_path / "ab")
    (tmp_path / "gone.edf").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert list(files_below(tmp_path)) == sorted([*names, "a/link.edf"])


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "closed").mkdir()
    (tmp_path / "open").write_text("")
    (tmp_path / "closed").chmod(0)
    yield
    (tmp_path / "closed").chmod(0o700)


@pytest.mark.usefixtures("closed", "common_user")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    assert list(files_below(tmp_path)) == ["closed/", "open"]


def test_a_folder_becomes_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "S1n2.edf").write_bytes(b"signal")
    (tmp_path / "S1.txt").write_bytes(b"0\n")
    (tmp_path / "notes.md").write_bytes(b"")
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "S9n1.edf").write_bytes(b"")
    made = make_manifest(tmp_path, LAB)
    assert made.left_out == ["notes.md"]
    assert sorted(made.rows) == [
        Row("S1.txt", 2, hashlib.sha256(b"0\n").hexdigest(), "S1", 1, "stages"),
        Row("deep/S1n2.edf", 6, hashlib.sha256(b"signal").hexdigest(), "S1", 2, "signal"),
    ]
    assert list(files_below(tmp_path)) == ["S1.txt", "deep/S1n2.edf", "notes.md"]


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is not a folder"):
        make_manifest(tmp_path / "nothing", LAB)
    (tmp_path / "S1.txt").write_text("0\n")
    (tmp_path / "x.rec").write_text("")
    with pytest.raises(ManifestError, match=r"no recording in .* Found: x\.rec"):
        make_manifest(tmp_path, LAB)
