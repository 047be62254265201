"""What one job needs that makes a bundle of a trained model."""

from pydantic import Field

from somnoflow.config.base import Section
from somnoflow.config.pack import Pack
from somnoflow.config.signals import Signals
from somnoflow.config.tasks import TaskName


class BundleDataset(Section):
    """A dataset that the model was trained on."""

    name: str
    title: str
    licence: str
    citation: str
    simulated: bool


class BundleSlice(Section):
    """Which model a bundle is made of, how its signals were made, and from which datasets."""

    encoder: str
    channel: str
    method: str
    task: TaskName
    labels: str
    fold: int = Field(description="The fold that the weights are of.")
    folds: int
    stride: int = Field(ge=1, description="Step between windows in epochs.")
    signals: Signals
    pack: Pack
    datasets: list[BundleDataset]
    code: str = Field(description="sha256 of the fingerprints of the code that trains it.")
    training: str = Field(description="sha256 of the options that it is trained with.")
