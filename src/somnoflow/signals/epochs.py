"""Cut a signal into 30-s epochs and store them as int16."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

INT16_MAX = 32767


@dataclass(frozen=True)
class Grid:
    """Which 30-s epochs of a recording are kept.

    Epoch n begins at `onset + 30 n` seconds after the start of the recording; the epochs
    `first` to `first + epochs - 1` are kept. `onset` is where the scorer's pages begin.
    """

    onset: float
    epochs: int
    first: int = 0


def cut(samples: npt.NDArray[np.float64], length: float) -> npt.NDArray[np.float64]:
    """Cut into whole epochs of `length` samples; the rest is dropped.

    Parameters
    ----------
    samples
        Shape (n,).
    length
        Samples per epoch. Where it is not whole, each epoch begins at the sample nearest to its
        time, so that epochs do not drift, and has the whole part of `length`.

    Returns
    -------
    Array of shape (epochs, int(length)).
    """
    epochs = int(len(samples) / length + 1e-9)
    whole = int(length + 1e-9)
    starts = np.floor(np.arange(epochs) * length + 1e-6).astype(np.int64)
    if whole == length:
        return samples[: epochs * whole].reshape(epochs, whole)
    return samples[starts[:, None] + np.arange(whole)]


def quantise(samples: npt.NDArray[np.float64], scale: float) -> npt.NDArray[np.int16]:
    """Divide by `scale` and round to int16; values beyond its range stay at its ends."""
    return np.clip(np.rint(samples / scale), -INT16_MAX, INT16_MAX).astype(np.int16)
