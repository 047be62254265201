"""dataset.yaml: what a dataset's files are called, and what their labels mean."""

import re
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_serializer, field_validator, model_validator

from somnoflow.config.annotation import Annotation
from somnoflow.config.base import Section
from somnoflow.config.signals import Channel, Electrode


def _compiled(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return value


def _pattern(value: str) -> str:
    if "subject" not in re.compile(_compiled(value)).groupindex:
        raise ValueError("wanted a group (?P<subject>...)")
    return value


def _require_no_secret(url: str) -> None:
    """Raise where an address would bring a secret into logs, without repeating it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        plain = False
    else:
        plain = not ("@" in parts.netloc or parts.query or parts.fragment)
    if not plain:
        raise ValueError(
            "url is no address or holds a login, ? or #, and is written to logs: wanted a plain "
            "one. Put login and password into ~/.netrc, and a token where token_variable says"
        )


class SubjectTable(Section):
    """A table of the dataset that says which recordings are of one person.

    Where recordings are numbered and not people, splits by file name would straddle persons.
    """

    file: str = Field(description="Tab-separated file below the dataset's folder.")
    key: str = Field(description="Column with what the group `subject` of a file's name holds.")
    subject: str = Field(description="Column with the person.")


class Files(Section):
    """Regular expressions on paths below the dataset's folder.

    The group `subject` is needed in each, the group `night` is optional (1 where absent).
    """

    signal: str
    stages: str | None = None
    events: str | None = None
    companion: str | None = Field(
        default=None, description="Files that a recording is read from besides its signal file."
    )
    subjects: SubjectTable | None = None
    ignore: str | None = Field(
        default=None,
        description="Other files that belong to the dataset: no manifest and no table of rejected "
        "files names them. No group is needed.",
    )

    @field_validator("signal", "stages", "events", "companion")
    @classmethod
    def _check(cls, value: str | None) -> str | None:
        return None if value is None else _pattern(value)

    @field_validator("ignore")
    @classmethod
    def _check_ignore(cls, value: str | None) -> str | None:
        return None if value is None else _compiled(value)


class Reading(Section):
    """What parsing a recording of this dataset needs to know."""

    channels: dict[str, Literal[Channel, Electrode]] = Field(
        default={},
        description="Canonical channel of each signal label, or the electrode that an unreferenced "
        "signal is of; the first label that a recording has is taken.",
    )
    guess_channels: bool = Field(
        default=False,
        description="Look labels that are not under `channels` up in the table of common names; "
        "`somnoflow inspect FOLDER` shows what that gives.",
    )
    units: dict[str, Literal["V", "mV", "uV", "%", "a.u."]] = Field(
        default={}, description="Unit of a signal label whose header does not tell it rightly."
    )
    stages: Annotation | None = None
    stages_inside: bool = Field(
        default=False,
        description="The stages are EDF+ annotations of the recording itself, in no other file.",
    )
    events: Annotation | None = None

    @field_validator("channels", mode="before")
    @classmethod
    def _from_pairs(cls, value: Any) -> Any:
        pairs = isinstance(value, list) and all(isinstance(one, list) for one in value)
        return dict(value) if pairs else value

    # The keys of a slice are sorted on their way to a job, and the order of these labels counts.
    @field_serializer("channels", when_used="json")
    def _to_pairs(self, value: dict[str, str]) -> list[list[str]]:
        return [list(pair) for pair in value.items()]


class Alternative(Section):
    """Another scoring of the same recordings, to be chosen under `scorings`."""

    title: str
    files: str = Field(description="Regular expression of its files, as under `files`.")
    reading: Annotation

    _check = field_validator("files")(_pattern)


class Subset(Section):
    """A named part of the recordings, to be chosen under `subsets`."""

    title: str
    files: str = Field(description="Regular expression that the paths of its files match.")

    _check = field_validator("files")(_compiled)


class Dataset(Section):
    """One folder of `workflow/datasets`."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    title: str
    source: Literal["simulate", "folder", "url"] = Field(
        description="`simulate`: made by the workflow; `folder`: yours, named in `folders` of the "
        "configuration; `url`: downloaded unless a folder is named."
    )
    simulated: bool = False
    licence: str
    citation: str
    how_to_get: str
    url: str | None = Field(
        default=None, description="Address that the files' paths are appended to."
    )
    token_variable: str | None = Field(
        default=None,
        description="Environment variable with the token that stands for `{token}` in `url`.",
    )
    files: Files
    reading: Reading
    subsets: dict[str, Subset] = Field(default={}, description="Named parts of the dataset.")
    scorings: dict[str, Alternative] = Field(
        default={}, description="Other scorings of the same recordings."
    )

    @model_validator(mode="after")
    def _check(self) -> "Dataset":
        if self.source == "url" and self.url is None:
            raise ValueError("source is 'url', wanted the address under `url`")
        _require_no_secret(self.url or "")
        if (self.token_variable is None) != ("{token}" not in (self.url or "")):
            raise ValueError("wanted {token} in url and token_variable, or neither")
        if self.reading.stages_inside and self.files.stages is not None:
            raise ValueError("wanted files.stages or reading.stages_inside, not both")
        places = {
            "stages": self.files.stages or self.reading.stages_inside,
            "events": self.files.events,
        }
        for kind, place in places.items():
            if bool(place) != (getattr(self.reading, kind) is not None):
                raise ValueError(
                    f"wanted files.{kind} and reading.{kind}, or neither: the one finds the files, "
                    "the other reads them"
                )
        if self.scorings and self.files.stages is None:
            raise ValueError("scorings are others than files.stages, wanted that one too")
        return self

    def patterns(self) -> list[tuple[str, str]]:
        """Give role and regular expression of all files, other scorings among them."""
        own = self.files.model_dump(exclude={"subjects", "ignore"}, exclude_none=True)
        return [*own.items(), *(("stages", other.files) for other in self.scorings.values())]

    def scored_by(self, scoring: str) -> "Dataset":
        """Give the dataset with one of its other scorings in the place of the first."""
        other = self.scorings[scoring]
        return self.model_copy(
            update={
                "files": self.files.model_copy(update={"stages": other.files}),
                "reading": self.reading.model_copy(update={"stages": other.reading}),
            }
        )


class Selection(Section):
    """Which rows of a manifest a run uses."""

    files: str | None = Field(default=None, description="Regular expression of the subset's files.")
    stages: str | None = Field(default=None, description="Regular expression of the stages files.")


class FetchSlice(Section):
    """What one fetch job needs: where the files are, and which rows of the manifest are its own."""

    dataset: str
    folder: str | None
    url: str | None
    token_variable: str | None = None
    selection: Selection = Selection()
    shard: int
    shards: int
    rows: str = Field(description="sha256 of the manifest rows of this shard")


class CheckSlice(Section):
    """What one check job needs."""

    dataset: str
    folder: str
    shard: int
    shards: int
    selection: Selection = Selection()
    stages_wanted: bool
    ignore: str | None = Field(default=None, description="Regular expression of files to pass over")
