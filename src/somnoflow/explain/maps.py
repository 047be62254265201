"""The last convolutional maps of encoders, and where their cells lie in an epoch.

Notation: F frames of an epoch, n cells of a map.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from somnoflow.explain.model import EncoderModule
from somnoflow.explain.timing import Cells, Layer, place_cells
from somnoflow.models.convolution import (
    Branch,
    SameConv1d,
    SameMaxPool1d,
    same_length,
    same_padding,
)
from somnoflow.models.encoders import ModalityEncoder
from somnoflow.models.neuronet import NeuroNet
from somnoflow.models.seresnet_bilstm import SeResNet
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
        Where its cells lie.
    """

    layer: nn.Module
    channels: Sequence[int]
    cells: Cells


def feature_maps(encoder: EncoderModule, *, there: Sequence[int]) -> Iterator[FeatureMap]:
    """Give the last convolutional maps of an encoder, of the channels that are there."""
    if isinstance(encoder, SynthSleepNet):
        for number in there:
            yield from _frame_maps(encoder.encoder(encoder.channels[number]), channels=[number])
    elif isinstance(encoder, ModalityEncoder):
        yield from _frame_maps(encoder.model, channels=there)
    elif isinstance(encoder, NeuroNet):
        yield from _frame_maps(encoder, channels=there)
    elif isinstance(encoder, SeResNet):
        [layer] = encoder.maps()
        yield FeatureMap(layer, there, resnet_cells(encoder))
    else:
        for branch in encoder.children():
            assert isinstance(branch, Branch)  # noqa: S101 - all others have branches alone
            yield FeatureMap(branch.last_map, there, branch_cells(branch, samples=encoder.samples))


def _frame_maps(encoder: NeuroNet, *, channels: Sequence[int]) -> Iterator[FeatureMap]:
    for branch in encoder.frame_backbone.branches:
        assert isinstance(branch, nn.Sequential)  # noqa: S101 - tells mypy
        yield FeatureMap(branch[-1], channels, frame_cells(encoder, branch))


def frame_cells(encoder: NeuroNet, branch: nn.Sequential) -> Cells:
    """Give where the cells of a branch of the frame backbone lie in a frame.

    Kernels wider than their padding move a map to the right, the cropped shortcuts around them do
    not: a cell tells of places so far apart, up to 1 s, and is put in the middle of them.
    """
    stem = encoder.frame_backbone
    cells = place_cells(map(_layer, (stem.conv1, stem.maxpool, *_convolutions(branch))))
    return replace(cells, first=cells.first / 2, frame_step=encoder.step)


def branch_cells(branch: Branch, *, samples: int) -> Cells:
    """Give where the cells of a branch's last map lie.

    An even kernel sees one sample more at its right than at its left, and so moves the map.
    """
    layers = []
    for part in branch:
        for module in part.modules():
            if isinstance(module, SameConv1d):
                [kernel], [stride] = module.kernel_size, module.stride
            elif isinstance(module, SameMaxPool1d):
                kernel = stride = module.width
            else:
                continue
            left, _ = same_padding(samples, kernel=kernel, stride=stride)
            layers.append(Layer(kernel, stride, left))
            samples = same_length(samples, stride)
        if part is branch.last_map:
            break
    return place_cells(layers)


def resnet_cells(encoder: SeResNet) -> Cells:
    """Give where the cells of the last map lie; its padded shortcuts move nothing."""
    first, *_, pool = encoder.stem
    return place_cells(map(_layer, (first, pool, *_convolutions(encoder.blocks))))


def _convolutions(blocks: Any) -> Iterator[nn.Module]:
    for block in blocks:
        yield from (block.conv1, block.conv2)


def _layer(module: Any) -> Layer:
    """Give a convolution or pooling of torch in the direction of time."""
    sizes = (module.kernel_size, module.stride, module.padding)
    return Layer(*(size if isinstance(size, int) else size[-1] for size in sizes))
