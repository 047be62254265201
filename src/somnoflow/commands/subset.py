"""Draw the labels of a fold's training subjects that heads may see."""

import logging

import polars as pl

from somnoflow.config.subset import SubsetSlice
from somnoflow.data.packed import read_usable
from somnoflow.data.subsets import count_labels, draw_labels, nobody_looked, write_labels
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.io.atomic import write_json
from somnoflow.tasks import TASKS, UNKNOWN
from somnoflow.training.roles import read_roles

log = logging.getLogger(__name__)


def subset(
    *, packed: Inputs, split: Input, labels: Output, counts: Output, fold: int, cfg: SubsetSlice
) -> None:
    """Write which labelled epochs a head may be trained on, and how many there are.

    Parameters
    ----------
    packed
        `index.json` of each packed shard.
    split
        Folds and roles; labels are drawn from the fold's training subjects only.
    labels
        Parquet with the keys of the epochs.
    counts
        JSON with their number, and of how many.
    fold
        Which fold.
    cfg
        Task, share, what it is counted in, and the seed of the draw.
    """
    task = TASKS[cfg.task]
    roles = read_roles(split, fold=fold)
    scored = read_usable(packed, subjects=roles.train).filter(pl.col(task.column) != UNKNOWN)
    if scored.is_empty() and task.rare:
        raise ValueError(f"fold {fold} of {split}: {nobody_looked(task, role='training')}")
    if scored.is_empty():
        raise ValueError(
            f"no training subject has a scored epoch with a signal in fold {fold} of {split}: "
            "nothing can be trained on labels. To pre-train only, ask for the target 'pretrained'"
        )
    drawn = draw_labels(scored, subset=cfg)
    sizes = count_labels(drawn, scored, subset=cfg)
    write_labels(labels, drawn)
    write_json(counts, sizes)
    log.info(
        "%s: labels of %d epochs of %d subjects, of %d and %d",
        task.name, sizes["epochs"], sizes["subjects"], sizes["of"]["epochs"],
        sizes["of"]["subjects"],
    )  # fmt: skip


if __name__ == "__main__":
    command(subset)
