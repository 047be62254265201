"""Train a head on the labelled epochs of a fold's training subjects."""

from pathlib import Path

from somnoflow.config.context import Context
from somnoflow.config.heads import Boosting, HeadSlice, Linear
from somnoflow.data.subsets import read_labels
from somnoflow.entry import Input, Output, command
from somnoflow.models.boosting import write_boosting
from somnoflow.models.heads import write_linear
from somnoflow.models.knn import write_knn
from somnoflow.tasks import TASKS
from somnoflow.training.device import choose_device, prepare
from somnoflow.training.embedded import read_labelled
from somnoflow.training.history import write_history
from somnoflow.training.probing import fit_boosting, fit_knn, train_linear
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
    """Train the head that `cfg` describes on its task, chosen by the validation subjects.

    A context module is continued after a kill; probes take seconds and begin again.
    """
    device = choose_device(0)
    prepare(device, threads=threads)
    roles = read_roles(split, fold=fold)
    task, seen = TASKS[cfg.task], read_labels(labels)
    if isinstance(cfg.recipe, Context):
        # Probes do without Lightning, which takes seconds to import.
        from somnoflow.training.contexts import train_context  # noqa: PLC0415
        from somnoflow.training.resume import find_resume  # noqa: PLC0415

        inputs = [embeddings, split, labels]
        kept = find_resume(resume, stage="head", name=name, fold=fold, settings=cfg, inputs=inputs)
        if not kept.finished:
            best, rows = train_context(
                embeddings,
                context=cfg.name,
                task=task,
                cfg=cfg.recipe,
                roles=roles,
                labels=seen,
                folder=kept.folder,
                device=device,
            )
            kept.finish(best, rows)
        kept.copy(weights=head, training=training)
        return
    train = read_labelled(embeddings, subjects=roles.train, task=task, labels=seen)
    val = read_labelled(embeddings, subjects=roles.val, task=task)
    if isinstance(cfg.recipe, Linear):
        rows = train_linear(
            train,
            val,
            cfg=cfg.recipe,
            hidden=cfg.hidden,
            keep=lambda probe, best: write_linear(head, probe, {"best_pass": best}),
        )
    elif isinstance(cfg.recipe, Boosting):
        trees, rows = fit_boosting(train, val, cfg=cfg.recipe)
        write_boosting(head, trees)
    else:
        probe, rows = fit_knn(train, val, cfg=cfg.recipe)
        write_knn(head, probe)
    write_history(training, rows)


if __name__ == "__main__":
    command(head)
