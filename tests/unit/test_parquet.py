"""The signals' Parquet parts: what goes in comes out, in few bytes and without heavy imports."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from somnoflow.io.parquet import ChannelEpochs, PartWriter, RecordingEpochs, part_schema
from somnoflow.signals.epochs import Grid

CODE = """
import sys
import somnoflow.commands.parse
from tests.unit.test_parquet import write
from pathlib import Path
write(Path(sys.argv[1]))
print([name for name in ("pandas", "mne", "scipy.signal", "torch") if name in sys.modules])
"""


def make_samples() -> np.ndarray:
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.integers(-40, 41, (4, 3000)), axis=1)
    walk[0, :3] = [-32767, 32767, -32767]
    return walk.astype(np.int16)


def write(path: Path) -> Path:
    """Write a part of two recordings, one of them without its second channel."""
    samples = make_samples()
    schema = part_schema(["A", "B"], events=["arousal"], samples=3000, metadata={"unit": "uV"})
    with PartWriter(path, schema, epoch_seconds=30) as writer:
        for name in ("Schläferin", "z"):
            known = name == "z"
            writer.write(
                RecordingEpochs(
                    subject=name,
                    recording=f"{name}-1",
                    night=2,
                    grid=Grid(onset=7.0, epochs=4, first=3),
                    stage=np.array([0, 1, -1, 4], np.int8),
                    events={"arousal": np.arange(4, dtype=np.float32) if known else None},
                    channels={
                        "A": ChannelEpochs(samples, 0.05, np.array([0, 16, 32, 127], np.uint8)),
                        "B": ChannelEpochs(
                            samples[::-1] if known else None, 0.5, np.ones(4, np.uint8)
                        ),
                    },
                )
            )
    return path


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return write(tmp_path / "part-0.parquet")


def test_what_goes_in_comes_out(part: Path) -> None:
    table = pl.read_parquet(part)
    assert table["subject"].to_list() == ["Schläferin"] * 4 + ["z"] * 4
    assert table["recording"].to_list() == ["Schläferin-1"] * 4 + ["z-1"] * 4
    assert table["night"].to_list() == [2] * 8
    assert table["epoch"].to_list() == [3, 4, 5, 6] * 2
    assert table["onset_s"].to_list() == [97, 127, 157, 187] * 2
    assert table["stage"].to_list() == [0, 1, -1, 4] * 2
    assert table["arousal_s"].to_list() == [None] * 4 + [0, 1, 2, 3]
    assert table["A_quality"].to_list() == [0, 16, 32, 127] * 2
    assert table["A_scale"].to_list() == pytest.approx([0.05] * 8)
    samples = make_samples()
    np.testing.assert_array_equal(table["A"].to_numpy(), np.concatenate([samples, samples]))
    assert table["B"][:4].null_count() == 4
    np.testing.assert_array_equal(table["B"][4:].to_numpy(), samples[::-1])


def test_equal_content_gives_equal_bytes(part: Path, tmp_path: Path) -> None:
    assert write(tmp_path / "again.parquet").read_bytes() == part.read_bytes()


def test_samples_are_stored_as_differences(part: Path) -> None:
    column = pq.ParquetFile(part).metadata.row_group(0).column(7)
    assert column.path_in_schema == "A.list.element"
    assert "DELTA_BINARY_PACKED" in column.encodings
    assert column.total_compressed_size < 0.6 * make_samples().nbytes


def test_a_parse_job_loads_nothing_heavy(tmp_path: Path) -> None:
    printed = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "p.parquet")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == "[]"
