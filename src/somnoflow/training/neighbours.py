"""How well the nearest neighbours of epochs tell their stages, while an encoder is trained."""

import logging

import numpy as np
import numpy.typing as npt
import torch

from somnoflow.data.packed import Rows
from somnoflow.models.knn import KnnProbe
from somnoflow.models.neuronet import NeuroNet
from somnoflow.tasks import TASKS
from somnoflow.training.encoding import embed_rows
from somnoflow.training.errors import TrainingError
from somnoflow.training.reading import Epochs
from somnoflow.training.seeds import NEIGHBOURS, numpy_generator
from somnoflow.training.targets import require_targets
from somnoflow.training.validation import validation_scores

log = logging.getLogger(__name__)

COMPONENTS = 50  # as published
VOTES = 10
# Training epochs that vote: more make each pass slower and hardly change which pass is best.
SAMPLE = 4000
BATCH = 256


class NeighboursProbe:
    """Fits on training subjects, judges by validation subjects; sees no others.

    Parameters
    ----------
    train, val
        Epochs of the labelled training and of the validation subjects.
    seed
        Of the sample of training epochs, the same in every pass.
    section
        The encoder's section of the configuration, for messages.
    device
        Where the encoder computes.

    Raises
    ------
    TrainingError
        When either have fewer than 2 scored epochs.
    """

    def __init__(
        self,
        train: Epochs,
        val: Epochs,
        *,
        seed: int,
        device: torch.device,
        section: str = "pretrain",
    ) -> None:
        self._train, self._val, self._device = train, val, device
        rows, self._val_rows = train.rows(scored=True), val.rows(scored=True)
        if min(len(rows), len(self._val_rows)) < 2:
            raise TrainingError(
                f"{section}.choose_by is 'knn', but the training subjects have {len(rows)} scored "
                f"usable epochs of {train.channels[0]} and the validation subjects "
                f"{len(self._val_rows)}, wanted at least 2 of each. Set {section}.choose_by to "
                "'loss', which needs no labels"
            )
        order = numpy_generator(seed, NEIGHBOURS).permutation(rows)
        self._train_rows = np.sort(order[:SAMPLE])
        for epochs, chosen, role in (
            (train, self._train_rows, "training"),
            (val, self._val_rows, "validation"),
        ):
            require_targets(_stages(epochs, chosen), task=TASKS["staging"], role=role)

    def macro_f1(self, model: NeuroNet) -> float:
        """Give the macro-F1 on the validation subjects, by the feature that is deployed."""
        training = model.training
        model.eval()
        probe = KnnProbe.fit(
            self._embed(model, self._train, self._train_rows),
            _stages(self._train, self._train_rows),
            components=COMPONENTS,
            neighbours=VOTES,
        )
        votes = probe.predict_proba(self._embed(model, self._val, self._val_rows))
        model.train(training)
        scores = validation_scores(_stages(self._val, self._val_rows), votes.argmax(axis=1))
        return float(scores["val_macro_f1"])

    def _embed(self, model: NeuroNet, epochs: Epochs, rows: Rows) -> npt.NDArray[np.float32]:
        return embed_rows(model, epochs, rows, batch_size=BATCH, device=self._device)


def _stages(epochs: Epochs, rows: Rows) -> npt.NDArray[np.int64]:
    return epochs.table["stage"].to_numpy()[rows].astype(np.int64)
