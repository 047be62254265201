"""One scorer's file of one night, in any format: its form and its labels are recognised.

What is decided here:

- The format is told by the first bytes of a file (`inspect.kinds`), the meaning of labels by the
  known vocabularies. Numbers mean other things in each laboratory: files of codes need the
  `dataset.yaml` that explains them.
- A table with a row per epoch (what `somnoflow score` writes) has the column `stage`, and `onset_s`
  (or `onset`, in seconds) or `epoch`; with none of them row n is epoch n. Epochs that are numbered
  from 1 begin with the recording as those from 0 do, and this is said.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path

from somnoflow.config.annotation import Annotation
from somnoflow.config.vocabularies import VOCABULARIES, StageName, fold
from somnoflow.inspect.draft import VOCABULARY_ORDER
from somnoflow.inspect.kinds import recognise
from somnoflow.inspect.labels import count_labels
from somnoflow.io.annotation_text import read_text
from somnoflow.io.annotations import read_scoring
from somnoflow.io.rejection import Rejection
from somnoflow.io.scoring import LONGEST_SECONDS, Scoring, shorten
from somnoflow.stages import EPOCH_SECONDS, Stage

STAGE_COLUMN = "stage"
NO_STAGE = ("", "n/a", "null", "none", "nan", "uns", "art", "unscored")
_ONSETS = ("onset_s", "onset")
_NAMES: Mapping[str, StageName] = {
    fold(label): stage
    for vocabulary in VOCABULARY_ORDER
    for label, stage in VOCABULARIES[vocabulary].stages.items()
} | {label: "unscored" for label in NO_STAGE}


def read_stages(path: Path, annotation: Annotation | None) -> Scoring:
    """Read the stages of one file, each with its times; `notes` say what became of them.

    Parameters
    ----------
    path
        The scoring.
    annotation
        How it is read and what its labels mean; recognised where None.

    Raises
    ------
    Rejection
        When the file cannot be read, its form or a label is not known, or it has no stage.
    """
    try:
        kind = recognise(path)
    except OSError as error:
        raise Rejection(
            problem="cannot be opened",
            found=error.strerror or type(error).__name__,
            wanted="a scoring",
            advice="Check the path, and that you may read the file",
        ) from error
    if kind.role == "recording" and annotation is None:
        raise Rejection(
            problem="a recording",
            found=f"{path.name} is {kind.title}",
            wanted="a scoring",
            advice="`somnoflow score` gives a recording its stages; --labels names the dataset "
            "whose recordings hold their own",
        )
    reading = kind.reading
    if reading is None and kind.role == "other" and (columns := epoch_columns(path)):
        scoring = _read_epochs(path, columns, annotation)
    elif annotation is not None:
        scoring = read_scoring(path, annotation)
    elif reading is not None:
        scoring = _read_known(path, reading)
    else:
        raise Rejection(
            problem="not a scoring that is known",
            found=f"{path.name}",
            wanted="EDF+ annotations, NSRR or Profusion XML, BIDS events, a table or codes",
            advice="`somnoflow inspect` shows what a folder holds; --labels names the dataset "
            "that explains the file",
        )
    if not any(stage is not Stage.UNSCORED for *_, stage in scoring.stages):
        raise Rejection(
            problem="no stages",
            found=f"{path.name} without any stage",
            wanted="the stages of one night",
            advice="Check that this is the scoring, and which column or labels hold the stages",
        )
    return scoring


def stage_of(label: str, own: Mapping[str, StageName] | None = None) -> Stage | None:
    """Give the stage that a label means; None where it is not known.

    A dataset's `own` labels come first. Names that everybody knows mean the same beside them: an
    expert's codes are compared with the table of a model. Numbers mean what the dataset says.
    """
    name = (_NAMES if own is None else own).get(fold(label))
    if name is None and not label.strip().lstrip("-").isdecimal():
        name = _NAMES.get(fold(label))
    return None if name is None else Stage.UNSCORED if name == "unscored" else Stage[name]


def epoch_columns(path: Path) -> dict[str, str]:
    """Give the columns of a table with a row per epoch, by lower-case name; none if it is another.

    Raises
    ------
    Rejection
        When the file is no text.
    """
    header = read_text(path, encoding="utf-8").partition("\n")[0]
    columns = {name.strip().strip('"').lower(): name for name in header.split(_separator(header))}
    return columns if STAGE_COLUMN in columns else {}


def _separator(header: str) -> str:
    return max(",\t;|", key=header.count)


def _read_known(path: Path, reading: Annotation) -> Scoring:
    labels = count_labels(path, reading)
    profusion = reading.format == "profusion-xml"
    known = (
        {fold(label): stage for label, stage in VOCABULARIES["profusion"].stages.items()}
        if profusion
        else _NAMES
    )
    meant = {label: known[fold(label)] for label in labels if fold(label) in known}
    if not any(stage != "unscored" for stage in meant.values()):
        shown = ", ".join(f"'{shorten(label)}'" for label in list(labels)[:6])
        raise Rejection(
            problem="no label that is known to be a stage",
            found=f"{shown or 'no label'} in {path.name}",
            wanted="names of stages (N2, Sleep stage 2, Stage 2 sleep|2, ...)",
            advice="Numbers mean other things in each laboratory: --labels DATASET names the "
            "folder of workflow/datasets that says what they mean",
        )
    scoring = read_scoring(path, reading.model_copy(update={"stages": meant}))
    return _note_merged(scoring, meant)


def _read_epochs(path: Path, columns: Mapping[str, str], annotation: Annotation | None) -> Scoring:
    text = read_text(path, encoding="utf-8")
    separator = _separator(text.partition("\n")[0])
    try:
        rows = list(csv.DictReader(text.splitlines(), delimiter=separator, strict=True))
    except csv.Error as error:
        raise Rejection(
            problem="damaged table",
            found=f"{error} in {path.name}",
            wanted="a row per epoch, with the cells of the header",
            advice="Export the scoring again",
        ) from error
    ragged = next((n for n, row in enumerate(rows) if None in row or None in row.values()), None)
    if ragged is not None:
        raise Rejection(
            problem="damaged table",
            found=f"line {ragged + 2} of {path.name} with another number of cells",
            wanted="a row per epoch, with the cells of the header",
            advice="Correct the line, or export the scoring again",
        )
    labels = [(row[columns[STAGE_COLUMN]] or "").strip() for row in rows]
    own = None
    if annotation is not None:
        own = {fold(label): name for label, name in annotation.stages.items()}
    onsets, notes = _onsets(rows, columns, path=path)
    scoring = Scoring(notes=notes)
    for number, (onset, label) in enumerate(zip(onsets, labels, strict=True)):
        stage = stage_of(label, own)
        if stage is None:
            raise Rejection(
                problem="unknown stage label",
                found=f"'{shorten(label)}' in line {number + 2} of {path.name}",
                wanted="W, N1, N2, N3, REM, or nothing where an epoch is unscored",
                advice="--labels DATASET names the folder of workflow/datasets that says what "
                "other labels mean",
            )
        scoring.stages.append((onset, float(EPOCH_SECONDS), stage))
    return _note_merged(scoring, dict.fromkeys(labels))


def _onsets(
    rows: list[dict[str, str]], columns: Mapping[str, str], *, path: Path
) -> tuple[list[float], list[str]]:
    """Give the onset of each row, and remarks."""
    column = next((name for name in (*_ONSETS, "epoch") if name in columns), None)
    if column is None:
        return [float(n * EPOCH_SECONDS) for n in range(len(rows))], []
    values = [_number(row[columns[column]], line=n + 2, path=path) for n, row in enumerate(rows)]
    if len(set(values)) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise Rejection(
            problem="an epoch stands there twice",
            found=f"{columns[column]} {twice:g} in {path.name}",
            wanted="one row for each epoch of one night",
            advice="Keep one scoring of one night in the file; a table of several scorers has the "
            "columns recording, scorer, epoch and stage, and is given alone",
        )
    if column != "epoch":
        return values, []
    first = 1.0 if values and min(values) == 1 else 0.0
    notes = ["epochs are numbered from 1; the first begins with the recording"] if first else []
    return [(value - first) * EPOCH_SECONDS for value in values], notes


def _number(text: str | None, *, line: int, path: Path) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not isfinite(value) or abs(value) > LONGEST_SECONDS:
        raise Rejection(
            problem="not a number in the table of epochs",
            found=f"'{shorten(text or '')}' in line {line} of {path.name}",
            wanted="the number of an epoch, or its onset in seconds",
            advice="Correct the line, or export the scoring again",
        )
    return value


def _note_merged(scoring: Scoring, labels: Iterable[str]) -> Scoring:
    fourth = [label for label in labels if re.search(r"\b(stage |s)4\b", fold(label))]
    if fourth:
        scoring.notes.append("scored by Rechtschaffen and Kales: stages 3 and 4 are N3")
    return scoring
