"""Look through a folder: what each file is, and what the headers of recordings say.

What a file is, is told by its first bytes, for every file. Headers are read for a sample: of more
than `most` recordings, that many at even distances in the list. So a folder of thousands of nights
takes seconds, and the sample covers it from end to end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from somnoflow.inspect.kinds import OTHER, Kind, recognise
from somnoflow.io.manifest import files_below
from somnoflow.io.recordings import open_recording
from somnoflow.io.rejection import Rejection

T = TypeVar("T")


@dataclass(frozen=True)
class SignalSeen:
    """One signal of a recording as its header describes it."""

    label: str
    unit: str
    sampling_rate: float
    limits: tuple[float, float]


@dataclass(frozen=True)
class RecordingSeen:
    """What the header of a recording says; `seconds` go from start to end, gaps included."""

    start: datetime | None
    seconds: float
    gaps: int
    signals: tuple[SignalSeen, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """What a folder holds.

    `kinds` has every file below the folder and `size` their bytes; `recordings` has those whose
    headers were read, and `unreadable` the files that could not be, with the reason.
    """

    folder: Path
    kinds: Mapping[str, Kind]
    size: int
    recordings: Mapping[str, RecordingSeen]
    unreadable: Mapping[str, Rejection]

    def files(self, role: str) -> list[str]:
        """Give the files of a role, sorted."""
        return [name for name, kind in self.kinds.items() if kind.role == role]

    def below(self, folder: str) -> "Survey":
        """Give what a folder right below this one holds."""
        begin = f"{folder}/"

        def inside(files: Mapping[str, T]) -> dict[str, T]:
            return {
                name.removeprefix(begin): file
                for name, file in files.items()
                if name.startswith(begin)
            }

        return Survey(
            folder=self.folder / folder,
            kinds=inside(self.kinds),
            size=self.size,
            recordings=inside(self.recordings),
            unreadable=inside(self.unreadable),
        )


def survey(folder: Path, *, most: int | None) -> Survey:
    """Look through a folder.

    Parameters
    ----------
    folder
        Folder with recordings, annotations, both or neither.
    most
        Of how many recordings the header is read; all where None.

    Raises
    ------
    OSError
        When there is no such folder, or it may not be listed.
    """
    kinds: dict[str, Kind] = {}
    unreadable: dict[str, Rejection] = {}
    size = 0
    for name in tqdm(files_below(folder), desc="look", unit="file", disable=None, leave=False):
        if name.endswith("/"):
            unreadable[name] = _not_opened("a folder that may not be listed")
            continue
        try:
            kinds[name] = recognise(folder / name)
            size += (folder / name).stat().st_size
        except OSError as error:
            kinds[name] = OTHER
            unreadable[name] = _not_opened(error.strerror or type(error).__name__)
    recordings: dict[str, RecordingSeen] = {}
    chosen = spread([name for name, kind in kinds.items() if kind.role == "recording"], most)
    for name in tqdm(chosen, desc="headers", unit="file", disable=None, leave=False):
        try:
            recordings[name] = _read_header(folder / name)
        except Rejection as rejection:
            unreadable[name] = rejection
    return Survey(folder, kinds, size, recordings, unreadable)


def spread(names: Sequence[str], most: int | None) -> list[str]:
    """Choose at most `most` names at even distances, the first and the last among them."""
    if most is None or len(names) <= most:
        return list(names)
    last = len(names) - 1
    return [names[round(number * last / (most - 1))] for number in range(most)]


def _read_header(path: Path) -> RecordingSeen:
    source = open_recording(path)
    return RecordingSeen(
        start=source.start,
        seconds=source.seconds,
        gaps=len(source.segments) - 1,
        signals=tuple(
            SignalSeen(signal.label, signal.unit, signal.sampling_rate, signal.limits)
            for signal in source.signals
        ),
        notes=source.notes,
    )


def _not_opened(found: str) -> Rejection:
    return Rejection(
        problem="cannot be opened",
        found=found,
        wanted="a readable file",
        advice="Check that you may read it",
    )
