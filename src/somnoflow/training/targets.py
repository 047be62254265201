"""What is asked of the labels before anything is trained, chosen or scored by them."""

import logging

import numpy as np
import numpy.typing as npt

from somnoflow.data.subsets import TASK_LISTS, nobody_looked
from somnoflow.tasks import Task

log = logging.getLogger(__name__)

Targets = npt.NDArray[np.int64]


def require_targets(
    targets: Targets, *, task: Task, role: str, least: int = 2, of: int | None = None
) -> None:
    """Raise `ValueError` on too few labelled epochs; warn of classes that none of them has.

    Parameters
    ----------
    targets
        Classes of the usable labelled epochs, (N,).
    task
        What was labelled.
    role
        Whose they are: `training` or `validation`.
    least
        How many are needed.
    of
        How many there are, where N is a share of them.
    """
    if of is None:
        of = len(targets)
    if task.rare and not of:
        raise ValueError(nobody_looked(task, role=role))
    if len(targets) < least:
        text = f"the {role} subjects have {len(targets)} usable scored epochs"
        text += f", wanted at least {least} for {task.name}"
        if len(targets) < of:
            text += f". These are {100 * len(targets) / of:.2g} % of {of}, the share that may be "
            text += "seen: take larger ones in label_efficiency.percents"
        raise ValueError(text)
    if task.rare and role == "validation":
        require_both(targets, task=task, role=role)
    seen = set(targets.tolist())
    missing = [name for code, name in enumerate(task.classes) if code not in seen]
    if missing:
        log.warning(
            "no %s epoch of %s %s: %s",
            role,
            word_for_class(task),
            ", ".join(missing),
            _consequence(task, role=role),
        )


def _consequence(task: Task, *, role: str) -> str:
    if role == "validation":
        return "its F1 is left out"
    return "its probability will be 0 everywhere" if task.rare else "it will never be predicted"


def word_for_class(task: Task) -> str:
    """Give what a class of the task is called in messages."""
    return "class" if task.rare else "stage"


def require_both(targets: Targets, *, task: Task, role: str) -> None:
    """Raise `ValueError` unless there are epochs with an event and epochs without.

    Parameters
    ----------
    targets
        0 or 1 for each usable labelled epoch, (N,).
    task
        The event.
    role
        Whose they are.
    """
    if not len(targets):
        raise ValueError(nobody_looked(task, role=role))
    positive = np.count_nonzero(targets)
    if positive in (0, len(targets)):
        raise ValueError(
            f"the {role} subjects have {positive} usable epochs with {task.name} and "
            f"{len(targets) - positive} without, wanted some of both: they choose the pass and "
            f"the threshold. Take more validation subjects (split.validation), another split.seed, "
            f"or take {task.name} out of {TASK_LISTS}"
        )
