"""Section `features`: tables of precomputed features that stand in for an encoder's embeddings."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from somnoflow.config.base import Section
from somnoflow.config.vocabularies import StageName

Normalisation = Literal["cohort", "night"]


class Features(Section):
    """One table with a row per epoch and a numeric column per feature."""

    path: str = Field(min_length=1, description="Table, `.parquet` or `.csv`.")
    dataset: str | None = Field(
        None,
        description="Dataset that all rows belong to. Where this and `dataset_column` are null, "
        "`subject` holds the key `dataset/subject`.",
    )
    dataset_column: str | None = Field(None, description="Column of the dataset.")
    subject: str = Field("subject", description="Column of the subject.")
    recording: str = Field("recording", description="Column of the recording.")
    epoch: str = Field("epoch", description="Column of the epoch's number in its recording.")
    stage: str = Field("stage", description="Column of the stage.")
    stages: dict[str, StageName] = Field(
        default={"0": "W", "1": "N1", "2": "N2", "3": "N3", "4": "REM", "-1": "unscored"},
        description="Stage of each code that the column may hold; empty cells are unscored.",
    )
    columns: list[str] = Field(
        default=["*"],
        min_length=1,
        description="Features, by name or pattern such as `EEG_C4__*`; `*` is every numeric column "
        "but those above.",
    )
    log: list[str] = Field(
        default=[], description="Features whose logarithm is taken, by name or pattern."
    )
    normalise: list[Normalisation] = Field(
        default=["cohort", "night"],
        min_length=1,
        description="`cohort`: less the mean of the training subjects, by their standard "
        "deviation; `night`: less the recording's median, by its interquartile range. With both, "
        "each feature is there twice.",
    )
    bins: int = Field(
        0,
        ge=0,
        description="Quantile bins of the training subjects by which each value is coded, one "
        "number per bin (piecewise linear encoding, arXiv 2203.05556); 0: the value itself.",
    )

    @field_validator("stages", mode="before")
    @classmethod
    def _text_keys(cls, value: Any) -> Any:
        """Take the codes of `0: W` as text."""
        return {str(k): stage for k, stage in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _check(self) -> "Features":
        if self.dataset is not None and self.dataset_column is not None:
            raise ValueError(
                f"found dataset '{self.dataset}' and dataset_column '{self.dataset_column}', "
                "wanted one of them"
            )
        return self


class FeaturesSlice(Section):
    """What one job of the rule `features` needs."""

    name: str
    table: Features
