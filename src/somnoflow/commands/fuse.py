"""Train SynthSleepNet on the frozen encoders of its modalities."""

from pathlib import Path

from somnoflow.config.synthsleepnet import SYNTHSLEEPNET, FuseSlice
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.training.device import choose_device
from somnoflow.training.fusion import train
from somnoflow.training.resume import find_resume
from somnoflow.training.roles import read_roles
from somnoflow.training.selfsupervised import Job


def fuse(
    *,
    encoders: Inputs,
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
    cfg: FuseSlice,
    processes: int = 1,
) -> None:
    """Train SynthSleepNet and keep the pass that is best on the validation subjects."""
    if processes != 1:
        raise ValueError(
            f"found --processes {processes}, wanted 1: epochs of a batch that lack a channel are "
            "left out of its batch norms, which several processes cannot do together"
        )
    device = choose_device(gpus)
    kept = find_resume(
        resume,
        stage="fuse",
        name=name,
        fold=fold,
        settings=cfg,
        inputs=[*encoders, *packed, split],
    )
    if not kept.finished:
        job = Job(
            packed=tuple(packed),
            roles=read_roles(split, fold=fold),
            cfg=cfg,
            section=SYNTHSLEEPNET,
            kept=kept,
            curves=tensorboard / name / f"fold={fold}" / kept.folder.name,
            device=device,
            threads=threads,
        )
        train(job=job, encoders=encoders)
    kept.copy(weights=encoder, training=training)


if __name__ == "__main__":
    command(fuse)
