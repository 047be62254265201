"""model.json: what a bundle says of its model.

Imports pydantic and the sections of the configuration only, so that listing and scoring start fast.
"""

from typing import Literal

from pydantic import Field, model_validator

from somnoflow.config.base import Section
from somnoflow.config.bundle import BundleDataset
from somnoflow.config.pack import Pack
from somnoflow.config.signals import Channel, Modality, Signals
from somnoflow.config.tasks import TaskName
from somnoflow.tasks import TASKS

FORMAT: Literal[1] = 1
MODEL, ENCODER, HEAD = "model.safetensors", "encoder.safetensors", "head.safetensors"
# A whole model, or a frozen encoder and the head on it, in the order in which they are loaded.
PARTS = ((MODEL,), (ENCODER, HEAD))


class BundleRow(Section):
    """The row of the report that a model is."""

    encoder: str
    channel: str
    method: str
    task: TaskName
    labels: str


class Training(Section):
    """Who the weights were trained on."""

    datasets: list[BundleDataset] = Field(min_length=1)
    subjects: int = Field(ge=1)
    recordings: int = Field(ge=1)
    epochs: int = Field(ge=1, description="Labelled ones with a usable signal.")
    fold: int = Field(ge=0)
    folds: int = Field(ge=1)
    statement: str = Field(description="The same in words, and what is not in the numbers.")


class Measure(Section):
    """A number and its interval, each None where it is not defined."""

    value: float | None
    interval: tuple[float, float] | None = None


class ClassMeasure(Measure):
    """The F1 of a class, and how many epochs are of it."""

    epochs: int


class Metrics(Section):
    """An excerpt of what the model reaches on test subjects."""

    statement: str = Field(description="Of which subjects and of which models the numbers are.")
    subjects: int
    recordings: int
    epochs: int = Field(description="Compared ones: labelled, with a usable signal.")
    confidence: float | None = Field(description="Of the intervals; None where there are none.")
    values: dict[str, Measure] = Field(
        description="`accuracy`, `macro_f1` and `kappa` of stages; `average_precision`, `f1`, "
        "`sensitivity`, `specificity`, `kappa` of events, `prevalence`, the average precision of a "
        "constant answer, and `events_per_epoch`, how many events stand behind an epoch where "
        "that is known."
    )
    per_class: dict[str, ClassMeasure] = Field(description="F1 of each stage; empty for events.")


class Review(Section):
    """What a list of the least certain epochs is worth, by the test subjects of all folds."""

    share: float = Field(description="Of the epochs of a night that are kept unseen.")
    epochs: int
    kept_accuracy: float | None
    all_accuracy: float | None
    review_accuracy: float | None = Field(description="Of those that are left to review.")


class Calibration(Section):
    """The temperature that probabilities are taken to, chosen by validation subjects.

    The expected calibration errors are of these same subjects, of the weights' own fold; those of
    test subjects are of all folds together.
    """

    temperature: float | None = Field(gt=0, description="None where it could not be fitted.")
    ece_before: float | None
    ece_after: float | None
    val_epochs: int = Field(description="Labelled ones with a usable signal.")
    test_ece_before: float | None = None
    test_ece_after: float | None = None
    review: Review | None = None
    reason: str | None = Field(default=None, description="Why there is no temperature.")


class BundleAbout(Section):
    """What stands in model.json."""

    format: Literal[1] = FORMAT
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")
    title: str
    somnoflow: str = Field(description="Version that wrote the bundle.")
    task: TaskName
    classes: list[str]
    row: BundleRow
    channels: list[Channel] = Field(min_length=1, description="Canonical ones that it reads.")
    modalities: list[Modality]
    sampling_rate: int
    stride: int = Field(ge=1, description="Step between windows in epochs.")
    signals: Signals
    pack: Pack
    training: Training
    metrics: Metrics
    calibration: Calibration
    threshold: float | None = Field(
        description="Probability from which on an epoch has the event, as it is before the "
        "temperature; None for stages."
    )
    remarks: list[str] = Field(default=[], description="What else its card says of results.")
    weights: dict[str, str] = Field(description="SHA-256 of each file of weights.")
    code: str = Field(description="SHA-256 of the fingerprints of the code that trained it.")
    config: str = Field(description="SHA-256 of the options that it was trained and bundled with.")

    @model_validator(mode="after")
    def _check(self) -> "BundleAbout":
        classes = list(TASKS[self.task].classes)
        if self.classes != classes:
            raise ValueError(
                f"classes are {', '.join(self.classes)}, wanted those of {self.task}: "
                f"{', '.join(classes)}"
            )
        if tuple(sorted(self.weights)) not in PARTS:
            raise ValueError(
                f"weights are {', '.join(sorted(self.weights)) or 'none'}, wanted "
                f"{' or '.join(' and '.join(names) for names in PARTS)}"
            )
        if (self.threshold is not None) != TASKS[self.task].rare:
            raise ValueError(f"threshold is {self.threshold}, wanted one for events alone")
        return self

    @property
    def simulated(self) -> bool:
        """Whether any of the training data was simulated."""
        return any(dataset.simulated for dataset in self.training.datasets)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the files of weights, in the order in which they are loaded."""
        return tuple(sorted(self.weights))
