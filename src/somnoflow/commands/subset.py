"""Draw the labels of a fold's training subjects that heads may see."""

import logging

import polars as pl

from somnoflow.config.subset import SubsetSlice
from somnoflow.data.packed import read_usable
from somnoflow.data.subsets import count_labels, draw_labels, write_labels
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.io.atomic import write_json
from somnoflow.training.roles import read_roles

log = logging.getLogger(__name__)


def subset(
    *, packed: Inputs, split: Input, labels: Output, counts: Output, fold: int, cfg: SubsetSlice
) -> None:
    """Write which scored epochs a head may be trained on, and how many there are.

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
        Share, what it is counted in, and the seed of the draw.
    """
    roles = read_roles(split, fold=fold)
    scored = read_usable(packed, subjects=roles.train).filter(pl.col("stage") >= 0)
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
        "labels of %d epochs of %d subjects, of %d and %d",
        sizes["epochs"], sizes["subjects"], sizes["of"]["epochs"], sizes["of"]["subjects"],
    )  # fmt: skip


if __name__ == "__main__":
    command(subset)
