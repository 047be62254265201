"""Fine-tune SynthSleepNet by low-rank adapters, with a context module, on the labels of a fold."""

from pathlib import Path

from somnoflow.config.synthsleepnet import FusedFinetuneSlice
from somnoflow.data.subsets import read_labels
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.training.device import choose_device, prepare
from somnoflow.training.fused_tuning import ChannelEpochs, start_fused, tune_fused
from somnoflow.training.resume import find_resume
from somnoflow.training.roles import read_roles
from somnoflow.training.signals import open_fold


def finetune_fused(
    *,
    packed: Inputs,
    split: Input,
    labels: Input,
    encoder: Input,
    model: Output,
    training: Output,
    resume: Path,
    name: str,
    fold: int,
    gpus: int,
    threads: int,
    cfg: FusedFinetuneSlice,
) -> None:
    """Adapt the encoder and train its head, chosen by the validation subjects."""
    device = choose_device(gpus)
    prepare(device, threads=threads)
    roles = read_roles(split, fold=fold)
    kept = find_resume(
        resume,
        stage="finetune_fused",
        name=name,
        fold=fold,
        settings=cfg,
        inputs=[*packed, split, labels, encoder],
    )
    if not kept.finished:
        start = start_fused(encoder, cfg=cfg, packed=packed)
        train, val = open_fold(packed, channels=start.channels, roles=roles)
        best, rows = tune_fused(
            start,
            train=ChannelEpochs(train),
            val=ChannelEpochs(val),
            labels=read_labels(labels),
            cfg=cfg,
            folder=kept.folder,
            device=device,
        )
        kept.finish(best, rows)
    kept.copy(weights=model, training=training)


if __name__ == "__main__":
    command(finetune_fused)
