"""Signals of packed epochs, checked before they reach a model."""

import numpy as np
import numpy.typing as npt

from somnoflow.data.packed import PackedEpochs


def read_finite(epochs: PackedEpochs, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Read one channel (B, T); raise `ValueError` and name the epoch where one is not finite."""
    batch = epochs.read(rows).squeeze(axis=1)
    finite = np.isfinite(batch).all(axis=1)
    if not finite.all():
        first = epochs.table.row(int(rows[np.argmin(finite)]), named=True)
        raise ValueError(
            f"channel {epochs.channels[0]} is not finite in {np.count_nonzero(~finite)} of "
            f"{len(rows)} epochs of a batch, first in epoch {first['epoch']} of recording "
            f"{first['recording']}, subject {first['subject']}. Make it again with: "
            "snakemake --forcerun pack"
        )
    return batch
