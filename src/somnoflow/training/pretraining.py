"""Self-supervised training of NeuroNet on the epochs of one channel (arXiv 2404.17585)."""

import logging
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch import Tensor
from torch.utils.data import DataLoader

from somnoflow.config.pretrain import Recipe
from somnoflow.data.packed import PackedEpochs
from somnoflow.models.neuronet import NeuroNet, neuronet
from somnoflow.stages import EPOCH_SECONDS
from somnoflow.training.batches import EpochBatches, PassOrder, validation_batches
from somnoflow.training.resume import Choice, PassCheckpoints
from somnoflow.training.seeds import MASKS, VALIDATION, WEIGHTS, seed_of, torch_generator

log = logging.getLogger(__name__)


class TrainingError(ValueError):
    """Training cannot begin or go on."""


class Pretraining(pl.LightningModule):
    """NeuroNet with its optimiser, learning rate and masks.

    Parameters
    ----------
    model
        Model to train.
    cfg
        Section `pretrain`.
    steps
        Optimiser steps of the whole training.
    """

    def __init__(self, model: NeuroNet, *, cfg: Recipe, steps: int) -> None:
        super().__init__()
        self.model = model
        self.cfg = cfg
        self.steps = steps
        self._masks = torch.Generator()
        self._sums: dict[str, Tensor] = {}
        self._epochs: dict[str, int] = {}
        self._rate = math.nan

    def configure_optimizers(self) -> Any:
        """Give AdamW, and a learning rate that rises linearly and falls as a cosine, per step."""
        decayed = [p for p in self.model.parameters() if p.requires_grad and p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.requires_grad and p.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": self.cfg.weight_decay},
                # Biases and scales of norms have nothing to be shrunk for.
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=self.cfg.learning_rate,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate_factor(step, steps=self.steps, warmup=self.cfg.warmup)
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def on_train_epoch_start(self) -> None:
        """Draw this pass's masks from the seed and the number of the pass."""
        self._masks = torch_generator(self.cfg.seed, MASKS, self.current_epoch)
        self._forget("train")

    def training_step(self, epochs: Tensor, batch_idx: int) -> Tensor:
        """Give the loss of a batch (B, T)."""
        self._rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        loss = self._step("train", epochs)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"loss is {loss.item()} in pass {self.current_epoch + 1}, step {batch_idx + 1}, "
                f"at learning rate {self._rate:.3g}. The last finished pass is kept, but goes the "
                f"same way again: lower pretrain.learning_rate (now {self.cfg.learning_rate:g}) "
                f"or pretrain.gradient_clip (now {self.cfg.gradient_clip:g})"
            )
        self.log("loss", loss.detach(), prog_bar=True, batch_size=len(epochs))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Hide the same frames of the validation epochs in every pass."""
        self._masks = torch_generator(self.cfg.seed, VALIDATION, 1)
        self._forget("val")

    def validation_step(self, epochs: Tensor, batch_idx: int) -> None:
        """Add the loss of a batch (B, T) to the pass's."""
        self._step("val", epochs)

    def _step(self, role: str, epochs: Tensor) -> Tensor:
        losses = self.model(epochs, generator=self._masks)
        parts = torch.stack(losses).detach().double()
        self._sums[role] = self._sums[role].to(parts.device) + parts * len(epochs)
        self._epochs[role] += len(epochs)
        total: Tensor = losses.total
        return total

    def _forget(self, role: str) -> None:
        self._sums[role] = torch.zeros(3, dtype=torch.float64)
        self._epochs[role] = 0

    def pass_record(self) -> dict[str, Any]:
        """Give this pass's row of training.csv: losses per epoch and the last learning rate."""
        train, val = ((self._sums[r] / self._epochs[r]).tolist() for r in ("train", "val"))
        if not math.isfinite(val[0]):
            raise TrainingError(
                f"validation loss is {val[0]} after pass {self.current_epoch + 1} over "
                f"{self._epochs['val']} epochs; lower pretrain.learning_rate "
                f"(now {self.cfg.learning_rate:g})"
            )
        names = ("loss", "reconstruction", "contrastive")
        return {
            "pass": self.current_epoch + 1,
            **{f"train_{name}": value for name, value in zip(names, train, strict=True)},
            **{f"val_{name}": value for name, value in zip(names, val, strict=True)},
            "learning_rate": self._rate,
        }


class PassBar(TQDMProgressBar):
    """Lightning's progress bar, which counts passes from 1 and does not call them epochs."""

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Begin the bar of a pass."""
        super().on_train_epoch_start(trainer)
        title = f"Pass {trainer.current_epoch + 1} of {trainer.max_epochs}"
        self.train_progress_bar.set_description(title)


def rate_factor(step: int, *, steps: int, warmup: float) -> float:
    """Give the share of the peak learning rate at a step: linear rise, then cosine fall to 0."""
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def build_neuronet(cfg: Recipe, *, sampling_rate: int) -> NeuroNet:
    """Build the model of a configuration with the initial weights of its seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(cfg.seed, WEIGHTS))
        return neuronet(
            cfg.preset,
            sampling_rate=sampling_rate,
            epoch_seconds=EPOCH_SECONDS,
            frame_window=cfg.frame_window,
            frame_step=cfg.frame_step,
            mask_ratio=cfg.mask_ratio,
            temperature=cfg.temperature,
            alpha=cfg.alpha,
        )


def fit(
    model: NeuroNet,
    *,
    train: PackedEpochs,
    val: PackedEpochs,
    cfg: Recipe,
    about: dict[str, Any],
    folder: Path,
    device: torch.device,
) -> tuple[Path, list[dict[str, Any]]]:
    """Train, or continue a training that was killed, and choose the best pass by validation loss.

    Parameters
    ----------
    model
        Model with its initial weights.
    train, val
        Epochs of the pre-training and of the validation subjects; those usable are used, scored
        or not.
    cfg
        Section `pretrain`.
    about
        Description written with the weights.
    folder
        `resume/<key>`: continued where it holds a checkpoint.
    device
        Where to compute.

    Returns
    -------
    weights : Path
        The best pass's weights, on disk inside `folder`.
    rows : list of dict
        One row of training.csv per pass.

    Raises
    ------
    TrainingError
        When there are too few epochs, or a loss is not finite.
    """
    rows, val_rows = train.rows(scored=False), val.rows(scored=False)
    for found, role in ((rows, "pre-training"), (val_rows, "validation")):
        if len(found) < 2:
            raise TrainingError(
                f"the {role} subjects have {len(found)} usable epochs of {train.channels[0]}, "
                "wanted at least 2"
            )
    batch_size = min(cfg.batch_size, len(rows))
    if batch_size < cfg.batch_size:
        log.warning(
            "%d usable epochs are fewer than pretrain.batch_size = %d: batches of %d",
            len(rows), cfg.batch_size, batch_size,
        )  # fmt: skip
    order = PassOrder(rows, batch_size=batch_size, seed=cfg.seed)
    log.info(
        "%d of %d epochs of %d subjects, %d steps of %d epochs per pass; validation by %d of %d "
        "epochs of %d subjects",
        len(rows), len(train), train.table["subject"].n_unique(), len(order), batch_size,
        len(val_rows), len(val), val.table["subject"].n_unique(),
    )  # fmt: skip
    val_batches = validation_batches(val_rows, batch_size=batch_size, seed=cfg.seed)
    module = Pretraining(model, cfg=cfg, steps=cfg.passes * len(order))
    passes = PassCheckpoints(
        folder, weights=lambda: (model.state_dict(), about), choice=Choice("val_loss")
    )
    folder.mkdir(parents=True, exist_ok=True)
    done = passes.find_checkpoint()
    with warnings.catch_warnings():
        _silence_lightning()
        _trainer(cfg, passes=passes, folder=folder, device=device).fit(
            module,
            # batch_size=None: the order gives whole batches and reads them at once.
            DataLoader(EpochBatches(train), sampler=order, batch_size=None),
            DataLoader(EpochBatches(val), sampler=val_batches, batch_size=None),
            ckpt_path=done,
            weights_only=True,
        )
    if len(passes.rows) != cfg.passes:
        raise TrainingError(f"training stopped after {len(passes.rows)} of {cfg.passes} passes")
    return passes.best_weights, passes.rows_with_best()


def _trainer(
    cfg: Recipe, *, passes: PassCheckpoints, folder: Path, device: torch.device
) -> pl.Trainer:
    # A bar is for a person who watches; a log gets the one line per pass of PassCheckpoints.
    bar = [PassBar()] if sys.stdout.isatty() and sys.stderr.isatty() else []
    return pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if device.type == "cuda" else "32-true",
        max_epochs=cfg.passes,
        gradient_clip_val=cfg.gradient_clip or None,
        callbacks=[passes, *bar],
        # Without it Lightning takes ranks from Slurm's variables and requeues jobs by itself;
        # both are Snakemake's business.
        plugins=[LightningEnvironment()],
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=bool(bar),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _silence_lightning() -> None:
    """Hide what Lightning says about choices that were made here on purpose."""
    # A batch is read in half a millisecond: worker processes would only cost memory.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # The workflow grants GPUs; one that it kept for another job is left alone on purpose.
    warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
    # Lightning asks torch for a class that torch has deprecated; nothing a user can change.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
    # Devices, tips and advertisements; devices are logged by device.py.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
