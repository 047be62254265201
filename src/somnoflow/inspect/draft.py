"""Draft the dataset.yaml of a folder that nobody has described: patterns, channels, labels.

What is decided here:

- Recordings are one person each, unless their names tell nights (`inspect.naming`). A draft says
  so, since splits by file name may straddle persons.
- An annotation file belongs to the recording whose name it begins with; what follows that name is
  its kind (`-annotations.edf`, `_stage.txt`).
- Channels come from the table of common names, meanings from the known vocabularies. A label that
  neither knows is written down as a comment: nothing is guessed. Stages that are numbers mean other
  things in each laboratory, so they are always for the user to fill in.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import PurePosixPath
from statistics import median
from typing import Any, get_args

import yaml

from somnoflow.config.annotation import Annotation
from somnoflow.config.dataset import Dataset
from somnoflow.config.root import validate
from somnoflow.config.signals import Channel, Electrode
from somnoflow.config.vocabularies import (
    VOCABULARIES,
    EventName,
    MarkName,
    StageName,
    VocabularyName,
    fold,
)
from somnoflow.inspect.labels import Total, add_up
from somnoflow.inspect.naming import name_recordings, one_of, split_suffix
from somnoflow.inspect.survey import Survey
from somnoflow.io.manifest import identify, shown
from somnoflow.signals.names import known_name

# Tried in this order: what `aasm` and `rk` share is taken for AASM.
VOCABULARY_ORDER: tuple[VocabularyName, ...] = ("edf+", "edf+events", "aasm", "rk", "nsrr")
_STAGES_ONLY = ("codes", "nsrr-xml", "profusion-xml")
_ORDER = [*get_args(Channel), *get_args(Electrode)]
_MEANINGS = [*get_args(StageName), *get_args(EventName), *get_args(MarkName)]


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
    kind (`stages`, `events`, `marks`), and `unknown` those that none knows. `covered` is how much
    of a recording all labels take: stages take most of it, events never do.
    """

    ending: str
    files: tuple[str, ...]
    reading: Annotation
    vocabularies: tuple[str, ...]
    meanings: Mapping[str, Mapping[str, str]]
    unknown: Mapping[str, Total]
    covered: float

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
            self.reading.format in _STAGES_ONLY
            or self.meanings["stages"]
            or self.are_numbers
            or self.covered > 0.5
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
    naming = name_recordings(recordings)
    sides = _side_files(survey, cores=naming.cores, labels=labels)
    stages = next((side for side in sides if side.tell_stages), None)
    others = [side for side in sides if side is not stages and not side.tell_stages]
    events = max(others, key=lambda side: len(side.meanings["events"]), default=None)
    # A scoring may have the suffix of recordings: what its name ends in tells it apart.
    endings = (split_suffix(side.ending) for side in sides)
    guards = "".join(f"(?<!{re.escape(e)})" for e, suffix in endings if suffix in naming.suffixes)
    companions = sorted({split_suffix(file)[1] for file in survey.files("companion")})
    files = {"signal": naming.begin + re.escape(naming.tail) + guards + one_of(naming.suffixes)}
    if companions:
        files["companion"] = naming.begin + re.escape(naming.tail) + one_of(companions)
    used = {"stages": stages, "events": events}
    unread = None if sides else _unread(survey, cores=naming.cores)
    text = "\n".join(
        [
            *_head(name),
            "files:",
            "  # `subject` is the person: correct it where one person has several recordings.",
            *(f"  {_entry(role, pattern)}" for role, pattern in files.items()),
            *(
                ("  " if side.is_understood(kind) else "  # ")
                + _entry(kind, naming.begin + re.escape(side.ending))
                for kind, side in used.items()
                if side is not None
            ),
            *([f"  # {_entry('stages', naming.begin + re.escape(unread[0]))}"] if unread else []),
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
    doubts = _doubts(recordings, dataset=dataset, nights=naming.tells_nights)
    doubts += _doubts_of_labels(used)
    if unread:
        doubts.append(f"{unread[1]} files *{unread[0]} lie beside recordings in no form that is "
                      "known; where they are scorings, take the # before `stages` away, and say "
                      "under `reading` how they are read (docs/datasets.md, Annotation "
                      "files)")  # fmt: skip
    doubts += [
        f"{len(side.files)} files *{side.ending} ({side.reading.format}) are not used"
        for side in sides
        if side not in (stages, events)
    ]
    return Draft(text, dataset, tuple(doubts))


def _side_files(
    survey: Survey,
    *,
    cores: Collection[str],
    labels: Mapping[str, Mapping[str, Total]],
) -> list[_SideFiles]:
    """Group the annotation files by what follows the name of their recording, most files first."""
    kinds = survey.kinds
    length = median([seen.seconds for seen in survey.recordings.values()] or [inf])
    groups: dict[str, list[str]] = defaultdict(list)
    for file, kind in kinds.items():
        ending = _ending(file, cores=cores)
        if kind.reading is not None and ending:
            groups[ending].append(file)
    sides = []
    for ending, files in groups.items():
        # The form that most of them have; a table of another form among them will be rejected.
        (title, _), *_ = Counter(kinds[file].title for file in files).most_common()
        reading = next(kinds[file].reading for file in files if kinds[file].title == title)
        read = [labels[file] for file in files if file in labels]
        if reading is not None:
            sides.append(_side(ending, files, reading=reading, found=read, length=length))
    return sorted(sides, key=lambda side: (-len(side.files), side.ending))


def _unread(survey: Survey, *, cores: Collection[str]) -> tuple[str, int] | None:
    """Give what follows the recording's name in most of the files of no known form, and how many.

    None where there are no such files.
    """
    endings = (_ending(file, cores=cores) for file in survey.files("other"))
    counts = Counter(ending for ending in endings if ending)
    return max(counts.items(), key=lambda item: item[1], default=None)


def _ending(file: str, *, cores: Collection[str]) -> str:
    """Give what follows a recording's name in a file's name; "" where it does not begin with it."""
    name = PurePosixPath(file).name
    ends = (end for end in range(len(name) - 1, 0, -1) if name[:end] in cores)
    return next((name[end:] for end in ends if not name[end].isalnum()), "")


def _side(
    ending: str,
    files: Sequence[str],
    *,
    reading: Annotation,
    found: Sequence[Mapping[str, Total]],
    length: float,
) -> _SideFiles:
    names: tuple[VocabularyName, ...] = (
        ("profusion",) if reading.format == "profusion-xml" else VOCABULARY_ORDER
    )
    meanings: dict[str, dict[str, str]] = {"stages": {}, "events": {}, "marks": {}}
    used: dict[str, None] = {}
    unknown = dict(add_up(found))
    seconds = sum(total.seconds for total in unknown.values())
    for kind, meant in meanings.items():
        for name in names:
            known = {fold(text): what for text, what in getattr(VOCABULARIES[name], kind).items()}
            for label in [label for label in unknown if fold(label) in known]:
                meant[label] = known[fold(label)]
                used[name] = None
                del unknown[label]
    covered = seconds / (len(found) * length) if found else 0.0
    return _SideFiles(ending, tuple(files), reading, tuple(used), meanings, unknown, covered)


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
        "  channels:" if known else "  channels: {}  # take {} away when you name one below",
    ]
    lines += [f"    {_entry(label, known[label])}  # {counts[label]}" for label in order]
    unknown = sorted(counts.keys() - known.keys())
    if unknown:
        lines.append("    # Not in that table; a channel, an electrode, or nothing:")
    return [*lines, *(f"    # {_entry(label, '?')}  # {counts[label]}" for label in unknown)]


def _known(kind: str, side: _SideFiles) -> list[str]:
    """Write how files are read whose labels a vocabulary knows."""
    given = side.reading.model_dump(exclude_defaults=True)
    given["vocabulary"] = list(side.vocabularies)
    lines = [f"  {kind}:", *(f"    {_entry(key, value)}" for key, value in given.items())]
    for part, meanings in side.meanings.items():
        if meanings and (part == "events" or kind == "stages"):
            ordered = sorted(meanings.items(), key=lambda pair: (_MEANINGS.index(pair[1]), pair[0]))
            lines += [f"    {part}:", *(f"      {_entry(*pair)}" for pair in ordered)]
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


def _doubts(recordings: Sequence[str], *, dataset: Dataset, nights: bool) -> list[str]:
    doubts = []
    if not nights:
        doubts.append("each recording is taken for another person; where that is wrong, correct "
                      "the group `subject` and add a group `night`")  # fmt: skip
    if not dataset.reading.channels:
        doubts.append("no signal label is known: say under `channels` what the labels mean")
    named = {file: identify(file, [("signal", dataset.files.signal)]) for file in recordings}
    wrong = [file for file, night in named.items() if night is None]
    if wrong:
        doubts.append(f"{len(wrong)} recordings have names that cannot be a subject's (letters, "
                      f"digits, '_', '-', '.'), such as {shown(wrong[0])}: rename them, or leave "
                      "a part of it in the group: Patient (?P<subject>[0-9]+)")  # fmt: skip
    counts = Counter(night for night in named.values() if night is not None)
    twice = [night for night, count in counts.items() if count > 1]
    if twice:
        doubts.append(f"{len(twice)} nights have more than one recording, and all of them would be "
                      f"rejected: subject {twice[0][1]}, night {twice[0][2]}")  # fmt: skip
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
            doubts.append(f"*{side.ending} has labels that are not known: {labels}{more}; where "
                          "one is a stage, its recordings are rejected until it is "
                          "explained")  # fmt: skip
    return doubts


def _entry(key: str, value: Any) -> str:
    """Write one key and its value as one line of YAML, quoted where that is needed."""
    text: str = yaml.safe_dump(
        {key: value}, allow_unicode=True, width=float("inf"), default_flow_style=None
    ).strip()
    if "\n" in text or text.startswith(("? ", "{? ")):
        # JSON is YAML too, and always one plain line.
        return f"{json.dumps(key)}: {json.dumps(value)}"
    return text.removeprefix("{").removesuffix("}") if text.startswith("{") else text
