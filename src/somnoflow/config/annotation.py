"""How one kind of annotation file is read: its format, and what its labels mean."""

from typing import Any, Literal

from pydantic import Field, field_validator

from somnoflow.config.base import Section

StageName = Literal["W", "N1", "N2", "N3", "REM", "unscored"]
EventName = Literal[
    "obstructive_apnea", "central_apnea", "mixed_apnea", "hypopnea", "desaturation", "arousal"
]  # fmt: skip
MarkName = Literal["lights_off", "lights_on"]
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
    marks: dict[str, MarkName] = Field(
        default={}, description="Labels that say when the lights went off and on."
    )

    @field_validator("stages", "events", "marks", mode="before")
    @classmethod
    def _text_keys(cls, value: Any) -> Any:
        """Take the codes of `0: W` as text; pydantic says what is wrong with anything but a map."""
        if not isinstance(value, dict):
            return value
        return {str(label): meaning for label, meaning in value.items()}
