"""What one subset job needs: whose labels a head may see."""

import re
from typing import Literal

from pydantic import Field

from somnoflow.config.base import Section
from somnoflow.config.tasks import TaskName

Unit = Literal["subjects", "epochs"]
ALL = "all"
_NAME = re.compile(r"(?P<by>subjects|epochs)-(?P<percent>[0-9.]+)-seed(?P<seed>\d+)")


class SubsetSlice(Section):
    """A share of the training subjects' labels; all of them where `by` names nothing."""

    task: TaskName = "staging"
    by: Unit | None = None
    percent: float = Field(100, gt=0, le=100)
    seed: int = 0


def read_subset(name: str, *, task: TaskName = "staging") -> SubsetSlice:
    """Give what the name of a subset means, for the labels of a task."""
    if name == ALL:
        return SubsetSlice(task=task)
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"found labels '{name}', wanted '{ALL}' or such as 'epochs-5-seed1'")
    return SubsetSlice.model_validate({"task": task, **found.groupdict()})
