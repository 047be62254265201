"""What a model says of every epoch of a night."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from somnoflow.tasks import Task


@dataclass(frozen=True, eq=False)
class Hypnogram:
    """The answers of one model for the N epochs of one night.

    Attributes
    ----------
    recording
        Name of the recording, without folder and suffix.
    start
        When the recording begins; None where the file does not tell.
    task
        What was asked.
    table
        One row per epoch: `epoch`, `onset_s` (seconds from the start of the recording), the class's
        name in the column of the task (`stage`, or the event), its probability as `confidence`, and
        the probabilities of all classes (`p_W` ...). Null where an epoch has no usable signal.
    threshold
        Probability from which on an epoch has the event; None for stages.
    made_by
        What made it, as JSON: model, digests, settings.
    night
        What the night was read from, as JSON: `epochs`, `usable`, `channels` (the labels that each
        channel was made of), `absent` (why a channel is not there), `remarks`.
    """

    recording: str
    start: datetime | None
    task: Task
    table: pl.DataFrame
    threshold: float | None
    made_by: Mapping[str, Any]
    night: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def classes(self) -> list[str | None]:
        """The name of each epoch's class, N; None where it has no usable signal."""
        return self.table[self.task.column].to_list()
