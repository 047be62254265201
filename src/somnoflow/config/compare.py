"""What the comparison of all models says about this run beside what was published."""

from pydantic import Field

from somnoflow.config.base import Section

# Options of recipes that are told where they are not as published.
COMPARED = (
    "preset", "passes", "cnn_passes", "frame_step", "cnn_batch_size", "cnn_learning_rate", "window",
    "batch_size", "dropout", "learning_rate", "tuned_learning_rate",
)  # fmt: skip


class CompareSlice(Section):
    """What the compare job needs: in which points this run differs from published ones."""

    datasets: dict[str, str | None] = Field(
        description="Each dataset with the named part of it that is worked on, if any."
    )
    wake_margin_minutes: float | None
    recipes: dict[str, dict[str, str | float]] = Field(
        description="Sizes and passes of each encoder that is trained."
    )
