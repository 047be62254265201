"""Raw files: a change of content is noticed, nothing else is, whoever asks and however often."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from somnoflow.io import rawstate
from somnoflow.io.rawstate import MISSING, UNREADABLE, changes, note, observe, signatures, unchecked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for name in ("a", "b"):
        (tmp_path / "data" / name).write_bytes(name.encode() * 10)
    return tmp_path / "data"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "results" / "state.json"


def check(state: Path, folder: Path, files: Iterable[str] = ("a", "b")) -> None:
    """Note what is there, as the command `check` does."""
    seen = signatures(files, folder=folder)
    note(state, seen=seen, observed={file: observe(folder / file) for file in files})


def rewrite(path: Path, content: bytes) -> None:
    """Write new content of the same length under the old modification time."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_nothing_is_changed_before_and_after_the_first_check(state: Path, folder: Path) -> None:
    assert changes(state, folder=folder) == ""
    assert not state.exists()
    check(state, folder)
    assert changes(state, folder=folder) == ""
    assert unchecked(state, folder=folder) == []


def test_touching_and_copying_change_nothing(state: Path, folder: Path) -> None:
    check(state, folder)
    os.utime(folder / "a", ns=(1, 1))
    (folder / "b").rename(folder / "c")
    (folder / "b").write_bytes((folder / "c").read_bytes())
    assert changes(state, folder=folder) == ""
    assert unchecked(state, folder=folder) == []


def test_new_content_under_the_old_time_and_size_is_noticed(state: Path, folder: Path) -> None:
    check(state, folder)
    rewrite(folder / "a", b"A" * 10)
    assert changes(state, folder=folder) != ""
    assert unchecked(state, folder=folder) == ["a"]


def test_another_change_is_another_answer_and_the_way_back_is_none(
    state: Path, folder: Path
) -> None:
    check(state, folder)
    rewrite(folder / "a", b"A" * 10)
    first = changes(state, folder=folder)
    rewrite(folder / "a", b"B" * 10)
    second = changes(state, folder=folder)
    rewrite(folder / "a", b"A" * 10)
    assert changes(state, folder=folder) == first != second
    rewrite(folder / "a", b"a" * 10)
    assert changes(state, folder=folder) == ""
    assert unchecked(state, folder=folder) == []


def test_a_check_accepts_the_content_but_the_answer_stays(state: Path, folder: Path) -> None:
    check(state, folder)
    rewrite(folder / "a", b"A" * 10)
    before = changes(state, folder=folder)
    check(state, folder)
    assert unchecked(state, folder=folder) == []
    assert changes(state, folder=folder) == before != ""


def test_the_answer_does_not_depend_on_who_asked_before(tmp_path: Path, folder: Path) -> None:
    asked, silent = tmp_path / "asked.json", tmp_path / "silent.json"
    check(asked, folder)
    check(silent, folder)
    for content in (b"A" * 10, b"B" * 10):
        rewrite(folder / "a", content)
        changes(asked, folder=folder)
        changes(asked, folder=folder)
        unchecked(asked, folder=folder)
    assert changes(asked, folder=folder) == changes(silent, folder=folder) != ""


def test_a_removed_file_is_noticed_and_its_return_too(state: Path, folder: Path) -> None:
    check(state, folder)
    (folder / "a").unlink()
    assert changes(state, folder=folder) != ""
    assert unchecked(state, folder=folder) == ["a"]
    (folder / "a").write_bytes(b"a" * 10)
    assert changes(state, folder=folder) == ""


def test_a_file_missing_at_first_is_noticed_when_it_comes(state: Path, folder: Path) -> None:
    check(state, folder, ["a", "late"])
    assert changes(state, folder=folder) == ""
    (folder / "late").write_bytes(b"x")
    assert unchecked(state, folder=folder) == ["late"]


def test_a_file_that_grows_while_it_is_checked_is_read_again(state: Path, folder: Path) -> None:
    seen = signatures(["a"], folder=folder)
    observed = {"a": observe(folder / "a")}
    (folder / "a").write_bytes(b"whole content")
    note(state, seen=seen, observed=observed)
    assert unchecked(state, folder=folder) == ["a"]


def test_unchanged_files_are_not_read(
    state: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(state, folder)
    read = []
    monkeypatch.setattr(rawstate, "observe", lambda path: read.append(path.name) or "new")
    os.utime(folder / "b", ns=(1, 1))
    for _ in range(3):
        changes(state, folder=folder)
    assert read == ["b"]


def test_a_check_during_a_look_is_not_lost(
    state: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(state, folder)
    rewrite(folder / "a", b"A" * 10)

    def slowly(path: Path) -> str:
        monkeypatch.undo()
        check(state, folder)  # another process finishes meanwhile
        return observe(path)

    monkeypatch.setattr(rawstate, "observe", slowly)
    assert changes(state, folder=folder) != ""
    assert unchecked(state, folder=folder) == []


def test_what_a_killed_writer_left_goes_with_the_next_check(state: Path, folder: Path) -> None:
    check(state, folder)
    other = state.with_name(f".partial-12345-{state.name}")
    other.write_text("{}")
    check(state, folder)
    assert not other.exists()


def test_observe_names_what_cannot_be_read(tmp_path: Path) -> None:
    assert observe(tmp_path / "nothing") == MISSING
    assert observe(tmp_path) == UNREADABLE


def test_a_damaged_note_is_named(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text("{")
    with pytest.raises(ValueError, match=r"state\.json is damaged.*Delete it"):
        changes(state, folder=tmp_path)
