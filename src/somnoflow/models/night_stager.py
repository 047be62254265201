"""The stager that this package brings: features of one derivation, a small network over the night.

    stager = NightStager(members=3, width=48, dilations=(1, 2, 4, 8, 16, 32), dropout=0.25)
    features = stager.encoder.forward_features(signals)                  # (B, T) -> (B, D)
    probabilities = stager.head.predict_proba(features, starts, stride=1)  # (N, D) -> (N, K)

Features have other levels in every derivation, amplifier and person. So the networks see each of
them against its median and spread in the night, and beside that as it is; the head needs the whole
night at once. At last the answers are refined by the night's own spectra (`night_adaptation`).

Notation: B epochs at once, T samples, N epochs of a night, S = 13 features of the shape, D of all,
C channels of a layer, K stages.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from somnoflow.models.errors import WeightsError
from somnoflow.models.night_adaptation import Adaptation, adapt
from somnoflow.models.night_features import SHAPE, NightFeatures
from somnoflow.models.weights import fill, read_about, read_tensors, write_weights
from somnoflow.stages import STAGE_NAMES
from somnoflow.tasks import TASKS

KIND = "night_stager"

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

# Values that the networks see lie within these.
LIMIT, ABSOLUTE_LIMIT = 5.0, 4.0
# Below so many epochs a night does not tell the level of its features.
SHORTEST = 60
# Least spread of a feature that says the same of all epochs.
TINY = 1e-3
# What lies further from sleep is left out of the levels: training nights have 30 min of wake.
MARGIN = 60
AMPLITUDES = [SHAPE.index("std"), SHAPE.index("iqr")]


def compress(shape: Floats) -> Floats:
    """Give features (N, S) on scales where their distributions are about symmetric."""
    found = shape.astype(np.float32)
    of = {name: found[:, place] for place, name in enumerate(SHAPE)}
    for name in ("std", "iqr", "hjorth_mobility", "hjorth_complexity"):
        of[name][:] = np.log(np.maximum(of[name], 1e-3))
    of["zero_crossings"][:] = np.log(np.maximum(of["zero_crossings"], 20))
    of["kurtosis"][:] = np.log(np.maximum(of["kurtosis"] + 2.2, 0.1))
    of["skewness"][:] = np.arcsinh(3 * of["skewness"])
    return found


def measure_levels(compressed: Floats, *, least: Floats) -> tuple[Floats, Floats]:
    """Give the median and the spread (S,) of features (N, S): those of a normal distribution.

    The spread is nowhere below `least` (S,).
    """
    low, first, middle, third, high = np.quantile(compressed, [0.1, 0.25, 0.5, 0.75, 0.9], axis=0)
    spread = ((third - first) / 1.349 + (high - low) / 2.563) / 2
    return middle.astype(np.float32), np.maximum(spread, least).astype(np.float32)


class GatedBlock(nn.Module):
    """A dilated convolution over epochs, gated, beside a short cut."""

    def __init__(self, width: int, *, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.conv = nn.Conv1d(width, 2 * width, 3, padding=dilation, dilation=dilation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (B, C, L) to the same; `valid` (B, 1, L) is 0 where an epoch is padding, else 1."""
        values, gates = self.conv(self.norm(x) * valid).chunk(2, dim=1)
        gated: Tensor = self.dropout(values.tanh() * gates.sigmoid())
        return (x + gated) * valid


class NightNet(nn.Module):
    """A network over the epochs of a night, after WaveNet (arXiv 1609.03499), in both directions.

    Parameters
    ----------
    width
        C.
    dilations
        Of the blocks; together they see `sum(dilations)` epochs to each side.
    dropout
        Of each block and before the last layer.
    """

    def __init__(self, *, width: int, dilations: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.stem = nn.Conv1d(2 * len(SHAPE), width, 1)
        self.blocks = nn.ModuleList(
            GatedBlock(width, dilation=dilation, dropout=dropout) for dilation in dilations
        )
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Conv1d(width, len(STAGE_NAMES), 1)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map features (B, 2S, L) to logits (B, K, L); `valid` is as in `GatedBlock`."""
        hidden = self.stem(x) * valid
        for block in self.blocks:
            hidden = block(hidden, valid)
        logits: Tensor = self.fc(self.dropout(functional.relu(self.norm(hidden))))
        return logits


class NightHead(nn.Module):
    """The mean of several networks over a night, and the refinement by its spectra.

    Parameters
    ----------
    members
        Networks.
    width, dilations, dropout
        As in `NightNet`.
    adaptation
        Numbers of the refinement; none is done where None.

    Attributes
    ----------
    centre, spread : Tensor
        (S,) of the features of all training epochs together.
    least_spread : Tensor
        (S,) that the spread of a night is not taken to be below: where stages are missing, features
        lie closer together than in a whole night, and small differences must not be blown up.
    transitions : Tensor
        (K, K) of real hypnograms; rows sum to one.
    temperature : Tensor
        That the networks' mean is taken to before it is refined.
    """

    centre: Tensor
    spread: Tensor
    least_spread: Tensor
    transitions: Tensor

    def __init__(
        self,
        *,
        members: int,
        width: int,
        dilations: Sequence[int],
        dropout: float,
        adaptation: Adaptation | None,
    ) -> None:
        super().__init__()
        self.task = TASKS["staging"]
        self.adaptation = adaptation
        self.nets = nn.ModuleList(
            NightNet(width=width, dilations=dilations, dropout=dropout) for _ in range(members)
        )
        stages = len(STAGE_NAMES)
        self.register_buffer("centre", torch.zeros(len(SHAPE)))
        self.register_buffer("spread", torch.ones(len(SHAPE)))
        self.register_buffer("least_spread", torch.full((len(SHAPE),), TINY))
        self.register_buffer("transitions", torch.full((stages, stages), 1 / stages).double())

    @torch.inference_mode()
    def predict_proba(self, features: Floats, starts: Flags, *, stride: int) -> Floats:
        """Give the probabilities (N, K) of the stages of a night, in evaluation mode.

        Parameters
        ----------
        features
            (N, D) of `NightFeatures`, of one night in the order of time.
        starts, stride
            Not looked at. Epochs that were left out are not told from such as were not: the
            training nights lack epochs, too.
        """
        if not len(features):
            return np.empty((0, len(STAGE_NAMES)), np.float32)
        compressed = compress(features[:, : len(SHAPE)])
        found = self._answer(compressed, of=slice(None))
        asleep = np.flatnonzero(found.argmax(axis=1) != STAGE_NAMES.index("W"))
        if len(asleep):
            period = slice(max(asleep[0] - MARGIN, 0), asleep[-1] + MARGIN + 1)
            if SHORTEST <= len(compressed[period]) < len(compressed):
                found = self._answer(compressed, of=period)
        if self.adaptation is not None:
            found = adapt(
                found,
                features[:, len(SHAPE) :].astype(np.float64),
                transitions=self.transitions.cpu().numpy(),
                how=self.adaptation,
            )
        return found.astype(np.float32)

    def _answer(self, compressed: Floats, *, of: slice) -> npt.NDArray[np.float64]:
        """Give the networks' answers (N, K), levels being those of a part of the night."""
        centre, spread = self.centre.cpu().numpy(), self.spread.cpu().numpy()
        levels = None
        if len(compressed) >= SHORTEST:
            levels = measure_levels(compressed[of], least=self.least_spread.cpu().numpy())
        x = see(compressed, levels=levels, centre=centre, spread=spread)
        inputs = torch.from_numpy(x.T[None]).to(self.centre.device)  # (1, 2S, N)
        valid = torch.ones_like(inputs[:, :1])
        training = self.training
        self.eval()
        answers = torch.stack([net(inputs, valid)[0].softmax(dim=0) for net in self.nets])
        self.train(training)
        return answers.mean(dim=0).T.double().cpu().numpy()


def see(
    compressed: Floats, *, levels: tuple[Floats, Floats] | None, centre: Floats, spread: Floats
) -> Floats:
    """Give what the networks see (N, 2S) of features (N, S).

    First against the night's `levels` (0 where they are None: not known), then against those of all
    training epochs, where amplitudes are 0: they are the recorder's.
    """
    absolute = (compressed - centre) / spread
    absolute[:, AMPLITUDES] = 0
    relative = np.zeros_like(compressed)
    if levels is not None:
        relative = np.clip((compressed - levels[0]) / levels[1], -LIMIT, LIMIT)
    return np.concatenate([relative, np.clip(absolute, -ABSOLUTE_LIMIT, ABSOLUTE_LIMIT)], axis=1)


class NightStager(nn.Module):
    """Features of single epochs and a head on those of a night.

    Parameters
    ----------
    members, width, dilations, dropout
        As in `NightHead`.
    adaptation
        Fields of `Adaptation`; nothing is refined where None.
    """

    def __init__(
        self,
        *,
        members: int,
        width: int,
        dilations: Sequence[int],
        dropout: float,
        adaptation: Mapping[str, float] | None,
    ) -> None:
        super().__init__()
        self.architecture: dict[str, Any] = {
            "members": members,
            "width": width,
            "dilations": list(dilations),
            "dropout": dropout,
            "adaptation": None if adaptation is None else dict(adaptation),
        }
        self.encoder = NightFeatures()
        self.head = NightHead(
            members=members,
            width=width,
            dilations=dilations,
            dropout=dropout,
            adaptation=None if adaptation is None else Adaptation(**adaptation),  # type: ignore[arg-type]
        )


def write_night_stager(path: Path, stager: NightStager, *, channel: str) -> None:
    """Write a stager, whose weights stand for one `channel` and for any that stands in for it."""
    about = {
        "kind": KIND,
        "architecture": stager.architecture,
        "channel": channel,
        "channels": [channel],
        "task": stager.head.task.name,
    }
    write_weights(path, stager.state_dict(), about)


def load_night_stager(path: Path) -> tuple[NightStager, dict[str, Any]]:
    """Rebuild a stager in evaluation mode, frozen; give the file's description too.

    Raises
    ------
    ValueError
        When the file is damaged, or another version wrote it.
    """
    about = read_about(path, kind=KIND)
    try:
        stager = NightStager(**about["architecture"])
    except TypeError as error:
        raise WeightsError(
            f"{path} describes a {KIND} that this Somnoflow cannot build ({error}): was it "
            "written by another version?"
        ) from error
    fill(stager, read_tensors(path), path=path)
    return stager.eval().requires_grad_(False), about
