"""Train a supervised model on the labelled signals of a fold's training subjects."""

from pathlib import Path

from somnoflow.config.supervised import TrainSlice
from somnoflow.data.subsets import read_labels
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.training.device import choose_device, prepare
from somnoflow.training.resume import find_resume
from somnoflow.training.roles import read_roles
from somnoflow.training.signals import SignalEpochs, open_fold
from somnoflow.training.supervised_training import Fold, train_supervised


def train(
    *,
    packed: Inputs,
    split: Input,
    labels: Input,
    model: Output,
    training: Output,
    resume: Path,
    tensorboard: Path,
    name: str,
    fold: int,
    gpus: int,
    threads: int,
    cfg: TrainSlice,
) -> None:
    """Train the model that `cfg` describes, chosen by the validation subjects."""
    device = choose_device(gpus)
    prepare(device, threads=threads)
    roles = read_roles(split, fold=fold)
    inputs = [*packed, split, labels]
    kept = find_resume(resume, stage="train", name=name, fold=fold, settings=cfg, inputs=inputs)
    if not kept.finished:
        trained, val = open_fold(packed, channels=[cfg.channel], roles=roles)
        best, rows = train_supervised(
            Fold(
                train=SignalEpochs(trained),
                val=SignalEpochs(val),
                labels=read_labels(labels),
                packed=packed,
                samples=trained.samples,
                cfg=cfg,
                folder=kept.folder,
                curves=tensorboard / name / f"fold={fold}" / kept.folder.name,
                device=device,
            )
        )
        kept.finish(best, rows)
    kept.copy(weights=model, training=training)


if __name__ == "__main__":
    command(train)
