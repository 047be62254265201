"""Which test epochs of a model are explained."""

from collections import Counter

import numpy as np
import polars as pl

from somnoflow.evaluate.predictions import RECORDING_KEY
from somnoflow.stages import SCORED_STAGES


def choose_epochs(predicted: pl.DataFrame, *, each: int, seed: int) -> pl.DataFrame:
    """Draw epochs of each stage, half of them scored right and half wrong where there are both.

    Of an odd number one more is right. The recording that has given the fewest so far goes first.

    Parameters
    ----------
    predicted
        Epochs as in predictions.parquet, usable and with a stage.
    each
        Epochs of each stage; all where it has fewer.
    seed
        Of the draw.

    Returns
    -------
    Rows of `predicted`, by recording and epoch.
    """
    generator = np.random.default_rng(seed)
    drawn = predicted[generator.permutation(len(predicted))]
    given: Counter[object] = Counter()
    chosen: list[pl.DataFrame] = []
    for stage in SCORED_STAGES:
        own = drawn.filter(pl.col("stage") == stage)
        is_right = own["predicted"].to_numpy() == stage
        right, wrong = own.filter(is_right), own.filter(~is_right)
        wrongs = min(len(wrong), max(each // 2, each - len(right)))
        chosen += [
            _spread(right, number=each - wrongs, given=given),
            _spread(wrong, number=wrongs, given=given),
        ]
    return pl.concat(chosen).sort(*RECORDING_KEY, "epoch")


def _spread(drawn: pl.DataFrame, *, number: int, given: Counter[object]) -> pl.DataFrame:
    """Take epochs in the order of the draw, from recordings with the fewest in `given` first."""
    recordings = drawn.select(RECORDING_KEY).rows()
    left, taken = list(range(len(drawn))), []
    for _ in range(min(number, len(drawn))):
        row = min(left, key=lambda row: given[recordings[row]])
        given[recordings[row]] += 1
        left.remove(row)
        taken.append(row)
    return drawn[taken]
