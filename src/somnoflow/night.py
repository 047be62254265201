"""One recording as a model reads it: the epochs of some channels, without any label.

It is read as `parse` and `pack` read a cohort, by the same functions, and so becomes the same
numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from somnoflow.config.dataset import Reading
from somnoflow.config.pack import Pack
from somnoflow.config.signals import Signals
from somnoflow.data.channels import read_channels
from somnoflow.data.packing import kind_of_scaling, scaling_of
from somnoflow.data.parsing import require_length
from somnoflow.inspect.naming import split_suffix
from somnoflow.io.parquet import ChannelEpochs
from somnoflow.io.recordings import open_recording
from somnoflow.io.source import SourceRecording
from somnoflow.signals.epochs import Grid
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


@dataclass(frozen=True, eq=False)
class CutNight:
    """Some channels of a recording, filtered and cut into N epochs, as they are stored: not scaled.

    Attributes
    ----------
    recording
        Its name, without folder and suffix.
    start
        When it begins; None where the file does not tell.
    sampling_rate
        Hz.
    onset_s
        (N,): seconds from the start of the recording to each epoch.
    channels
        Epochs of each canonical channel that was asked for, absent ones too.
    taken, absent, remarks
        As in `Night`.
    """

    recording: str
    start: datetime | None
    sampling_rate: int
    onset_s: npt.NDArray[np.float64]
    channels: Mapping[str, ChannelEpochs]
    taken: Mapping[str, str]
    absent: Mapping[str, str]
    remarks: Sequence[str]


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
    signals = signals_for(channels, sampling_rate=sampling_rate, like=signals)
    source = open_recording(path)
    require_length(source, signals=signals)
    cut = cut_night(source, recording=split_suffix(path.name)[0], reading=reading, signals=signals)
    return scale_night(cut, channels=channels, pack=pack)


def cut_night(
    source: SourceRecording, *, recording: str, reading: Reading, signals: Signals
) -> CutNight:
    """Read the channels of `signals` from an open recording: filter, resample, cut and flag.

    Parameters
    ----------
    source
        Any length.
    recording
        Its name.
    reading
        What its labels and units mean.
    signals
        Channels, filters, sampling rate and quality thresholds.

    Raises
    ------
    Rejection
        When the recording has none of the channels, or no whole epoch.
    """
    # As read_labels does it where nobody scored.
    grid = Grid(onset=0.0, epochs=int((source.seconds + 1e-6) // EPOCH_SECONDS))
    found = read_channels(source, reading=reading, signals=signals, grid=grid)
    rows = {row["channel"]: row for row in found.rows if row["channel"]}
    return CutNight(
        recording=recording,
        start=source.start,
        sampling_rate=signals.sampling_rate,
        onset_s=grid.begins(),
        channels=found.epochs,
        taken={name: row["source"] for name, row in rows.items() if not row["problem"]},
        absent={name: row["problem"] for name, row in rows.items() if row["problem"]},
        remarks=(*source.notes, *found.remarks),
    )


def scale_night(cut: CutNight, *, channels: Sequence[str], pack: Pack) -> Night:
    """Scale some of the channels of a night, in the order that they are wanted in."""
    shape = (len(cut.onset_s), len(channels), EPOCH_SECONDS * cut.sampling_rate)
    scaled = np.zeros(shape, np.float32)
    present = np.zeros(shape[:2], np.bool_)
    for place, name in enumerate(channels):
        present[:, place] = _scale_into(
            scaled[:, place], cut.channels[name], kind=kind_of_scaling(name, pack)
        )
    quality = np.stack([cut.channels[name].quality for name in channels], axis=1)
    return Night(
        channels=tuple(channels),
        samples=shape[2],
        sampling_rate=cut.sampling_rate,
        table=_table(cut.recording, cut.onset_s, present=present, quality=quality),
        signals=scaled,
        present=present,
        quality=quality,
        onset_s=cut.onset_s,
        taken={name: label for name, label in cut.taken.items() if name in channels},
        absent={name: why for name, why in cut.absent.items() if name in channels},
        remarks=cut.remarks,
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
