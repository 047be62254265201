"""Tables of precomputed features, one row per epoch, read, checked and standardised.

What stands in such a table is the business of whoever computed it; here it becomes what an
encoder's embeddings are: float32 values of comparable size, and a mark on epochs that have none.

- An epoch of which a feature is not finite is not usable: it is kept, and ends a window.
- `cohort` leaves the level of a night as information; `night` takes it out, because amplitudes
  differ between people by more than between stages. Both together are the default.
- Beyond about one standard deviation values count by their logarithm (asinh): an artefact of 100
  standard deviations would outweigh the rest of a window.
- With `bins`, a network can treat a range of a feature by itself, as a tree can.

Notation: N epochs, F features of the table, G normalisations, Q bins, D = F G, or F G Q with bins.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import polars.selectors as cs

from somnoflow.config.features import Features, Normalisation
from somnoflow.stages import EPOCH_SECONDS, Stage

KEYS = ("dataset", "subject", "recording", "epoch")
IQR_OF_NORMAL = 1.349

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FeatureTable:
    """Features of epochs, as they were computed.

    Attributes
    ----------
    table
        One row per epoch, sorted by the first four: `dataset`, `subject` (the key
        `dataset/subject`), `recording`, `epoch`, `onset_s`, `stage` (-1 unscored) and `usable`.
    values
        (N, F), NaN in epochs that are not usable.
    names
        F names.
    """

    table: pl.DataFrame
    values: Doubles
    names: tuple[str, ...]


class FeatureEpochs:
    """Standardised features of the epochs of some subjects, to be read by row.

    Attributes
    ----------
    table
        As `FeatureTable.table`.
    values
        (N, D), 0 in epochs that are not usable.
    """

    def __init__(self, table: pl.DataFrame, values: Floats) -> None:
        self.table = table
        self.values = values

    @property
    def dimension(self) -> int:
        """D."""
        return self.values.shape[1]

    def read(self, rows: Rows) -> Floats:
        """Give the features (B, D) of usable epochs, rows (B,) of `table`."""
        return self.values[rows]

    def only(self, subjects: Collection[str]) -> "FeatureEpochs":
        """Give the epochs of some subjects."""
        keep = self.table["subject"].is_in(sorted(subjects))
        return FeatureEpochs(self.table.filter(keep), self.values[keep.to_numpy()])


def read_features(path: Path, *, cfg: Features) -> FeatureTable:
    """Read a table of features and check it.

    Parameters
    ----------
    path
        `.parquet` or `.csv`.
    cfg
        Its columns, the meaning of its stages, and the features wanted.

    Raises
    ------
    ValueError
        When a column is missing, a pattern names no numeric column, an epoch is there twice, a
        stage is unknown, the logarithm of a feature is not defined, or the table is empty.
    """
    raw = _read(path, cfg)
    _require_columns(raw, cfg, path=path)
    names = _select(raw, cfg, path=path)
    keys = _key_columns(raw, cfg, path=path)
    order = keys.select(pl.arg_sort_by(KEYS)).to_series().to_numpy()
    keys = keys[order]
    _require_unique(keys, path=path)
    values = raw.select(pl.col(names).cast(pl.Float64)).to_numpy()[order]
    _take_logarithms(values, names, cfg, path=path)
    usable = np.isfinite(values).all(axis=1)
    values[~usable] = np.nan
    table = keys.with_columns(
        onset_s=pl.col("epoch") * float(EPOCH_SECONDS), usable=pl.Series(usable)
    )
    return FeatureTable(table.select(*KEYS, "onset_s", "stage", "usable"), values, tuple(names))


def join_cohort(features: FeatureTable, cohort: pl.DataFrame, *, where: str) -> FeatureTable:
    """Give the cohort's epochs their features; onset and stage are the cohort's.

    Parameters
    ----------
    features
        From `read_features`.
    cohort
        One row per epoch: `dataset`, `subject`, `recording`, `epoch`, `onset_s` and `stage`; what
        else it has is kept. An epoch without features is not usable.
    where
        The table's file, for messages.

    Raises
    ------
    ValueError
        When a subject of the cohort has no row, or a row belongs to no epoch of the cohort.
    """
    missing = sorted(set(cohort["subject"]) - set(features.table["subject"]))
    if missing:
        raise ValueError(
            f"{where} has no row of {len(missing)} of {cohort['subject'].n_unique()} subjects of "
            f"the cohort: {', '.join(missing[:5])}"
        )
    rows = features.table.select(*KEYS, "usable").with_row_index("row")
    foreign = rows.join(cohort, on=KEYS, how="anti")
    if len(foreign):
        row = foreign.row(0, named=True)
        raise ValueError(
            f"{len(foreign)} of {len(rows)} rows of {where} are no epochs of the cohort, such as "
            f"epoch {row['epoch']} of {row['recording']} ({row['subject']}); wanted recordings and "
            "epochs numbered from 0 as in signals/"
        )
    table = cohort.join(rows, on=KEYS, how="left").sort(KEYS)
    values = np.full((len(table), features.values.shape[1]), np.nan)
    known = table["row"].is_not_null().to_numpy()
    values[known] = features.values[table["row"].drop_nulls().to_numpy()]
    table = table.with_columns(usable=pl.col("usable").fill_null(value=False))
    return FeatureTable(table.drop("row"), values, features.names)


def standardise(
    features: FeatureTable,
    *,
    train: Collection[str],
    normalise: Iterable[Normalisation],
    bins: int = 0,
) -> FeatureEpochs:
    """Bring the features to comparable size.

    Parameters
    ----------
    features
        The table.
    train
        Subjects by whose usable epochs `cohort` and `bins` go; no other subject is looked at.
    normalise
        `cohort`, `night` or both, which are put side by side.
    bins
        Q; 0 for the values themselves.

    Returns
    -------
    FeatureEpochs
        (N, D) values, 0 in epochs that are not usable. A feature that does not vary becomes 0,
        and with bins a constant.

    Raises
    ------
    ValueError
        When no training subject has a usable epoch.
    """
    usable = features.table["usable"].to_numpy()
    learned = features.table["subject"].is_in(sorted(train)).to_numpy() & usable
    if not learned.any():
        raise ValueError(
            f"the {len(train)} training subjects have 0 epochs whose features are all finite"
        )
    parts = [
        _by_cohort(features.values, learned) if kind == "cohort" else _by_night(features)
        for kind in normalise
    ]
    joined = np.arcsinh(np.concatenate(parts, axis=1))
    values = encode(joined, learned=learned, bins=bins) if bins else joined.astype(np.float32)
    values[~usable] = 0
    return FeatureEpochs(features.table, values)


def encode(values: Doubles, *, learned: Flags, bins: int) -> Floats:
    """Code each value by Q = `bins` quantile bins (arXiv 2203.05556, section 3.2).

    A bin is 1 where the value lies above it, -1 below, and linear between its edges.

    Parameters
    ----------
    values
        (N, C).
    learned
        (N,), whose quantiles are the edges.
    bins
        Q.

    Returns
    -------
    (N, C Q): the bins of the first column, then those of the next.
    """
    coded = np.empty((*values.shape, bins), np.float32)
    for column in range(values.shape[1]):
        edges = np.quantile(values[learned, column], np.linspace(0, 1, bins + 1))
        place = np.interp(values[:, column], edges, np.arange(bins + 1.0))
        np.clip(2 * (place[:, None] - np.arange(bins)) - 1, -1, 1, out=coded[:, column])
    return coded.reshape(len(values), -1)


def _by_cohort(values: Doubles, learned: Flags) -> Doubles:
    return _scaled(values, values[learned].mean(axis=0), values[learned].std(axis=0))


def _by_night(features: FeatureTable) -> Doubles:
    result = np.full_like(features.values, np.nan)
    usable = features.table["usable"].to_numpy()
    for night_rows in _nights(features.table):
        rows = night_rows[usable[night_rows]]
        if len(rows):
            night = features.values[rows]
            low, middle, high = np.percentile(night, [25, 50, 75], axis=0)
            result[rows] = _scaled(night, middle, (high - low) / IQR_OF_NORMAL)
    return result


def _nights(table: pl.DataFrame) -> Iterator[Rows]:
    number = table.select(pl.struct(KEYS[:3]).rle_id()).to_series().to_numpy()
    yield from np.split(np.arange(len(table)), np.flatnonzero(np.diff(number)) + 1)


def _scaled(values: Doubles, center: Doubles, spread: Doubles) -> Doubles:
    # A rounding error of equal values is not a spread.
    varies = spread > 1e-9 * np.abs(center)
    return np.where(varies, (values - center) / np.where(varies, spread, 1), 0)


def _read(path: Path, cfg: Features) -> pl.DataFrame:
    if path.suffix not in {".parquet", ".csv"}:
        raise ValueError(f"{path}: found a '{path.suffix}' file, wanted .parquet or .csv")
    # The subject 0001 is not the number 1.
    names = [name for name in (cfg.dataset_column, cfg.subject, cfg.recording) if name]
    try:
        table = (
            pl.read_parquet(path, hive_partitioning=False)
            if path.suffix == ".parquet"
            else pl.read_csv(
                path, infer_schema_length=None, schema_overrides=dict.fromkeys(names, pl.String)
            )
        )
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path} is no {path.suffix[1:]} table: {error}") from error
    if table.is_empty():
        raise ValueError(f"{path} has 0 rows, wanted one per epoch")
    return table


def _named(cfg: Features) -> dict[str, str]:
    named = {name: getattr(cfg, name) for name in ("subject", "recording", "epoch", "stage")}
    return named if cfg.dataset_column is None else {"dataset": cfg.dataset_column, **named}


def _require_columns(raw: pl.DataFrame, cfg: Features, *, path: Path) -> None:
    missing = {name: column for name, column in _named(cfg).items() if column not in raw.columns}
    if missing:
        wanted = ", ".join(f"'{column}' ({name})" for name, column in missing.items())
        raise ValueError(
            f"{path} has no column {wanted}. It has {len(raw.columns)}: "
            f"{', '.join(raw.columns[:12])}. Name its columns in the section features"
        )


def _select(raw: pl.DataFrame, cfg: Features, *, path: Path) -> list[str]:
    taken = set(_named(cfg).values())
    numeric = [name for name in raw.select(cs.numeric()).columns if name not in taken]
    for pattern in cfg.columns:
        if not any(fnmatchcase(name, pattern) for name in numeric):
            raise ValueError(
                f"{path}: '{pattern}' names none of its {len(numeric)} numeric columns: "
                f"{', '.join(numeric[:12])}"
            )
    return [name for name in numeric if _matches(name, cfg.columns)]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _key_columns(raw: pl.DataFrame, cfg: Features, *, path: Path) -> pl.DataFrame:
    subject = pl.col(cfg.subject).cast(pl.String)
    if cfg.dataset is None and cfg.dataset_column is None:
        dataset = subject.str.split("/").list.first()
    else:
        column = cfg.dataset_column
        dataset = pl.lit(cfg.dataset) if column is None else pl.col(column).cast(pl.String)
        subject = pl.concat_str(dataset, pl.lit("/"), subject)
    keys = raw.select(
        dataset=dataset,
        subject=subject,
        recording=pl.col(cfg.recording).cast(pl.String),
        epoch=pl.col(cfg.epoch).cast(pl.Int64, strict=False),
    )
    empty = keys.null_count().row(0, named=True)
    if any(empty.values()):
        found = ", ".join(f"{count} of {name}" for name, count in empty.items() if count)
        raise ValueError(f"{path}: {found} in {len(raw)} rows are empty or, as epoch, no number")
    plain = keys.filter(~pl.col("subject").str.contains("/", literal=True))
    if len(plain):
        raise ValueError(
            f"{path}: {len(plain)} subjects such as '{plain['subject'][0]}' are no keys "
            "'dataset/subject'. Give features.dataset or features.dataset_column"
        )
    return keys.with_columns(
        pl.col("epoch").cast(pl.Int32), stage=_stages(raw[cfg.stage], cfg, path=path)
    )


def _stages(column: pl.Series, cfg: Features, *, path: Path) -> pl.Series:
    codes = {
        code: Stage.UNSCORED if name == "unscored" else Stage[name]
        for code, name in cfg.stages.items()
    }
    # 2.0 of a CSV with empty cells is the code 2.
    whole = column.cast(pl.Int64) if column.dtype.is_float() and _is_whole(column) else column
    found = whole.cast(pl.String)
    unknown = found.filter(~found.is_in(list(codes)) & found.is_not_null())
    if len(unknown):
        shown = ", ".join(f"'{code}'" for code in unknown.unique().sort()[:5])
        raise ValueError(
            f"{path}: {len(unknown)} of {len(column)} stages are unknown: {shown}; wanted "
            f"{', '.join(codes)}. Give their meaning under stages in the section features"
        )
    meant = found.replace_strict({code: int(stage) for code, stage in codes.items()}, default=None)
    return meant.fill_null(int(Stage.UNSCORED)).cast(pl.Int8)


def _is_whole(column: pl.Series) -> bool:
    known = column.drop_nulls()
    return bool((known == known.round()).all())


def _require_unique(keys: pl.DataFrame, *, path: Path) -> None:
    twice = keys.filter(keys.select(KEYS).is_duplicated())
    if len(twice):
        row = twice.row(0, named=True)
        raise ValueError(
            f"{path}: {len(twice)} rows have an epoch that another row has too, such as epoch "
            f"{row['epoch']} of {row['recording']} ({row['subject']}); wanted one row per epoch"
        )


def _take_logarithms(values: Doubles, names: list[str], cfg: Features, *, path: Path) -> None:
    for column, name in enumerate(names):
        if _matches(name, cfg.log):
            wrong = int((values[:, column] <= 0).sum())
            if wrong:
                raise ValueError(
                    f"{path}: {wrong} of {len(values)} values of '{name}' are 0 or less and have "
                    "no logarithm. Leave it out of features.log"
                )
            values[:, column] = np.log(values[:, column])
