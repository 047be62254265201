"""Files of models that want code to be run, a disk to be filled or a terminal to be commanded."""

import json
import os
import struct
import zipfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save

from somnoflow.bundles.bundle import open_bundle
from somnoflow.bundles.listing import find_card
from somnoflow.models.errors import WeightsError
from somnoflow.models.published_checkpoint import read_checkpoint
from somnoflow.models.weights import read_about, read_tensors
from somnoflow.training.curves import Curves
from tests.bundles import make_bundle


class Runs:
    """What leaves a mark where its pickle is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    path = tmp_path / "evil.pth"
    torch.save({"state": Runs(tmp_path / "mark"), "global_step": 1}, path)
    torch.load(path, weights_only=False)  # the attack works where nobody looks
    (tmp_path / "mark").rmdir()
    return path


def test_a_pickle_does_not_run(evil: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"mkdir, which could run code when loaded"):
        read_checkpoint(evil)
    with pytest.raises(Exception, match="Weights only load failed"):
        Curves(tmp_path / "curves", checkpoint=evil)
    renamed = evil.rename(tmp_path / "model.safetensors")
    for read in (read_tensors, lambda path: read_about(path, kind="neuronet")):
        with pytest.raises(WeightsError, match="is damaged"):
            read(renamed)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", "null", '{"format": 1}', "[" * 10_000])
def test_a_description_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save({"a": torch.zeros(2)}, metadata={"somnoflow": text}))
    with pytest.raises(WeightsError, match="describes no weights"):
        read_about(path, kind="neuronet")


def header(*, length: int | None = None, data: int = 8, **entries: object) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(data)


def tensor(*, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(header(length=2**60, a=tensor(shape=[2], begin=0, end=8)), id="2^60 header"),
        pytest.param(header(a=tensor(shape=[2**40], begin=0, end=2**42)), id="4 TiB tensor"),
        pytest.param(header(a=tensor(shape=[2**62, 4], begin=0, end=0), data=0), id="overflow"),
        pytest.param(
            header(a=tensor(shape=[2], begin=0, end=8), b=tensor(shape=[2], begin=0, end=8)),
            id="overlap",
        ),
        pytest.param(header(a=tensor(shape=[1], begin=4, end=8)), id="hole"),
        pytest.param(header(a=tensor(shape=[2], begin=8, end=0)), id="backwards"),
    ],
)
def test_a_header_of_weights_that_lies_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="is damaged"):
        read_tensors(path)


def test_a_packed_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.safetensors", bytes(2**24))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "unpacked"))
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(WeightsError, match="more than 100 times its size"), open_bundle(path):
        pass
    assert not list((tmp_path / "unpacked").iterdir())


def test_a_bundle_of_too_many_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number}", b"")
    with pytest.raises(WeightsError, match="holds the file '0'"), open_bundle(path):
        pass


def test_a_card_cannot_command_a_terminal(tmp_path: Path) -> None:
    good, bad = make_bundle(tmp_path / "made/tiny.zip"), tmp_path / "other.zip"
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(bad, "w") as new:
        for name in old.namelist():
            new.writestr(
                name, old.read(name) + (b"\x1b[2J\x1b]0;x\x07" if "README" in name else b"")
            )
    assert find_card(bad).endswith("?[2J?]0;x?")


def test_types_in_parquet_run_nothing(tmp_path: Path) -> None:
    """Tables of features are foreign files, and Arrow once unpickled types that they named."""
    import pickle

    names = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Runs(tmp_path / "mark"), protocol=0),
    }
    path = tmp_path / "features.parquet"
    schema = pa.schema([pa.field("a", pa.binary(), metadata=names)])
    pq.write_table(pa.table({"a": pa.array([b"x"])}, schema=schema), path)
    assert pl.read_parquet(path).columns == ["a"]
    assert pq.read_table(path).column_names == ["a"]
    assert not (tmp_path / "mark").exists()
