"""A model whose answers are explained: an encoder of single epochs and a head on its features.

Notation: B epochs, C channels, T samples of an epoch, D feature.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from somnoflow.models.context import WindowHead
from somnoflow.models.encoders import ModalityEncoder, load_encoder
from somnoflow.models.epoch_encoder import EpochEncoder
from somnoflow.models.errors import WeightsError
from somnoflow.models.heads import LinearProbe, load_head
from somnoflow.models.neuronet import NeuroNet
from somnoflow.models.recurrent import NightHead
from somnoflow.models.synthsleepnet import KIND as SYNTHSLEEPNET
from somnoflow.models.synthsleepnet import SynthSleepNet
from somnoflow.models.tuned import load_tuned
from somnoflow.models.weights import read_about
from somnoflow.tasks import Task

EncoderModule = NeuroNet | ModalityEncoder | SynthSleepNet | EpochEncoder
HeadModule = LinearProbe | WindowHead | NightHead
# Weights that need a head beside them.
ENCODERS = ("neuronet", SYNTHSLEEPNET)


@dataclass(frozen=True, eq=False)
class ExplainedModel:
    """Encoder and head in evaluation mode, on the CPU, frozen.

    Attributes
    ----------
    encoder
        Of one channel, or of those of `channels` that an epoch has.
    head
        On its features; has a gradient.
    channels
        What the encoder reads.
    """

    encoder: EncoderModule
    head: HeadModule
    channels: tuple[str, ...]

    @property
    def task(self) -> Task:
        """What the model is asked."""
        return self.head.task

    def encode(self, signals: Tensor, present: Tensor) -> Tensor:
        """Give the features (B, D) of signals (B, C, T), of the channels present (B, C)."""
        if isinstance(self.encoder, ModalityEncoder | SynthSleepNet):
            return self.encoder.forward_features(signals, present)
        return self.encoder.forward_features(signals.squeeze(dim=1))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Map logits (..., K) to probabilities; a class that training never saw has 0."""
        return torch.softmax(logits.masked_fill(~self.head.seen, float("-inf")), dim=-1)


def load_explained(files: Sequence[Path]) -> ExplainedModel:
    """Rebuild a model from its files.

    Parameters
    ----------
    files
        One file, of a supervised or fine-tuned model; or two, of a frozen encoder and of its head.

    Raises
    ------
    WeightsError
        When a file is damaged or of another kind, an encoder comes without a head, or the head is
        none that has a gradient.
    """
    try:
        return _load(files)
    except ValueError as error:
        raise WeightsError(str(error)) from error


def _load(files: Sequence[Path]) -> ExplainedModel:
    if len(files) == 1:
        _require_head(files[0])
        tuned, about = load_tuned(files[0])
        return ExplainedModel(tuned.encoder, tuned.head, tuple(about["channels"]))
    if len(files) != 2:
        raise WeightsError(f"found {len(files)} files, wanted a model, or an encoder and its head")
    encoder, about = load_encoder(files[0])
    head = load_head(files[1], dimension=encoder.dimension)
    if not isinstance(head, LinearProbe | WindowHead):
        raise WeightsError(
            f"{files[1]} holds a head without gradients, {type(head).__name__}: what it looks at "
            "cannot be told so. Wanted a linear probe or a context module"
        )
    return ExplainedModel(encoder, head.requires_grad_(False), tuple(about["channels"]))


def _require_head(path: Path) -> None:
    kinds = (*ENCODERS, "stager", "fused_stager", "supervised")
    if read_about(path, kind=kinds)["kind"] in ENCODERS:
        raise WeightsError(
            f"{path} is an encoder alone and gives no classes. Wanted: its head too, with --head, "
            "or a model that was fine-tuned or trained as a whole"
        )
