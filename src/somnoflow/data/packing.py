"""Pack a Parquet part into one array on disk, recording by recording.

Random access to Parquet costs a decompressed row group per epoch; a `.npy` file costs one read.
Memory is that of one recording, whatever the size of the part.
"""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from somnoflow.io.parquet import part_metadata
from somnoflow.signals.quality import Flag

IQR_OF_NORMAL = 1.349
QUANTILE_SAMPLES = 200_000


def pack_part(part: Path, *, dataset: str, signals: Path, epochs: Path) -> dict[str, Any]:
    """Write the (epoch, channel, time) int16 array and the table of its epochs.

    Each recording and channel gets a gain: an int16 sample times the gain is a robust z-score
    (interquartile range / 1.349 = 1 over the good epochs of the recording). The median is left
    alone: the signals are band-passed, and SpO2 keeps its level.

    Parameters
    ----------
    part
        Parquet part, one row group per recording.
    dataset
        Name that makes the subject keys: `dataset/subject`.
    signals, epochs
        Files to write: `.npy` and Parquet.

    Returns
    -------
    Shape, channels and sampling rate.
    """
    source = pq.ParquetFile(part)
    schema = source.schema_arrow
    metadata = part_metadata(schema)
    channels = sorted(metadata["channels"])
    samples = schema.field(channels[0]).type.list_size
    tables = [_empty(schema, channels=channels, dataset=dataset)]
    shape = (source.metadata.num_rows, len(channels), samples)
    with signals.open("wb") as file:
        _write_header(file, shape)
        for group in range(source.num_row_groups):
            table = source.read_row_group(group)
            array = np.empty((len(table), len(channels), samples), np.int16)
            gains = {}
            for position, channel in enumerate(channels):
                array[:, position] = _values(table[channel], samples)
                good = np.asarray(table[f"{channel}_quality"]) == Flag.GOOD
                gains[f"{channel}_gain"] = _gain(array[good, position])
            file.write(array.data)
            tables.append(_epochs(table, channels=channels, dataset=dataset, gains=gains))
    pl.concat(tables).write_parquet(epochs, compression="zstd")
    return {
        "channels": channels,
        "samples": samples,
        "sampling_rate": metadata["channels"][channels[0]]["sampling_rate"],
        "epochs": shape[0],
    }


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    described = {"descr": "<i2", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)


def _values(column: pa.ChunkedArray, samples: int) -> npt.NDArray[np.int16]:
    array = column.combine_chunks()
    if array.null_count == len(array):
        return np.zeros((len(array), samples), np.int16)
    return np.asarray(array.flatten()).reshape(-1, samples)


def _gain(good: npt.NDArray[np.int16]) -> float:
    flat = good.reshape(-1)
    if not flat.size:
        return 0.0
    low, high = np.quantile(flat[:: max(1, flat.size // QUANTILE_SAMPLES)], (0.25, 0.75))
    return float(IQR_OF_NORMAL / (high - low)) if high > low else 0.0


def _empty(schema: pa.Schema, *, channels: list[str], dataset: str) -> pl.DataFrame:
    """Give the columns of the epoch table for a part without recordings."""
    gains = {f"{channel}_gain": 1.0 for channel in channels}
    return _epochs(schema.empty_table(), channels=channels, dataset=dataset, gains=gains)


def _epochs(
    table: pa.Table, *, channels: list[str], dataset: str, gains: dict[str, float]
) -> pl.DataFrame:
    plain = pl.DataFrame(pl.from_arrow(table.drop_columns(channels)))
    return plain.with_columns(
        pl.lit(dataset).alias("dataset"),
        (pl.lit(f"{dataset}/") + pl.col("subject")).alias("subject"),
        *(pl.lit(gain, pl.Float32).alias(name) for name, gain in gains.items()),
    ).select("dataset", pl.exclude("dataset"))
