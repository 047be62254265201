"""The Lightning trainer as every training here uses it: passes, and no files of its own."""

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import LightningEnvironment

from somnoflow.training.errors import TrainingError

__all__ = ["TrainingError", "make_trainer", "quiet_lightning"]


class PassBar(TQDMProgressBar):
    """Lightning's progress bar, which counts passes from 1 and does not call them epochs."""

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Begin the bar of a pass."""
        super().on_train_epoch_start(trainer)
        title = f"Pass {trainer.current_epoch + 1} of {trainer.max_epochs}"
        self.train_progress_bar.set_description(title)


def make_trainer(
    *,
    passes: int,
    gradient_clip: float,
    precision: Any,
    callbacks: Sequence[pl.Callback],
    folder: Path,
    device: torch.device,
    accumulate: int = 1,
    logger: Logger | None = None,
    processes: int = 1,
) -> pl.Trainer:
    """Give a trainer; `callbacks` keep what is to be kept, and 0 switches clipping off.

    Gradients are clipped after those of `accumulate` batches were added up. Where several
    processes train, each asks for its own trainer (`distributed.launch`).
    """
    # A bar is for a person who watches; a log gets one line per pass.
    bar = [PassBar()] if sys.stdout.isatty() and sys.stderr.isatty() else []
    return pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        precision=precision,
        max_epochs=passes,
        gradient_clip_val=gradient_clip or None,
        accumulate_grad_batches=accumulate,
        callbacks=[*callbacks, *bar],
        # Without it Lightning takes ranks from Slurm's variables and requeues jobs by itself;
        # both are Snakemake's business.
        plugins=[LightningEnvironment()],
        default_root_dir=folder,
        logger=logger or False,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=bool(bar),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hide what Lightning says about choices that were made here on purpose."""
    with warnings.catch_warnings():
        # A batch is read in half a millisecond: worker processes would only cost memory.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # The workflow grants GPUs; one that it kept for another job is left alone on purpose.
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
        # A frozen encoder is in evaluation mode on purpose (defect N8).
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
        # Lightning asks torch for a class that torch has deprecated; nothing a user can change.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        # Devices, tips and advertisements; devices are logged by device.py.
        for part in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(part).setLevel(logging.WARNING)
        yield
