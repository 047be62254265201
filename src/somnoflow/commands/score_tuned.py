"""Predict the class of every epoch of a fold's validation and test subjects from its signals."""

from somnoflow.config.score import ScoreSlice
from somnoflow.data.packed import PackedEpochs
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.models.heads import require_task
from somnoflow.models.tuned import load_tuned
from somnoflow.training.device import choose_device, prepare
from somnoflow.training.roles import read_roles
from somnoflow.training.scoring import gather_predictions, write_predictions
from somnoflow.training.signals import require_fitting_shards
from somnoflow.training.tuned_scoring import score_recordings


def score_tuned(
    *,
    packed: Inputs,
    model: Input,
    split: Input,
    predictions: Output,
    fold: int,
    gpus: int,
    threads: int,
    cfg: ScoreSlice,
) -> None:
    """Score each epoch once; those without a usable signal get no class."""
    device = choose_device(gpus)
    prepare(device, threads=threads)
    roles = read_roles(split, fold=fold)
    stager, about = load_tuned(model)
    task = stager.head.task
    require_task(task, wanted=cfg.task, of=model)
    require_fitting_shards(packed, encoder=stager.encoder, about=about, of=model)
    stager.to(device)
    epochs = PackedEpochs(
        packed, channels=about["channels"], subjects=[*roles.val, *roles.test], require="any"
    )
    parts = score_recordings(stager, epochs, stride=cfg.stride)
    table = gather_predictions(parts, task=task, roles=roles, fold=fold, where="the packed shards")
    write_predictions(predictions, table, task=task)


if __name__ == "__main__":
    command(score_tuned)
