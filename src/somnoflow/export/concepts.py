"""What an epoch's class is called where each has a standard text, or must not be taken for one.

A model of events says of a 30-s epoch that breathing was disturbed in it, not when an event began
and how long it lasted. A reader that counts `Hypopnea` annotations would take a run of such epochs
for one hypopnea. So the texts say that they are about epochs, and no reader's table of events has
them.
"""

from somnoflow.tasks import Task

UNUSABLE = "Epochs without a usable signal"
_EVENTS = {
    "apnea": "Epochs with apnea",
    "hypopnea": "Epochs with hypopnea",
    "respiratory": "Epochs with apnea or hypopnea",
}


def describe_event(name: str | None, *, task: Task) -> str | None:
    """Give the text of epochs of a class of events; None where there is nothing to annotate."""
    if name is None:
        return UNUSABLE
    return None if name == task.classes[0] else _EVENTS[name]
