"""Cut a signal into 30-s epochs and store them as int16."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from somnoflow.io.source import CLOCK_TOLERANCE
from somnoflow.stages import EPOCH_SECONDS

INT16_MAX = 32767
_BATCH = 32  # epochs that are converted together: they stay in the processor's cache


@dataclass(frozen=True)
class Grid:
    """Which 30-s epochs of a recording are kept.

    Epoch n begins at `onset + 30 n` seconds after the start of the recording; the epochs
    `first` to `first + epochs - 1` are kept. `onset` is where the scorer's pages begin.
    """

    onset: float
    epochs: int
    first: int = 0

    def begins(self) -> npt.NDArray[np.float64]:
        """Give the seconds from the start of the recording to each kept epoch, shape (epochs,)."""
        numbers = np.arange(self.first, self.first + self.epochs, dtype=np.float64)
        return np.float64(self.onset) + numbers * np.float64(EPOCH_SECONDS)


def find_whole(grid: Grid, *, onset: float, seconds: float) -> npt.NDArray[np.int64]:
    """Give which of the kept epochs, counted from 0, lie wholly in a stretch of the recording."""
    begins = grid.begins() - onset
    ends = begins + EPOCH_SECONDS
    return np.flatnonzero((begins >= -CLOCK_TOLERANCE) & (ends <= seconds + CLOCK_TOLERANCE))


def cut(
    samples: npt.NDArray[np.float32], *, begins: npt.NDArray[np.float64], sampling_rate: float
) -> npt.NDArray[np.float32]:
    """Cut epochs that follow one another out of a signal.

    Parameters
    ----------
    samples
        Shape (n,).
    begins
        Seconds from the first sample to each epoch, shape (epochs,). An epoch begins at the sample
        nearest to its time, so that epochs do not drift where they have no whole number of samples.
    sampling_rate
        In Hz.

    Returns
    -------
    Array of shape (epochs, int(30 sampling_rate)); a view where that is possible.

    Raises
    ------
    ValueError
        When the signal ends before the last epoch does.
    """
    length = EPOCH_SECONDS * sampling_rate
    whole = int(length + 1e-9)
    if not begins.size:
        return np.empty((0, whole), np.float32)
    places = np.rint(begins * sampling_rate).astype(np.int64)
    # Times are rounded: an epoch that ends with the signal may seem to end a sample after it.
    room = 1 + round(CLOCK_TOLERANCE * sampling_rate)
    beyond = int(places[-1]) + whole - len(samples)
    if beyond > room:
        raise ValueError(f"{len(samples)} samples, wanted {int(places[-1]) + whole}")
    places = np.maximum(places - max(0, beyond), 0)
    if whole == length and int(places[0]) + whole * len(places) <= len(samples):
        return samples[places[0] :][: whole * len(places)].reshape(-1, whole)
    last = len(samples) - 1
    return samples[np.minimum(places[:, None] + np.arange(whole), last)]


def quantise(epochs: npt.NDArray[np.float32], scale: float) -> npt.NDArray[np.int16]:
    """Divide by `scale` and round to int16; values beyond its range stay at its ends."""
    found = np.empty(epochs.shape, np.int16)
    for at in range(0, len(epochs), _BATCH):
        steps = epochs[at : at + _BATCH] * np.float32(1 / scale)
        np.rint(steps, out=steps)
        found[at : at + _BATCH] = np.clip(steps, -INT16_MAX, INT16_MAX, out=steps)
    return found
