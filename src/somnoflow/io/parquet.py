"""The signals' Parquet parts: one row per 30-s epoch, signal and label in one record.

Columns: `subject`, `recording`, `night`, `epoch`, `onset_s`, `stage`, seconds of each event that
overlap the epoch (null where nobody looked for such events), and for each channel `<channel>`
(int16 samples, null where missing), `<channel>_scale` (physical value of one step) and
`<channel>_quality` (bits, signals/quality.py). A physical value is the sample times the scale. The
schema's metadata says unit, filter and sampling rate. The same content gives the same bytes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from somnoflow.signals.epochs import Grid

METADATA_KEY = b"somnoflow"


@dataclass(frozen=True)
class ChannelEpochs:
    """One channel of a recording, cut: samples (epochs, T) int16, scale, quality (epochs,)."""

    samples: npt.NDArray[np.int16] | None
    scale: float
    quality: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class RecordingEpochs:
    """All rows of one recording; events that nobody looked for are None."""

    subject: str
    recording: str
    night: int
    grid: Grid
    stage: npt.NDArray[np.int8]
    events: Mapping[str, npt.NDArray[np.float32] | None]
    channels: Mapping[str, ChannelEpochs]


def part_schema(
    channels: Sequence[str], *, events: Sequence[str], samples: int, metadata: Mapping[str, Any]
) -> pa.Schema:
    """Give the schema of a part; `samples` is the number of samples per epoch."""
    fields = [
        pa.field("subject", pa.string()),
        pa.field("recording", pa.string()),
        pa.field("night", pa.int32()),
        pa.field("epoch", pa.int32()),
        pa.field("onset_s", pa.float64()),
        pa.field("stage", pa.int8()),
        *(pa.field(f"{name}_s", pa.float32()) for name in events),
    ]
    for channel in channels:
        fields += [
            pa.field(channel, pa.list_(pa.int16(), samples)),
            pa.field(f"{channel}_scale", pa.float32()),
            pa.field(f"{channel}_quality", pa.uint8()),
        ]
    text = json.dumps(metadata, sort_keys=True, ensure_ascii=False)
    return pa.schema(fields, metadata={METADATA_KEY: text.encode()})


class PartWriter:
    """Write a part, one row group per recording; use it in a `with` block."""

    def __init__(self, path: Path, schema: pa.Schema, *, epoch_seconds: int) -> None:
        self._schema = schema
        self._epoch_seconds = epoch_seconds
        samples = [field.name for field in schema if pa.types.is_fixed_size_list(field.type)]
        others = [field.name for field in schema if field.name not in samples]
        # Differences of neighbours are small: half the bytes of zstd alone, and half its time.
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=1,
            column_encoding={f"{name}.list.element": "DELTA_BINARY_PACKED" for name in samples},
            use_dictionary=others,
            write_statistics=others,
        )

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()

    def write(self, recording: RecordingEpochs) -> None:
        """Append all epochs of a recording."""
        epochs = len(recording.stage)
        number = recording.grid.first + np.arange(epochs, dtype=np.int32)
        columns = {
            "subject": _texts(recording.subject, epochs),
            "recording": _texts(recording.recording, epochs),
            "night": _numbers(np.full(epochs, recording.night), pa.int32()),
            "epoch": _numbers(number, pa.int32()),
            "onset_s": _numbers(
                recording.grid.onset + number * float(self._epoch_seconds), pa.float64()
            ),
            "stage": _numbers(recording.stage, pa.int8()),
        }
        for name, seconds in recording.events.items():
            columns[f"{name}_s"] = (
                pa.nulls(epochs, pa.float32())
                if seconds is None
                else _numbers(seconds, pa.float32())
            )
        for name, channel in recording.channels.items():
            columns[name] = _samples_array(channel.samples, self._schema.field(name).type, epochs)
            columns[f"{name}_scale"] = _numbers(np.full(epochs, channel.scale), pa.float32())
            columns[f"{name}_quality"] = _numbers(channel.quality, pa.uint8())
        arrays = [columns[field.name] for field in self._schema]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))


# Arrays are laid over memory: `pa.array` and `pa.repeat` would load pandas, half a second a job.


def _texts(text: str, count: int) -> pa.Array:
    """Give an array of one text, repeated."""
    data = text.encode("utf-8")
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(len(data))
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(data * count))


def _numbers(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Give an array of numbers, without a copy where they are of this kind."""
    values = np.ascontiguousarray(values, kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, values.size, [None, pa.py_buffer(values)])


def _samples_array(
    samples: npt.NDArray[np.int16] | None, kind: pa.FixedSizeListType, epochs: int
) -> pa.Array:
    if samples is None:
        return pa.nulls(epochs, kind)
    return pa.FixedSizeListArray.from_arrays(_numbers(samples, pa.int16()), kind.list_size)


def part_metadata(schema: pa.Schema) -> dict[str, Any]:
    """Give what `part_schema` was told as metadata."""
    return json.loads(schema.metadata[METADATA_KEY])
