"""Temporal context: the class of an epoch from the features of its neighbours in the night.

Six modules behind one interface, `module(x, valid)`: tokens x (B, L, W) to (B, L, W), many to many
and batch first (defect N5). `valid` (B, L) is True on the first epochs of each window and False on
the padding at its right; what padding holds never reaches a valid epoch. `ContextHead` puts one of
them between the layers that NeuroNet is fine-tuned with, and gives the classes of a task:

    head = ContextHead(768, context="mamba", window=20, seen=classes_in_training)
    logits = head(x, valid)                                  # (B, L, D), (B, L) -> (B, L, K)
    probabilities = head.predict_proba(x, starts, stride=20)  # (N, D), (N,) -> (N, K)
    again = ContextHead(**head.architecture)                 # then load_state_dict

| module | sees | source |
|---|---|---|
| `lstm` | the past | NeuroNet's ablation |
| `transformer` | the window | NeuroNet's ablation ("MHA"), with positions |
| `lstm_transformer` | the window | NeuroNet's ablation ("LSTM + MHA") |
| `mamba` | the past | NeuroNet (arXiv 2404.17585) |
| `mamba2` | the past | SynthSleepNet (arXiv 2502.17481) |
| `bimamba` | the window | ours |

Notation: B windows, L epochs of a window, N epochs, D embedding, W width, K classes of the task.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from somnoflow.data.windows import average, cut_windows, pad
from somnoflow.models.layers import as_autocast, sincos_positions
from somnoflow.models.mamba import Mamba, Mamba2
from somnoflow.tasks import TASKS, Task

# Of the published modules: two layers; torch's TransformerEncoderLayer as it comes.
LAYERS = 2
HEADS = 8
INNER = 2048
LAYER_DROPOUT = 0.1
D_STATE = 16
# Epochs that scoring holds at once, in windows: its memory does not grow with the night.
EPOCHS_AT_ONCE = 1280

Floats = npt.NDArray[np.float32]


class LstmContext(nn.Module):
    """LSTM of the past epochs, W units per layer, in one direction.

    Published: 2 layers. The published code runs it across the batch (defect N5).

    Parameters
    ----------
    width
        W.
    layers
        LSTM layers.
    """

    def __init__(self, width: int, *, layers: int = LAYERS) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, num_layers=layers, batch_first=True)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (B, L, W) to (B, L, W); padding lies in the future, which is not seen."""
        out: Tensor = self.lstm(as_autocast(x))[0]
        return out


class TransformerContext(nn.Module):
    """Transformer encoder over all epochs of the window (published: 2 layers, 8 heads).

    Layers are those of arXiv 1706.03762: norm after the sum, ReLU, 2048 inner units, dropout 0.1.
    The published module is told no order and runs across the batch (defect N5); here fixed
    sine-cosine positions are added.

    Parameters
    ----------
    width
        W, even and a multiple of the 8 heads.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        require_heads(width)
        layer = nn.TransformerEncoderLayer(
            width, HEADS, dim_feedforward=INNER, dropout=LAYER_DROPOUT, batch_first=True
        )
        # A nested tensor has no rows for padding: the output would be shorter than the input.
        self.transformer = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (B, L, W) to (B, L, W); padding is no key of the attention."""
        _, L, W = x.shape
        x = x + sincos_positions(L, W).to(x)
        out: Tensor = self.transformer(x, src_key_padding_mask=~valid)
        return out


class LstmTransformerContext(nn.Module):
    """One LSTM layer, then the transformer (published: so, without positions).

    Parameters
    ----------
    width
        W, a multiple of the 8 heads.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.recurrent = LstmContext(width, layers=1)
        self.attending = TransformerContext(width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (B, L, W) to (B, L, W)."""
        out: Tensor = self.attending(self.recurrent(x, valid), valid)
        return out


class MambaContext(nn.Module):
    """One Mamba layer over the past epochs, without norm or residual sum, as published.

    Parameters
    ----------
    width
        W. Published: 256.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mamba = Mamba(width, d_state=D_STATE)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (B, L, W) to (B, L, W); padding lies in the future, which is not seen."""
        out: Tensor = self.mamba(x)
        return out


class Mamba2Context(nn.Module):
    """Batch norm, then the sum of its output and one Mamba2 layer, as in SynthSleepNet.

    Parameters
    ----------
    width
        W. Published: 512; NeuroNet's heads have 256.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.mamba = Mamba2(width, d_state=D_STATE)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (B, L, W) to (B, L, W); only valid epochs are in the norm's statistics."""
        x = map_valid(self.norm, x, valid)
        return x + self.mamba(x)


class BiMambaContext(nn.Module):
    """Two Mamba layers, one over the past and one over the coming epochs, joined by Linear 2W to W.

    Ours: a scorer looks at the next epochs too.

    Parameters
    ----------
    width
        W.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ahead = Mamba(width, d_state=D_STATE)
        self.back = Mamba(width, d_state=D_STATE)
        self.join = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (B, L, W) to (B, L, W); the valid part is reversed, so padding stays last."""
        back = reverse_valid(self.back(reverse_valid(x, valid)), valid)
        out: Tensor = self.join(torch.cat([self.ahead(x), back], dim=-1))
        return out


CONTEXTS: dict[str, Callable[[int], nn.Module]] = {
    "lstm": LstmContext,
    "transformer": TransformerContext,
    "lstm_transformer": LstmTransformerContext,
    "mamba": MambaContext,
    "mamba2": Mamba2Context,
    "bimamba": BiMambaContext,
}


def build_context(name: str, width: int) -> nn.Module:
    """Build a context module; raise `ValueError` for an unknown one, or a width it cannot have."""
    if name not in CONTEXTS:
        raise ValueError(f"found context module {name!r}, wanted one of {', '.join(CONTEXTS)}")
    return CONTEXTS[name](width)


def require_heads(width: int) -> None:
    """Raise `ValueError` where the attention heads do not divide the width."""
    if width % HEADS:
        raise ValueError(
            f"width {width} cannot be divided among {HEADS} attention heads; wanted a multiple "
            f"of {HEADS}, such as {max(1, round(width / HEADS)) * HEADS}"
        )


def map_valid(layer: Callable[[Tensor], Tensor], x: Tensor, valid: Tensor) -> Tensor:
    """Apply a layer for rows (n, ...) to the valid epochs of (B, L, ...); padding becomes 0."""
    mapped = layer(x[valid])  # (n, W)
    out = mapped.new_zeros(*valid.shape, mapped.shape[-1])
    out[valid] = mapped
    return out


def reverse_valid(x: Tensor, valid: Tensor) -> Tensor:
    """Reverse the valid epochs of (B, L, W) in time; padding stays where it is."""
    place = torch.arange(x.shape[1], device=x.device).expand(valid.shape)  # (B, L)
    order = torch.where(valid, valid.sum(dim=1, keepdim=True) - 1 - place, place)
    return x.gather(1, order[..., None].expand_as(x))


def mark_seen(task: Task, seen: npt.NDArray[np.int64] | None) -> Tensor:
    """Tell for each class of a task, (K,) bool, whether it is in `seen`; all where None."""
    numbers = np.arange(len(task.classes))
    return torch.from_numpy(np.isin(numbers, numbers if seen is None else seen))


class WindowHead(nn.Module):
    """What heads on windows of epochs share: how the epochs of nights get their probabilities.

    Maps features (B, L, D) and valid (B, L) to logits (B, L, K).

    Parameters
    ----------
    dimension
        D.
    context
        Context module, a key of `CONTEXTS`.
    width, dropout
        Of the layers of a subclass.
    input_dropout
        Of single features, before the first layer.
    window
        L, the epochs of a window that `predict_proba` cuts. Published: 20. `forward` takes any L.
    seen
        Classes that the training epochs have; the others get probability 0. All where None.
    task
        What is asked, a key of `TASKS`.

    Attributes
    ----------
    architecture : dict
        The arguments but for `seen`, which is part of the state.
    """

    seen: Tensor

    def __init__(
        self,
        dimension: int,
        *,
        context: str,
        width: int,
        dropout: float,
        input_dropout: float,
        window: int,
        seen: npt.NDArray[np.int64] | None,
        task: str,
    ) -> None:
        super().__init__()
        self.architecture: dict[str, Any] = {
            "dimension": dimension,
            "context": context,
            "width": width,
            "dropout": dropout,
            "input_dropout": input_dropout,
            "window": window,
            "task": task,
        }
        self.task = TASKS[task]
        self.window = window
        self.register_buffer("seen", mark_seen(self.task, seen))
        self.input_dropout = nn.Dropout(input_dropout)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Map logits (..., K) to probabilities; a class that training never saw has 0."""
        return logits.masked_fill(~self.seen, float("-inf")).softmax(dim=-1)

    @torch.inference_mode()
    def predict_proba(
        self, embeddings: Floats, starts: npt.NDArray[np.bool_], *, stride: int
    ) -> Floats:
        """Give the probabilities (N, K) of the classes of epochs, in evaluation mode.

        Parameters
        ----------
        embeddings
            (N, D), in the order of time inside each run.
        starts
            (N,), where a run begins (`somnoflow.data.windows.run_starts`).
        stride
            Step between windows; where they overlap, their probabilities are averaged.
        """
        windows = cut_windows(starts, length=self.window, stride=stride, whole=False)
        training = self.training
        self.eval()
        parts = self.score_windows(embeddings, windows)
        found = average(parts, epochs=len(embeddings), values=len(self.seen))
        self.train(training)
        return found

    def score_windows(
        self, embeddings: Floats, windows: npt.NDArray[np.int64]
    ) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
        """Give rows (n,) and their probabilities (n, K), some windows at a time, for `average`.

        Memory does not grow with the number of windows (M, 2).
        """
        at_once = max(1, EPOCHS_AT_ONCE // self.window)
        for begin in range(0, len(windows), at_once):
            rows, valid = pad(windows[begin : begin + at_once])  # both (B, L)
            x = torch.from_numpy(embeddings[rows]).to(self.seen.device)  # (B, L, D)
            logits = self(x, torch.from_numpy(valid).to(x.device))
            yield rows[valid], self.probabilities(logits).float().cpu().numpy()[valid]


class ContextHead(WindowHead):
    """The published head of fine-tuning: embedding layers, a context module, a linear layer.

    Linear D to W, batch norm, ELU, Linear W to W; the context module; Linear W to K (NeuroNet,
    arXiv 2404.17585, section IV). It also works on the embeddings of a frozen encoder, or on any
    other features of epochs.

    Parameters
    ----------
    dimension
        D.
    context
        Context module, a key of `CONTEXTS`.
    width
        W. Published: 256.
    dropout
        Before the context module and before the last layer. Published: 0.
    input_dropout
        Of single features, before the first layer, for features that are many and alike.
        Published: 0.
    window, seen, task
        As in `WindowHead`.
    """

    def __init__(
        self,
        dimension: int,
        *,
        context: str,
        width: int = 256,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        window: int = 20,
        seen: npt.NDArray[np.int64] | None = None,
        task: str = "staging",
    ) -> None:
        super().__init__(
            dimension,
            context=context,
            width=width,
            dropout=dropout,
            input_dropout=input_dropout,
            window=window,
            seen=seen,
            task=task,
        )
        self.dimension = dimension
        self.embed_layer = nn.Sequential(
            nn.Linear(dimension, width),
            nn.BatchNorm1d(width),
            nn.ELU(),
            nn.Linear(width, width),
        )
        self.dropout = nn.Dropout(dropout)
        self.context = build_context(context, width)
        self.fc = nn.Linear(width, len(self.task.classes))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map epochs (B, L, D) to logits (B, L, K); those of padding mean nothing.

        Parameters
        ----------
        x
            Features of the epochs of each window, in the order of time.
        valid
            (B, L) bool, True on the first epochs of each window, at least one, and False on
            padding. Only valid epochs are in the statistics of the batch norm, so a batch for
            training needs two of them at least.
        """
        tokens = map_valid(self.embed_layer, self.input_dropout(x), valid)  # (B, L, W)
        tokens = self.context(self.dropout(tokens), valid)
        logits: Tensor = self.fc(self.dropout(tokens))
        return logits
