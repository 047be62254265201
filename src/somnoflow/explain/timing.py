"""Where the cells of a feature map lie in an epoch, and their values on its samples.

Notation: F frames of an epoch, n cells of a map, T samples of an epoch.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """Places of the cells of a map, in samples.

    Attributes
    ----------
    first
        Centre of the first cell in its frame.
    step
        From one cell to the next.
    frame_step
        From one frame to the next; not looked at where the epoch is one frame.
    """

    first: float
    step: float
    frame_step: int = 0


class Layer(NamedTuple):
    """A convolution or pooling on the way to a map; `left` samples are padded at its left."""

    kernel: int
    stride: int
    left: int


def place_cells(layers: Iterable[Layer]) -> Cells:
    """Give the centres of what the cells of a map see through layers, the first one first."""
    first, step = 0.0, 1
    for kernel, stride, left in layers:
        first += step * ((kernel - 1) / 2 - left)
        step *= stride
    return Cells(first, step)


def lay_out(values: Values, cells: Cells, *, samples: int) -> Values:
    """Give the values (T,) at the samples of an epoch from those of its map, (F, n).

    Between centres of cells they are linear. Where frames overlap they are averaged, over the
    frames that have a cell there; before the first and after the last cell they go on.
    """
    total, count = np.zeros(samples), np.zeros(samples)
    for frame, own in enumerate(values):
        begin = cells.first + frame * cells.frame_step
        centres = begin + cells.step * np.arange(len(own))
        low = max(0, int(np.ceil(centres[0] - cells.step / 2)))
        high = min(samples, int(np.floor(centres[-1] + cells.step / 2)) + 1)
        total[low:high] += np.interp(np.arange(low, high), centres, own)
        count[low:high] += 1
    known = np.flatnonzero(count)
    return np.interp(np.arange(samples), known, total[known] / count[known])


def scale_heat(heat: Values) -> npt.NDArray[np.float32]:
    """Cut off what is negative and scale the rest to 0..1 by its maximum; zeros stay zeros."""
    positive = np.maximum(heat, 0)
    highest = positive.max(initial=0)
    return (positive / (highest or 1)).astype(np.float32)
