"""Heads on the embeddings of a frozen encoder: what `head` trains and `score` applies.

Probes see one epoch; context heads (`somnoflow.models.context`) see its neighbours too.

Notation: N epochs, D embedding, K = 5 stages, P principal components.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from somnoflow.models.context import CONTEXTS, ContextHead
from somnoflow.models.weights import fill, read_about, read_tensors, write_weights
from somnoflow.stages import SCORED_STAGES

K = len(SCORED_STAGES)
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


class Head(Protocol):
    """A trained head."""

    def predict_proba(self, embeddings: Floats, starts: Flags, *, stride: int) -> Floats:
        """Give the probabilities (N, K) of the stages of epochs (N, D).

        `starts` (N,) tells where a run of epochs begins (`somnoflow.data.windows`), and windows
        begin every `stride` epochs of it; a head that sees one epoch looks at neither.
        """
        ...


class LinearProbe(nn.Module):
    """The published probe: Linear D to 2D, batch norm, ELU, dropout, Linear 2D to K.

    NeuroNet (arXiv 2404.17585, section IV) calls it a linear probe, although it has a hidden layer.

    Parameters
    ----------
    dimension
        D.
    dropout
        Published: 0.5.
    seen
        Stages that the training epochs have; the others get probability 0. All where None.
    """

    seen: Tensor

    def __init__(
        self, dimension: int, *, dropout: float, seen: npt.NDArray[np.int64] | None = None
    ) -> None:
        super().__init__()
        self.dimension = dimension
        self.dropout = dropout
        self.fc = nn.Sequential(
            nn.Linear(dimension, 2 * dimension),
            nn.BatchNorm1d(2 * dimension),
            nn.ELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * dimension, K),
        )
        stages = np.arange(K) if seen is None else seen
        self.register_buffer("seen", torch.from_numpy(np.isin(np.arange(K), stages)))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map embeddings (N, D) to logits (N, K)."""
        logits: Tensor = self.fc(embeddings)
        return logits

    @torch.inference_mode()
    def predict_proba(
        self, embeddings: Floats, starts: Flags | None = None, *, stride: int = 1
    ) -> Floats:
        """Give the probabilities (N, K) of the stages of epochs (N, D), in evaluation mode."""
        training = self.training
        self.eval()
        logits = self(torch.from_numpy(np.ascontiguousarray(embeddings)))
        self.train(training)
        return logits.masked_fill(~self.seen, float("-inf")).softmax(dim=1).numpy()


class KnnProbe:
    """The share of each stage among the nearest training epochs, on principal components.

    Parameters
    ----------
    mean, components
        Of the principal component analysis: (D,) and (P, D).
    features, stages
        Training epochs: (N, P) and (N,).
    neighbours
        How many vote.
    """

    def __init__(
        self,
        *,
        mean: Floats,
        components: Floats,
        features: Floats,
        stages: npt.NDArray[np.int64],
        neighbours: int,
    ) -> None:
        self.mean = mean
        self.components = components
        self.features = features
        self.stages = stages
        self.neighbours = neighbours
        self._vote = KNeighborsClassifier(n_neighbors=neighbours).fit(features, stages)

    @classmethod
    def fit(
        cls,
        embeddings: Floats,
        stages: npt.NDArray[np.int64],
        *,
        components: int,
        neighbours: int,
    ) -> "KnnProbe":
        """Fit on embeddings (N, D) and stages (N,); few epochs give fewer components."""
        # This solver has no random part, and its time grows with N only linearly.
        pca = PCA(n_components=min(components, *embeddings.shape), svd_solver="covariance_eigh")
        pca.fit(embeddings)
        mean, axes = pca.mean_.astype(np.float32), pca.components_.astype(np.float32)
        return cls(
            mean=mean,
            components=axes,
            features=(embeddings - mean) @ axes.T,
            stages=stages,
            neighbours=min(neighbours, len(stages)),
        )

    def predict_proba(
        self, embeddings: Floats, starts: Flags | None = None, *, stride: int = 1
    ) -> Floats:
        """Give the probabilities (N, K) of the stages of epochs (N, D)."""
        probabilities = np.zeros((len(embeddings), K), np.float32)
        if len(embeddings):
            votes = self._vote.predict_proba((embeddings - self.mean) @ self.components.T)
            probabilities[:, self._vote.classes_] = votes
        return probabilities


def write_linear(path: Path, probe: LinearProbe, about: Mapping[str, Any]) -> None:
    """Write a linear probe and what is worth knowing about it."""
    about = {
        "kind": "head",
        "head": "linear",
        "dimension": probe.dimension,
        "dropout": probe.dropout,
        **about,
    }
    write_weights(path, probe.state_dict(), about)


def write_knn(path: Path, probe: KnnProbe) -> None:
    """Write a nearest-neighbours probe: arrays, no pickle."""
    arrays = {
        "mean": probe.mean,
        "components": probe.components,
        "features": probe.features,
        "stages": probe.stages,
    }
    about = {
        "kind": "head",
        "head": "knn",
        "dimension": len(probe.mean),
        "neighbours": probe.neighbours,
    }
    write_weights(path, {name: torch.from_numpy(array) for name, array in arrays.items()}, about)


def describe_context(head: ContextHead, about: Mapping[str, Any]) -> dict[str, Any]:
    """Give the description that stands with a context head's weights and that it is built from."""
    return {
        "kind": "head",
        "head": head.architecture["context"],
        "dimension": head.dimension,
        "architecture": head.architecture,
        **about,
    }


def write_context(path: Path, head: ContextHead, about: Mapping[str, Any]) -> None:
    """Write a context head and what is worth knowing about it."""
    write_weights(path, head.state_dict(), describe_context(head, about))


def load_head(path: Path, *, dimension: int) -> Head:
    """Rebuild a head from its file and check that it was trained on embeddings of this size.

    Raises
    ------
    ValueError
        When the file is damaged or not a head's, or its head is unknown or of another size.
    """
    about, tensors = read_about(path, kind="head"), read_tensors(path)
    if about["dimension"] != dimension:
        raise ValueError(
            f"{path} was trained on embeddings of {about['dimension']} values, found {dimension}"
        )
    if about["head"] == "knn":
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        return KnnProbe(**arrays, neighbours=about["neighbours"])
    head = _build(about, path=path)
    fill(head, tensors, path=path)
    return head.eval()


def _build(about: Mapping[str, Any], *, path: Path) -> LinearProbe | ContextHead:
    if about["head"] == "linear":
        return LinearProbe(about["dimension"], dropout=about["dropout"])
    if about["head"] in CONTEXTS:
        return ContextHead(**about["architecture"])
    raise ValueError(
        f"{path} holds the head {about['head']!r}, wanted one of "
        f"{', '.join(['linear', 'knn', *CONTEXTS])}: was it written by a newer Somnoflow?"
    )
