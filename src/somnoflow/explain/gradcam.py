"""Grad-CAM: which parts of an epoch speak for a class (arXiv 1610.02391).

The channels of the last convolutional map are weighted by the mean gradient of the class's logit
and summed. A model with several branches has several such maps: what each cell says is spread over
the samples that it stands for, and the sum over branches is the heat.

Notation: C channels of a signal, T samples of an epoch, F frames, n cells of a map, K classes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from somnoflow.explain.model import EncoderModule
from somnoflow.explain.timing import Cells, Values, evenly, lay_out
from somnoflow.models.backbone import PADDING
from somnoflow.models.encoders import ModalityEncoder
from somnoflow.models.neuronet import NeuroNet
from somnoflow.models.synthsleepnet import SynthSleepNet


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """The last map of a branch.

    Attributes
    ----------
    layer
        What gives it: (rows, channels of the map, n), or with frames (rows, ..., F, n).
    channels
        Numbers of the signal's channels that the rows are of.
    cells
        Where cells lie; None: evenly over the epoch.
    """

    layer: nn.Module
    channels: tuple[int, ...]
    cells: Cells | None = None


def grad_cam(
    logits: Callable[[Tensor], Tensor],
    signals: Tensor,
    present: Tensor,
    *,
    encoder: EncoderModule,
    target: int,
) -> Values:
    """Give the heat (C, T) of an epoch: positive where it speaks for a class, not yet scaled.

    Parameters
    ----------
    logits
        Gives the logits (1, K) of signals (1, C, T), by way of `encoder`.
    signals
        (1, C, T).
    present
        (1, C), which channels are there; the heat of the others is 0.
    encoder
        In evaluation mode.
    target
        Class.
    """
    # Captum takes a second to import.
    from captum.attr import LayerGradCam  # noqa: PLC0415

    heat = np.zeros(tuple(signals.shape[1:]))
    # Weights are frozen: what is recorded for the way back begins at the signal.
    inputs = signals.clone().requires_grad_()
    there = tuple(present[0].nonzero().squeeze(1).tolist())
    for part in feature_maps(encoder, there=there):
        found = LayerGradCam(logits, part.layer).attribute(inputs, target=target)
        for channel, own in zip(part.channels, found.detach(), strict=True):
            values = own.double().numpy().reshape(-1, own.shape[-1])  # (F, n)
            cells = part.cells or evenly(values.shape[1], samples=heat.shape[1])
            heat[channel] += lay_out(values, cells, samples=heat.shape[1]) / cells.step
    return heat


def feature_maps(encoder: EncoderModule, *, there: tuple[int, ...]) -> Iterator[FeatureMap]:
    """Give the last convolutional maps of an encoder, of the channels that are there."""
    if isinstance(encoder, SynthSleepNet):
        for number in there:
            yield from _frame_maps(encoder.encoder(encoder.channels[number]), channels=(number,))
    elif isinstance(encoder, ModalityEncoder):
        yield from _frame_maps(encoder.model, channels=there)
    elif isinstance(encoder, NeuroNet):
        yield from _frame_maps(encoder, channels=there)
    else:
        maps: Callable[[], list[nn.Module]] = encoder.maps  # type: ignore[assignment]
        for layer in maps():
            yield FeatureMap(layer, there)


def _frame_maps(encoder: NeuroNet, *, channels: tuple[int, ...]) -> Iterator[FeatureMap]:
    for branch in encoder.frame_backbone.branches:
        assert isinstance(branch, nn.Sequential)  # noqa: S101 - tells mypy
        yield FeatureMap(branch[-1], channels, frame_cells(encoder, branch))


def frame_cells(encoder: NeuroNet, branch: nn.Sequential) -> Cells:
    """Give where the cells of a branch of the frame backbone lie in a frame.

    Kernels wider than the padding move a map to the right, the cropped shortcut around them does
    not: a cell tells of both places, and lies between them.
    """
    stem: Any = encoder.frame_backbone
    step = stem.conv1.stride[-1] * stem.maxpool.stride[-1]
    moved = 0.0
    blocks: Any = branch
    for block in blocks:
        for convolution in (block.conv1, block.conv2):
            moved += step * ((convolution.kernel_size[-1] - 1) / 2 - PADDING)
            step *= convolution.stride[-1]
    return Cells(first=moved / 2, step=step, frame_step=encoder.step)
