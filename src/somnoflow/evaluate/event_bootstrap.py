"""How certain the numbers of an event are: intervals over subjects, as for stages (bootstrap.py).

The same draws of subjects add up their tables of counts and weigh their epochs in the ranking.
"""

from typing import Any

import numpy as np

from somnoflow.config.evaluate import Evaluate
from somnoflow.evaluate.bootstrap import (
    describe_intervals,
    draw_subjects,
    percentile_interval,
    too_few_subjects,
)
from somnoflow.evaluate.event_overlap import count_events
from somnoflow.evaluate.event_ranking import areas, rank
from somnoflow.evaluate.event_values import (
    AREAS,
    VALUES,
    confusion_tables,
    epoch_values,
    event_values,
)
from somnoflow.evaluate.events import Epochs


def intervals(epochs: Epochs, *, cfg: Evaluate) -> dict[str, Any]:
    """Give the intervals of all `VALUES` over subjects.

    Parameters
    ----------
    epochs
        Judged epochs. Subjects without one carry no information and are not drawn.
    cfg
        Resamples, confidence and seed.

    Returns
    -------
    dict
        As `bootstrap.intervals` gives it: `[low, high]` per value, `undefined_resamples`, `reason`.
    """
    names, subject = np.unique(epochs.subjects[epochs.row], return_inverse=True)
    result = describe_intervals(len(names), cfg=cfg)
    if len(names) < 2:
        reason = too_few_subjects(len(names), epochs="judged")
        return result | dict.fromkeys(VALUES) | {"undefined_resamples": {}, "reason": reason}
    values = _resampled(epochs, subject, cfg=cfg)
    undefined = {name: int(np.isnan(values[name]).sum()) for name in VALUES}
    return (
        result
        | {name: percentile_interval(values[name], cfg.confidence) for name in VALUES}
        | {
            "undefined_resamples": {name: n for name, n in undefined.items() if n},
            "reason": None,
        }
    )


def _resampled(epochs: Epochs, subject: np.ndarray, *, cfg: Evaluate) -> dict[str, np.ndarray]:
    """Give all values in each resample; `subject` (n,) numbers those that are drawn."""
    recordings, first = np.unique(epochs.row, return_index=True)
    of_recording, subjects = subject[first], int(subject.max()) + 1
    confusion = np.zeros((subjects, 4), dtype=np.int64)
    np.add.at(confusion, of_recording, confusion_tables(epochs)[recordings].reshape(-1, 4))
    events = np.zeros((subjects, 3), dtype=np.int64)
    np.add.at(events, of_recording, count_events(epochs)[recordings])
    ranking = rank(epochs.score, epochs.label, subject)
    cells, matches, under = [], [], []
    for times in draw_subjects(subjects, resamples=cfg.resamples, seed=cfg.seed):
        cells.append(times @ confusion)
        matches.append(times @ events)
        under += [areas(ranking, one) for one in times]
    return (
        epoch_values(np.concatenate(cells).reshape(-1, 2, 2))
        | dict(zip(AREAS, np.array(under).T, strict=True))
        | event_values(np.concatenate(matches))
    )
