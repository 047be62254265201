"""From overnight recordings to sleep models, honest evaluations and a report.

`somnoflow.score` gives the hypnogram of a recording. Importing the package imports nothing else.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from somnoflow.scoring.api import score
    from somnoflow.scoring.hypnogram import Hypnogram

__all__ = ["Hypnogram", "score"]


def __getattr__(name: str) -> Any:
    if name == "score":
        from somnoflow.scoring.api import score  # noqa: PLC0415

        return score
    if name == "Hypnogram":
        from somnoflow.scoring.hypnogram import Hypnogram  # noqa: PLC0415

        return Hypnogram
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
