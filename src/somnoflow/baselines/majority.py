"""The constant answer: what a model that looked at no signal would get right."""

import numpy as np
import polars as pl

from somnoflow.models.heads import Floats
from somnoflow.tasks import Task


def class_shares(labelled: pl.DataFrame, *, task: Task) -> Floats:
    """Give the share of each class, (K,), among labelled epochs, at least one."""
    counts = np.bincount(labelled[task.column].to_numpy(), minlength=len(task.classes))
    return (counts / counts.sum()).astype(np.float32)
