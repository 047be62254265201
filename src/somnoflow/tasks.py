"""What a model is asked of each epoch: its sleep stage, or whether breathing was disturbed."""

from dataclasses import dataclass

from somnoflow.stages import STAGE_NAMES

UNKNOWN = -1


@dataclass(frozen=True)
class Task:
    """A question with one answer per epoch.

    Attributes
    ----------
    name
        As in paths and in the configuration.
    column
        Column of the epoch tables that holds the answer as the number of its class, -1 where
        nobody knows it.
    classes
        Names of the classes.
    """

    name: str
    column: str
    classes: tuple[str, ...]

    @property
    def rare(self) -> bool:
        """Whether it asks for an event: two classes, the second one rare."""
        return self.name != "staging"

    @property
    def probabilities(self) -> tuple[str, ...]:
        """Columns of the classes' probabilities in a table of predictions."""
        return tuple(f"p_{name}" for name in self.classes)


def _event(name: str) -> Task:
    return Task(name, name, ("none", name))


# `respiratory` is any of apnea and hypopnea.
TASKS = {
    "staging": Task("staging", "stage", STAGE_NAMES),
    "apnea": _event("apnea"),
    "hypopnea": _event("hypopnea"),
    "respiratory": _event("respiratory"),
}
# Columns of the epoch tables that hold the tasks' answers.
LABELS = tuple(task.column for task in TASKS.values())
