"""Respiratory events per hour of one night, from the epochs that a model says they are in.

The apnea-hypopnea index (AHI, AASM manual version 3, section VIII) counts events per hour of sleep;
where sleep was not scored, the respiratory event index (REI) counts them per hour of recording.
A model says it epoch by epoch: a run of positive epochs holds at least one event and may hold many,
so runs per hour are a lower bound. Where it is known how many events stand behind a positive epoch
(learned from other nights, as in `evaluate.event_nights`), they give an estimate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from somnoflow.stages import EPOCH_SECONDS, STAGE_NAMES

WAKE = STAGE_NAMES[0]


@dataclass(frozen=True)
class RespiratoryIndex:
    """What the positive epochs of a night amount to.

    Attributes
    ----------
    of_sleep
        Whether only sleep counts, in events and hours; else all judged epochs of the recording.
    hours
        Hours that were judged.
    epochs, runs
        Positive epochs, and runs of them.
    events_per_epoch
        Events behind a positive epoch; None where not known.
    """

    of_sleep: bool
    hours: float
    epochs: int
    runs: int
    events_per_epoch: float | None

    @property
    def at_least(self) -> float | None:
        """Runs per hour; None without an hour that counts."""
        return self.runs / self.hours if self.hours else None

    @property
    def estimated(self) -> float | None:
        """Events per hour; None where it cannot be estimated."""
        if not self.hours or self.events_per_epoch is None:
            return None
        return self.events_per_epoch * self.epochs / self.hours


def respiratory_index(
    said: Sequence[str | None],
    *,
    event: str,
    stages: Sequence[str | None] | None,
    events_per_epoch: float | None = None,
) -> RespiratoryIndex:
    """Count the epochs with an event, and the hours they are counted over.

    Parameters
    ----------
    said
        Name of each epoch's class, N; None where it could not be judged.
    event
        Name of the class that is the event.
    stages
        Stage of each of the N epochs, of which only sleep counts; None where nobody scored sleep.
    events_per_epoch
        As in `RespiratoryIndex`.

    Raises
    ------
    ValueError
        When stages and answers are not of the same epochs.
    """
    counts = np.array([name is not None for name in said], dtype=np.bool_)
    if stages is not None:
        if len(stages) != len(said):
            raise ValueError(
                f"{len(stages)} stages for {len(said)} epochs, wanted one of each epoch: score "
                "both from the same recording"
            )
        counts &= np.array([stage not in (None, WAKE) for stage in stages], dtype=np.bool_)
    positive = counts & np.array([name == event for name in said], dtype=np.bool_)
    begins = np.diff(positive.astype(np.int8), prepend=0) > 0
    return RespiratoryIndex(
        of_sleep=stages is not None,
        hours=int(counts.sum()) * EPOCH_SECONDS / 3600,
        epochs=int(positive.sum()),
        runs=int(begins.sum()),
        events_per_epoch=events_per_epoch,
    )
