"""The Lightning trainer as every training here uses it: passes, and no files of its own."""

import logging
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader, Dataset, Sampler

from somnoflow.training.distributed import ALONE, Rank, require_same
from somnoflow.training.errors import TrainingError
from somnoflow.training.resume import PassCheckpoints

log = logging.getLogger(__name__)


class PassBar(TQDMProgressBar):
    """Lightning's progress bar, which counts passes from 1 and does not call them epochs."""

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Begin the bar of a pass."""
        super().on_train_epoch_start(trainer)
        title = f"Pass {trainer.current_epoch + 1} of {trainer.max_epochs}"
        self.train_progress_bar.set_description(title)


class SameStart(pl.Callback):
    """Refuses processes that would go on from different states, as with a folder of each node."""

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Compare the training's key and the number of finished passes."""
        key = Path(trainer.default_root_dir).name
        require_same(f"{key} after pass {trainer.current_epoch}", what="what they continue")


def run_passes(
    module: pl.LightningModule,
    *,
    train: Dataset[Any],
    order: Sampler[Any],
    val: Dataset[Any],
    val_order: Any,
    passes: int,
    checkpoints: PassCheckpoints,
    folder: Path,
    device: torch.device,
    precision: Any,
    gradient_clip: float,
    accumulate: int = 1,
    logger: Callable[[Path | None], Logger] | None = None,
    rank: Rank = ALONE,
) -> None:
    """Train for so many passes, or go on after the last one that was finished.

    Parameters
    ----------
    module
        What is trained.
    train, val
        Give a batch for a key.
    order, val_order
        Give the keys of the batches.
    passes
        Passes of the whole training.
    checkpoints
        Keeps what is to be kept after each pass.
    folder
        `resume/<key>`.
    device
        Where to compute.
    precision
        Lightning's name of the arithmetic.
    gradient_clip
        Largest norm, after the gradients of `accumulate` batches were added up; 0: no clipping.
    accumulate
        Batches of an optimiser step.
    logger
        Gives Lightning's logger from the checkpoint that is continued, None where there is none.
    rank
        Which of several processes this is; each calls this (`distributed.launch`).

    Raises
    ------
    TrainingError
        When it ended early.
    SystemExit
        With 143 when it was ended by SIGTERM, as clusters do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = checkpoints.find_checkpoint()
    # A bar is for a person who watches; a log gets one line per pass.
    bar = [PassBar()] if sys.stdout.isatty() and sys.stderr.isatty() else []
    with _quiet_lightning():
        trainer = pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=rank.here,
            num_nodes=rank.machines,
            strategy="ddp" if rank.of > 1 else "auto",
            precision=precision,
            max_epochs=passes,
            gradient_clip_val=gradient_clip or None,
            accumulate_grad_batches=accumulate,
            callbacks=[checkpoints, *bar, *([SameStart()] if rank.of > 1 else [])],
            # Without one Lightning takes ranks from Slurm's variables and requeues jobs by itself;
            # both are Snakemake's business.
            plugins=[TorchElasticEnvironment() if rank.of > 1 else LightningEnvironment()],
            default_root_dir=folder,
            logger=logger(done) if logger else False,
            log_every_n_steps=1,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=bool(bar),
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        try:
            trainer.fit(
                module,
                # batch_size=None: a key is that of a whole batch, which is read at once.
                DataLoader(train, sampler=order, batch_size=None),
                DataLoader(val, sampler=val_order, batch_size=None),
                ckpt_path=done,
                weights_only=True,
            )
        except SIGTERMException as ended:
            # Lightning's own exit code is 0, which would call the job a success.
            log.error("ended by SIGTERM; finished passes are kept, and the next start goes on")
            raise SystemExit(128 + signal.SIGTERM) from ended
    if len(checkpoints.rows) != passes:
        raise TrainingError(f"training stopped after {len(checkpoints.rows)} of {passes} passes")


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Hide what Lightning says about choices that were made here on purpose."""
    with warnings.catch_warnings():
        # It looks for Slurm all the same, and misses the srun that is not wanted.
        warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
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
