"""The nearest-neighbours probe on principal components.

In a file of its own: scikit-learn takes seconds to import, and the other heads do without.

Notation: N epochs, D embedding, K classes of the task, P principal components.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from somnoflow.models.weights import describe_head, write_weights
from somnoflow.tasks import TASKS

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


class KnnProbe:
    """The share of each class among the nearest training epochs, on principal components.

    Parameters
    ----------
    mean, components
        Of the principal component analysis: (D,) and (P, D).
    features, targets
        Training epochs: (N, P), and the numbers of their classes (N,).
    neighbours
        How many vote.
    task
        What is asked, a key of `TASKS`.
    """

    def __init__(
        self,
        *,
        mean: Floats,
        components: Floats,
        features: Floats,
        targets: npt.NDArray[np.int64],
        neighbours: int,
        task: str = "staging",
    ) -> None:
        self.task = TASKS[task]
        self.mean = mean
        self.components = components
        self.features = features
        self.targets = targets
        self.neighbours = neighbours
        self._vote = KNeighborsClassifier(n_neighbors=neighbours).fit(features, targets)

    @classmethod
    def fit(
        cls,
        embeddings: Floats,
        targets: npt.NDArray[np.int64],
        *,
        components: int,
        neighbours: int,
        task: str = "staging",
    ) -> "KnnProbe":
        """Fit on embeddings (N, D) and classes (N,); few epochs give fewer components."""
        # This solver has no random part, and its time grows with N only linearly.
        pca = PCA(n_components=min(components, *embeddings.shape), svd_solver="covariance_eigh")
        pca.fit(embeddings)
        mean, axes = pca.mean_.astype(np.float32), pca.components_.astype(np.float32)
        return cls(
            mean=mean,
            components=axes,
            features=(embeddings - mean) @ axes.T,
            targets=targets,
            neighbours=min(neighbours, len(targets)),
            task=task,
        )

    def predict_proba(
        self, embeddings: Floats, starts: Flags | None = None, *, stride: int = 1
    ) -> Floats:
        """Give the probabilities (N, K) of the classes of epochs (N, D)."""
        probabilities = np.zeros((len(embeddings), len(self.task.classes)), np.float32)
        if len(embeddings):
            votes = self._vote.predict_proba((embeddings - self.mean) @ self.components.T)
            probabilities[:, self._vote.classes_] = votes
        return probabilities


def write_knn(path: Path, probe: KnnProbe) -> None:
    """Write a nearest-neighbours probe: arrays, no pickle."""
    arrays = {
        "mean": probe.mean,
        "components": probe.components,
        "features": probe.features,
        "stages": probe.targets,  # the name of files from before there were other tasks
    }
    about = {
        **describe_head("knn", task=probe.task),
        "dimension": len(probe.mean),
        "neighbours": probe.neighbours,
    }
    write_weights(path, {name: torch.from_numpy(array) for name, array in arrays.items()}, about)
