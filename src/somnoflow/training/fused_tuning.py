"""Fine-tuning of SynthSleepNet: signals with absent channels, adapters, and the training itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from somnoflow.config.synthsleepnet import FusedFinetuneSlice
from somnoflow.data.packed import PackedEpochs, Rows
from somnoflow.models.fused_stager import FusedHead, FusedStager, describe_fused_stager
from somnoflow.models.lora import merged_state
from somnoflow.models.synthsleepnet import SynthSleepNet, load_synthsleepnet
from somnoflow.tasks import TASKS
from somnoflow.training.contexts import training_windows, validation_windows
from somnoflow.training.device import choose_precision
from somnoflow.training.frozen import require_unchanged
from somnoflow.training.reading import Floats, read_finite
from somnoflow.training.seeds import WEIGHTS, seed_of
from somnoflow.training.signals import require_fitting_shards
from somnoflow.training.supervised import Windows, fit_windows


class ChannelEpochs:
    """The signals of packed channels as inputs of a model: (N, C, T), NaN where one is absent.

    Parameters
    ----------
    packed
        Epochs of the model's channels.

    Attributes
    ----------
    table
        As in `PackedEpochs`.
    """

    def __init__(self, packed: PackedEpochs) -> None:
        self._packed = packed
        self.table: pl.DataFrame = packed.table

    def read(self, rows: Rows) -> Floats:
        """Read signals (N, C, T), scaled; raise `ValueError` where a recorded one is not finite."""
        signals = read_finite(self._packed, rows)
        signals[~self._packed.present[rows]] = np.nan
        return signals


def start_fused(file: Path, *, cfg: FusedFinetuneSlice, packed: Sequence[Path]) -> SynthSleepNet:
    """Give the pre-trained encoder of a file; raise `ValueError` where the shards do not fit it."""
    encoder, about = load_synthsleepnet(file)
    require_fitting_shards(packed, channel=cfg.name, encoder=encoder, about=about, of=file)
    return encoder


def build_fused_stager(
    encoder: SynthSleepNet, *, cfg: FusedFinetuneSlice, windows: Windows
) -> FusedStager:
    """Build the model to train: a new head and new adapters, with the weights of their seed.

    It predicts no other class than those that training may see in `windows`.
    """
    recipe = cfg.recipe
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(recipe.seed, WEIGHTS))
        head = FusedHead(
            encoder.dimension,
            context=cfg.context,
            width=recipe.width,
            dropout=recipe.dropout,
            input_dropout=recipe.input_dropout,
            window=recipe.window,
            seen=np.unique(windows.known),
            task=cfg.task,
        )
        stager = FusedStager(encoder, head)
        stager.adapt(**recipe.lora.model_dump())
    return stager


def tune_fused(
    encoder: SynthSleepNet,
    *,
    train: ChannelEpochs,
    val: ChannelEpochs,
    labels: pl.DataFrame,
    cfg: FusedFinetuneSlice,
    folder: Path,
    device: torch.device,
) -> tuple[Path, list[dict[str, Any]]]:
    """Train adapters and a new head, or continue; as `fit_windows`.

    What is written has no adapters: they are folded into their layers.

    Parameters
    ----------
    encoder
        From `start_fused`.
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
    stager = build_fused_stager(encoder, cfg=cfg, windows=windows)
    before = stager.frozen_digest()
    result = fit_windows(
        stager,
        train=windows,
        val=validation_windows(val, task=task, cfg=cfg.recipe),
        cfg=cfg.recipe,
        section="synthsleepnet.finetune",
        tensors=lambda: merged_state(stager),
        about=describe_fused_stager(stager, {"channel": cfg.name}),
        folder=folder,
        device=device,
        precision=choose_precision(cfg.recipe.precision, device=device),
        accumulate=cfg.recipe.accumulate,
    )
    require_unchanged(stager, before=before)
    return result
