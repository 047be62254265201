"""YASA's features of whole nights, and what its own stager says of them (eLife 2021;10:e70092).

What is decided here:

- YASA sees a channel as the part holds it, filtered and resampled as the section `signals` said,
  and every epoch of it, so that no row slips.
- Of a filtered flat line YASA's features are those of rounding errors, and it smooths them over
  the neighbours and scales the night by them. Where epochs are without a signal, smoothing and
  scaling are done again without these epochs, before its stager is asked.
- Epochs without a signal, or of which a feature is not a number, are not usable.
- A recording that is too short, too slow or without the channel is not shown to YASA: none of its
  epochs is usable, and the log says why.

Notation: N epochs of a recording, T samples of an epoch, F features, K stages.
"""

import logging
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from somnoflow.config.baselines import YASA_ABOVE_HZ
from somnoflow.data.features import FeatureTable, standardise
from somnoflow.io.parquet import part_metadata
from somnoflow.signals.quality import UNUSABLE
from somnoflow.stages import EPOCH_SECONDS
from somnoflow.tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

KEYS = ["subject", "recording", "epoch", "onset_s", "stage"]
OF_EPOCH = (
    "std", "iqr", "skew", "kurt", "nzc", "hmob", "hcomp", "sdelta", "fdelta", "theta", "alpha",
    "sigma", "beta", "dt", "ds", "db", "at", "abspow", "perm", "higuchi", "petrosian",
)  # fmt: skip
SMOOTHED = ("_c7min_norm", "_p2min_norm")
OF_TIME = ("time_hour", "time_norm")
# In YASA's order.
FEATURES = tuple(
    sorted([f"eeg_{name}{end}" for name in OF_EPOCH for end in ("", *SMOOTHED)] + [*OF_TIME])
)
ITS_STAGES = ("WAKE", "N1", "N2", "N3", "REM")  # in the order of ours
PROBABILITIES = TASKS["staging"].probabilities
LEAST_MINUTES = 5

# YASA's other features are on the scale of their night already.
RAW = tuple(name for name in FEATURES if not name.endswith(SMOOTHED))
DIMENSION = len(FEATURES) + len(RAW)


def features_schema() -> pa.Schema:
    """Give the columns of features.parquet; features and probabilities are null if not usable."""
    return pa.schema(
        [
            pa.field("dataset", pa.string()),
            pa.field("subject", pa.string()),
            pa.field("recording", pa.string()),
            pa.field("epoch", pa.int32()),
            pa.field("onset_s", pa.float64()),
            pa.field("stage", pa.int8()),
            pa.field("usable", pa.bool_()),
            pa.field("quality", pa.uint16()),
            *(pa.field(name, pa.float32()) for name in (*FEATURES, *PROBABILITIES)),
        ]
    )


def write_features(part: Path, features: Path, *, dataset: str, channel: str) -> None:
    """Write the features of a part's epochs, recording by recording.

    Parameters
    ----------
    part
        Parquet part, one row group per recording.
    features
        Parquet file with the columns of `features_schema`, the rows those of the part.
    dataset
        Name that makes the subject keys: `dataset/subject`.
    channel
        EEG channel, in uV.

    Raises
    ------
    ValueError
        When the part has no such channel, or the epochs of a recording do not follow each other.
    """
    source, schema = pq.ParquetFile(part), features_schema()
    known = part_metadata(source.schema_arrow)["channels"]
    if channel not in known:
        raise ValueError(
            f"{part} holds the channels {', '.join(sorted(known))}, wanted {channel}. Add it to "
            "signals.channels in the configuration"
        )
    columns = [*KEYS, channel, f"{channel}_scale", f"{channel}_quality"]
    with pq.ParquetWriter(features, schema, compression="zstd") as writer:
        for group in range(source.num_row_groups):
            table = describe_night(
                source.read_row_group(group, columns=columns),
                dataset=dataset,
                channel=channel,
                sampling_rate=known[channel]["sampling_rate"],
            )
            writer.write_table(table.select(schema.names).to_arrow().cast(schema))
            log.info(
                "%d of %d recordings: %s, %d of %d epochs have features",
                group + 1, source.num_row_groups, table["recording"][0],
                table["usable"].sum(), len(table),
            )  # fmt: skip


def describe_night(
    night: pa.Table, *, dataset: str, channel: str, sampling_rate: float
) -> pl.DataFrame:
    """Give the rows of features.parquet of one recording's epochs, as its part holds them."""
    table = pl.DataFrame(pl.from_arrow(night.select(KEYS)))
    name = f"{table['recording'][0]}, {channel}"
    if (table["epoch"].diff().drop_nulls() != 1).any():
        raise ValueError(
            f"{name}: its {len(table)} epochs do not follow each other, wanted one row each, in "
            "the order of time. Make them again with: snakemake --forcerun parse"
        )
    quality = np.asarray(night[f"{channel}_quality"])
    usable = (quality & int(UNUSABLE)) == 0
    values = np.zeros((len(night), len(FEATURES)), np.float32)
    probabilities = np.zeros((len(night), len(PROBABILITIES)), np.float32)
    if reason := why_not(night[channel], usable=usable, sampling_rate=sampling_rate):
        log.warning("%s: %s; none of its %d epochs is usable", name, reason, len(table))
        usable = np.zeros_like(usable)
    else:
        samples = np.asarray(night[channel].combine_chunks().flatten())
        microvolts = samples * float(night[f"{channel}_scale"][0].as_py())
        values, probabilities = run_yasa(microvolts, usable=usable, sampling_rate=sampling_rate)
        usable = usable & np.isfinite(values).all(axis=1)
    found = zip((*FEATURES, *PROBABILITIES), (*values.T, *probabilities.T), strict=True)
    return table.with_columns(
        dataset=pl.lit(dataset),
        subject=pl.lit(f"{dataset}/") + pl.col("subject"),
        usable=pl.Series(usable),
        quality=pl.Series(quality),
    ).with_columns(pl.when("usable").then(pl.Series(column)).alias(key) for key, column in found)


def why_not(samples: pa.ChunkedArray, *, usable: Flags, sampling_rate: float) -> str | None:
    """Tell why a recording cannot be shown to YASA; None where it can."""
    minutes = len(samples) * EPOCH_SECONDS / 60
    if samples.null_count:
        return "it was not recorded"
    if sampling_rate <= YASA_ABOVE_HZ:
        wanted = f"YASA wants more than {YASA_ABOVE_HZ} Hz (signals.sampling_rate)"
        return f"{sampling_rate:g} Hz, {wanted}"
    if minutes < LEAST_MINUTES:
        return f"{minutes:g} minutes, YASA wants at least {LEAST_MINUTES}"
    if not usable.any():
        return "no epoch carries a signal"
    return None


def run_yasa(
    microvolts: npt.NDArray[np.float64], *, usable: Flags, sampling_rate: float
) -> tuple[Floats, Floats]:
    """Give YASA's features (N, F) of a night and the probabilities (N, K) of its own stager.

    Parameters
    ----------
    microvolts
        EEG of N whole epochs that follow each other, (N T,).
    usable
        Which epochs carry a signal, (N,); what is given for the others means nothing.
    sampling_rate
        In Hz.

    Raises
    ------
    ValueError
        When the installed YASA has other features than the one that this was made for.
    """
    import mne  # noqa: PLC0415 - both take seconds
    import yasa  # noqa: PLC0415

    info = mne.create_info(["EEG"], sampling_rate, "eeg", verbose="error")
    raw = mne.io.RawArray(microvolts[None] * 1e-6, info, verbose="error")
    staging = yasa.SleepStaging(raw, eeg_name="EEG")
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        # Its stager was stored with an older scikit-learn, of which it uses the labels alone.
        warnings.filterwarnings("ignore", message="Trying to unpickle estimator LabelEncoder")
        features = staging.get_features()
        if tuple(features.columns) != FEATURES:
            strange = sorted(set(features.columns) ^ set(FEATURES))
            raise ValueError(
                f"YASA {yasa.__version__} has {features.shape[1]} features, wanted "
                f"{len(FEATURES)}: {', '.join(strange[:5])} differ. Install YASA 0.8"
            )
        if len(features) != len(usable):
            raise ValueError(f"YASA gave {len(features)} rows for {len(usable)} epochs")
        if not usable.all():
            features = staging._features = smooth(features, usable=usable)
        probabilities = staging.predict().proba
    return (
        features.to_numpy(np.float32),
        probabilities[list(ITS_STAGES)].to_numpy(np.float32),
    )


def smooth(features: "pd.DataFrame", *, usable: Flags) -> "pd.DataFrame":
    """Smooth and scale again as YASA does (section "Features" of its paper), over usable epochs.

    A triangle over 15 epochs and the mean of the last 4, each between the 5th and 95th percentile
    of the night. Features of epochs that are not usable become NaN.
    """
    from sklearn.preprocessing import robust_scale  # noqa: PLC0415 - takes seconds

    own = features[[f"eeg_{name}" for name in OF_EPOCH]].astype(float)
    own[~usable] = np.nan
    around = own.rolling(15, center=True, min_periods=1, win_type="triang").mean()
    before = own.rolling(4, min_periods=1).mean()
    again = features.astype(float)
    again[own.columns] = own
    for end, values in zip(SMOOTHED, (around, before), strict=True):
        values[~usable] = np.nan
        again[own.columns + end] = robust_scale(values, quantile_range=(5, 95))
    return again.astype(np.float32)


def to_embedding(table: pl.DataFrame) -> Floats:
    """Bring the features of whole recordings to sizes that every head can be trained on.

    Parameters
    ----------
    table
        Rows of features.parquet, each recording in one piece.

    Returns
    -------
    (N, D), 0 where an epoch is not usable: asinh of all features, then those of the epoch alone
    once more, on the scale of their own night. Both depend on no other recording.
    """
    usable = table["usable"].to_numpy()
    embedding = np.zeros((len(table), DIMENSION), np.float32)
    if usable.any():
        values = table.select(pl.col(RAW).cast(pl.Float64)).to_numpy()
        of_night = standardise(
            FeatureTable(table, values, RAW), train=table["subject"].unique(), normalise=["night"]
        )
        embedding[:, len(FEATURES) :] = of_night.values
        level = np.arcsinh(table.select(FEATURES).to_numpy())
        embedding[usable, : len(FEATURES)] = level[usable]
    return embedding


def read_features(path: Path, *, epochs: pl.DataFrame) -> pl.DataFrame:
    """Read the features of a shard beside its packed epochs.

    Parameters
    ----------
    path
        features.parquet.
    epochs
        `PackedEpochs.table` of the shard, of YASA's channel.

    Returns
    -------
    The rows and columns of `epochs`, `usable` where YASA's features are too, with `modalities` and
    all features.

    Raises
    ------
    ValueError
        When the file has other epochs.
    """
    keys = ["dataset", "subject", "recording", "epoch"]
    found = pl.read_parquet(path, columns=[*keys, "usable", *FEATURES], hive_partitioning=False)
    table = epochs.join(found, on=keys, how="inner", suffix="_of_yasa").sort(keys)
    if not len(table) == len(epochs) == len(found):
        raise ValueError(
            f"{path} has {len(found)} epochs, of which {len(table)} are among the {len(epochs)} "
            "packed ones, wanted the same. Make it again with: snakemake --forcerun yasa"
        )
    return table.with_columns(
        usable=pl.col("usable") & pl.col("usable_of_yasa"), modalities=pl.lit("EEG")
    )


def read_answers(path: Path, *, subjects: Collection[str]) -> pl.DataFrame:
    """Read what YASA's stager says of some subjects: keys, `stage`, `usable`, probabilities."""
    table = pl.scan_parquet(path, hive_partitioning=False)
    columns = ["dataset", *KEYS, "usable", *PROBABILITIES]
    return table.filter(pl.col("subject").is_in(sorted(subjects))).select(columns).collect()
