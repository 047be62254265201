"""What supervised models of nights share: an encoder of single epochs and a head with a memory.

    model = TinySleepNet(sampling_rate=100, samples=3000, preset="tiny", dropout=0.5, window=20)
    logits, state = model(signals, valid)                # (B, L, T), (B, L) -> (B, L, K)
    state = keep_state(state, continues)                 # (B,): does the next window go on?
    logits, state = model(next_signals, next_valid, state)
    probabilities = model.head.predict_proba(features, starts, stride=20)  # (N, D), (N,) -> (N, K)
    again = TinySleepNet(**model.architecture)           # then load_state_dict

`valid` (B, L) is True on the first epochs of each window and False on the padding at its right;
what padding holds reaches neither a valid epoch nor the statistics of a batch norm. A padded window
is the last one of its run, so its state is not used again.

Notation: B windows, L epochs of a window, T samples of an epoch, N epochs, D feature, H units of an
LSTM, K classes of the task.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from somnoflow.data.windows import Flags, Floats
from somnoflow.models.context import map_valid, mark_seen
from somnoflow.models.epoch_encoder import EpochEncoder
from somnoflow.tasks import TASKS

State = tuple[Tensor, ...]


class NightHead(nn.Module):
    """What heads of supervised models share: classes, windows and how nights are gone through.

    Parameters
    ----------
    window
        L, the epochs of a window in training; `forward` takes any.
    task
        What is asked, a key of `TASKS`.
    seen
        Classes that the training epochs have; the others get probability 0. All where None.

    Attributes
    ----------
    stateful
        Whether the state at the end of a window is where the next one begins.
    """

    seen: Tensor
    stateful: bool = False

    def __init__(self, *, window: int, task: str, seen: npt.NDArray[np.int64] | None) -> None:
        super().__init__()
        self.window = window
        self.task = TASKS[task]
        self.register_buffer("seen", mark_seen(self.task, seen))

    def forward(
        self, features: Tensor, valid: Tensor, state: State | None = None
    ) -> tuple[Tensor, State | None]:
        """Map features (B, L, D) to logits (B, L, K), and give the state at the windows' ends."""
        raise NotImplementedError

    @torch.inference_mode()
    def predict_proba(self, features: Floats, starts: Flags, *, stride: int) -> Floats:
        """Give the probabilities (N, K) of the classes of epochs, in evaluation mode.

        Every epoch gets them, in runs shorter than a window too.

        Parameters
        ----------
        features
            (N, D), in the order of time inside each run.
        starts
            (N,), where a run begins (`somnoflow.data.windows.run_starts`).
        stride
            Not looked at: windows are those of the training.
        """
        training = self.training
        self.eval()
        found = np.empty((len(features), len(self.seen)), np.float32)
        begins = starts.copy()
        begins[:1] = True
        for rows in np.split(np.arange(len(features)), np.flatnonzero(begins))[1:]:
            x = torch.from_numpy(features[rows]).to(self.seen.device)
            logits = self.answer_run(x).float().masked_fill(~self.seen, float("-inf"))
            found[rows] = logits.softmax(dim=-1).cpu().numpy()
        self.train(training)
        return found

    def answer_run(self, features: Tensor) -> Tensor:
        """Give the logits (n, K) of a whole run's features (n, D), as its windows would."""
        whole = torch.ones(1, len(features), dtype=torch.bool, device=features.device)
        logits, _ = self(features[None], whole)
        return logits[0]


class EpochHead(NightHead):
    """Dropout and a linear layer: the class of an epoch from its own feature alone.

    Parameters
    ----------
    dimension
        D.
    dropout
        Before the layer.
    window, task, seen
        As in `NightHead`.
    """

    def __init__(
        self,
        dimension: int,
        *,
        dropout: float,
        window: int,
        task: str,
        seen: npt.NDArray[np.int64] | None,
    ) -> None:
        super().__init__(window=window, task=task, seen=seen)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(dimension, len(self.task.classes))

    def forward(
        self, features: Tensor, valid: Tensor, state: State | None = None
    ) -> tuple[Tensor, None]:
        """Map features (B, L, D) to logits (B, L, K); there is no state."""
        return self.fc(self.dropout(features)), None


class NightModel(nn.Module):
    """An encoder of single epochs and a head on their features.

    Parameters
    ----------
    encoder
        Of one channel.
    head
        On features of the encoder's D values.
    architecture
        The arguments of the subclass but for `seen`, which is part of the state.
    """

    def __init__(
        self, encoder: EpochEncoder, head: NightHead, *, architecture: dict[str, Any]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.architecture = architecture

    def forward(
        self, signals: Tensor, valid: Tensor, state: State | None = None
    ) -> tuple[Tensor, State | None]:
        """Map signals (B, L, T) to logits (B, L, K); those of padding mean nothing.

        Each valid epoch is encoded once. Batch norms see only those, and need two of them at
        least in training.

        Parameters
        ----------
        signals
            Epochs of each window, in the order of time.
        valid
            (B, L) bool: True on the first epochs of each window, at least one.
        state
            Where each window goes on, from `keep_state`; None: all begin a run.

        Returns
        -------
        logits : Tensor
            (B, L, K).
        state : tuple of Tensor, or None
            At the windows' ends; None where the head has none.
        """
        features = map_valid(self.encoder.forward_features, signals, valid)  # (B, L, D)
        logits, state = self.head(features, valid, state)
        return logits, state


def keep_state(state: State | None, continues: Tensor) -> State | None:
    """Give the state that the next windows begin with, without its gradient.

    Parameters
    ----------
    state
        Tensors (layers, B, H), or None.
    continues
        (B,) bool: whether a row's next window goes on where its last one ended; else it begins
        with zeros.
    """
    if state is None:
        return None
    zero = torch.zeros((), device=continues.device)
    return tuple(
        torch.where(continues[:, None], part.detach(), zero.to(part.dtype)) for part in state
    )


def lstm(width: int, units: int, *, layers: int = 1, dropout: float = 0.0) -> nn.LSTM:
    """Give an LSTM in one direction, batch first, whose gates remember at first.

    Parameters
    ----------
    width
        Values of an input.
    units
        H.
    layers
        One upon the other, with dropout between them.
    dropout
        Of these.

    Notes
    -----
    The bias of the forget gates starts at 1, as TensorFlow's cells add it.
    """
    made = nn.LSTM(width, units, num_layers=layers, dropout=dropout, batch_first=True)
    with torch.no_grad():
        for layer in range(layers):
            for name, value in (("ih", 1.0), ("hh", 0.0)):
                # In the order of torch: input, forget, cell, output.
                getattr(made, f"bias_{name}_l{layer}")[units : 2 * units] = value
    return made
