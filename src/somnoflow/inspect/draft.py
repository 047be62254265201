"""Draft the dataset.yaml of a folder that nobody has described: patterns, channels, labels.

What is decided here:

- Recordings are one person each, named by their file, unless every name ends in a night
  (`P01_n2`, `P01-ses-1`). A draft says so, since splits by file name may straddle persons.
- An annotation file belongs to the recording whose name it begins with; what follows that name is
  its kind (`-annotations.edf`, `_stage.txt`).
- Channels come from the table of common names, meanings from the known vocabularies. A label that
  neither knows is written down as a comment: nothing is guessed. Stages that are numbers mean other
  things in each laboratory, so they are always for the user to fill in.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, get_args

import yaml

from somnoflow.config.annotation import Annotation
from somnoflow.config.dataset import Dataset
from somnoflow.config.root import validate
from somnoflow.config.signals import Channel, Electrode
from somnoflow.config.vocabularies import (
    VOCABULARIES,
    EventName,
    StageName,
    VocabularyName,
    fold,
)
from somnoflow.inspect.kinds import Kind
from somnoflow.inspect.labels import Total, add_up
from somnoflow.inspect.survey import Survey
from somnoflow.io.manifest import NAME, shown
from somnoflow.signals.names import known_name

_SUBJECT = "[A-Za-z0-9_.-]+?"
_NIGHT = r"[_-](?:n|night|ses-?|visit|v)(?P<night>\d{1,2})"
# Tried in this order: what `aasm` and `rk` share is taken for AASM.
VOCABULARY_ORDER: tuple[VocabularyName, ...] = ("edf+", "edf+events", "aasm", "rk", "nsrr")
_STAGES_ONLY = ("codes", "nsrr-xml", "profusion-xml")
_ORDER = [*get_args(Channel), *get_args(Electrode)]


@dataclass(frozen=True)
class Draft:
    """A dataset.yaml to be, as text and as what it says; `doubts` are for the user to settle."""

    text: str
    dataset: Dataset
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class _SideFiles:
    """Annotation files that are named alike.

    `ending` follows the recording's name; `meanings` has the labels that a vocabulary knows, by
    kind (`stages`, `events`, `marks`), and `unknown` those that none knows.
    """

    ending: str
    files: tuple[str, ...]
    reading: Annotation
    vocabularies: tuple[str, ...]
    meanings: Mapping[str, Mapping[str, str]]
    unknown: Mapping[str, Total]

    @property
    def are_numbers(self) -> bool:
        """Whether all labels are numbers."""
        return bool(self.unknown) and all(
            re.fullmatch(r"-?\d+", label) for label in (*self.unknown, *self.meanings["stages"])
        )

    @property
    def tell_stages(self) -> bool:
        """Whether these are scorings of stages."""
        return bool(
            self.reading.format in _STAGES_ONLY or self.meanings["stages"] or self.are_numbers
        )

    def is_understood(self, kind: str) -> bool:
        """Whether a vocabulary knows what at least one label means."""
        return bool(self.meanings[kind])


def draft_dataset(
    survey: Survey, labels: Mapping[str, Mapping[str, Total]], *, name: str
) -> Draft | None:
    """Draft the dataset.yaml of a folder; None where it has no recordings.

    Parameters
    ----------
    survey
        What the folder holds.
    labels
        Labels of the annotation files that were read.
    name
        Name of the dataset to be.

    Raises
    ------
    ConfigError
        When `name` cannot be the name of a dataset.
    """
    recordings = survey.files("recording")
    if not recordings:
        return None
    stems = [PurePosixPath(file).stem for file in recordings]
    tail = _common_tail(stems)
    cores = {stem.removesuffix(tail) for stem in stems}
    sides = _side_files(survey.kinds, cores=cores, labels=labels)
    stages = next((side for side in sides if side.tell_stages), None)
    others = [side for side in sides if side is not stages and not side.tell_stages]
    events = max(others, key=lambda side: len(side.meanings["events"]), default=None)
    nights = all(re.fullmatch(_SUBJECT + _NIGHT, core) for core in cores)
    begin = (
        f"{'(?:.*/)?' if any('/' in file for file in recordings) else ''}(?P<subject>{_SUBJECT})"
    )
    begin += _NIGHT if nights else ""
    suffixes = sorted({PurePosixPath(file).suffix for file in recordings})
    guards = "".join(
        f"(?<!{re.escape(PurePosixPath(side.ending).stem)})"
        for side in sides
        if PurePosixPath(side.ending).suffix in suffixes
    )
    used = {"stages": stages, "events": events}
    signal = begin + re.escape(tail) + guards + _one_of(suffixes)
    text = "\n".join(
        [
            *_head(name),
            "files:",
            "  # `subject` is the person: correct it where one person has several recordings.",
            f"  {_entry('signal', signal)}",
            *(
                ("  " if side.is_understood(kind) else "  # ")
                + _entry(kind, begin + re.escape(side.ending))
                for kind, side in used.items()
                if side is not None
            ),
            "reading:",
            *_channels(survey),
            *(
                line
                for kind, side in used.items()
                if side is not None
                for line in (_known(kind, side) if side.is_understood(kind) else _asked(kind, side))
            ),
            "",
        ]
    )
    dataset = validate(Dataset, yaml.safe_load(text), what="the draft of dataset.yaml")
    doubts = _doubts(stems, dataset=dataset, nights=nights)
    doubts += _doubts_of_labels(used)
    doubts += [
        f"{len(side.files)} files *{side.ending} ({side.reading.format}) are not used"
        for side in sides
        if side not in (stages, events)
    ]
    return Draft(text, dataset, tuple(doubts))


def _common_tail(stems: Sequence[str]) -> str:
    """Give the last word that all names share (`-PSG`, `_eeg`), which is no part of a subject."""
    tails = {re.sub(r"^.*(?=[-_.][A-Za-z]+$)", "", stem) for stem in stems}
    tail = tails.pop()
    return tail if len(stems) > 1 and not tails and tail[0] in "-_." else ""


def _side_files(
    kinds: Mapping[str, Kind],
    *,
    cores: Collection[str],
    labels: Mapping[str, Mapping[str, Total]],
) -> list[_SideFiles]:
    """Group the annotation files by what follows the name of their recording, most files first."""
    groups: dict[str, list[str]] = defaultdict(list)
    for file, kind in kinds.items():
        name = PurePosixPath(file).name
        ends = (end for end in range(len(name) - 1, 0, -1) if name[:end] in cores)
        end = next((end for end in ends if not name[end].isalnum()), None)
        if kind.reading is not None and end is not None:
            groups[name[end:]].append(file)
    sides = []
    for ending, files in groups.items():
        # The form that most of them have; a table of another form among them will be rejected.
        (title, _), *_ = Counter(kinds[file].title for file in files).most_common()
        reading = next(kinds[file].reading for file in files if kinds[file].title == title)
        found = add_up(labels[file] for file in files if file in labels)
        if reading is not None:
            sides.append(_side(ending, files, reading=reading, found=found))
    return sorted(sides, key=lambda side: (-len(side.files), side.ending))


def _side(
    ending: str, files: Sequence[str], *, reading: Annotation, found: Mapping[str, Total]
) -> _SideFiles:
    names: tuple[VocabularyName, ...] = (
        ("profusion",) if reading.format == "profusion-xml" else VOCABULARY_ORDER
    )
    meanings: dict[str, dict[str, str]] = {"stages": {}, "events": {}, "marks": {}}
    used: dict[str, None] = {}
    unknown = dict(found)
    for kind, meant in meanings.items():
        for name in names:
            known = {fold(text): what for text, what in getattr(VOCABULARIES[name], kind).items()}
            for label in [label for label in unknown if fold(label) in known]:
                meant[label] = known[fold(label)]
                used[name] = None
                del unknown[label]
    return _SideFiles(ending, tuple(files), reading, tuple(used), meanings, unknown)


def _one_of(suffixes: Sequence[str]) -> str:
    found = "|".join(re.escape(suffix) for suffix in suffixes)
    return f"(?:{found})" if len(suffixes) > 1 else found


def _head(name: str) -> list[str]:
    values = {
        "name": name,
        "title": name,
        "source": "folder",
        "licence": "unknown",
        "citation": "none",
        "how_to_get": "Ask its owner.",
    }
    return [
        "# Drafted by `somnoflow inspect`. docs/datasets.md explains every key.",
        *(_entry(key, value) for key, value in values.items()),
    ]


def _channels(survey: Survey) -> list[str]:
    recordings = len(survey.recordings)
    counts = Counter(
        label
        for seen in survey.recordings.values()
        for label in {signal.label for signal in seen.signals}
    )
    known = {label: name for label in counts if (name := known_name(label)) is not None}
    order = sorted(known, key=lambda label: (_ORDER.index(known[label]), -counts[label], label))
    lines = [
        f"  # Guessed by the table of common names; the number is that of recordings, of "
        f"{recordings} read.",
        "  channels:" if known else "  channels: {}",
    ]
    lines += [f"    {_entry(label, known[label])}  # {counts[label]}" for label in order]
    lines += [
        f"    # {_entry(label, '?')}  # {counts[label]}"
        for label in sorted(counts.keys() - known.keys())
    ]
    return lines


def _known(kind: str, side: _SideFiles) -> list[str]:
    """Write how files are read whose labels a vocabulary knows."""
    given = side.reading.model_dump(exclude_defaults=True)
    given["vocabulary"] = list(side.vocabularies)
    lines = [f"  {kind}:", *(f"    {_entry(key, value)}" for key, value in given.items())]
    for part, meanings in side.meanings.items():
        if meanings and (part == "events" or kind == "stages"):
            lines += [f"    {part}:", *(f"      {_entry(*pair)}" for pair in meanings.items())]
    if side.unknown:
        lines.append("    # No vocabulary knows these; a stage among them needs a line above.")
    return [*lines, *(f"    # {_entry(*pair)}" for pair in _counted(side))]


def _asked(kind: str, side: _SideFiles) -> list[str]:
    """Write, as a comment, how files would be read once someone says what their labels mean."""
    given = side.reading.model_dump(exclude_defaults=True)
    meanings = get_args(StageName if kind == "stages" else EventName)
    return [
        "  # No vocabulary knows what these labels mean. Say it here, leave out lines that mean",
        f"  # nothing, and take the # away here and before `{kind}` above. Meanings:",
        f"  # {', '.join(meanings)}",
        f"  # {kind}:",
        *(f"  #   {_entry(key, value)}" for key, value in given.items()),
        f"  #   {kind}:",
        *(f"  #     {_entry(*pair)}" for pair in _counted(side)),
    ]


def _counted(side: _SideFiles) -> list[tuple[str, str]]:
    return [
        (label, f"? {total.count} times, {total.seconds / 3600:.2f} h")
        for label, total in sorted(side.unknown.items())
    ]


def _doubts(stems: Sequence[str], *, dataset: Dataset, nights: bool) -> list[str]:
    doubts = []
    if not nights:
        doubts.append("each recording is taken for another person; where that is wrong, correct "
                      "the group `subject` and add a group `night`")  # fmt: skip
    if not dataset.reading.channels:
        doubts.append("no signal label is known: say under `channels` what the labels mean")
    wrong = [stem for stem in stems if not re.fullmatch(NAME, stem)]
    if wrong:
        doubts.append(f"{len(wrong)} names cannot be a subject's (letters, digits, '_', '-', '.'): "
                      f"rename {shown(wrong[0])}")  # fmt: skip
    twice = [stem for stem, count in Counter(stems).items() if count > 1]
    if twice:
        doubts.append(f"{len(twice)} names occur more than once, and a person has one recording of "
                      f"a night: {shown(twice[0])}")  # fmt: skip
    return doubts


def _doubts_of_labels(used: Mapping[str, _SideFiles | None]) -> list[str]:
    doubts = []
    for kind, side in used.items():
        if side is None:
            if kind == "stages":
                doubts.append("no stages are found: these nights are for pre-training only")
        elif not side.is_understood(kind):
            numbers = " (numbers mean other things in each laboratory)" if side.are_numbers else ""
            doubts.append(f"say under `{kind}` what the labels of *{side.ending} mean{numbers}; "
                          "until then they are not used")  # fmt: skip
        elif side.unknown:
            labels = ", ".join(f"'{label}'" for label in list(side.unknown)[:3])
            more = ", ..." if len(side.unknown) > 3 else ""
            doubts.append(f"*{side.ending} has labels that are not known: {labels}{more}")
    return doubts


def _entry(key: str, value: Any) -> str:
    """Write one key and its value as a line of YAML, quoted where that is needed."""
    text: str = yaml.safe_dump(
        {key: value}, allow_unicode=True, width=float("inf"), default_flow_style=None
    )
    return text.strip().removeprefix("{").removesuffix("}") if text[0] == "{" else text.strip()
