"""Train a head on the scored epochs of a fold's training subjects."""

from pathlib import Path

from somnoflow.config.heads import HeadSlice, Knn, Linear
from somnoflow.data.subsets import read_labels
from somnoflow.entry import Input, Output, command
from somnoflow.models.heads import write_knn, write_linear
from somnoflow.training.device import choose_device, prepare
from somnoflow.training.embedded import read_labelled
from somnoflow.training.history import write_history
from somnoflow.training.probing import fit_knn, train_linear
from somnoflow.training.roles import read_roles


def head(
    *,
    embeddings: Input,
    split: Input,
    labels: Input,
    head: Output,
    training: Output,
    resume: Path,
    name: str,
    fold: int,
    threads: int,
    cfg: HeadSlice,
) -> None:
    """Train the probe that `cfg` describes; the linear one is chosen by the validation subjects."""
    prepare(choose_device(0), threads=threads)
    roles = read_roles(split, fold=fold)
    train = read_labelled(embeddings, subjects=roles.train, labels=read_labels(labels))
    val = read_labelled(embeddings, subjects=roles.val)
    if isinstance(cfg.recipe, Linear):
        rows = train_linear(
            train,
            val,
            cfg=cfg.recipe,
            keep=lambda probe, best: write_linear(head, probe, {"best_pass": best}),
        )
    elif isinstance(cfg.recipe, Knn):
        probe, rows = fit_knn(train, val, cfg=cfg.recipe)
        write_knn(head, probe)
    else:
        raise NotImplementedError(cfg.name)
    write_history(training, rows)


if __name__ == "__main__":
    command(head)
