"""Events as runs of epochs: which predicted events touch which true ones.

An event is a run of consecutive positive epochs. It ends where an epoch is negative, cannot be
judged or is missing, and at the end of the recording. A true and a predicted event match where they
share an epoch; each is matched once, in the order of time. Since events of one kind do not overlap,
this finds as many matches as any other order.
"""

import numpy as np

from somnoflow.evaluate.events import Epochs

EVENTS = ("true", "predicted", "matched")


def count_events(epochs: Epochs) -> np.ndarray:
    """Count the true, the predicted and the matched events of each recording.

    Returns
    -------
    ndarray
        Shape (recordings, 3), int64.
    """
    counts = np.zeros((epochs.recordings.height, len(EVENTS)), dtype=np.int64)
    new = (np.diff(epochs.row, prepend=-1) != 0) | (np.diff(epochs.epoch, prepend=-9) != 1)
    true, predicted = (_numbered(x, new) for x in (epochs.label, epochs.predicted))
    for column, number in enumerate((true, predicted)):
        first = np.flatnonzero(np.diff(number, prepend=0) > 0)
        np.add.at(counts[:, column], epochs.row[first], 1)
    both = np.flatnonzero(epochs.label & epochs.predicted)
    last_true = last_predicted = 0
    for place in both[np.flatnonzero(_changes(true[both]) | _changes(predicted[both]))]:
        if true[place] != last_true and predicted[place] != last_predicted:
            last_true, last_predicted = true[place], predicted[place]
            counts[epochs.row[place], 2] += 1
    return counts


def _numbered(positive: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Give the number, from 1, of the last event that began by each epoch."""
    before = np.append(False, positive[:-1])
    return np.cumsum(positive & (new | ~before))


def _changes(number: np.ndarray) -> np.ndarray:
    return np.diff(number, prepend=0) != 0
