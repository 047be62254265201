"""The names of the tasks, for the configuration."""

from typing import Literal

TaskName = Literal["staging", "apnea", "hypopnea", "respiratory"]
# For descriptions of options.
TASK_CHOICES = "`staging`, `apnea`, `hypopnea`, or `respiratory`, which is either of the two events"
