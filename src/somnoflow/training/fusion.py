"""Self-supervised training of SynthSleepNet on frozen encoders (arXiv 2502.17481)."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from somnoflow.config.synthsleepnet import SYNTHSLEEPNET, FuseSlice, FusionRecipe
from somnoflow.config.unimodal import modality_of
from somnoflow.data.packed import PackedEpochs
from somnoflow.models.lora import add_lora, merged_state
from somnoflow.models.neuronet import Losses, NeuroNet
from somnoflow.models.pretrained import load_frozen
from somnoflow.models.synthsleepnet import (
    LORA_TARGETS,
    SynthSleepNet,
    describe_synthsleepnet,
    synthsleepnet,
)
from somnoflow.training.batches import ChannelBatches, Channels
from somnoflow.training.device import prepare
from somnoflow.training.distributed import ALONE
from somnoflow.training.errors import TrainingError
from somnoflow.training.frozen import require_unchanged
from somnoflow.training.resume import Choice
from somnoflow.training.seeds import DROPOUT, MODALITIES, WEIGHTS, seed_of, torch_generator
from somnoflow.training.selfsupervised import (
    Job,
    SelfSupervised,
    log_epochs,
    make_batches,
    require_cohort,
    run_training,
    usable_rows,
)
from somnoflow.training.signals import require_fitting_shards

log = logging.getLogger(__name__)

CHOICE = Choice("val_loss")
WITHOUT = f"take it out of {SYNTHSLEEPNET}.channels"


class Fusing(SelfSupervised[Channels]):
    """The training of SynthSleepNet; a batch is signals (B, C, T) and what is present (B, C)."""

    def __init__(self, model: SynthSleepNet, *, cfg: FusionRecipe, batches: int) -> None:
        super().__init__(model, cfg=cfg, section=SYNTHSLEEPNET, batches=batches)

    def losses(
        self, batch: Channels, *, noise: Tensor, gather: Callable[[Tensor], Tensor] | None = None
    ) -> Losses:
        """Give the losses of a batch."""
        losses: Losses = self.model(batch.signals, batch.present, noise=noise, gather=gather)
        return losses

    def size(self, batch: Channels) -> int:
        """Give B."""
        return len(batch.signals)

    def vary(self, batch: Channels, batch_idx: int) -> Channels:
        """Leave channels out, so that recordings without them can be scored."""
        place = (self.current_epoch, batch_idx)
        # What the adapters' dropout draws must not depend on where the training was continued.
        torch.manual_seed(seed_of(self.cfg.seed, DROPOUT, *place))
        draw = torch.rand(
            batch.present.shape, generator=torch_generator(self.cfg.seed, MODALITIES, *place)
        )
        present = leave_out(
            batch.present, draw.to(batch.present.device), chance=self.cfg.modality_dropout
        )
        return batch._replace(present=present)


def leave_out(present: Tensor, draw: Tensor, *, chance: float) -> Tensor:
    """Leave present channels (B, C) out where `draw` (B, C) in [0, 1) is below `chance`.

    At least one stays in each epoch: the one that was drawn highest.
    """
    drawn = draw.where(present, -1.0)
    highest = drawn == drawn.max(dim=1, keepdim=True).values
    return present & ((draw >= chance) | highest)


def train(*, job: Job[FuseSlice], encoders: Sequence[Path]) -> None:
    """Train, or continue a training that was killed, and keep its best pass in `job.kept`.

    Parameters
    ----------
    job
        What to train, on whom and where.
    encoders
        The pre-trained encoder of each modality.

    Raises
    ------
    ValueError
        When the encoders are not those of the channels' modalities, or do not fit each other or
        the shards.
    TrainingError
        When there are too few epochs, a channel that nobody has, a loss that is not finite, or
        what is frozen has changed (defect N8).
    """
    prepare(job.device, threads=job.threads)
    recipe = job.cfg.recipe
    pretrained, val = read_epochs(job)
    rows, val_rows = usable_rows(pretrained, val, otherwise=WITHOUT)
    require_channels(pretrained, val)
    order, val_batches = make_batches(rows, val_rows, cfg=recipe, section=job.section, rank=ALONE)
    log_epochs(pretrained=pretrained, val=val, rows=rows, val_rows=val_rows, batches=len(order))
    model = build_fusion(encoders, cfg=job.cfg, packed=job.packed)
    about = describe_synthsleepnet(model, {"channel": job.cfg.name, "preset": recipe.preset})
    before = model.frozen_digest()
    passes = run_training(
        Fusing(model, cfg=recipe, batches=len(order)),
        train=ChannelBatches(pretrained),
        order=order,
        val=ChannelBatches(val),
        val_batches=val_batches,
        weights=lambda: (merged_state(model), about),
        choice=CHOICE,
        job=job,
    )
    require_unchanged(model, before=before)
    job.kept.finish(passes.best_weights, passes.rows_with_best())


def read_epochs(job: Job[FuseSlice]) -> tuple[PackedEpochs, PackedEpochs]:
    """Open the packed epochs of those who are trained on and of those who choose."""
    wanted = {*job.roles.pretrain, *job.roles.val}
    epochs = PackedEpochs(job.packed, channels=job.cfg.channels, subjects=wanted, require="any")
    require_cohort(
        epochs, subjects=wanted, sampling_rate=job.cfg.sampling_rate, packed=job.packed[0]
    )
    return epochs.only(job.roles.pretrain), epochs.only(job.roles.val)


def require_channels(pretrained: PackedEpochs, val: PackedEpochs) -> None:
    """Raise `TrainingError` on a channel that nobody has to train on; warn where no one chooses."""
    for number, channel in enumerate(pretrained.channels):
        there, chosen = (int(epochs.present[:, number].sum()) for epochs in (pretrained, val))
        if not there:
            raise TrainingError(
                f"{channel} is absent or constant in all {len(pretrained)} epochs of the "
                f"pre-training subjects, wanted at least one where it is not: {WITHOUT}, or see "
                "why in the table signals/channels.tsv"
            )
        if not chosen:
            log.warning("no epoch of the validation subjects has %s", channel)
        log.info(
            "%s: in %d of %d training and %d of %d validation epochs",
            channel, there, len(pretrained), chosen, len(val),
        )  # fmt: skip


def build_fusion(
    encoders: Sequence[Path], *, cfg: FuseSlice, packed: Sequence[Path]
) -> SynthSleepNet:
    """Build the model with the initial weights of its seed, its encoders frozen and adapted."""
    recipe = cfg.recipe
    read = read_encoders(encoders, channels=cfg.channels, packed=packed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(recipe.seed, WEIGHTS))
        model = synthsleepnet(
            recipe.preset,
            read,
            mask_ratio=recipe.mask_ratio,
            temperature=recipe.temperature,
            alpha=recipe.alpha,
            stop_gradient=recipe.stop_gradient,
        )
        add_lora(model, LORA_TARGETS, **recipe.lora.model_dump())
    return model


def read_encoders(
    files: Sequence[Path], *, channels: Sequence[str], packed: Sequence[Path]
) -> dict[str, NeuroNet]:
    """Give each channel the encoder of its modality.

    Raises
    ------
    ValueError
        When a modality has no file or two, a file is of no channel's modality, or the shards do
        not fit it.
    """
    wanted = {modality_of(channel) for channel in channels}
    found: dict[str, tuple[Path, NeuroNet]] = {}
    for path in files:
        model, about = load_frozen(path)
        modality = modality_of(about["channel"])
        if modality not in wanted:
            raise ValueError(
                f"{path} is an encoder of {modality}, wanted encoders of {_list(wanted)} alone: "
                f"the fused channels are {', '.join(channels)}"
            )
        if modality in found:
            raise ValueError(
                f"{found[modality][0]} and {path} are both encoders of {modality}, wanted one"
            )
        require_fitting_shards(packed, encoder=model, about=about, of=path)
        found[modality] = path, model
    if missing := wanted - found.keys():
        raise ValueError(
            f"found encoders of {_list(found)}, wanted {_list(missing)} too for the channels "
            f"{', '.join(channels)}. Train them with the rule pretrain (encoder unimodal)"
        )
    return {channel: found[modality_of(channel)][1] for channel in channels}


def _list(names: Any) -> str:
    return ", ".join(sorted(names)) or "nothing"
