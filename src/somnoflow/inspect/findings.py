"""All that `somnoflow inspect` finds out about a folder."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from somnoflow.config.annotation import Annotation
from somnoflow.config.dataset import Dataset
from somnoflow.inspect.draft import Draft, draft_dataset
from somnoflow.inspect.known import Fit, find_below, find_dataset, fit_dataset
from somnoflow.inspect.labels import Total, count_labels
from somnoflow.inspect.survey import Survey, spread, survey
from somnoflow.io.manifest import ManifestError
from somnoflow.io.rejection import Rejection

MOST = 200
MOST_INSIDE = 10


@dataclass(frozen=True)
class Findings:
    """What a folder holds, which dataset it is, and a draft where it is none.

    `fit` is how the files fit the dataset that is found, or else the draft; None where there are no
    recordings to draft from. `annotations` are the files that hold annotations by their content or
    by the dataset; `labels` has those of them that were read, and `unreadable` all files that could
    not be. `inside` has the labels of annotations inside recordings, where the dataset does not
    read them. `below` has the folders in this one that are datasets of their
    own.
    """

    survey: Survey
    known: bool
    fit: Fit | None
    draft: Draft | None
    annotations: Sequence[str]
    labels: Mapping[str, Mapping[str, Total]]
    unreadable: Mapping[str, Rejection]
    inside: Mapping[str, Mapping[str, Total]]
    below: Mapping[str, str]

    def as_drafted(self) -> "Findings":
        """Give the folder as the draft describes it, also where it is a known dataset."""
        if self.draft is None:
            return self
        return replace(self, known=False, fit=fit_dataset(self.survey, self.draft.dataset))


def inspect_folder(
    folder: Path, *, datasets: Iterable[Dataset], most: int | None = MOST, name: str = "mylab"
) -> Findings:
    """Look through a folder, and find out which dataset it is.

    Parameters
    ----------
    folder
        Folder with recordings, annotations, both or neither.
    datasets
        Known datasets.
    most
        How many headers are read, and how many annotation files of each ending; all where None.
    name
        What a draft calls the dataset.

    Raises
    ------
    ManifestError
        When there is no such folder.
    OSError
        When it may not be listed.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder} is not a folder. Wanted: the folder with the recordings")
    datasets = list(datasets)
    seen = survey(folder, most=most)
    below = find_below(seen, datasets)
    fit = None if below else find_dataset(seen, datasets)
    readings = {
        file: reading
        for file, kind in seen.kinds.items()
        if (reading := (fit.reading_of(file) if fit else None) or kind.reading)
    }
    labels, unreadable = _read_labels(folder, readings, most=most)
    draft = None if below else draft_dataset(seen, labels, name=name)
    return Findings(
        survey=seen,
        known=fit is not None,
        fit=fit or (fit_dataset(seen, draft.dataset) if draft else None),
        draft=draft,
        annotations=[file for file in readings if file not in seen.recordings],
        labels=labels,
        unreadable={**seen.unreadable, **unreadable},
        inside={} if fit and fit.dataset.reading.stages_inside else _read_inside(seen),
        below=below,
    )


def _read_inside(seen: Survey) -> dict[str, Mapping[str, Total]]:
    """Count the annotations of some EDF+ recordings: scorers' programs may put stages there."""
    reading = Annotation(format="edf+")
    plus = [file for file in seen.recordings if "+" in seen.kinds[file].title]
    found: dict[str, Mapping[str, Total]] = {}
    for file in spread(plus, MOST_INSIDE):
        try:
            found[file] = count_labels(seen.folder / file, reading)
        except Rejection:
            continue  # none, or damaged ones, which nobody reads anyway
    return found


def _read_labels(
    folder: Path, readings: Mapping[str, Annotation], *, most: int | None
) -> tuple[dict[str, Mapping[str, Total]], dict[str, Rejection]]:
    alike = defaultdict(list)
    for file, reading in readings.items():
        alike[reading.format, PurePosixPath(file).suffix].append(file)
    chosen = sorted(file for files in alike.values() for file in spread(files, most))
    labels: dict[str, Mapping[str, Total]] = {}
    unreadable: dict[str, Rejection] = {}
    for file in tqdm(chosen, desc="annotations", unit="file", disable=None, leave=False):
        try:
            labels[file] = count_labels(folder / file, readings[file])
        except Rejection as rejection:
            unreadable[file] = rejection
    return labels, unreadable
