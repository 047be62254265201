"""How rare classes are learned: weights in the loss, or a draw that takes them as often.

Notation: N epochs or windows, K classes of the task.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Targets = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]


def class_weights(targets: Targets, *, kind: str, classes: int) -> Tensor | None:
    """Give the weight of each class in the loss, float32 (K,); None for `none`.

    Parameters
    ----------
    targets
        Classes to learn from, (N,).
    kind
        `balanced`: the inverse of a class's share, so that all classes weigh the same; `root`: its
        square root; `none`. The mean over the N epochs is 1; a class that none of them has gets 0.
    classes
        K.
    """
    if kind == "none":
        return None
    count = np.bincount(targets, minlength=classes)
    weight = np.divide(count.sum(), count, out=np.zeros(classes), where=count > 0)
    weight = np.sqrt(weight) if kind == "root" else weight
    return torch.from_numpy(weight / (weight @ count) * count.sum()).float()


def chances(targets: Targets, *, sampling: str) -> npt.NDArray[np.float64] | None:
    """Give the chance of each of N to be drawn; None for `plain`, which takes each once.

    With `balanced` it is the inverse of how many are of its class, so that all classes that are
    there are drawn as often.
    """
    if sampling == "plain":
        return None
    chance = 1 / np.bincount(targets)[targets]
    return chance / chance.sum()


def draw(
    rows: Rows, *, chance: npt.NDArray[np.float64] | None, generator: np.random.Generator
) -> Rows:
    """Give the rows (N,) of a pass: shuffled, or as many drawn with replacement by their chance."""
    if chance is None:
        return generator.permutation(rows)
    return generator.choice(rows, size=len(rows), p=chance)


def oversampled_size(targets: Targets) -> int:
    """Give how many `oversample` draws from rows of these classes (N,)."""
    count = np.bincount(targets)
    return int(np.count_nonzero(count) * count.max(initial=0))


def oversample(rows: Rows, targets: Targets, *, generator: np.random.Generator) -> Rows:
    """Repeat the rows of each class until it has as many as the largest one, and shuffle all.

    Each row of a class comes as often as it goes evenly; the rest is drawn without replacement,
    and so is another one in each pass (DeepSleepNet, IEEE TNSRE 25:1998, 2017).

    Parameters
    ----------
    rows
        (N,).
    targets
        Their classes, (N,).
    generator
        Of the pass.

    Returns
    -------
    Array (K' x largest,) for K' classes that are there.
    """
    most = np.bincount(targets).max()
    drawn = []
    for code in np.unique(targets):
        own = rows[targets == code]
        times, rest = divmod(most, len(own))
        drawn += [np.tile(own, times), generator.permutation(own)[:rest]]
    return generator.permutation(np.concatenate(drawn))
