"""Heads on the embeddings of a frozen encoder: what `head` trains and `score` applies.

Probes see one epoch; context heads (`somnoflow.models.context`) see its neighbours too.

Notation: N epochs, D embedding, K classes of the task, P principal components.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from somnoflow.models.boosting import read_boosting
from somnoflow.models.context import CONTEXTS, ContextHead, mark_seen
from somnoflow.models.layers import classifier
from somnoflow.models.weights import describe_head, fill, read_about, read_tensors, write_weights
from somnoflow.tasks import TASKS, Task

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


class Head(Protocol):
    """A trained head.

    Attributes
    ----------
    task
        What it answers.
    """

    task: Task

    def predict_proba(self, embeddings: Floats, starts: Flags, *, stride: int) -> Floats:
        """Give the probabilities (N, K) of the classes of epochs (N, D).

        `starts` (N,) tells where a run of epochs begins (`somnoflow.data.windows`), and windows
        begin every `stride` epochs of it; a head that sees one epoch looks at neither.
        """
        ...


class LinearProbe(nn.Module):
    """The published probes: Linear, batch norm, ELU and dropout for each hidden layer, Linear to K.

    They are called linear probes, although they have hidden layers: one of 2D values in NeuroNet
    (arXiv 2404.17585, section IV), two of D / 2 in SynthSleepNet (arXiv 2502.17481).

    Parameters
    ----------
    dimension
        D.
    dropout
        Published: 0.5.
    hidden
        Sizes of the hidden layers; NeuroNet's where None.
    seen
        Classes that the training epochs have; the others get probability 0. All where None.
    task
        What is asked, a key of `TASKS`.
    """

    seen: Tensor

    def __init__(
        self,
        dimension: int,
        *,
        dropout: float,
        hidden: Sequence[int] | None = None,
        seen: npt.NDArray[np.int64] | None = None,
        task: str = "staging",
    ) -> None:
        super().__init__()
        self.task = TASKS[task]
        self.dimension = dimension
        self.dropout = dropout
        self.hidden = (2 * dimension,) if hidden is None else tuple(hidden)
        self.fc = classifier(
            (dimension, *self.hidden), classes=len(self.task.classes), dropout=dropout
        )
        self.register_buffer("seen", mark_seen(self.task, seen))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map embeddings (N, D) to logits (N, K)."""
        logits: Tensor = self.fc(embeddings)
        return logits

    @torch.inference_mode()
    def predict_proba(
        self, embeddings: Floats, starts: Flags | None = None, *, stride: int = 1
    ) -> Floats:
        """Give the probabilities (N, K) of the classes of epochs (N, D), in evaluation mode."""
        training = self.training
        self.eval()
        logits = self(torch.from_numpy(np.ascontiguousarray(embeddings)))
        self.train(training)
        return logits.masked_fill(~self.seen, float("-inf")).softmax(dim=1).numpy()


def write_linear(path: Path, probe: LinearProbe, about: Mapping[str, Any]) -> None:
    """Write a linear probe and what is worth knowing about it."""
    about = {
        **describe_head("linear", task=probe.task),
        "dimension": probe.dimension,
        "dropout": probe.dropout,
        "hidden": list(probe.hidden),
        **about,
    }
    write_weights(path, probe.state_dict(), about)


def describe_context(head: ContextHead, about: Mapping[str, Any]) -> dict[str, Any]:
    """Give the description that stands with a context head's weights and that it is built from."""
    return {
        **describe_head(head.architecture["context"], task=head.task),
        "dimension": head.dimension,
        "architecture": head.architecture,
        **about,
    }


def write_context(path: Path, head: ContextHead, about: Mapping[str, Any]) -> None:
    """Write a context head and what is worth knowing about it."""
    write_weights(path, head.state_dict(), describe_context(head, about))


def load_head(path: Path, *, dimension: int) -> Head:
    """Rebuild a head from its file and check that it was trained on embeddings of this size.

    Files that name no task are heads for staging.

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
        from somnoflow.models.knn import KnnProbe  # noqa: PLC0415 - takes seconds

        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        arrays["targets"] = arrays.pop("stages")
        return KnnProbe(**arrays, neighbours=about["neighbours"], task=_task(about))
    if about["head"] == "boosting":
        return read_boosting(tensors["trees"], seen=about["seen"], task=about["task"], path=path)
    head = _build(about, path=path)
    fill(head, tensors, path=path)
    return head.eval()


def _task(about: Mapping[str, Any]) -> str:
    """Give the task of a head's file; those from before there were others are for staging."""
    task: str = about.get("task", "staging")
    return task


def _build(about: Mapping[str, Any], *, path: Path) -> LinearProbe | ContextHead:
    if about["head"] == "linear":
        return LinearProbe(
            about["dimension"],
            dropout=about["dropout"],
            hidden=about.get("hidden"),
            task=_task(about),
        )
    if about["head"] in CONTEXTS:
        return ContextHead(**about["architecture"])
    raise ValueError(
        f"{path} holds the head {about['head']!r}, wanted one of "
        f"{', '.join(['linear', 'knn', 'boosting', *CONTEXTS])}: was it written by a newer "
        "Somnoflow?"
    )


def require_task(found: Task, *, wanted: str, of: Path) -> None:
    """Raise `ValueError` where a model answers another question than is asked."""
    if found.name != wanted:
        raise ValueError(
            f"{of} was trained for {found.name}, wanted one for {wanted}: give the file of "
            f"task={wanted}"
        )
