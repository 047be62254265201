"""How one kind of annotation file is read: its format, and what its labels mean.

Every format has the same form: `format`, then what the labels mean (`vocabulary`, `stages`,
`events`, `marks`), then options. An option of another format is an error, and so is a label with
two meanings: whoever wrote it meant something that would not happen.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from somnoflow.config.base import Section
from somnoflow.config.vocabularies import (
    VOCABULARIES,
    EventName,
    MarkName,
    StageName,
    Vocabulary,
    VocabularyName,
    fold,
)

AnnotationFormat = Literal[
    "codes", "edf+", "bids-tsv", "nsrr-xml", "profusion-xml", "csv", "noxturnal-csv"
]
Column = Literal["onset", "duration", "end", "label"]
Encoding = Literal["utf-8", "utf-16", "latin-1"]
Times = Literal["seconds", "elapsed", "clock"]

_KINDS = ("stages", "events", "marks")
_OPTIONS: dict[str, tuple[AnnotationFormat, ...]] = {
    "page_seconds": ("codes", "edf+", "bids-tsv", "csv", "noxturnal-csv"),
    "encoding": ("codes", "csv", "noxturnal-csv"),
    "columns": ("bids-tsv", "csv", "noxturnal-csv"),
    "separator": ("csv",),
    "decimal": ("csv",),
    "times": ("csv",),
    "day_first": ("csv", "noxturnal-csv"),
}


class Annotation(Section):
    """How one kind of annotation file is read."""

    format: AnnotationFormat = Field(
        description="`codes`: one code per line and page; `edf+`: EDF+ annotations; `bids-tsv`: "
        "BIDS events; `nsrr-xml`: PSGAnnotation of the National Sleep Research Resource; "
        "`profusion-xml`: CMPStudyConfig of Compumedics Profusion; `csv`: a table with onset, "
        "duration (or end) and label; `noxturnal-csv`: events exported by Noxturnal."
    )
    vocabulary: list[VocabularyName] = Field(
        default=[],
        description="Known sets of labels: `rk` (S1), `aasm` (N1), `edf+` (Sleep stage N1, Lights "
        "off), `edf+events` (Hypopnea), `nsrr` (Stage 1 sleep|1), `profusion` (codes of "
        "`profusion-xml`). What is under `stages`, `events` and `marks` wins.",
    )
    stages: dict[str, StageName] = Field(
        default={},
        description="Stage of each label that the file may hold; case and blanks do not count.",
    )
    events: dict[str, EventName] = Field(
        default={}, description="Event of each label that the file may hold."
    )
    marks: dict[str, MarkName] = Field(
        default={}, description="Labels that say when the lights went off and on."
    )
    page_seconds: Literal[20, 30] | None = Field(
        default=None,
        description="Length of a scored page: of a line of `codes` (30 where not given); "
        "elsewhere of a stage whose duration the file does not tell (refused where not given).",
    )
    encoding: Encoding | None = Field(
        default=None,
        description="Encoding of a text file without a byte order mark: `utf-16` for "
        "`noxturnal-csv`, else `utf-8`, where not given.",
    )
    columns: dict[Column, str] = Field(
        default={},
        description="Names of the columns: `onset`, `duration` and `label` for `csv`, `trial_type` "
        "as the `label` of `bids-tsv`, `Start Time`, `End Time` and `Event` for `noxturnal-csv`, "
        "where not given. With `end`, the duration is the end less the onset.",
    )
    separator: Literal[",", ";", "\t", "|"] | None = Field(
        default=None, description="Between the columns of `csv`; a comma where not given."
    )
    decimal: Literal[".", ","] | None = Field(
        default=None, description="Decimal mark of numbers in `csv`; a point where not given."
    )
    times: Times | None = Field(
        default=None,
        description="What the onsets of `csv` are: `seconds` from the start of the recording "
        "(where not given), `elapsed` hours:minutes:seconds from it, or the time on the `clock`, "
        "with or without a date.",
    )
    day_first: bool | None = Field(
        default=None,
        description="Whether 3/4/2021 is the third of April; needed where dates have slashes.",
    )

    @field_validator("stages", "events", "marks", mode="before")
    @classmethod
    def _text_keys(cls, value: Any) -> Any:
        """Take the codes of `0: W` as text; pydantic says what is wrong with anything but a map."""
        if not isinstance(value, dict):
            return value
        return {str(label): meaning for label, meaning in value.items()}

    @model_validator(mode="before")
    @classmethod
    def _add_vocabularies(cls, values: Any) -> Any:
        """Put the labels of the vocabularies beside those that are given, which win.

        Whoever reads the section sees one map of each kind. What is no map or no vocabulary is left
        for pydantic to refuse.
        """
        if not isinstance(values, Mapping):
            return values
        named, own = values.get("vocabulary"), {kind: values.get(kind, {}) for kind in _KINDS}
        if not isinstance(named, list) or not all(isinstance(one, Mapping) for one in own.values()):
            return values
        known = [
            VOCABULARIES[name] for name in named if isinstance(name, str) and name in VOCABULARIES
        ]
        return {**values, **_complete(own, known)}

    @model_validator(mode="after")
    def _check(self) -> "Annotation":
        for option, formats in _OPTIONS.items():
            if getattr(self, option) not in (None, {}) and self.format not in formats:
                raise ValueError(
                    f"{option} is an option of {', '.join(formats)}, and the format is "
                    f"{self.format}: leave it out"
                )
        if "profusion" in self.vocabulary and self.format != "profusion-xml":
            raise ValueError(
                "the vocabulary profusion holds codes that mean other things elsewhere, wanted "
                "the format profusion-xml, or the codes under `stages`"
            )
        if {"duration", "end"} <= set(self.columns):
            raise ValueError("columns has duration and end, wanted one of them")
        if self.format == "bids-tsv" and set(self.columns) - {"label"}:
            raise ValueError("columns of bids-tsv: onset and duration are given by BIDS, wanted "
                             "`label` only")  # fmt: skip
        _require_one_meaning({kind: getattr(self, kind) for kind in _KINDS})
        return self


def _complete(
    own: Mapping[str, Mapping[Any, str]], known: Sequence[Vocabulary]
) -> dict[str, dict[str, str]]:
    """Give one map of each kind: the own labels, and those of vocabularies that mean no other.

    Raises
    ------
    ValueError
        When two vocabularies disagree on a label.
    """
    own_labels = {fold(str(label)) for labels in own.values() for label in labels}
    whole = {kind: {str(label): name for label, name in own[kind].items()} for kind in _KINDS}
    added: dict[str, str] = {}
    for vocabulary in known:
        for kind in _KINDS:
            for label, name in getattr(vocabulary, kind).items():
                if fold(label) in own_labels:
                    continue
                if fold(label) not in added:
                    whole[kind][label] = name
                _note_meaning(label, name, known=added)
    return whole


def _require_one_meaning(sources: Mapping[str, Mapping[str, str]]) -> None:
    """Raise `ValueError` where a folded label has two meanings."""
    known: dict[str, str] = {}
    for labels in sources.values():
        for label, meaning in labels.items():
            _note_meaning(label, meaning, known=known)


def _note_meaning(label: str, meaning: str, *, known: dict[str, str]) -> None:
    if known.setdefault(fold(label), meaning) != meaning:
        raise ValueError(
            f"'{label}' means {known[fold(label)]} and {meaning}; case and blanks do not count. "
            "Wanted one meaning: give it under `stages`, `events` or `marks`"
        )
