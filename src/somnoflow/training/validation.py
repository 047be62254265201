"""What a pass is chosen by: how well the stages of the validation subjects are predicted."""

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import accuracy_score, f1_score

from somnoflow.stages import STAGE_NAMES

log = logging.getLogger(__name__)

Stages = npt.NDArray[np.int64]


def validation_scores(stages: Stages, predicted: Stages) -> dict[str, Any]:
    """Give accuracy and macro-F1 of predicted against scored stages, each (N,), N at least 1."""
    # Stages that no validation epoch has cannot be recalled and would only divide the mean.
    present = np.unique(stages)
    return {
        "val_accuracy": float(accuracy_score(stages, predicted)),
        "val_macro_f1": float(
            f1_score(stages, predicted, labels=present, average="macro", zero_division=0)
        ),
    }


def require_stages(stages: Stages, *, role: str, least: int = 2) -> None:
    """Raise `ValueError` on too few scored epochs; warn of stages that none of them has.

    Parameters
    ----------
    stages
        Stages of the usable scored epochs, (N,).
    role
        Whose they are: `training` or `validation`.
    least
        How many are needed.
    """
    if len(stages) < least:
        raise ValueError(
            f"the {role} subjects have {len(stages)} usable scored epochs, wanted at least {least}"
        )
    seen = set(stages.tolist())
    missing = [name for code, name in enumerate(STAGE_NAMES) if code not in seen]
    if missing:
        log.warning(
            "no %s epoch of stage %s: %s",
            role,
            ", ".join(missing),
            "it will never be predicted" if role == "training" else "its F1 is left out",
        )
