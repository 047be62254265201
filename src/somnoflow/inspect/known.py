"""Which dataset a folder is: the dataset.yaml whose patterns and labels fit it best."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from somnoflow.config.annotation import Annotation
from somnoflow.config.dataset import Dataset
from somnoflow.config.dataset_file import read_dataset
from somnoflow.inspect.survey import Survey
from somnoflow.io.manifest import ManifestError, identify
from somnoflow.signals.names import known_name

# Datasets that describe any folder of a form: taken where no other one fits as well.
ANY_FOLDER = ("bids", "folder")
_ROLES = {"signal": "recording", "stages": "annotation", "events": "annotation"}


@dataclass(frozen=True)
class Part:
    """What a file is in a dataset, as its name says."""

    role: str
    subject: str
    night: int


@dataclass(frozen=True)
class Fit:
    """How a folder's files fit a dataset.

    `parts` has the files that a pattern fits and whose first bytes agree; `known_labels` is how
    many of the recordings read have a label that the dataset knows.
    """

    dataset: Dataset
    parts: Mapping[str, Part]
    known_labels: int

    def files(self, *roles: str) -> list[str]:
        """Give the files of some roles, sorted."""
        return [name for name, part in self.parts.items() if part.role in roles]

    def nights(self, role: str) -> set[tuple[str, int]]:
        """Give subject and night of all files of a role."""
        return {(part.subject, part.night) for part in self.parts.values() if part.role == role}

    def scored_nights(self) -> set[tuple[str, int]]:
        """Give subject and night of all scorings that are used unless another one is chosen."""
        if self.dataset.reading.stages_inside:
            return self.nights("signal")
        own = re.compile(self.dataset.files.stages or "(?!)")
        return {
            (part.subject, part.night) for name, part in self.parts.items() if own.fullmatch(name)
        }

    def annotation_role(self, name: str) -> str | None:
        """Give the part of a file's annotations, `stages` or `events`; None where it has none."""
        part = self.parts.get(name)
        if part is not None and part.role == "signal" and self.dataset.reading.stages_inside:
            return "stages"
        return part.role if part is not None and part.role in ("stages", "events") else None

    def reading_of(self, name: str) -> Annotation | None:
        """Give how a file's annotations are read; None where the dataset does not know any."""
        role = self.annotation_role(name)
        if role is None:
            return None
        if role == "events":
            return self.dataset.reading.events
        if self.dataset.reading.stages_inside:
            return self.dataset.reading.stages
        # Two scorings may be in one file: the dataset's own comes first.
        ways = [(self.dataset.files.stages, self.dataset.reading.stages)]
        ways += [(other.files, other.reading) for other in self.dataset.scorings.values()]
        return next(
            (reading for pattern, reading in ways if pattern and re.fullmatch(pattern, name)), None
        )


def read_datasets(folder: Path) -> list[Dataset]:
    """Read all dataset.yaml files below `folder`; none where there is no such folder.

    Raises
    ------
    ConfigError
        When one of them is wrong.
    """
    return [read_dataset(path.parent) for path in sorted(folder.glob("*/dataset.yaml"))]


def find_dataset(survey: Survey, datasets: Iterable[Dataset]) -> Fit | None:
    """Give the dataset that fits a folder best; None where no dataset does.

    More files that fit win, then more recordings with a known label, then the dataset that
    describes less than any folder. A dataset does not fit where the recordings read have none of
    its labels: the names alone may be a chance.
    """
    fits = [fit_dataset(survey, dataset) for dataset in datasets if dataset.name != "folder"]
    possible = [
        fit
        for fit in fits
        if fit.files(*_ROLES) and (fit.known_labels or not _read_recordings(survey, fit))
    ]
    return max(possible, key=_rank, default=None)


def find_below(survey: Survey, datasets: Sequence[Dataset]) -> dict[str, str]:
    """Give the folders right below this one that are other datasets each, and which.

    There are none where one dataset takes the files of all: BIDS has a folder for each subject.
    """
    folders = sorted({name.split("/")[0] for name in survey.kinds if "/" in name})
    if len(folders) < 2:
        return {}
    found = {
        folder: fit.dataset.name
        for folder in folders
        if (fit := find_dataset(survey.below(folder), datasets)) is not None
    }
    return found if len(set(found.values())) > 1 else {}


def fit_dataset(survey: Survey, dataset: Dataset) -> Fit:
    """Compare a folder with a dataset."""
    patterns = dataset.patterns()
    parts: dict[str, Part] = {}
    for name, kind in survey.kinds.items():
        try:
            known = identify(name, patterns)
        except ManifestError:
            continue  # a night that is no number: a file of another dataset
        if known is None or (known[0] in _ROLES and kind.role not in (_ROLES[known[0]], "other")):
            continue
        parts[name] = Part(*known)
    labels = {
        name: {signal.label for signal in seen.signals} for name, seen in survey.recordings.items()
    }
    known_labels = sum(
        any(_is_known(label, dataset) for label in labels[name])
        for name, part in parts.items()
        if part.role == "signal" and name in labels
    )
    return Fit(dataset=dataset, parts=parts, known_labels=known_labels)


def _is_known(label: str, dataset: Dataset) -> bool:
    reading = dataset.reading
    guessed = reading.guess_channels and known_name(label) is not None
    return label in reading.channels or guessed


def _read_recordings(survey: Survey, fit: Fit) -> int:
    return sum(name in survey.recordings for name in fit.files("signal"))


def _rank(fit: Fit) -> tuple[int, int, bool]:
    return (
        len(fit.files(*_ROLES)),
        fit.known_labels,
        fit.dataset.name not in ANY_FOLDER,
    )
