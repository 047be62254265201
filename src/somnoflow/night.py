"""One recording as a model reads it: the epochs of some channels, without any label.

It is read as `parse` and `pack` read a cohort, by the same functions, and so becomes the same
numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from somnoflow.config.dataset import Reading
from somnoflow.config.pack import Pack
from somnoflow.config.signals import Signals
from somnoflow.data.packing import kind_of_scaling, scaling_of
from somnoflow.data.parsing import parse_recording
from somnoflow.inspect.naming import split_suffix
from somnoflow.io.parquet import ChannelEpochs
from somnoflow.signals.quality import UNUSABLE
from somnoflow.stages import EPOCH_SECONDS
from somnoflow.tasks import LABELS, UNKNOWN

COMMON_NAMES = Reading(guess_channels=True)
SIGNALS = Signals()
PACK = Pack()


@dataclass(eq=False)
class Night:
    """The epochs of a recording; read by row as packed epochs are (`training.reading.Epochs`).

    Notation: N epochs, C channels, T samples per epoch.

    Attributes
    ----------
    channels
        C canonical channels, as they were asked for.
    samples
        Samples per epoch, T.
    sampling_rate
        Hz.
    table
        One row per epoch, as `PackedEpochs.table`, but of no dataset or subject, and not scored.
    signals
        (N, C, T) float32, scaled; 0 where a channel is not present.
    present
        (N, C): whether a channel carries a signal in an epoch.
    quality
        (N, C) uint8, bits of `signals.quality.Flag`.
    onset_s
        (N,): seconds from the start of the recording to each epoch.
    taken
        The labels that each channel of the recording was made of.
    absent
        The reason for each channel that the recording has not.
    remarks
        What else was decided or is doubtful.
    """

    channels: tuple[str, ...]
    samples: int
    sampling_rate: int
    table: pl.DataFrame
    signals: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_]
    quality: npt.NDArray[np.uint8]
    onset_s: npt.NDArray[np.float64]
    taken: Mapping[str, str]
    absent: Mapping[str, str]
    remarks: Sequence[str]

    def __len__(self) -> int:
        return len(self.signals)

    def rows(self, *, scored: bool) -> npt.NDArray[np.int64]:
        """Give the rows of usable epochs; scored is none of them."""
        usable = np.flatnonzero(self.table["usable"].to_numpy())
        return usable[:0] if scored else usable

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Give the signals (B, C, T) of rows (B,)."""
        return self.signals[rows]


def read_night(
    path: Path,
    *,
    channels: Sequence[str],
    sampling_rate: int,
    reading: Reading = COMMON_NAMES,
    signals: Signals = SIGNALS,
    pack: Pack = PACK,
) -> Night:
    """Read a recording: choose channels, filter, resample, cut into epochs, flag and scale.

    Parameters
    ----------
    path
        EDF, BDF, FIF or BrainVision recording.
    channels
        Canonical channels, such as `EEG_C4`, in the order that they are wanted in.
    sampling_rate
        Hz to resample to.
    reading
        What the labels and units of the recording mean; by default common names are looked up.
        Annotations are not read.
    signals, pack
        Filters, thresholds of the quality flags, and scaling. Channels and sampling rate of the
        section `signals` do not count.

    Raises
    ------
    Rejection
        When the recording is damaged, too short or too long, or has none of the channels.
    ValueError
        When a filter does not go with the sampling rate.
    """
    parsed = parse_recording(
        {
            "recording": path.name, "subject": "", "night": 1, "signal": path.name,
            "stages": None, "events": None,
        },
        folder=path.parent,
        reading=reading.model_copy(
            update={"stages": None, "stages_inside": False, "events": None}
        ),
        signals=signals_for(channels, sampling_rate=sampling_rate, like=signals),
    )  # fmt: skip
    epochs = parsed.epochs
    onset_s = epochs.grid.begins()
    scaled = np.zeros((len(onset_s), len(channels), EPOCH_SECONDS * sampling_rate), np.float32)
    present = np.zeros(scaled.shape[:2], np.bool_)
    for place, name in enumerate(channels):
        present[:, place] = _scale_into(
            scaled[:, place], epochs.channels[name], kind=kind_of_scaling(name, pack)
        )
    quality = np.stack([epochs.channels[name].quality for name in channels], axis=1)
    rows = {row["channel"]: row for row in parsed.channels if row["channel"]}
    return Night(
        channels=tuple(channels),
        samples=scaled.shape[2],
        sampling_rate=sampling_rate,
        table=_table(split_suffix(path.name)[0], onset_s, present=present, quality=quality),
        signals=scaled,
        present=present,
        quality=quality,
        onset_s=onset_s,
        taken={name: row["source"] for name, row in rows.items() if not row["problem"]},
        absent={name: row["problem"] for name, row in rows.items() if row["problem"]},
        remarks=tuple(filter(None, parsed.row["notes"].split("; "))),
    )


def signals_for(channels: Sequence[str], *, sampling_rate: int, like: Signals) -> Signals:
    """Give the section `signals` with other channels and another sampling rate.

    Raises
    ------
    ValueError
        When a filter does not go with the sampling rate.
    """
    return Signals.model_validate(
        {**like.model_dump(), "channels": list(channels), "sampling_rate": sampling_rate}
    )


def _scale_into(
    place: npt.NDArray[np.float32], channel: ChannelEpochs, *, kind: str
) -> npt.NDArray[np.bool_]:
    """Scale the usable epochs of a channel into `place`, (N, T); tell which these are, (N,)."""
    usable = channel.quality & UNUSABLE == 0
    if channel.samples is None:
        return usable & False
    scaling = scaling_of(channel.samples[usable], scale=channel.scale, kind=kind)
    if not scaling.gain:
        return usable & False
    # In float32 and in this order, as packed epochs are when they are read.
    values = channel.samples[usable].astype(np.float32)
    values -= np.float32(scaling.center)
    values *= np.float32(scaling.gain)
    place[usable] = values
    return usable


def _table(
    recording: str,
    onset_s: npt.NDArray[np.float64],
    *,
    present: npt.NDArray[np.bool_],
    quality: npt.NDArray[np.uint8],
) -> pl.DataFrame:
    table = pl.DataFrame({"onset_s": onset_s}).select(
        pl.lit("").alias("dataset"),
        pl.lit("").alias("subject"),
        pl.lit(recording).alias("recording"),
        pl.int_range(pl.len(), dtype=pl.Int32).alias("epoch"),
        "onset_s",
        *(pl.lit(UNKNOWN, pl.Int8).alias(name) for name in LABELS),
    )
    return table.with_columns(
        quality=pl.Series(np.bitwise_or.reduce(quality, axis=1).astype(np.uint16)),
        usable=pl.Series(present.any(axis=1)),
    )
