"""Section `split`: who is trained on, who decides, who is judged."""

from pydantic import Field

from somnoflow.config.base import Section


class Split(Section):
    """Subject-grouped folds; roles are written to `split/split.json` and read from there."""

    folds: int = Field(
        2,
        ge=1,
        description="Number of folds; each subject is a test subject in exactly one. With 1 nobody "
        "is, but for `external`: all train, or are validation subjects.",
    )
    validation: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="Share of a fold's remaining subjects kept for every choice "
        "(checkpoint, threshold, calibration); at least one subject.",
    )
    unlabelled: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of a fold's training subjects whose labels are hidden: "
        "they serve pre-training only.",
    )
    external: list[str] = Field(
        default=[],
        description="Datasets whose subjects are test subjects only: nothing is trained on them or "
        "chosen by them, labelled or not. They are dealt over the folds like the others.",
    )
    seed: int = Field(1, ge=0, description="Seed of the draw.")
