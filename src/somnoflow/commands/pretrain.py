"""Train an encoder without labels on the pre-training subjects of a fold."""

import shutil
from functools import partial
from pathlib import Path

from somnoflow.config.pretrain import PretrainSlice
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.fingerprint import fingerprint
from somnoflow.training.device import choose_device, choose_processes
from somnoflow.training.distributed import launch
from somnoflow.training.pretraining import Job, train
from somnoflow.training.resume import Resume, resume_key
from somnoflow.training.roles import read_roles


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
    """Pre-train NeuroNet and keep the pass that is best on the validation subjects."""
    device = choose_device(gpus)
    key = resume_key(
        code=fingerprint("somnoflow.commands.pretrain"),
        settings=cfg.model_dump(mode="json"),
        inputs=[*packed, split],
        fold=fold,
    )
    kept = Resume(resume / "pretrain" / name / f"fold={fold}", key)
    job = Job(
        packed=tuple(packed),
        roles=read_roles(split, fold=fold),
        cfg=cfg,
        kept=kept,
        curves=tensorboard / name / f"fold={fold}" / key,
        device=device,
        threads=threads,
    )
    if not kept.finished:
        together = choose_processes(device, gpus=gpus, processes=processes)
        launch(partial(train, job=job), processes=together)
    shutil.copyfile(kept.weights, encoder)
    shutil.copyfile(kept.training, training)


if __name__ == "__main__":
    command(pretrain)
