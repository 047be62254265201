"""Gradient-boosted trees: a probe of each epoch by itself.

LightGBM takes seconds to import, and the other heads do without: it is loaded where it is needed.

Notation: N epochs, D embedding, K classes of the task.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from somnoflow.models.errors import WeightsError
from somnoflow.models.weights import describe_head, write_weights
from somnoflow.tasks import TASKS

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


class BoostingProbe:
    """Gradient-boosted trees of each class (LightGBM, NeurIPS 2017).

    Parameters
    ----------
    text
        The trees in LightGBM's own text form, of D features and K classes.
    seen
        Classes that the training epochs have; the others get probability 0.
    task
        What is asked, a key of `TASKS`.

    Raises
    ------
    ValueError
        When LightGBM cannot read the text.
    """

    def __init__(self, text: str, *, seen: npt.NDArray[np.int64], task: str = "staging") -> None:
        from lightgbm import Booster  # noqa: PLC0415 - takes seconds
        from lightgbm.basic import LightGBMError  # noqa: PLC0415

        self.task = TASKS[task]
        self.text = text
        self.seen = np.isin(np.arange(len(self.task.classes)), seen)
        try:
            self._trees = Booster(model_str=text)
        except LightGBMError as error:
            raise ValueError(f"no trees that LightGBM can read: {error}") from error

    @property
    def dimension(self) -> int:
        """D."""
        return int(self._trees.num_feature())

    def predict_proba(
        self, embeddings: Floats, starts: Flags | None = None, *, stride: int = 1
    ) -> Floats:
        """Give the probabilities (N, K) of the classes of epochs (N, D)."""
        probabilities = np.zeros((len(embeddings), len(self.task.classes)), np.float32)
        if len(embeddings):
            threads = torch.get_num_threads()  # as many as the job was granted
            found = self._trees.predict(embeddings, num_threads=threads)
            probabilities[:, self.seen] = found[:, self.seen]
        return probabilities


def write_boosting(path: Path, probe: BoostingProbe) -> None:
    """Write the trees as the bytes of their text, no pickle."""
    about = {
        **describe_head("boosting", task=probe.task),
        "dimension": probe.dimension,
        "seen": np.flatnonzero(probe.seen).tolist(),
    }
    text = np.frombuffer(probe.text.encode(), np.uint8)
    write_weights(path, {"trees": torch.from_numpy(text.copy())}, about)


def read_boosting(trees: Tensor, *, seen: list[int], task: str, path: Path) -> BoostingProbe:
    """Rebuild the probe from the bytes that `write_boosting` wrote.

    Raises `WeightsError` where they are not such trees.
    """
    try:
        return BoostingProbe(trees.numpy().tobytes().decode(), seen=np.array(seen), task=task)
    except ValueError as error:
        raise WeightsError(
            f"{path} is damaged: {error}. Copy it again, or remove it and train it again"
        ) from error
