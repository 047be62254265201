"""Self-supervised training of NeuroNet on one channel, or several of a modality."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from somnoflow.config.pretrain import PretrainSlice, Recipe
from somnoflow.data.pooled import PooledChannels
from somnoflow.models.neuronet import Losses, NeuroNet
from somnoflow.training.batches import EpochBatches
from somnoflow.training.device import prepare
from somnoflow.training.distributed import ALONE, Rank, synchronise_batch_norms
from somnoflow.training.initial import build_neuronet
from somnoflow.training.neighbours import NeighboursProbe
from somnoflow.training.resume import Choice
from somnoflow.training.selfsupervised import (
    Job,
    SelfSupervised,
    log_epochs,
    make_batches,
    require_cohort,
    run_training,
    usable_rows,
)

CHOICES = {"loss": Choice("val_loss"), "knn": Choice("val_knn_macro_f1", highest=True)}
WITHOUT = {
    "pretrain": "take it out of pretrain.channels",
    "unimodal": "take its modality out of unimodal.channels and of synthsleepnet.channels, or "
    "train no SynthSleepNet with `synthsleepnet: {channels: []}`",
}


class Pretraining(SelfSupervised[Tensor]):
    """The training of NeuroNet (arXiv 2404.17585); a batch is signals (B, T)."""

    def __init__(
        self,
        model: NeuroNet,
        *,
        cfg: Recipe,
        batches: int,
        section: str = "pretrain",
        rank: Rank = ALONE,
        score: Callable[[NeuroNet], float] | None = None,
    ) -> None:
        super().__init__(model, cfg=cfg, section=section, batches=batches, rank=rank, score=score)

    def losses(
        self, batch: Tensor, *, noise: Tensor, gather: Callable[[Tensor], Tensor] | None = None
    ) -> Losses:
        """Give the losses of signals (B, T)."""
        losses: Losses = self.model(batch, noise=noise, gather=gather)
        return losses

    def size(self, batch: Tensor) -> int:
        """Give B."""
        return len(batch)


def train(rank: Rank, *, job: Job[PretrainSlice]) -> None:
    """Train, or continue a training that was killed, and keep its best pass in `job.kept`.

    Raises
    ------
    TrainingError
        When there are too few epochs, or a loss is not finite.
    """
    prepare(job.device, threads=max(1, job.threads // rank.here))
    recipe = job.cfg.recipe
    epochs = read_epochs(job)
    pretrained, val = epochs.only(job.roles.pretrain), epochs.only(job.roles.val)
    score = None
    if recipe.choose_by == "knn":
        labelled = epochs.only(job.roles.train)
        probe = NeighboursProbe(
            labelled, val, seed=recipe.seed, device=job.device, section=job.section
        )
        score = probe.macro_f1
    rows, val_rows = usable_rows(pretrained, val, otherwise=WITHOUT[job.section])
    order, val_batches = make_batches(rows, val_rows, cfg=recipe, section=job.section, rank=rank)
    log_epochs(pretrained=pretrained, val=val, rows=rows, val_rows=val_rows, batches=len(order))
    model = build_neuronet(recipe, sampling_rate=job.cfg.sampling_rate)
    about = describe(model, cfg=job.cfg)
    if rank.of > 1:
        synchronise_batch_norms(model, device=job.device)
    passes = run_training(
        Pretraining(
            model, cfg=recipe, section=job.section, batches=len(order), rank=rank, score=score
        ),
        train=EpochBatches(pretrained),
        order=order,
        val=EpochBatches(val),
        val_batches=val_batches,
        weights=lambda: (model.state_dict(), about),
        choice=CHOICES[recipe.choose_by],
        job=job,
    )
    if rank.first:
        job.kept.finish(passes.best_weights, passes.rows_with_best())


def read_epochs(job: Job[PretrainSlice]) -> PooledChannels:
    """Open the packed epochs of all who take part; test subjects do not."""
    wanted = {*job.roles.pretrain, *job.roles.train, *job.roles.val}
    epochs = PooledChannels(job.packed, channels=job.cfg.channels, subjects=wanted)
    require_cohort(
        epochs, subjects=wanted, sampling_rate=job.cfg.sampling_rate, packed=job.packed[0]
    )
    return epochs


def describe(model: NeuroNet, *, cfg: PretrainSlice) -> dict[str, Any]:
    """Give what is written with the weights."""
    return {
        "kind": "neuronet",
        "preset": cfg.recipe.preset,
        "architecture": model.architecture,
        "channel": cfg.channel,
        "channels": list(cfg.channels),
        "sampling_rate": cfg.sampling_rate,
    }
