"""What one parse job needs."""

from somnoflow.config.base import Section
from somnoflow.config.dataset import Reading
from somnoflow.config.signals import Signals


class ParseSlice(Section):
    """How the recordings of a dataset are read, filtered and cut."""

    dataset: str
    simulated: bool
    reading: Reading
    signals: Signals
