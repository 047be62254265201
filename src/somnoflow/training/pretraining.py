"""Self-supervised training of NeuroNet on the epochs of one channel (arXiv 2404.17585)."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from somnoflow.config.pretrain import PretrainSlice, Recipe
from somnoflow.data.packed import PackedEpochs, Rows
from somnoflow.models.neuronet import Losses, NeuroNet
from somnoflow.training.batches import EpochBatches, PassOrder, validation_batches
from somnoflow.training.curves import Curves
from somnoflow.training.device import choose_precision, prepare
from somnoflow.training.distributed import ALONE, Rank, gather, synchronise_batch_norms, total
from somnoflow.training.errors import TrainingError
from somnoflow.training.initial import build_neuronet
from somnoflow.training.neighbours import NeighboursProbe
from somnoflow.training.optimizing import adamw
from somnoflow.training.resume import Choice, PassCheckpoints, Resume
from somnoflow.training.roles import Roles, require_subjects
from somnoflow.training.seeds import MASKS, VALIDATION, torch_generator
from somnoflow.training.trainer import run_passes

log = logging.getLogger(__name__)

CHOICES = {"loss": Choice("val_loss"), "knn": Choice("val_knn_macro_f1", highest=True)}


class Pretraining(pl.LightningModule):
    """NeuroNet with its optimiser, learning rate and masks.

    Parameters
    ----------
    model
        Model to train.
    cfg
        Its recipe.
    batches
        Batches of a pass.
    rank
        Which of several processes this is; each has its part of every batch.
    score
        Gives the macro-F1 that a pass is chosen by; None where it is chosen by its loss.
    """

    def __init__(
        self,
        model: NeuroNet,
        *,
        cfg: Recipe,
        batches: int,
        rank: Rank = ALONE,
        score: Callable[[NeuroNet], float] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.cfg = cfg
        self.batches = batches
        self.steps = cfg.passes * math.ceil(batches / cfg.accumulate)
        self.rank = rank
        self._score = score
        self._names: list[str] = []
        self._sums: dict[str, Tensor] = {}
        self._epochs: dict[str, int] = {}
        self._group: list[float] = []
        self._rate = math.nan

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

    def training_step(self, epochs: Tensor, batch_idx: int) -> Tensor:
        """Give what a batch (B, T) adds to its optimiser step.

        Lightning divides by `accumulate`. The last group of a pass can have fewer batches; it is
        a step of its own, with the mean gradient of those that it has.
        """
        self._rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        noise = self._noise(len(epochs) * self.rank.of, MASKS, self.current_epoch, batch_idx)
        part = noise[:, self.rank.part(noise.shape[1])]
        losses = self.model(epochs, noise=part, gather=gather)
        self._count("train", losses, len(epochs))
        loss = losses.total.item()
        if not math.isfinite(loss):
            raise TrainingError(
                f"loss is {loss} in pass {self.current_epoch + 1}, step {batch_idx + 1}, "
                f"at learning rate {self._rate:.3g}. The last finished pass is kept, but goes the "
                f"same way again: lower pretrain.learning_rate (now {self.cfg.learning_rate:g}) "
                f"or pretrain.gradient_clip (now {self.cfg.gradient_clip:g})"
            )
        self._group.append(loss)
        self.log("loss", loss, prog_bar=True, logger=False, batch_size=len(epochs))
        weight: float = self.cfg.accumulate / self._group_size(batch_idx)
        return losses.total * weight

    def _group_size(self, batch_idx: int) -> int:
        first = batch_idx - batch_idx % self.cfg.accumulate
        return min(self.cfg.accumulate, self.batches - first)

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

    def validation_step(self, epochs: Tensor, batch_idx: int) -> None:
        """Add the loss of a batch (B, T) to the pass's; another process's batch is empty here.

        The same frames are hidden in every pass.
        """
        if len(epochs):
            noise = self._noise(len(epochs), VALIDATION, 1, batch_idx)
            self._count("val", self.model(epochs, noise=noise), len(epochs))

    def _noise(self, epochs: int, *place: int) -> Tensor:
        return self.model.draw_noise(epochs, generator=torch_generator(self.cfg.seed, *place))

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
                f"pretrain.learning_rate (now {self.cfg.learning_rate:g})"
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
class Job:
    """A training, as each of its processes is told.

    Parameters
    ----------
    packed
        `index.json` of each packed shard.
    roles
        Who is trained on and who chooses.
    cfg
        Channel, sampling rate and recipe.
    kept
        Where a killed training is continued, and where the results of a finished one lie.
    curves
        Folder of the event files.
    device
        Where to compute.
    threads
        CPU threads of all processes together.
    """

    packed: tuple[Path, ...]
    roles: Roles
    cfg: PretrainSlice
    kept: Resume
    curves: Path
    device: torch.device
    threads: int


def train(rank: Rank, *, job: Job) -> None:
    """Train, or continue a training that was killed, and keep its best pass in `job.kept`.

    Raises
    ------
    TrainingError
        When there are too few epochs, or a loss is not finite.
    """
    prepare(job.device, threads=max(1, job.threads // rank.of))
    recipe = job.cfg.recipe
    epochs = read_epochs(job)
    pretrained, val = epochs.only(job.roles.pretrain), epochs.only(job.roles.val)
    score = None
    if recipe.choose_by == "knn":
        labelled = epochs.only(job.roles.train)
        score = NeighboursProbe(labelled, val, seed=recipe.seed, device=job.device).macro_f1
    rows, val_rows = usable_rows(pretrained, val)
    order, val_batches = make_batches(rows, val_rows, cfg=recipe, rank=rank)
    log.info(
        "%d of %d epochs of %d subjects, %d batches per pass; validation by %d of %d epochs of %d "
        "subjects", len(rows), len(pretrained), len(job.roles.pretrain), len(order),
        len(val_rows), len(val), len(job.roles.val),
    )  # fmt: skip
    model = build_neuronet(recipe, sampling_rate=job.cfg.sampling_rate)
    about = describe(model, cfg=job.cfg)
    if rank.of > 1:
        synchronise_batch_norms(model, device=job.device)
    passes = PassCheckpoints(
        job.kept.folder,
        weights=lambda: (model.state_dict(), about),
        choice=CHOICES[recipe.choose_by],
    )
    run_passes(
        Pretraining(model, cfg=recipe, batches=len(order), rank=rank, score=score),
        train=EpochBatches(pretrained),
        order=order,
        val=EpochBatches(val),
        val_order=val_batches,
        passes=recipe.passes,
        checkpoints=passes,
        folder=job.kept.folder,
        device=job.device,
        precision=choose_precision(recipe.precision, device=job.device),
        gradient_clip=recipe.gradient_clip,
        accumulate=recipe.accumulate,
        logger=lambda done: Curves(job.curves, checkpoint=done),
        processes=rank.of,
    )
    if rank.first:
        job.kept.finish(passes.best_weights, passes.rows_with_best())


def read_epochs(job: Job) -> PackedEpochs:
    """Open the packed epochs of all who take part; test subjects do not."""
    wanted = {*job.roles.pretrain, *job.roles.train, *job.roles.val}
    epochs = PackedEpochs(job.packed, channels=[job.cfg.channel], subjects=wanted)
    if epochs.sampling_rate != job.cfg.sampling_rate:
        raise ValueError(
            f"{job.packed[0]} is at {epochs.sampling_rate} Hz, wanted {job.cfg.sampling_rate} Hz. "
            "Make it again with: snakemake --forcerun parse"
        )
    require_subjects(wanted, epochs.table["subject"].unique(), where="the packed shards")
    return epochs


def usable_rows(pretrained: PackedEpochs, val: PackedEpochs) -> tuple[Rows, Rows]:
    """Give the rows of the usable epochs, scored or not; raise `TrainingError` on fewer than 2."""
    both = pretrained.rows(scored=False), val.rows(scored=False)
    for epochs, rows, role in zip(
        (pretrained, val), both, ("pre-training", "validation"), strict=True
    ):
        if len(rows) < 2:
            raise TrainingError(
                f"the {role} subjects have {len(rows)} usable epochs of {epochs.channels[0]}, "
                f"wanted at least 2. They are {epochs.table['subject'].n_unique()} subjects with "
                f"{len(epochs)} epochs; the fewest are one subject to train on and another one to "
                "choose by"
            )
    return both


def make_batches(rows: Rows, val_rows: Rows, *, cfg: Recipe, rank: Rank) -> tuple[PassOrder, Any]:
    """Give the order of the training passes and the batches of the validation."""
    batch_size = min(cfg.batch_size, len(rows))
    if batch_size < cfg.batch_size:
        log.warning(
            "%d usable epochs are fewer than pretrain.batch_size = %d: batches of %d",
            len(rows), cfg.batch_size, batch_size,
        )  # fmt: skip
    if batch_size % rank.of:
        raise TrainingError(
            f"batches of {batch_size} epochs cannot be divided evenly among {rank.of} processes: "
            "choose a pretrain.batch_size that can"
        )
    return (
        PassOrder(rows, batch_size=batch_size, seed=cfg.seed, rank=rank),
        validation_batches(val_rows, batch_size=batch_size, seed=cfg.seed, rank=rank),
    )


def describe(model: NeuroNet, *, cfg: PretrainSlice) -> dict[str, Any]:
    """Give what is written with the weights."""
    return {
        "kind": "neuronet",
        "preset": cfg.recipe.preset,
        "architecture": model.architecture,
        "channel": cfg.channel,
        "sampling_rate": cfg.sampling_rate,
    }
