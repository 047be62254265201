"""Section `pack`: how packed signals are scaled when they are read, and what labels an epoch."""

from typing import Literal

from pydantic import Field

from somnoflow.config.base import Section


class Pack(Section):
    """Scaling of the packed signals, and the labels of their epochs."""

    scaling: Literal["robust_z", "median", "none"] = Field(
        "robust_z",
        description="How each channel of a recording is scaled when it is read, by its usable "
        "epochs; the stored samples stay as they are. `robust_z`: less the median, over the "
        "interquartile range / 1.349. `median`: less the median, in the stored physical unit. "
        "`none`: in the physical unit. SpO2 is in percent always: its level is what it tells.",
    )
    apnea_seconds: float = Field(
        5,
        gt=0,
        le=30,
        description="An epoch with at least this many seconds of apnea (obstructive, central and "
        "mixed together) has the label `apnea`. The default is half of the shortest event that is "
        "scored (10 s), so that each event labels an epoch.",
    )
    hypopnea_seconds: float = Field(
        5,
        gt=0,
        le=30,
        description="An epoch with at least this many seconds of hypopnea has the label "
        "`hypopnea`.",
    )
