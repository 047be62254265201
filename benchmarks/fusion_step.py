"""Takes steps of SynthSleepNet's fusion with one variant and prints what they took, as JSON.

A program of its own, run by `fusion.py`, so that its peak memory is that of the variant.
"""

import contextlib
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from pretraining_step import parse, report
from published_synthsleepnet import SIZES, NeuroNetEncoder, PublishedSynthSleepNet, adapted
from somnoflow.config.synthsleepnet import FusionRecipe
from somnoflow.models.lora import add_lora
from somnoflow.models.neuronet import PRESETS, neuronet
from somnoflow.models.published_synthsleepnet import FUSION, UNIMODAL
from somnoflow.models.synthsleepnet import LORA_TARGETS, SynthSleepNet, synthsleepnet
from somnoflow.training.device import prepare
from somnoflow.training.fusion import Fusing

# Those of the authors' three modalities and the chin.
CHANNELS = ("EEG_C4", "EOG_L", "EMG_CHIN", "ECG")
ENCODERS = {"tiny": "synth-tiny", "published": "synth"}
RECIPE = FusionRecipe(modality_dropout=0)
Loss = Callable[[Tensor], Tensor]


def ours(preset: str) -> SynthSleepNet:
    """Build our model in the sizes of a preset, adapted as `fuse` does it."""
    model = synthsleepnet(preset, dict.fromkeys(CHANNELS, neuronet(ENCODERS[preset])))
    add_lora(model, LORA_TARGETS, **RECIPE.lora.model_dump())
    return model


def published(preset: str) -> PublishedSynthSleepNet:
    """Build the published model in the sizes of a preset, its encoders adapted."""
    with torch.device("meta"):
        sizes = synthsleepnet(preset, {"ECG": neuronet(ENCODERS[preset])})
    encoder, fusion = sizes.architecture["encoders"]["ECG"], sizes.architecture
    own = PRESETS[ENCODERS[preset]]
    unimodal = {theirs: encoder[name] for name, theirs in UNIMODAL.items()}
    unimodal["second"] = int(unimodal["second"])
    lora = RECIPE.lora.model_dump()
    return PublishedSynthSleepNet(
        {
            name: adapted(
                NeuroNetEncoder(
                    **unimodal, sizes={name: own.get(name, SIZES[name]) for name in SIZES}
                ),
                **lora,
            )
            for name in CHANNELS
        },
        backbone_embed_dim=encoder["encoder_dim"],
        num_backbone_frames=sizes.frames,
        **{theirs: fusion[name] for name, theirs in FUSION.items()},
    )


def published_loss(model: PublishedSynthSleepNet, signals: Tensor) -> Tensor:
    """Give the loss of signals (B, C, T)."""
    data = {name: signals[:, number] for number, name in enumerate(CHANNELS)}
    reconstruction, contrastive = model(data, mask_ratio=RECIPE.mask_ratio)
    return RECIPE.alpha * contrastive + reconstruction


def our_loss(model: SynthSleepNet, signals: Tensor, *, mixed: bool) -> Tensor:
    """Give the loss of signals (B, C, T), under bfloat16 autocast where `mixed`."""
    present = torch.ones(signals.shape[:2], dtype=torch.bool, device=signals.device)
    autocast = torch.autocast(signals.device.type, torch.bfloat16)
    with autocast if mixed else contextlib.nullcontext():
        return model(signals, present).total


def main() -> None:
    options = parse(__doc__)
    device = torch.device(options.device)
    torch.manual_seed(1)
    torch.set_num_threads(options.threads)
    loss: Loss
    if options.variant == "published":
        model = published(options.preset)
        loss = partial(published_loss, model)
        model.to(device).train()
        # The authors hand all parameters over; those that are frozen have no gradient.
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    else:
        prepare(device, threads=options.threads)
        model = ours(options.preset)
        loss = partial(our_loss, model, mixed=options.variant == "bfloat16")
        model.to(device).train()
        [optimizer], _ = Fusing(model, cfg=RECIPE, batches=1).configure_optimizers()
    trained = [values for values in model.parameters() if values.requires_grad]
    signals = torch.randn(options.batch, len(CHANNELS), 3000, device=device)

    def step() -> None:
        optimizer.zero_grad()
        loss(signals).backward()
        nn.utils.clip_grad_norm_(trained, RECIPE.gradient_clip)
        optimizer.step()

    report(step, steps=options.steps, device=device)


if __name__ == "__main__":
    main()
