"""The epochs of a night that are to be looked at again, in words and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from somnoflow.evaluate.review import Review
from somnoflow.report.tables import MAX_ROWS, NOTHING, Table, make_table
from somnoflow.scoring.hypnogram import Hypnogram

# Epochs before and after one that are told with it.
BESIDE = 3


@dataclass(frozen=True)
class Answer:
    """What was said of one epoch.

    Attributes
    ----------
    row, epoch, time
        Its row in the hypnogram, its number, and when it begins.
    said, confidence
        Class and its probability.
    second, second_probability
        The likeliest of the other classes.
    probabilities
        Of each class.
    around
        Classes from some epochs before to some epochs after, each with whether it is this one.
    """

    row: int
    epoch: int
    time: str
    said: str
    confidence: float
    second: str
    second_probability: float
    probabilities: Sequence[tuple[str, float]]
    around: Sequence[tuple[str, bool]]

    def told(self) -> str:
        """Say it in a sentence."""
        return (
            f"Epoch {self.epoch} at {self.time}: {self.said} ({self.confidence:.2f}), second "
            f"{self.second} ({self.second_probability:.2f})."
        )


def answers_of(hypnogram: Hypnogram, rows: Sequence[int]) -> list[Answer]:
    """Give what was said of some usable epochs."""
    classes = [name or NOTHING for name in hypnogram.classes]
    return [_answer(hypnogram, row, classes=classes) for row in rows]


def _answer(hypnogram: Hypnogram, row: int, *, classes: Sequence[str]) -> Answer:
    task, found = hypnogram.task, hypnogram.table.row(row, named=True)
    columns = zip(task.classes, task.probabilities, strict=True)
    named = [(name, found[column]) for name, column in columns]
    said = found[task.column]
    second = max((pair for pair in named if pair[0] != said), key=lambda pair: pair[1])
    around = range(max(0, row - BESIDE), min(len(classes), row + BESIDE + 1))
    return Answer(
        row=row,
        epoch=found["epoch"],
        time=clock_time(found["onset_s"], start=hypnogram.start),
        said=said,
        confidence=found["confidence"],
        second=second[0],
        second_probability=second[1],
        probabilities=named,
        around=[(classes[other], other == row) for other in around],
    )


def say_review(review: Review) -> str:
    """Say which epochs these are."""
    if not len(review.rows):
        return "There is no epoch to look at again."
    return (
        f"These are the {100 * review.share:.0f} % of the usable epochs that the model is least "
        f"certain of: {len(review.rows):,} of {review.usable:,}, with a confidence of "
        f"{review.limit:.2f} or less. With little time, look at these first."
    )


def review_table(hypnogram: Hypnogram, review: Review) -> Table | None:
    """List the epochs in the order of the night; the least certain of them where there are many."""
    rows = review.rows[:MAX_ROWS]
    if not len(rows):
        return None
    cut = ""
    if len(rows) < len(review.rows):
        cut = (
            f" The {len(rows)} least certain of {len(review.rows):,}; all are in the CSV, where "
            f"confidence is {review.limit:.2f} or less."
        )
    numeric = ["Epoch", "Confidence", "Its probability"]
    return make_table(
        "Epochs to look at again, in the order of the night. They count from 0, as in the files; "
        f"[ ] is the epoch among those around it.{cut}",
        columns=["Time", "Epoch", "Said", "Confidence", "Second", "Its probability", "Around"],
        numeric=numeric,
        rows=[
            [one.time, f"{one.epoch}", one.said, f"{one.confidence:.2f}", one.second,
             f"{one.second_probability:.2f}",
             " ".join(f"[{name}]" if own else name for name, own in one.around)]
            for one in answers_of(hypnogram, sorted(rows.tolist()))
        ],
    )  # fmt: skip


def clock_time(seconds: float, *, start: datetime | None) -> str:
    """Write the time of so many seconds after the start; from 0:00:00 where that is not known."""
    if start is not None:
        return f"{start + timedelta(seconds=round(seconds)):%H:%M:%S}"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
