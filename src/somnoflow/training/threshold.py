"""From which probability on an epoch counts as an event; validation subjects say it."""

import numpy as np
import numpy.typing as npt


def best_threshold(
    targets: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float32]
) -> np.float32:
    """Give the threshold with the highest F1 of the event; of equals the highest one.

    Parameters
    ----------
    targets
        1 for each epoch with the event and 0 for the others, (N,); at least one 1.
    probabilities
        Of the event, (N,). The threshold is one of them; it counts as an event itself.
    """
    values, place = np.unique(-probabilities, return_inverse=True)  # from the highest on
    taken = np.cumsum(np.bincount(place))
    right = np.cumsum(np.bincount(place, weights=targets))
    f1 = 2 * right / (taken + np.count_nonzero(targets))
    return np.float32(-values[f1.argmax()])
