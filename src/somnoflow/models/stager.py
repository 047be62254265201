"""An encoder and a context module as one model: the stages of a window from its signals.

This is the fine-tuning of NeuroNet (arXiv 2404.17585, section IV). The encoder's feature is the
mean of its frame tokens, the same as every other head gets (defect N10); decoder and projection
are not part of the model.

Notation: B windows, L epochs of a window, T samples of an epoch, N = B L epochs, F frames,
D embedding, K = 5 stages.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from somnoflow.models.context import ContextHead, map_valid
from somnoflow.models.frozen import digest
from somnoflow.models.neuronet import NeuroNet, without_pretraining
from somnoflow.models.weights import fill, read_about, read_tensors

Tuning = Literal["partial", "full", "scratch"]


class Stager(nn.Module):
    """NeuroNet's encoder and a context head.

    Parameters
    ----------
    encoder
        NeuroNet; what only pre-training needs is taken off it.
    head
        Context head on features of D values.
    tuning
        `partial`, as published: trained are the MLP and the second norm of the last encoder block,
        the encoder norm and the head; the rest is frozen and stays in evaluation mode. `full` and
        `scratch`: all is trained, from the encoder's weights as they are.

    Notes
    -----
    The frame backbone has batch norms. Frozen, they use the statistics of pre-training and change
    nothing (defect N8). In `full` and `scratch` they see the frames of all epochs of a batch at
    once while training, and move their running statistics once a batch, which evaluation uses.
    Padding never reaches them.

    `full` and `scratch` keep the backbone's activations of all B L epochs for the way back: with
    73 frames about 0.07 GB for a window of 20 epochs of the preset `tiny`, 1 GB of `T`. `partial`
    keeps none of them.
    """

    def __init__(self, encoder: NeuroNet, head: ContextHead, *, tuning: Tuning) -> None:
        super().__init__()
        self.encoder = without_pretraining(encoder)
        self.head = head
        self.tuning = tuning
        self.encoder.requires_grad_(tuning != "partial")
        for part in self._tuned_parts():
            part.requires_grad_(True)
        self.train(self.training)

    def _tuned_parts(self) -> list[nn.Module]:
        last = self.encoder.encoder_blocks[-1]
        return [last.norm2, last.mlp, self.encoder.encoder_norm]  # type: ignore[list-item]

    def train(self, mode: bool = True) -> "Stager":
        """Set the mode of what is trained; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.tuning == "partial":
            # The trained parts of the encoder are the same in both modes: they have no dropout.
            self.encoder.eval()
        return self

    def forward(self, signals: Tensor, valid: Tensor) -> Tensor:
        """Give the logits (B, L, K) of signals (B, L, T); padding, where valid (B, L) is False."""
        logits: Tensor = self.head(map_valid(self.forward_features, signals, valid), valid)
        return logits

    def forward_features(self, epochs: Tensor) -> Tensor:
        """Give the features (N, D) of epochs (N, T), the encoder's own.

        With `partial` all that comes before the last MLP is frozen, so torch records nothing of it.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.tuning != "partial"):
            tokens = self.encoder.embed_frames(self.encoder.make_frames(epochs))  # (N, F, E)
        return self.encoder.forward_tokens(tokens)

    def frozen(self) -> Iterator[tuple[str, Tensor]]:
        """Give all that training must not change: parameters, and the buffers beside them."""
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                yield name, parameter
        if self.tuning == "partial":
            yield from self.encoder.named_buffers(prefix="encoder")

    def frozen_digest(self) -> str:
        """Give the SHA-256 of the names and values of all that is frozen."""
        return digest(self.frozen())


def describe_stager(stager: Stager, about: Mapping[str, Any]) -> dict[str, Any]:
    """Give the description that stands with the weights and that `load_stager` builds from."""
    return {
        "kind": "stager",
        "tuning": stager.tuning,
        "encoder": stager.encoder.architecture,
        "head": stager.head.architecture,
        **about,
    }


def load_stager(path: Path) -> tuple[Stager, dict[str, Any]]:
    """Rebuild a fine-tuned model in evaluation mode; give it and the file's description."""
    about = read_about(path, kind="stager")
    stager = Stager(
        NeuroNet(**about["encoder"]), ContextHead(**about["head"]), tuning=about["tuning"]
    )
    fill(stager, read_tensors(path), path=path)
    return stager.eval().requires_grad_(False), about
