"""What a pass is chosen by: how well the classes of the validation subjects are predicted."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from somnoflow.tasks import Task
from somnoflow.training.targets import Targets


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
