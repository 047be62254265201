"""The sleep stages and their codes, everywhere in this package (AASM manual, version 3)."""

from enum import IntEnum


class Stage(IntEnum):
    """Code of a 30-s epoch's sleep stage; `UNSCORED` is never trained on and never scored."""

    UNSCORED = -1
    W = 0
    N1 = 1
    N2 = 2
    N3 = 3
    REM = 4


SCORED_STAGES = tuple(stage for stage in Stage if stage is not Stage.UNSCORED)
STAGE_NAMES = tuple(stage.name for stage in SCORED_STAGES)
EPOCH_SECONDS = 30
