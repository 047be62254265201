"""Train an encoder without labels on the pre-training subjects of a fold."""

from functools import partial
from pathlib import Path

from somnoflow.config.pretrain import PretrainSlice
from somnoflow.config.unimodal import UNIMODAL
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.training.device import choose_device, choose_processes
from somnoflow.training.distributed import joined, launch
from somnoflow.training.pretraining import train
from somnoflow.training.resume import find_resume
from somnoflow.training.roles import read_roles
from somnoflow.training.selfsupervised import Job


def pretrain(
    *,
    packed: Inputs,
    split: Input,
    encoder: Output,
    training: Output,
    resume: Path,
    tensorboard: Path,
    name: str,
    fold: int,
    gpus: int,
    threads: int,
    cfg: PretrainSlice,
    processes: int = 1,
) -> None:
    """Pre-train NeuroNet and keep the pass that is best on the validation subjects.

    `name` is `<encoder>/<channel>`, such as `unimodal/EEG`. Each of `gpus` gets a process; without
    a GPU there are `processes`. Started by torchrun, this is one of its processes instead.
    """
    device = choose_device(gpus, several=True)
    kept = find_resume(
        resume, stage="pretrain", name=name, fold=fold, settings=cfg, inputs=[*packed, split]
    )
    job = Job(
        packed=tuple(packed),
        roles=read_roles(split, fold=fold),
        cfg=cfg,
        section=UNIMODAL if name.startswith(f"{UNIMODAL}/") else "pretrain",
        kept=kept,
        curves=tensorboard / name / f"fold={fold}" / kept.folder.name,
        device=device,
        threads=threads,
    )
    if not kept.finished:
        together = choose_processes(device, gpus=gpus, processes=processes)
        launch(partial(train, job=job), processes=together)
    if joined().first:
        kept.copy(weights=encoder, training=training)


if __name__ == "__main__":
    command(pretrain, together=True)
