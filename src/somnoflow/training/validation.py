"""What a pass is chosen by: how well the classes of the validation subjects are predicted."""

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from somnoflow.data.subsets import TASK_LISTS, nobody_looked
from somnoflow.tasks import Task

log = logging.getLogger(__name__)

Targets = npt.NDArray[np.int64]


def chosen_by(task: Task) -> str:
    """Give the column of training.csv whose highest value chooses the pass."""
    return "val_average_precision" if task.rare else "val_macro_f1"


def pass_scores(
    targets: Targets, probabilities: npt.NDArray[np.float32], *, task: Task
) -> dict[str, float]:
    """Give a pass's columns of training.csv, from classes (N,) and probabilities (N, K).

    Of an event these are AUROC and the average precision, the area under the curve of precision
    against recall: they need no threshold, and the second one says little good of a model that
    finds the common class alone (defect S22).
    """
    if task.rare:
        return {
            "val_auroc": float(roc_auc_score(targets, probabilities[:, 1])),
            "val_average_precision": float(average_precision_score(targets, probabilities[:, 1])),
        }
    return validation_scores(targets, probabilities.argmax(axis=1))


def validation_scores(targets: Targets, predicted: Targets) -> dict[str, Any]:
    """Give accuracy and macro-F1 of predicted against true classes, each (N,), N at least 1."""
    # Classes that no validation epoch has cannot be recalled and would only divide the mean.
    present = np.unique(targets)
    return {
        "val_accuracy": float(accuracy_score(targets, predicted)),
        "val_macro_f1": float(
            f1_score(targets, predicted, labels=present, average="macro", zero_division=0)
        ),
    }


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
