"""The names of the tasks, for the configuration."""

from typing import Literal

TaskName = Literal["staging", "apnea", "hypopnea", "respiratory"]
