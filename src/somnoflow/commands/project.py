"""Lay embeddings of test subjects out in a plane."""

import logging

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from somnoflow.config.projection import Projection
from somnoflow.data.projection import write_projection
from somnoflow.entry import Input, Output, command
from somnoflow.evaluate.projection import project_embeddings
from somnoflow.training.roles import read_roles

log = logging.getLogger(__name__)


def project(
    *,
    embeddings: Input,
    split: Input,
    projection: Output,
    fold: int,
    threads: int,
    cfg: Projection,
) -> None:
    """Lay embeddings of test subjects out in a plane.

    Parameters
    ----------
    embeddings
        `index.json` of the embeddings.
    split
        Folds and roles.
    projection
        Parquet, one row per drawn epoch; without rows where there are too few epochs.
    fold
        Whose test subjects are drawn.
    threads
        Threads of the linear algebra.
    cfg
        Section `projection` of the configuration.
    """
    roles = read_roles(split, fold=fold)
    with threadpool_limits(threads):
        table, about = project_embeddings(embeddings, subjects=roles.test, cfg=cfg)
    write_projection(projection, table, about=about)
    log.info("%d of %d scored test epochs in the picture", about["epochs"], about["of"])


if __name__ == "__main__":
    command(project)
