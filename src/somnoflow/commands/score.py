"""Predict the class of every epoch of a fold's validation and test subjects."""

from somnoflow.config.score import ScoreSlice
from somnoflow.entry import Input, Output, command
from somnoflow.models.heads import load_head, require_task
from somnoflow.training.device import choose_device, prepare
from somnoflow.training.embedded import read_dimension
from somnoflow.training.roles import read_roles
from somnoflow.training.scoring import score_subjects, write_predictions


def score(
    *,
    embeddings: Input,
    head: Input,
    split: Input,
    predictions: Output,
    fold: int,
    threads: int,
    cfg: ScoreSlice,
) -> None:
    """Score each epoch once; those without a usable signal get no class."""
    prepare(choose_device(0), threads=threads)
    roles = read_roles(split, fold=fold)
    trained = load_head(head, dimension=read_dimension(embeddings))
    require_task(trained.task, wanted=cfg.task, of=head)
    table = score_subjects(embeddings, head=trained, roles=roles, fold=fold, stride=cfg.stride)
    write_predictions(predictions, table, task=trained.task)


if __name__ == "__main__":
    command(score)
