"""Cut a signal into 30-s epochs and store them as int16."""

import numpy as np
import numpy.typing as npt

INT16_MAX = 32767


def cut(samples: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.float64]:
    """Cut into whole epochs of `length` samples, shape (epochs, length); the rest is dropped."""
    epochs = len(samples) // length
    return samples[: epochs * length].reshape(epochs, length)


def quantise(samples: npt.NDArray[np.float64], scale: float) -> npt.NDArray[np.int16]:
    """Divide by `scale` and round to int16; values beyond its range stay at its ends."""
    return np.clip(np.rint(samples / scale), -INT16_MAX, INT16_MAX).astype(np.int16)
