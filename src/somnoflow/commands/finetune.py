"""Train encoder and context module together on the labelled signals of a fold."""

from pathlib import Path

from somnoflow.config.finetune import FinetuneSlice
from somnoflow.data.subsets import read_labels
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.training.device import choose_device, prepare
from somnoflow.training.resume import find_resume
from somnoflow.training.roles import read_roles
from somnoflow.training.signals import open_fold
from somnoflow.training.tuning import SignalEpochs, start_encoder, tune


def finetune(
    *,
    packed: Inputs,
    split: Input,
    labels: Input,
    encoder: Inputs,
    model: Output,
    training: Output,
    resume: Path,
    name: str,
    fold: int,
    gpus: int,
    threads: int,
    cfg: FinetuneSlice,
) -> None:
    """Fine-tune the encoder (none given: train from scratch), chosen by the validation subjects."""
    device = choose_device(gpus)
    prepare(device, threads=threads)
    roles = read_roles(split, fold=fold)
    inputs = [*packed, split, labels, *encoder]
    kept = find_resume(resume, stage="finetune", name=name, fold=fold, settings=cfg, inputs=inputs)
    if not kept.finished:
        start = start_encoder(encoder, cfg=cfg, packed=packed)
        train, val = open_fold(packed, channels=[cfg.channel], roles=roles)
        best, rows = tune(
            start,
            train=SignalEpochs(train),
            val=SignalEpochs(val),
            labels=read_labels(labels),
            cfg=cfg,
            folder=kept.folder,
            device=device,
        )
        kept.finish(best, rows)
    kept.copy(weights=model, training=training)


if __name__ == "__main__":
    command(finetune)
