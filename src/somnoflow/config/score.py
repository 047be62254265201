"""What one scoring job needs."""

from pydantic import Field

from somnoflow.config.base import Section
from somnoflow.config.tasks import TaskName


class ScoreSlice(Section):
    """What one scoring job needs; probes, which see one epoch, do not look at `stride`."""

    task: TaskName
    stride: int = Field(ge=1, description="Step between windows in epochs.")
