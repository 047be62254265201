"""dataset.yaml: what a dataset's files are called, and what their labels mean."""

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from somnoflow.config.base import Section
from somnoflow.config.signals import Channel

StageName = Literal["W", "N1", "N2", "N3", "REM", "unscored"]
EventName = Literal[
    "obstructive_apnea", "central_apnea", "mixed_apnea", "hypopnea", "desaturation", "arousal"
]  # fmt: skip
AnnotationFormat = Literal["codes", "edf+", "bids-tsv"]


class Annotation(Section):
    """How one kind of annotation file is read."""

    format: AnnotationFormat = Field(
        description="`codes`: one code per line and epoch; `edf+`: EDF+ annotations; "
        "`bids-tsv`: columns onset, duration, trial_type."
    )
    stages: dict[str, StageName] = Field(
        default={}, description="Stage of each label that the file may hold."
    )
    events: dict[str, EventName] = Field(
        default={}, description="Event of each label that the file may hold."
    )

    @field_validator("stages", "events", mode="before")
    @classmethod
    def _text_keys(cls, value: Any) -> Any:
        """Take the codes of `0: W` as text; pydantic says what is wrong with anything but a map."""
        if not isinstance(value, dict):
            return value
        return {str(label): meaning for label, meaning in value.items()}


class Files(Section):
    """Regular expressions on paths below the dataset's folder.

    The group `subject` is needed in each, the group `night` is optional (1 where absent).
    """

    signal: str
    stages: str | None = None
    events: str | None = None

    @field_validator("signal", "stages", "events")
    @classmethod
    def _check(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            pattern = re.compile(value)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        if "subject" not in pattern.groupindex:
            raise ValueError("wanted a group (?P<subject>...)")
        return value


class Reading(Section):
    """What parsing a recording of this dataset needs to know."""

    channels: dict[str, Channel] = Field(
        description="Canonical channel of each signal label; the first label that a recording "
        "has is taken."
    )
    units: dict[str, Literal["V", "mV", "uV", "%", "a.u."]] = Field(
        default={}, description="Unit of a signal label whose header does not tell it rightly."
    )
    stages: Annotation | None = None
    events: Annotation | None = None


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
    url: str | None = None
    files: Files
    reading: Reading

    @model_validator(mode="after")
    def _check(self) -> "Dataset":
        if self.source == "url" and self.url is None:
            raise ValueError("source is 'url', wanted the address under `url`")
        for kind in ("stages", "events"):
            if (getattr(self.files, kind) is None) != (getattr(self.reading, kind) is None):
                raise ValueError(
                    f"wanted files.{kind} and reading.{kind}, or neither: the one finds the files, "
                    "the other reads them"
                )
        return self


class FetchSlice(Section):
    """What one fetch job needs: where the files are, and which rows of the manifest are its own."""

    dataset: str
    folder: str | None
    url: str | None
    shard: int
    shards: int
    rows: str = Field(description="sha256 of the manifest rows of this shard")


class CheckSlice(Section):
    """What one check job needs."""

    dataset: str
    folder: str
    shard: int
    shards: int
    stages_wanted: bool
