"""Which files are scorings of one night, and their stages over the same epochs.

What is decided here:

- Files are scorings of one night, folders are scorers with a file per night. Files of folders
  belong together where their names are the same but for the suffix and a last word that says what
  they are (`-PSG`, `_events`, `-annotations`).
- Where several files of a folder are of one night (the exports of `somnoflow score`), the CSV with
  a row per epoch is taken.
- Onsets count from the start of the recording. Scorings that name a date, or a time of day, are
  laid over each other by it; one that names none begins with the first that does.
- Epochs begin where the pages of the first scorer with 30-s pages do. Another scorer's stage in an
  epoch is the one that covers the most of it, and at least half (`data.labels.stage_per_epoch`).
- Epochs before the first and after the last stage of anybody are left out.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor
from pathlib import Path

import numpy as np
import polars as pl

from somnoflow.agreement.scorings import epoch_columns, read_stages, stage_of
from somnoflow.config.annotation import Annotation
from somnoflow.config.base import ConfigError
from somnoflow.data.labels import DAY_SECONDS, PAGES, stage_per_epoch
from somnoflow.evaluate.agreement import ScoredNight
from somnoflow.inspect.kinds import recognise
from somnoflow.inspect.naming import split_suffix
from somnoflow.io.manifest import files_below, shown
from somnoflow.io.rejection import Rejection
from somnoflow.io.scoring import Scoring
from somnoflow.io.source import LONGEST_SECONDS
from somnoflow.report.tables import plural
from somnoflow.stages import EPOCH_SECONDS, Stage

COLUMNS = ("recording", "scorer", "epoch", "stage")
_ENDING = re.compile(
    r"([-_.](psg|eeg|annotations?|events|yasa|stages?|hypnogram|hypno|scoring|nsrr|profusion))+$",
    re.IGNORECASE,
)
_SAME = 0.1  # s, by which pages of two programs may begin apart


@dataclass(frozen=True)
class Labels:
    """How one scorer's files are read, and which files of a folder they are (all where None)."""

    annotation: Annotation
    files: str | None


@dataclass(frozen=True)
class Scorings:
    """The scorings of some nights, and what is to be said of them.

    `left_out` are files and nights that are not compared, with the reason; `notes` are remarks on
    nights that are.
    """

    scorers: tuple[str, ...]
    nights: tuple[ScoredNight, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def read_scorings(
    paths: Sequence[Path], labels: Sequence[Labels | None], *, names: Sequence[str] = ()
) -> Scorings:
    """Read what is to be compared.

    Parameters
    ----------
    paths
        Two or more files of one night, two or more folders of one scorer each, or one table with
        the columns `recording`, `scorer`, `epoch`, `stage` and perhaps `cohort`.
    labels
        How the files of each path are read; recognised where None.
    names
        Names of the scorers, one for each path; after the files or folders where there is none.

    Raises
    ------
    ConfigError
        When there are not two scorers, a file cannot be read, or no two scorings share an epoch.
    """
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path} does not exist. Wanted: scorings, or folders of them")
    if names and (len(names) != len(paths) or len(set(names)) < len(names)):
        raise ConfigError(
            f"--names has {', '.join(names)} for {len(paths)} scorings, wanted another name for "
            "each; a table names its scorers itself"
        )
    folders = [path.is_dir() for path in paths]
    scorers = tuple(names) or name_scorers(paths)
    if len(paths) == 1:
        if folders[0]:
            raise ConfigError(
                f"{paths[0]} is the folder of one scorer. Wanted: two or more folders, each with "
                "one scorer's files"
            )
        found = _read_long_table(paths[0])
    elif all(folders):
        found = _read_folders(paths, labels, scorers=scorers)
    elif any(folders):
        raise ConfigError(
            f"{paths[folders.index(True)]} is a folder and {paths[folders.index(False)]} a file. "
            "Wanted: files of one night, or a folder for each scorer"
        )
    else:
        found = _read_files(paths, labels, scorers=scorers)
    if not any((night.stages >= 0).sum(axis=0).max(initial=0) > 1 for night in found.nights):
        reasons = "; ".join([*found.left_out, *found.notes][:3])
        raise ConfigError(
            f"no epoch has a stage of two scorers{': ' if reasons else ''}{reasons}. Wanted: "
            "scorings of the same night, with the same name in each folder"
        )
    return found


def _read_files(
    paths: Sequence[Path], labels: Sequence[Labels | None], *, scorers: tuple[str, ...]
) -> Scorings:
    read = {}
    for scorer, path, own in zip(scorers, paths, labels, strict=True):
        try:
            read[scorer] = read_stages(path, own.annotation if own else None)
        except Rejection as rejection:
            raise ConfigError(f"{path}: {rejection}") from rejection
    notes: list[str] = []
    night = lay_over(read, scorers=scorers, recording=_night_of(paths[0].name), notes=notes)
    return Scorings(scorers, (night,), (), tuple(notes))


def _read_folders(
    paths: Sequence[Path], labels: Sequence[Labels | None], *, scorers: tuple[str, ...]
) -> Scorings:
    left_out: list[str] = []
    scorings: dict[str, dict[str, Scoring]] = defaultdict(dict)
    for scorer, folder, own in zip(scorers, paths, labels, strict=True):
        found = _files_of(folder, pattern=own.files if own else None, left_out=left_out)
        for recording, path in found.items():
            try:
                scorings[recording][scorer] = read_stages(path, own.annotation if own else None)
            except Rejection as rejection:
                left_out.append(f"{path}: {rejection}")
    nights, notes = [], []
    for recording, read in sorted(scorings.items()):
        if len(read) < 2:
            left_out.append(f"{recording}: scored by {next(iter(read))} alone")
            continue
        said: list[str] = []
        missing = [scorer for scorer in scorers if scorer not in read]
        if missing:
            said.append(f"not scored by {', '.join(missing)}")
        nights.append(lay_over(read, scorers=scorers, recording=recording, notes=said))
        notes += [f"{recording}: {text}" for text in said]
    return Scorings(scorers, tuple(nights), tuple(left_out), tuple(notes))


def _files_of(folder: Path, *, pattern: str | None, left_out: list[str]) -> dict[str, Path]:
    """Give the scoring of each recording in a scorer's folder."""
    candidates: dict[str, list[Path]] = defaultdict(list)
    others = []
    for name in files_below(folder):
        if name.endswith("/"):
            left_out.append(f"{folder / name}: a folder that may not be listed")
        elif re.fullmatch(pattern, name) if pattern else _is_scoring(folder / name):
            candidates[_night_of(name)].append(folder / name)
        else:
            others.append(shown(name))
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        left_out.append(f"{folder}: no scorings: {', '.join(others[:3])}{more}")
    chosen = {}
    for recording, paths in candidates.items():
        exported = [path for path in paths if path.name.lower() == f"{recording}.csv".lower()]
        best = (exported or paths)[0]
        chosen[recording] = best
        left_out += [
            f"{path}: another file of {recording}, {best.name} is taken"
            for path in paths
            if path != best
        ]
    return chosen


def _is_scoring(path: Path) -> bool:
    """Say whether a file looks like a scoring of one night, by its first bytes."""
    kind = recognise(path)
    if kind.role == "annotation":
        return True
    try:
        return kind.role == "other" and bool(epoch_columns(path))
    except Rejection:
        return False  # no text, or empty: listed as no scoring


def _night_of(file: str) -> str:
    name = shown(split_suffix(file)[0])
    return _ENDING.sub("", name) or name


def name_scorers(paths: Sequence[Path]) -> tuple[str, ...]:
    """Name scorers after their file or folder, with as much of the path as tells them apart."""
    for parts in (1, 2, 3):
        names = [
            "/".join([*path.resolve().parts[-parts:-1], split_suffix(path.resolve().name)[0]])
            for path in paths
        ]
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(f"{path.name} ({number})" for number, path in enumerate(paths, start=1))


def lay_over(
    read: Mapping[str, Scoring], *, scorers: Sequence[str], recording: str, notes: list[str]
) -> ScoredNight:
    """Give the stages of all scorers over the same epochs; what differs goes into `notes`.

    Raises
    ------
    ConfigError
        When the scorings are days apart.
    """
    shifts = _shifts(read, notes=notes)
    spans = {
        name: [(onset + shifts[name], length, stage) for onset, length, stage in scoring.stages]
        for name, scoring in read.items()
    }
    pages = {name: _page(spans[name]) for name in read}
    leader = next((name for name, (page, _) in pages.items() if page == EPOCH_SECONDS), None)
    phase = pages[leader][1] if leader else 0.0
    for name, (page, own) in pages.items():
        notes += [f"{name}: {text}" for text in read[name].notes]
        if page is None:
            notes.append(f"{name}: stages begin on no grid of 30 or 20 s; each epoch has the one "
                         "that covers the most of it")  # fmt: skip
        elif page != EPOCH_SECONDS:
            notes.append(f"{name}: pages of {page} s; each epoch of 30 s has the stage that "
                         "covers the most of it")  # fmt: skip
        elif leader and _SAME < abs(own - phase) < EPOCH_SECONDS - _SAME:
            notes.append(f"{name}: pages begin {(own - phase) % EPOCH_SECONDS:g} s after those of "
                         f"{leader}; each epoch has the stage that covers the most of "
                         "it")  # fmt: skip
    staged = {name: [one for one in spans[name] if one[2] is not Stage.UNSCORED] for name in read}
    first = min(onset for own in staged.values() for onset, _, _ in own)
    last = max(onset + length for own in staged.values() for onset, length, _ in own)
    if last - first > LONGEST_SECONDS:
        raise ConfigError(
            f"{recording}: the scorings are {(last - first) / DAY_SECONDS:.0f} days apart by the "
            "dates in their files. Wanted: scorings of one night"
        )
    begin = phase + EPOCH_SECONDS * floor((first - phase + _SAME) / EPOCH_SECONDS)
    epochs = max(1, ceil((last - begin - _SAME) / EPOCH_SECONDS))
    nobody = np.full(epochs, Stage.UNSCORED, np.int8)
    stages = np.stack(
        [
            stage_per_epoch(spans[name], epochs=epochs, offset=-begin) if name in spans else nobody
            for name in scorers
        ]
    )
    _note_ends({name: staged[name] for name in read}, notes=notes)
    return ScoredNight(recording, "", begin, stages)


def _shifts(read: Mapping[str, Scoring], *, notes: list[str]) -> dict[str, float]:
    """Give the seconds to add to the onsets of each scoring, by the dates or clocks in files."""
    dated = {name: one for name, one in read.items() if one.has_clock and (one.start or one.clock)}
    shifts = dict.fromkeys(read, 0.0)
    first = next(iter(dated), None)
    if first is None:
        return shifts
    reference = dated[first]
    for name, scoring in dated.items():
        if reference.start and scoring.start:
            shift = (scoring.start - reference.start).total_seconds()
        else:
            shift = (_second_of_day(scoring) - _second_of_day(reference)) % DAY_SECONDS
            shift -= DAY_SECONDS if shift > DAY_SECONDS / 2 else 0
        shifts[name] = shift
        if shift:
            notes.append(f"{name}: its clock begins {shift:+g} s from that of {first}; shifted")
    undated = [name for name in read if name not in dated]
    if undated and len(dated) > 1 and any(shifts.values()):
        notes.append(f"{', '.join(undated)}: no clock; taken to begin with {first}")
    return shifts


def _second_of_day(scoring: Scoring) -> float:
    clock = scoring.start.time() if scoring.start else scoring.clock
    if clock is None:
        raise AssertionError("asked for the clock of a scoring without one")
    return (datetime.combine(datetime.min, clock) - datetime.min).total_seconds()


def _page(spans: Sequence[tuple[float, float, Stage]]) -> tuple[int | None, float]:
    """Give the length of a scorer's pages and where they begin; None where they are on no grid."""
    onsets = np.asarray([onset for onset, _, stage in spans if stage is not Stage.UNSCORED])
    for page in PAGES:
        phases = onsets % page
        apart = np.abs(phases - phases[0])
        if (np.minimum(apart, page - apart) <= _SAME).all():
            phase = float(phases[0])
            return page, 0.0 if min(phase, page - phase) <= _SAME else phase
    return None, 0.0


def _note_ends(
    staged: Mapping[str, Sequence[tuple[float, float, Stage]]], *, notes: list[str]
) -> None:
    """Say whose stages begin later or end earlier than the longest."""
    begins = {name: min(onset for onset, _, _ in own) for name, own in staged.items()}
    ends = {name: max(onset + length for onset, length, _ in own) for name, own in staged.items()}
    for name in staged:
        late = round((begins[name] - min(begins.values())) / EPOCH_SECONDS)
        early = round((max(ends.values()) - ends[name]) / EPOCH_SECONDS)
        parts = [f"begins {plural(late, 'epoch')} later"] * (late > 0)
        parts += [f"ends {plural(early, 'epoch')} earlier"] * (early > 0)
        if parts:
            notes.append(f"{name}: {' and '.join(parts)} than the others")


def _read_long_table(path: Path) -> Scorings:
    """Read a table of many nights and scorers: a row per epoch and scorer."""
    table = _load(path)
    columns = {name.strip().lower(): name for name in table.columns}
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise ConfigError(
            f"{path} alone is one scorer, or lacks the columns {', '.join(missing)}. Wanted: two "
            f"or more scorings, or one table with the columns {', '.join(COLUMNS)}"
        )
    cohort = pl.col(columns["cohort"]) if "cohort" in columns else pl.lit("")
    table = table.select(
        cohort=cohort.cast(pl.String).fill_null(""),
        recording=pl.col(columns["recording"]).cast(pl.String),
        scorer=pl.col(columns["scorer"]).cast(pl.String),
        epoch=pl.col(columns["epoch"]).cast(pl.Int64, strict=False),
        stage=_codes(table[columns["stage"]], path=path),
    )
    for name in ("recording", "scorer", "epoch"):
        if table[name].null_count():
            raise ConfigError(f"{path}: {table[name].null_count()} rows have no {name}, wanted one "
                              "in each row")  # fmt: skip
    scorers = tuple(table["scorer"].unique(maintain_order=True))
    if len(scorers) < 2:
        raise ConfigError(
            f"{path} holds {len(scorers)} scorer(s), wanted two or more in the column scorer"
        )
    place = {name: number for number, name in enumerate(scorers)}
    nights, notes = [], []
    for (group, recording), rows in table.group_by("cohort", "recording", maintain_order=True):
        if rows.select(pl.struct("scorer", "epoch").is_duplicated().any()).item():
            raise ConfigError(f"{path}: {recording} has an epoch of one scorer twice, wanted one "
                              "row for each scorer and epoch")  # fmt: skip
        numbers = rows["epoch"].to_numpy()
        first = int(numbers.min())
        if (int(numbers.max()) - first) * EPOCH_SECONDS > LONGEST_SECONDS:
            raise ConfigError(f"{path}: {recording} goes from epoch {first} to {numbers.max()}, "
                              "wanted the epochs of one night")  # fmt: skip
        stages = np.full((len(scorers), int(numbers.max()) - first + 1), -1, np.int8)
        own = rows["scorer"].replace_strict(place, return_dtype=pl.Int64).to_numpy()
        stages[own, numbers - first] = rows["stage"].to_numpy()
        missing = [name for name in scorers if not (stages[place[name]] >= 0).any()]
        if missing:
            notes.append(f"{recording}: not scored by {', '.join(missing)}")
        onset = float(first * EPOCH_SECONDS)
        nights.append(ScoredNight(str(recording), str(group), onset, stages))
    return Scorings(scorers, tuple(nights), (), tuple(notes))


def _load(path: Path) -> pl.DataFrame:
    try:
        if path.suffix.lower() == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema=False, null_values=["", "n/a"])
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"{path} is no table: {error}. Wanted: Parquet or CSV") from error


def _codes(stage: pl.Series, *, path: Path) -> pl.Series:
    """Give the numbers of stages that are numbers already (-1 unscored, 0 W .. 4 REM), or names."""
    codes = {}
    for label in stage.unique():
        text = "" if label is None else str(label)
        number = re.fullmatch(r"(-?\d)(\.0)?", text)
        code = Stage(int(number[1])) if number and -1 <= int(number[1]) <= 4 else stage_of(text)
        if code is None:
            raise ConfigError(
                f"{path} has the stage '{label}', wanted -1 (no stage), 0 (W), 1 to 3 (N1 to N3), "
                "4 (REM), or the names of stages"
            )
        codes[label] = int(code)
    return stage.replace_strict(codes, return_dtype=pl.Int8)
