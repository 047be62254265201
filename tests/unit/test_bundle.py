"""Bundles: the same bytes for the same content, and nothing that is not a whole one is opened."""

import json
import random
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.bundles import DATASET, WEIGHTS, describe, make_bundle

from somnoflow.bundles import bundle as module
from somnoflow.bundles.bundle import find_bundle, is_bundle, open_bundle, shipped, write_bundle
from somnoflow.io.digest import sha256_file
from somnoflow.models.errors import WeightsError


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "made/tiny.zip")


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught, open_bundle(path):
        pass
    said = str(caught.value)
    assert str(path) in said
    return said


def rewritten(made: Path, *, name: str = "model.json", content: str | bytes | None) -> Path:
    """Write the bundle again with other content of one file, or without it where None."""
    path = made.with_name("other.zip")
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.namelist():
            if member != name:
                new.writestr(member, old.read(member))
        if content is not None:
            new.writestr(name, content)
    return path


def test_what_is_written_is_read(made: Path) -> None:
    with open_bundle(made) as bundle:
        assert bundle.about == describe()
        assert [path.read_bytes() for path in bundle.model_files] == [WEIGHTS]
        assert bundle.card == "# The card\n"
        assert bundle.digest == sha256_file(bundle.folder / "model.json")
        folder = bundle.folder
    assert not folder.exists()


def test_a_folder_is_the_same_bundle(made: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(made) as archive:
        archive.extractall(tmp_path / "folder")
    (tmp_path / "folder/notes.txt").write_text("of its user")
    with open_bundle(made) as one, open_bundle(tmp_path / "folder") as other:
        assert (one.about, one.digest) == (other.about, other.digest)
        assert other.folder == tmp_path / "folder"


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    one, other = make_bundle(tmp_path / "a/one.zip"), make_bundle(tmp_path / "b/two.zip")
    assert one.read_bytes() == other.read_bytes()
    with zipfile.ZipFile(one) as archive:
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None


def test_encoder_and_head_keep_their_order(tmp_path: Path) -> None:
    files = {}
    for name in ("head.safetensors", "encoder.safetensors"):
        files[name] = tmp_path / name
        files[name].write_text(name)
    about = describe(weights={name: sha256_file(path) for name, path in files.items()})
    write_bundle(tmp_path / "b.zip", about, files, "card")
    with open_bundle(tmp_path / "b.zip") as bundle:
        assert [path.name for path in bundle.model_files] == [
            "encoder.safetensors",
            "head.safetensors",
        ]


def test_other_weights_than_described_are_not_written(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"others")
    with pytest.raises(ValueError, match="wanted those of its description"):
        write_bundle(
            tmp_path / "b.zip", describe(), {"model.safetensors": tmp_path / "weights"}, "card"
        )
    assert not (tmp_path / "b.zip").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ["W", "N1"]}, "wanted those of staging"),
        ({"weights": {}}, "weights are none, wanted model.safetensors or encoder"),
        ({"threshold": 0.5}, "wanted one for events alone"),
        ({"name": "../tiny"}, "name"),
        ({"surplus": 1}, "surplus"),
        ({"channels": ["EEG"]}, "channels"),
    ],
)
def test_a_description_is_checked(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        describe(**changes)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../model.safetensors", "'../model.safetensors'"),
        ("/etc/passwd", "'/etc/passwd'"),
        ("folder/model.json", "'folder/model.json'"),
        ("folder/", "'folder/'"),
        ("..\\model.json", "model.json"),
        ("setup.py", "'setup.py'"),
    ],
)
def test_a_foreign_name_in_a_zip_is_refused(made: Path, name: str, said: str) -> None:
    found = refused(rewritten(made, name=name, content="x"))
    assert said in found
    assert "as plain files without folders" in found


def test_a_name_twice_is_refused(made: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(made, "a") as archive:
        archive.writestr("model.json", "{}")
    assert "'model.json' twice" in refused(made)


def test_a_link_is_refused(made: Path) -> None:
    path = rewritten(made, name="README.md", content=None)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("README.md")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "'README.md' as something other than a plain file" in refused(path)


def test_too_large_a_file_is_refused(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.LIMITS, "model.safetensors", 3)
    assert "'model.safetensors' of 7 bytes, at most 3" in refused(made)


def test_a_zip_that_unpacks_to_much_more_is_refused(made: Path) -> None:
    path = made.with_name("bomb.zip")
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.json", b" " * 2**22)
    assert path.stat().st_size < 2**14
    assert "at most 1048576 are read" in refused(path)


def test_other_weights_are_refused(made: Path) -> None:
    said = refused(rewritten(made, name="model.safetensors", content="others"))
    assert "model.safetensors of" in said
    assert describe().weights["model.safetensors"] in said


@pytest.mark.parametrize("name", ["model.json", "README.md", "model.safetensors"])
def test_a_missing_file_is_named(made: Path, name: str) -> None:
    said = refused(rewritten(made, name=name, content=None))
    assert f"lacks {name}" in said
    assert "snakemake --forcerun bundle" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        (b"\xff\xfe\xff", "is no JSON"),
        ("[]", "has the format None, wanted 1"),
        ('{"format": 2}', "has the format 2, wanted 1: was it written by another version"),
        ('{"format": 1, "somnoflow": "0.9"}', "written by Somnoflow 0.9"),
    ],
)
def test_a_description_of_another_kind_is_refused(
    made: Path, content: str | bytes, said: str
) -> None:
    assert said in refused(rewritten(made, content=content))


def test_an_unknown_key_is_named(made: Path) -> None:
    values = json.loads(zipfile.ZipFile(made).read("model.json"))
    values["signals"]["whiten"] = True
    assert "signals.whiten" in refused(rewritten(made, content=json.dumps(values)))


def test_no_damaged_zip_is_opened_or_ends_otherwise(made: Path) -> None:
    whole = made.read_bytes()
    draw = random.Random(1)  # noqa: S311 - which bytes are damaged
    path = made.with_name("damaged.zip")
    opened = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged[: draw.choice([len(whole), draw.randrange(len(whole))])])
        try:
            with open_bundle(path) as bundle:
                opened += 1
                # A date or an attribute may change, what is read may not.
                assert bundle.about == describe()
                assert bundle.model_files[0].read_bytes() == WEIGHTS
        except WeightsError:
            pass
    assert opened < 100


# Bytes of the directory, counted from its start or from the end of the file: the version that is
# needed, strong encryption, and the directory's own place.
@pytest.mark.parametrize(("place", "byte"), [(6, 0x80), (8, 0x40), (-3, 0xFF), (-7, 0xFF)])
def test_a_damaged_directory_is_refused(made: Path, place: int, byte: int) -> None:
    damaged = bytearray(made.read_bytes())
    start = int.from_bytes(damaged[-6:-2], "little")
    damaged[place + (start if place > 0 else len(damaged))] = byte
    made.write_bytes(damaged)
    assert "no whole zip file" in refused(made)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_what_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.zip").write_bytes(content)
    assert "no whole zip file" in refused(tmp_path / "b.zip")


def test_an_empty_folder_and_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "lacks model.json" in refused(tmp_path / "folder")
    assert "is not there" in refused(tmp_path / "no.zip")


def test_folders_and_zip_files_are_taken_for_bundles(made: Path, tmp_path: Path) -> None:
    assert is_bundle(made)
    assert is_bundle(tmp_path)
    assert is_bundle(tmp_path / "absent.zip")
    assert not is_bundle(tmp_path / "model.safetensors")


def test_a_bundle_is_found_by_path_or_by_shipped_name(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHIPPED", made.parent)
    assert shipped() == {"tiny": made}
    assert find_bundle(made) == made
    assert find_bundle("tiny") == made
    with pytest.raises(WeightsError, match=r"tyni is no file.* one of: tiny"):
        find_bundle("tyni")


def test_nothing_may_be_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "absent")
    assert shipped() == {}
    with pytest.raises(WeightsError, match=r"\(none is shipped\)"):
        find_bundle("tiny")


@pytest.mark.parametrize("name", sorted(shipped()))
def test_what_is_shipped_is_whole_and_small(name: str) -> None:
    path = shipped()[name]
    assert path.stat().st_size <= 10 * 2**20
    with open_bundle(path) as bundle:
        assert bundle.about.name == name


def test_simulated_data_is_told() -> None:
    assert describe().simulated
    real = {**describe().training.model_dump(), "datasets": [{**DATASET, "simulated": False}]}
    assert not describe(training=real).simulated


def test_a_full_disk_leaves_nothing_behind(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"), open_bundle(made):
        pass
    assert list((tmp_path / "temporary").iterdir()) == []


def test_opening_imports_nothing_heavy() -> None:
    code = (
        "import sys, somnoflow.bundles.bundle\n"
        "print(*({'torch', 'mne', 'polars', 'numpy', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True)
    assert done.stdout.split() == []
