"""Section `report`: what the HTML report says on top and how much it shows."""

from pydantic import Field

from somnoflow.config.base import Section
from somnoflow.config.signals import Signals


class Report(Section):
    """The self-contained HTML report."""

    title: str = Field("Somnoflow report", min_length=1, description="Title of the page.")
    hypnograms: int = Field(
        8, ge=0, description="Number of test recordings whose hypnograms are drawn."
    )
    quality_recordings: int = Field(
        12,
        ge=0,
        description="Number of recordings whose signal quality is drawn: half of them those with "
        "the largest share of unusable epochs, the others at even steps of rank down to the best; "
        "all where there are fewer.",
    )


class ReportSlice(Report):
    """What the report job needs: its section, and how signals were filtered for its methods."""

    signals: Signals
