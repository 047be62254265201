"""Give every epoch the class that most labelled training epochs of the fold have."""

import json
import logging

import numpy as np

from somnoflow.baselines.majority import class_shares
from somnoflow.config.score import ScoreSlice
from somnoflow.data.packed import PackedEpochs, read_usable
from somnoflow.data.subsets import read_labels
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.tasks import TASKS
from somnoflow.training.roles import read_roles
from somnoflow.training.scoring import add_probabilities, gather_predictions, write_predictions

log = logging.getLogger(__name__)


def score_majority(
    *,
    packed: Inputs,
    split: Input,
    labels: Input,
    predictions: Output,
    fold: int,
    cfg: ScoreSlice,
) -> None:
    """Write the predictions of the fold's validation and test subjects.

    Every epoch with a signal in any channel gets the training epochs' shares as probabilities.

    Raises
    ------
    ValueError
        When the task is an event: a threshold on one probability for all tells nothing.
    """
    task, roles = TASKS[cfg.task], read_roles(split, fold=fold)
    if task.rare:
        raise ValueError(
            f"the majority class was asked for {task.name}, wanted staging: all epochs would have "
            "one probability, and no threshold divides them. The tables of events name the answer "
            "of always and never instead"
        )
    seen = read_labels(labels)
    train = read_usable(packed, subjects=roles.train)
    shares = class_shares(train.join(seen, on=seen.columns, how="semi"), task=task)
    log.info("training epochs: %s", dict(zip(task.classes, shares.round(4).tolist(), strict=True)))
    channels = json.loads(packed[0].read_text(encoding="utf-8"))["channels"]
    table = PackedEpochs(
        packed, channels=channels, subjects=[*roles.val, *roles.test], require="any"
    ).table
    constant = np.tile(shares, (int(table["usable"].sum()), 1))
    parts = [add_probabilities(table, constant, task=task)]
    scored = gather_predictions(parts, task=task, roles=roles, fold=fold, where="the packed shards")
    write_predictions(predictions, scored, task=task)


if __name__ == "__main__":
    command(score_majority)
