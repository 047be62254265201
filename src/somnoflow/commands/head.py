"""Train a probe on the scored epochs of a fold's training subjects."""

from somnoflow.config.head_slice import HeadSlice
from somnoflow.config.heads import Linear
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
    head: Output,
    training: Output,
    fold: int,
    threads: int,
    cfg: HeadSlice,
) -> None:
    """Train the probe that `cfg` describes; the linear one is chosen by the validation subjects."""
    prepare(choose_device(0), threads=threads)
    roles = read_roles(split, fold=fold)
    train, val = (
        read_labelled(embeddings, subjects=subjects) for subjects in (roles.train, roles.val)
    )
    if isinstance(cfg.recipe, Linear):
        rows = train_linear(
            train,
            val,
            cfg=cfg.recipe,
            keep=lambda probe, best: write_linear(head, probe, {"best_pass": best}),
        )
    else:
        probe, rows = fit_knn(train, val, cfg=cfg.recipe)
        write_knn(head, probe)
    write_history(training, rows)


if __name__ == "__main__":
    command(head)
