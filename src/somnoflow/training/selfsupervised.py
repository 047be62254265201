"""What trainings without labels share: masks, losses, learning rate, and the record of a pass."""

import logging
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import Dataset

from somnoflow.data.packed import Rows
from somnoflow.models.neuronet import Losses
from somnoflow.training.batches import PassOrder, validation_batches
from somnoflow.training.curves import Curves
from somnoflow.training.device import choose_precision
from somnoflow.training.distributed import ALONE, Rank, gather, total
from somnoflow.training.errors import TrainingError
from somnoflow.training.optimizing import accumulation_weight, adamw
from somnoflow.training.reading import Epochs
from somnoflow.training.resume import Choice, PassCheckpoints, Resume
from somnoflow.training.roles import Roles, require_subjects
from somnoflow.training.seeds import MASKS, VALIDATION, torch_generator
from somnoflow.training.trainer import run_passes

log = logging.getLogger(__name__)

Batch = TypeVar("Batch")
Settings = TypeVar("Settings")


class SelfSupervised(pl.LightningModule, Generic[Batch]):
    """A model of hidden frames with its optimiser, learning rate and masks.

    Which inputs the model takes of a batch is said by `losses` of a subclass.

    Parameters
    ----------
    model
        Model to train; draws what its maskings are decided by with `draw_noise`.
    cfg
        Its recipe, of which the schedule, the clipping and the seed are used.
    section
        The recipe's section of the configuration, for messages.
    batches
        Batches of a pass.
    rank
        Which of several processes this is; each has its part of every batch.
    score
        Gives the macro-F1 that a pass is chosen by; None where it is chosen by its loss.
    """

    def __init__(
        self,
        model: Any,
        *,
        cfg: Any,
        section: str,
        batches: int,
        rank: Rank = ALONE,
        score: Callable[[Any], float] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.cfg = cfg
        self.section = section
        self.batches = batches
        self.steps = cfg.passes * math.ceil(batches / cfg.accumulate)
        self.rank = rank
        self._score = score
        self._names: list[str] = []
        self._sums: dict[str, Tensor] = {}
        self._epochs: dict[str, int] = {}
        self._group: list[float] = []
        self._rate = math.nan

    def losses(
        self, batch: Batch, *, noise: Tensor, gather: Callable[[Tensor], Tensor] | None = None
    ) -> Losses:
        """Give the losses of a batch; `noise` and `gather` are the model's."""
        raise NotImplementedError

    def size(self, batch: Batch) -> int:
        """Give the number of epochs of a batch."""
        raise NotImplementedError

    def vary(self, batch: Batch, batch_idx: int) -> Batch:
        """Give a batch as this step of the training sees it; validation sees it as it is."""
        del batch_idx
        return batch

    def configure_optimizers(self) -> Any:
        """Give AdamW, and a learning rate that rises linearly and falls as a cosine, per step."""
        return adamw(
            self.model,
            learning_rate=self.cfg.learning_rate,
            weight_decay=self.cfg.weight_decay,
            steps=self.steps,
            warmup=self.cfg.warmup,
        )

    def on_train_epoch_start(self) -> None:
        """Begin the sums of a pass."""
        self._forget("train")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Give what a batch adds to its optimiser step, as `accumulation_weight`."""
        epochs = self.size(batch)
        self._rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        noise = self._noise(epochs * self.rank.of, MASKS, self.current_epoch, batch_idx)
        part = noise[:, self.rank.part(noise.shape[1])]
        losses = self.losses(self.vary(batch, batch_idx), noise=part, gather=gather)
        self._count("train", losses, epochs)
        loss = losses.total.item()
        if not math.isfinite(loss):
            raise TrainingError(
                f"loss is {loss} in pass {self.current_epoch + 1}, step {batch_idx + 1}, "
                f"at learning rate {self._rate:.3g}. The last finished pass is kept, but goes the "
                f"same way again: lower {self.section}.learning_rate (now "
                f"{self.cfg.learning_rate:g}) or {self.section}.gradient_clip (now "
                f"{self.cfg.gradient_clip:g})"
            )
        self._group.append(loss)
        self.log("loss", loss, prog_bar=True, logger=False, batch_size=epochs)
        return losses.total * accumulation_weight(
            batch_idx, accumulate=self.cfg.accumulate, batches=self.batches
        )

    def on_train_batch_end(self, *_: Any) -> None:
        """Add the mean loss of a step's batches to the curves."""
        if len(self._group) == self.cfg.accumulate or self.trainer.is_last_batch:
            point = {"step_loss": sum(self._group) / len(self._group), "step_rate": self._rate}
            for logger in self.loggers:
                logger.log_metrics(point, step=self.global_step)
            self._group = []

    def on_validation_epoch_start(self) -> None:
        """Begin the sums of a validation."""
        self._forget("val")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the loss of a batch to the pass's; another process's batch is empty here.

        The same frames are hidden in every pass.
        """
        if epochs := self.size(batch):
            noise = self._noise(epochs, VALIDATION, 1, batch_idx)
            self._count("val", self.losses(batch, noise=noise), epochs)

    def _noise(self, epochs: int, *place: int) -> Tensor:
        noise: Tensor = self.model.draw_noise(
            epochs, generator=torch_generator(self.cfg.seed, *place)
        )
        return noise

    def _count(self, role: str, losses: Losses, epochs: int) -> None:
        known = {name: loss for name, loss in losses._asdict().items() if loss is not None}
        self._names = list(known)
        parts = torch.stack(list(known.values())).detach().double()
        self._sums[role] = self._sums[role].to(parts.device) + parts * epochs
        self._epochs[role] += epochs

    def _forget(self, role: str) -> None:
        self._sums[role] = torch.zeros((), dtype=torch.float64)
        self._epochs[role] = 0

    def _means(self, role: str) -> dict[str, float]:
        """Give the mean losses over the epochs of all processes."""
        count = torch.tensor([self._epochs[role]], dtype=torch.float64, device=self.device)
        parts = self._sums[role].to(self.device).expand(len(self._names))
        *sums, epochs = total(torch.cat([parts, count])).tolist()
        return {name: value / epochs for name, value in zip(self._names, sums, strict=True)}

    def pass_record(self) -> dict[str, Any]:
        """Give this pass's row of training.csv: losses per epoch and the last learning rate.

        What the objective does not compute is None. The probe runs in the first process alone.
        """
        train, val = self._means("train"), self._means("val")
        if not math.isfinite(val["total"]):
            raise TrainingError(
                f"validation loss is {val['total']} after pass {self.current_epoch + 1}; lower "
                f"{self.section}.learning_rate (now {self.cfg.learning_rate:g})"
            )
        row: dict[str, Any] = {"pass": self.current_epoch + 1}
        for role, means in (("train", train), ("val", val)):
            row[f"{role}_loss"] = means["total"]
            for part in ("reconstruction", "contrastive"):
                row[f"{role}_{part}"] = means.get(part)
        if self._score is not None:
            row["val_knn_macro_f1"] = self._score(self.model) if self.rank.first else None
        return {**row, "learning_rate": self._rate}


@dataclass(frozen=True)
class Job(Generic[Settings]):
    """A training, as each of its processes is told.

    Parameters
    ----------
    packed
        `index.json` of each packed shard.
    roles
        Who is trained on and who chooses.
    cfg
        Channels, sampling rate and recipe.
    section
        The recipe's section of the configuration, for messages.
    kept
        Where a killed training is continued, and where the results of a finished one lie.
    curves
        Folder of the event files.
    device
        Where to compute.
    threads
        CPU threads of all processes of a machine together.
    """

    packed: tuple[Path, ...]
    roles: Roles
    cfg: Settings
    section: str
    kept: Resume
    curves: Path
    device: torch.device
    threads: int


def require_cohort(
    epochs: Epochs, *, subjects: Collection[str], sampling_rate: int, packed: Path
) -> None:
    """Raise `ValueError` unless all the subjects are there, at the sampling rate wanted."""
    if epochs.sampling_rate != sampling_rate:
        raise ValueError(
            f"{packed} is at {epochs.sampling_rate} Hz, wanted {sampling_rate} Hz. "
            "Make it again with: snakemake --forcerun parse"
        )
    require_subjects(subjects, epochs.table["subject"].unique(), where="the packed shards")


def usable_rows(pretrained: Epochs, val: Epochs, *, otherwise: str) -> tuple[Rows, Rows]:
    """Give the rows of the usable epochs, scored or not; raise `TrainingError` on fewer than 2.

    `otherwise` says what to do where there are none.
    """
    both = pretrained.rows(scored=False), val.rows(scored=False)
    for epochs, rows, role in zip(
        (pretrained, val), both, ("pre-training", "validation"), strict=True
    ):
        if len(rows) < 2:
            raise TrainingError(
                f"the {role} subjects have {len(rows)} usable epochs of "
                f"{', '.join(epochs.channels)}, wanted at least 2. They are "
                f"{epochs.table['subject'].n_unique()} subjects with {len(epochs)} epochs; the "
                "fewest are one subject to train on and another one to choose by. Where no "
                f"recording has it, {otherwise}"
            )
    return both


def make_batches(
    rows: Rows, val_rows: Rows, *, cfg: Any, section: str, rank: Rank
) -> tuple[PassOrder, Any]:
    """Give the order of the training passes and the batches of the validation."""
    batch_size = min(cfg.batch_size, len(rows))
    if batch_size < cfg.batch_size:
        log.warning(
            "%d usable epochs are fewer than %s.batch_size = %d: batches of %d",
            len(rows), section, cfg.batch_size, batch_size,
        )  # fmt: skip
    if batch_size % rank.of:
        raise TrainingError(
            f"batches of {batch_size} epochs cannot be divided evenly among {rank.of} processes: "
            f"choose a {section}.batch_size that can"
        )
    return (
        PassOrder(rows, batch_size=batch_size, seed=cfg.seed, rank=rank),
        validation_batches(val_rows, batch_size=batch_size, seed=cfg.seed, rank=rank),
    )


def run_training(
    module: SelfSupervised[Any],
    *,
    train: Dataset[Any],
    order: PassOrder,
    val: Dataset[Any],
    val_batches: Any,
    weights: Callable[[], tuple[Mapping[str, Any], Mapping[str, Any]]],
    choice: Choice,
    job: Job[Any],
) -> PassCheckpoints:
    """Train, or continue a training that was killed; give what was kept of its passes.

    Parameters
    ----------
    module
        What is trained.
    train, val
        Give a batch for its rows.
    order, val_batches
        From `make_batches`.
    weights
        Gives the tensors to keep and their description.
    choice
        Which pass is the best.
    job
        Where to compute and to write.

    Raises
    ------
    TrainingError
        When a loss is not finite, or it ended early.
    """
    recipe = module.cfg
    passes = PassCheckpoints(job.kept.folder, weights=weights, choice=choice)
    run_passes(
        module,
        train=train,
        order=order,
        val=val,
        val_order=val_batches,
        passes=recipe.passes,
        checkpoints=passes,
        folder=job.kept.folder,
        device=job.device,
        precision=choose_precision(recipe.precision, device=job.device),
        gradient_clip=recipe.gradient_clip,
        accumulate=recipe.accumulate,
        logger=lambda done: Curves(job.curves, checkpoint=done),
        rank=module.rank,
    )
    return passes


def log_epochs(
    *, pretrained: Epochs, val: Epochs, rows: Rows, val_rows: Rows, batches: int
) -> None:
    """Log who is trained on and who chooses."""
    log.info(
        "%d of %d epochs of %d subjects, %d batches per pass; validation by %d of %d epochs of %d "
        "subjects", len(rows), len(pretrained), pretrained.table["subject"].n_unique(), batches,
        len(val_rows), len(val), val.table["subject"].n_unique(),
    )  # fmt: skip
