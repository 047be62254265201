"""SynthSleepNet and a context module as one model: the classes of a window from its signals.

This is the fine-tuning of SynthSleepNet (arXiv 2502.17481): low-rank adapters in the encoder, a
new head on its features.

Notation: B windows, L epochs of a window, C channels, T samples of an epoch, N = B L epochs,
D embedding, W width, K classes of the task.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from somnoflow.models.context import WindowHead, build_context, map_valid
from somnoflow.models.frozen import digest
from somnoflow.models.layers import classifier
from somnoflow.models.lora import add_lora, lora_dropouts
from somnoflow.models.synthsleepnet import SynthSleepNet, rebuild_synthsleepnet
from somnoflow.models.weights import fill, read_about, read_tensors

KIND = "fused_stager"
# What pre-training needs of SynthSleepNet and classes do not.
PRETRAINING_ONLY = (
    "decoder_embed", "mask_token", "decoder_positions", "decoder_blocks", "decoder_norm",
    "decoder_pred", "fusion_projection", "unimodal_projection",
)  # fmt: skip


class FusedHead(WindowHead):
    """The published head of fine-tuning: a context module, two hidden layers, a linear layer.

    The published module is `mamba2`: batch norm, and the sum of its output and one Mamba2 layer.
    Then twice Linear, batch norm, ELU and dropout, and Linear W to K (arXiv 2502.17481).

    Parameters
    ----------
    dimension
        D, which is also the width of the context module. Published: 512.
    context
        Context module, a key of `somnoflow.models.context.CONTEXTS`.
    width
        W, of the hidden layers. Published: 256.
    dropout
        After each hidden layer. Published: 0.5.
    input_dropout
        Of single features. Published: 0.
    window, seen, task
        As in `WindowHead`.
    """

    def __init__(
        self,
        dimension: int,
        *,
        context: str,
        width: int = 256,
        dropout: float = 0.5,
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
        self.context = build_context(context, dimension)
        self.fc = classifier(
            (dimension, width, width), classes=len(self.task.classes), dropout=dropout
        )

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map features (B, L, D) to logits (B, L, K); padding, where valid (B, L) is False, to 0.

        Only valid epochs are in the statistics of the batch norms, so a batch for training needs
        two of them at least.
        """
        tokens = self.context(self.input_dropout(x), valid)  # (B, L, D)
        return map_valid(self.fc, tokens, valid)


class FusedStager(nn.Module):
    """SynthSleepNet's encoder, frozen, and a head on windows of its features.

    Parameters
    ----------
    encoder
        What only pre-training needs is taken off it. All of it is frozen and stays in evaluation
        mode, its batch norms too (defect N8); `adapt` gives it adapters that are trained.
    head
        On features of D values.

    Notes
    -----
    A window's signals are NaN where a channel is absent (`somnoflow.training.fused_tuning`), so
    that one array tells both. The features are those of pre-training and of every other head:
    the mean of all fused tokens of the channels that are there.

    The B L epochs are one batch of the encoder (defect N19). For the way back torch keeps nothing
    of the convolutions, which come before the first adapter, but the activations of the
    transformers of all epochs: with four channels about 2 MB an epoch of the presets `tiny`, 33 MB
    of the published ones, which is 21 GB for the published 32 windows of 20 epochs.
    """

    def __init__(self, encoder: SynthSleepNet, head: FusedHead) -> None:
        super().__init__()
        for name in PRETRAINING_ONLY:
            delattr(encoder, name)
        self.encoder = encoder.requires_grad_(False)
        self.head = head
        self.train(self.training)

    def adapt(self, *, rank: int, alpha: float, dropout: float) -> None:
        """Add the adapters, drawn from torch's own generator; arguments as in `add_lora`."""
        add_lora(self.encoder, self.encoder.tuning_targets, rank=rank, alpha=alpha, dropout=dropout)
        self.train(self.training)

    def train(self, mode: bool = True) -> "FusedStager":
        """Set the mode; the encoder stays in evaluation mode, but for the dropout of adapters."""
        super().train(mode)
        self.encoder.eval()
        for dropout in lora_dropouts(self.encoder):
            dropout.train(mode)
        return self

    def forward(self, signals: Tensor, valid: Tensor) -> Tensor:
        """Give the logits (B, L, K) of signals (B, L, C, T), NaN where a channel is absent.

        Padding, where valid (B, L) is False, is not encoded.
        """
        logits: Tensor = self.head(map_valid(self.forward_features, signals, valid), valid)
        return logits

    def forward_features(self, epochs: Tensor) -> Tensor:
        """Give the features (N, D) of epochs (N, C, T), the encoder's own."""
        return self.encoder.forward_features(epochs, ~epochs[..., 0].isnan())

    def frozen(self) -> Iterator[tuple[str, Tensor]]:
        """Give all that training must not change: parameters, and the encoder's buffers."""
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                yield name, parameter
        yield from self.encoder.named_buffers(prefix="encoder")

    def frozen_digest(self) -> str:
        """Give the SHA-256 of the names and values of all that is frozen."""
        return digest(self.frozen())


def describe_fused_stager(stager: FusedStager, about: Mapping[str, Any]) -> dict[str, Any]:
    """Give the description that stands with the weights and `load_fused_stager` builds from."""
    return {
        "kind": KIND,
        "encoder": stager.encoder.architecture,
        "head": stager.head.architecture,
        "channels": list(stager.encoder.channels),
        **about,
    }


def load_fused_stager(path: Path) -> tuple[FusedStager, dict[str, Any]]:
    """Rebuild a fine-tuned model, its adapters folded in, in evaluation mode; and its description.

    Raises
    ------
    ValueError
        When the file is damaged or of another kind.
    """
    about = read_about(path, kind=KIND)
    stager = FusedStager(rebuild_synthsleepnet(about["encoder"]), FusedHead(**about["head"]))
    fill(stager, read_tensors(path), path=path)
    return stager.eval().requires_grad_(False), about
