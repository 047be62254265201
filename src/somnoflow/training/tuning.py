"""Fine-tuning on signals: what it starts from, what is frozen, and the training itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch

from somnoflow.config.finetune import FinetuneSlice
from somnoflow.models.neuronet import NeuroNet
from somnoflow.models.pretrained import load_neuronet
from somnoflow.models.stager import Stager, describe_stager
from somnoflow.tasks import TASKS
from somnoflow.training.contexts import build_head, training_windows, validation_windows
from somnoflow.training.device import choose_precision
from somnoflow.training.frozen import require_unchanged
from somnoflow.training.initial import build_neuronet
from somnoflow.training.signals import SignalEpochs, require_fitting_shards
from somnoflow.training.supervised import fit_windows


def start_encoder(files: Sequence[Path], *, cfg: FinetuneSlice, packed: Sequence[Path]) -> NeuroNet:
    """Give the encoder that fine-tuning begins with.

    Parameters
    ----------
    files
        The pre-trained encoder's file; none for `scratch`, which draws the weights of
        `cfg.architecture` from the seed of the fine-tuning.
    cfg
        What to train.
    packed
        `index.json` of each packed shard, which the encoder must fit.
    """
    of: Path | str = "the new encoder"
    if cfg.architecture is not None:
        if files:
            raise ValueError(f"found the encoder {files[0]}, wanted none: scratch begins without")
        recipe = cfg.architecture.model_copy(update={"seed": cfg.recipe.seed})
        encoder = build_neuronet(recipe, sampling_rate=cfg.sampling_rate)
        about: dict[str, Any] = {"channel": cfg.channel}
    elif len(files) == 1:
        of = files[0]
        encoder, about = load_neuronet(files[0])
    else:
        raise ValueError(f"found {len(files)} encoders, wanted 1 to begin '{cfg.tuning}' from")
    require_fitting_shards(packed, channel=cfg.channel, encoder=encoder, about=about, of=of)
    return encoder


def tune(
    encoder: NeuroNet,
    *,
    train: SignalEpochs,
    val: SignalEpochs,
    labels: pl.DataFrame,
    cfg: FinetuneSlice,
    folder: Path,
    device: torch.device,
) -> tuple[Path, list[dict[str, Any]]]:
    """Train an encoder with a new context head, or continue; as `fit_windows`.

    Parameters
    ----------
    encoder
        From `start_encoder`.
    train, val
        Signals of the training and of the validation subjects.
    labels
        Keys of the training epochs whose labels may be seen.
    cfg
        What to train.
    folder
        `resume/<key>`.
    device
        Where to compute.

    Raises
    ------
    TrainingError
        When a loss is not finite, or what is frozen has changed (defect N8).
    """
    task = TASKS[cfg.task]
    windows = training_windows(train, labels, task=task, cfg=cfg.recipe)
    head = build_head(encoder.dimension, context=cfg.context, cfg=cfg.recipe, windows=windows)
    stager = Stager(encoder, head, tuning=cfg.tuning)
    before = stager.frozen_digest()
    result = fit_windows(
        stager,
        train=windows,
        val=validation_windows(val, task=task, cfg=cfg.recipe),
        cfg=cfg.recipe,
        section="finetune",
        tensors=stager.state_dict,
        about=describe_stager(stager, {"channel": cfg.channel}),
        folder=folder,
        device=device,
        precision=choose_precision(cfg.recipe.precision, device=device),
    )
    require_unchanged(stager, before=before)
    return result
