"""Pack a Parquet part into one array on disk, recording by recording.

Random access to Parquet costs a decompressed row group per epoch; a `.npy` file costs one read.
Memory is that of one recording, whatever the size of the part.

What is decided here:

- The packed int16 samples are the part's. How they are scaled stands beside them: a value is
  (sample - `<channel>_center`) * `<channel>_gain`, both for each recording and channel.
- A recording's channel without spread (an interquartile range of 0 over its usable epochs) cannot
  be scaled by it: its gain is 0, its epochs count as unusable, and it is named in the index.
- SpO2 is left in percent, whatever the scaling: its level is what it tells, and its range in whole
  percents is often 0.
- Epoch labels: `apnea`, `hypopnea` and `respiratory` (either) are 1 where the event takes at least
  the configured seconds of the epoch, else 0, and -1 where nobody looked. Where no apnea but only
  hypopneas (or the reverse) were looked for, `respiratory` is 1 or -1.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from somnoflow.config.pack import Pack
from somnoflow.config.vocabularies import EventName
from somnoflow.io.parquet import part_metadata
from somnoflow.signals.quality import UNUSABLE

IQR_OF_NORMAL = 1.349
QUANTILE_SAMPLES = 200_000
APNEAS = [f"{name}_s" for name in get_args(EventName) if name.endswith("_apnea")]


class Scaling(NamedTuple):
    """What makes a value of a sample: (sample - center) * gain; `center` is in int16 steps."""

    center: float
    gain: float


def pack_part(
    part: Path, *, dataset: str, signals: Path, epochs: Path, cfg: Pack
) -> dict[str, Any]:
    """Write the (epoch, channel, time) int16 array and the table of its epochs.

    Parameters
    ----------
    part
        Parquet part, one row group per recording.
    dataset
        Name that makes the subject keys: `dataset/subject`.
    signals, epochs
        Files to write: `.npy` and Parquet.
    cfg
        Scaling, and seconds that label an epoch.

    Returns
    -------
    Shape, channels, sampling rate, and the recordings' channels without spread.
    """
    source = pq.ParquetFile(part)
    schema = source.schema_arrow
    metadata = part_metadata(schema)
    channels = sorted(metadata["channels"])
    samples = schema.field(channels[0]).type.list_size
    tables = [_epochs(schema.empty_table(), dataset=dataset, scalings=_unit(channels), cfg=cfg)]
    constant: list[dict[str, str]] = []
    shape = (source.metadata.num_rows, len(channels), samples)
    with signals.open("wb") as file:
        _write_header(file, shape)
        for group in range(source.num_row_groups):
            table = source.read_row_group(group)
            array = np.empty((len(table), len(channels), samples), np.int16)
            scalings = {}
            for position, channel in enumerate(channels):
                array[:, position] = _values(table[channel], samples)
                usable = (np.asarray(table[f"{channel}_quality"]) & UNUSABLE) == 0
                scalings[channel] = scaling_of(
                    array[usable, position],
                    scale=table[f"{channel}_scale"][0].as_py(),
                    kind=kind_of_scaling(channel, cfg),
                )
                if usable.any() and not scalings[channel].gain:
                    name = table["recording"][0].as_py()
                    constant.append({"recording": name, "channel": channel})
            file.write(array.data)
            tables.append(_epochs(table, dataset=dataset, scalings=scalings, cfg=cfg))
    pl.concat(tables).write_parquet(epochs, compression="zstd")
    return {
        "channels": channels,
        "samples": samples,
        "sampling_rate": metadata["channels"][channels[0]]["sampling_rate"],
        "epochs": shape[0],
        "constant": constant,
    }


def kind_of_scaling(channel: str, cfg: Pack) -> str:
    """Give the scaling of a channel: the configured one, but of SpO2 none."""
    return "none" if channel == "SPO2" else cfg.scaling


def scaling_of(samples: npt.NDArray[np.int16], *, scale: float, kind: str) -> Scaling:
    """Give the scaling of a recording's channel.

    Parameters
    ----------
    samples
        Its usable epochs, shape (epochs, T).
    scale
        Physical value of one step.
    kind
        As `pack.scaling` of the configuration.
    """
    flat = samples.reshape(-1)
    if not flat.size:
        return Scaling(0.0, 0.0)
    if kind == "none":
        return Scaling(0.0, scale)
    some = flat[:: max(1, flat.size // QUANTILE_SAMPLES)]
    low, median, high = map(float, np.quantile(some, (0.25, 0.5, 0.75)))
    if kind == "median":
        return Scaling(median, scale)
    return Scaling(median, IQR_OF_NORMAL / (high - low) if high > low else 0.0)


def label_epochs(cfg: Pack) -> list[pl.Expr]:
    """Give the columns `apnea`, `hypopnea` and `respiratory`: 1, 0, or -1 where nobody looked."""
    looked = pl.any_horizontal(pl.col(APNEAS).is_not_null())
    # pl.sum_horizontal takes what is not known as 0.
    apnea = pl.when(looked).then(pl.sum_horizontal(APNEAS) >= cfg.apnea_seconds)
    hypopnea = pl.col("hypopnea_s") >= cfg.hypopnea_seconds
    labels = {"apnea": apnea, "hypopnea": hypopnea, "respiratory": apnea | hypopnea}
    return [label.cast(pl.Int8).fill_null(-1).alias(name) for name, label in labels.items()]


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    described = {"descr": "<i2", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)


def _values(column: pa.ChunkedArray, samples: int) -> npt.NDArray[np.int16]:
    array = column.combine_chunks()
    if array.null_count == len(array):
        return np.zeros((len(array), samples), np.int16)
    return np.asarray(array.flatten()).reshape(-1, samples)


def _unit(channels: Sequence[str]) -> dict[str, Scaling]:
    return dict.fromkeys(channels, Scaling(0.0, 1.0))


def _epochs(
    table: pa.Table, *, dataset: str, scalings: Mapping[str, Scaling], cfg: Pack
) -> pl.DataFrame:
    shared = pl.DataFrame(pl.from_arrow(table.drop_columns(list(scalings))))
    # A copy: columns shared with Arrow keep the memory around them, more with each recording.
    plain = shared.select(pl.all().gather(pl.int_range(pl.len())))
    return plain.with_columns(
        pl.lit(dataset).alias("dataset"),
        (pl.lit(f"{dataset}/") + pl.col("subject")).alias("subject"),
        *label_epochs(cfg),
        *(
            pl.lit(value, pl.Float32).alias(f"{channel}_{name}")
            for channel, scaling in scalings.items()
            for name, value in scaling._asdict().items()
        ),
    ).select("dataset", pl.exclude("dataset"))
