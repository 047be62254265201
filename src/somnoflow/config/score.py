"""What one scoring job needs."""

from pydantic import Field

from somnoflow.config.base import Section
from somnoflow.config.tasks import TaskName


class ScoreSlice(Section):
    """How a night is cut into windows; probes, which see one epoch, do not look at it."""

    task: TaskName
    stride: int = Field(ge=1, description="Step between windows in epochs.")
