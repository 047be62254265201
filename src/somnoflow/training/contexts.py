"""Training of a context head on the embeddings of a frozen encoder."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from somnoflow.config.context import Context
from somnoflow.models.context import ContextHead
from somnoflow.models.heads import describe_context
from somnoflow.tasks import Task
from somnoflow.training.embedded import EmbeddedEpochs
from somnoflow.training.roles import Roles
from somnoflow.training.seeds import WEIGHTS, seed_of
from somnoflow.training.supervised import Epochs, Windows, fit_windows


def training_windows(epochs: Epochs, labels: pl.DataFrame, *, task: Task, cfg: Context) -> Windows:
    """Cut the nights of training subjects into windows; only epochs of `labels` are learned."""
    return Windows(
        epochs,
        task=task,
        labels=labels,
        length=cfg.window,
        stride=cfg.training_stride,
        whole=True,
    )


def validation_windows(epochs: Epochs, *, task: Task, cfg: Context) -> Windows:
    """Cut the nights of validation subjects into windows that cover each epoch once."""
    return Windows(epochs, task=task, length=cfg.window, stride=cfg.window, whole=False)


def build_head(dimension: int, *, context: str, cfg: Context, windows: Windows) -> ContextHead:
    """Build a context head for features of D = `dimension`, with the weights of its seed.

    It predicts no other class than those that training may see in `windows`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(cfg.seed, WEIGHTS))
        return ContextHead(
            dimension,
            context=context,
            width=cfg.width,
            dropout=cfg.dropout,
            input_dropout=cfg.input_dropout,
            window=cfg.window,
            seen=np.unique(windows.known),
            task=windows.task.name,
        )


def train_context(
    embeddings: Path,
    *,
    context: str,
    task: Task,
    cfg: Context,
    roles: Roles,
    labels: pl.DataFrame,
    folder: Path,
    device: torch.device,
) -> tuple[Path, list[dict[str, Any]]]:
    """Train a context head on embeddings held in memory, or continue; as `fit_windows`.

    Parameters
    ----------
    embeddings
        Their `index.json`.
    context
        Context module, such as `mamba`.
    task
        What it shall answer.
    cfg
        Section `heads.context`.
    roles
        Who is trained on, and who chooses the pass.
    labels
        Keys of the epochs whose labels may be seen.
    folder
        `resume/<key>`.
    device
        Where to compute.
    """

    def read(subjects: Collection[str]) -> EmbeddedEpochs:
        return EmbeddedEpochs(embeddings, subjects=subjects)

    train = read(roles.train)
    return fit_context(
        train,
        read(roles.val),
        dimension=train.dimension,
        labels=labels,
        context=context,
        task=task,
        cfg=cfg,
        folder=folder,
        device=device,
    )


def fit_context(
    train: Epochs,
    val: Epochs,
    *,
    dimension: int,
    labels: pl.DataFrame,
    context: str,
    task: Task,
    cfg: Context,
    folder: Path,
    device: torch.device,
) -> tuple[Path, list[dict[str, Any]]]:
    """Train a context head on features of D = `dimension`, or continue; as `train_context`.

    `train` and `val` are epochs of those to train on, and of those who choose the pass.
    """
    windows = training_windows(train, labels, task=task, cfg=cfg)
    head = build_head(dimension, context=context, cfg=cfg, windows=windows)
    return fit_windows(
        head,
        train=windows,
        val=validation_windows(val, task=task, cfg=cfg),
        cfg=cfg,
        section="heads.context",
        tensors=head.state_dict,
        about=describe_context(head, {}),
        folder=folder,
        device=device,
    )
