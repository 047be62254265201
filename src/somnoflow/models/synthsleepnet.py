"""SynthSleepNet: several channels of an epoch as one embedding (arXiv 2502.17481).

Methods are named as in MAE and in `neuronet.py`, so that the three can be read side by side.

Notation
--------
B  epochs in a batch            F  frames of an epoch      D  embedding of the fusion
C  channels                     L  visible frames          d  embedding of the decoders
T  samples of an epoch          U  embedding of the unimodal encoders
N  epochs of the batch that have a channel
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from somnoflow.models.frozen import digest
from somnoflow.models.layers import (
    NORM_EPS,
    Block,
    initialise_as_mae,
    projection_head,
    sincos_positions,
    without_bias,
)
from somnoflow.models.lora import lora_dropouts, merged_state
from somnoflow.models.losses import nt_xent
from somnoflow.models.masking import masked_error, random_masking, restore
from somnoflow.models.neuronet import Losses, NeuroNet, whole, without_pretraining
from somnoflow.models.presence import Presence
from somnoflow.models.weights import fill, read_about, read_tensors, write_weights

Preset = Literal["tiny", "published"]

KIND = "synthsleepnet"
# Layers that are adapted by LoRA while the fusion is trained, as published: of each channel's
# encoder, the last of each attention.
LORA_TARGETS = r"encoders\.\w+\.encoder_blocks\.\d+\.attn\.proj"
# What the encoders of all channels must share, as errors call it.
ALIKE = {
    "sampling_rate": "a sampling rate in Hz of",
    "samples": "an epoch in samples of",
    "window": "a frame in samples of",
    "step": "a step between frames in samples of",
    "dimension": "an embedding of",
}
# Epochs that a contrast needs: one must have another to differ from.
FEWEST = 2
# Epochs whose frames are in a frozen backbone at once: with its maps in the processor's cache it
# is faster, and memory does not grow with the batch.
CHUNK = 32


class Embedding(nn.Sequential):
    """Map a channel's tokens to the fusion: Linear, batch norm over all tokens, ELU, Linear."""

    def __init__(self, unimodal_dim: int, dim: int) -> None:
        super().__init__(
            nn.Linear(unimodal_dim, dim), nn.BatchNorm1d(dim), nn.ELU(), nn.Linear(dim, dim)
        )
        without_bias(self[0])

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (N, 1 + F, U) to (N, 1 + F, D); in training CLS counts in the batch norm too."""
        return super().forward(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])


class Hidden(NamedTuple):
    """What a masking hides of one channel: `mask` and `ids_restore`, (N, F) each."""

    mask: Tensor
    ids_restore: Tensor


class SynthSleepNet(nn.Module):
    """A masked autoencoder over the frame tokens of several channels, and a contrast with each.

    Each channel has a frozen NeuroNet of its modality, whose frame tokens are mapped to D values.
    A share of each channel's frames is hidden, the rest of all channels is one sequence for a
    transformer. From a channel's part of its output, the channel's decoder predicts the hidden
    tokens of its NeuroNet, and the mean of all is to find the mean of each channel in the batch.

    A channel that an epoch does not have is left out of the sequence, the losses and the
    statistics: the numbers are those of a model without it.

    Parameters
    ----------
    encoders
        A NeuroNet for each channel, in the order of the channels of a signal. Each is copied, so
        that channels of one modality can be adapted by themselves; what only pre-training needs is
        taken off the copy, the rest is frozen and stays in evaluation mode (defect N8).
    encoder_dim, encoder_heads, encoder_blocks
        D, heads and blocks of the fusion. Published: 512, 8, 4.
    decoder_dim, decoder_heads, decoder_blocks
        d, heads and blocks of each channel's decoder. Published: 256, 8, 3.
    projection
        Sizes of the projections' two linear layers. Published: 512, 256.
    mask_ratio
        Share of each channel's frames that is hidden. Published: 0.4.
    temperature
        Of the contrastive losses. Published: 0.1.
    alpha
        Weight of the contrastive losses. Published: 1.
    stop_gradient
        Take the channels' tokens as a fixed target of the prediction. Published: no, what adapts
        an encoder is trained by its own target.

    Notes
    -----
    The new layers start as in MAE; the encoders keep their weights (defect S1). The published
    model has a CLS token that nothing uses; here is none.
    """

    positions: Tensor
    decoder_positions: Tensor

    def __init__(
        self,
        encoders: Mapping[str, NeuroNet],
        *,
        encoder_dim: int = 512,
        encoder_heads: int = 8,
        encoder_blocks: int = 4,
        decoder_dim: int = 256,
        decoder_heads: int = 8,
        decoder_blocks: int = 3,
        projection: Sequence[int] = (512, 256),
        mask_ratio: float = 0.4,
        temperature: float = 0.1,
        alpha: float = 1.0,
        stop_gradient: bool = False,
    ) -> None:
        sizes = {
            name: list(value) if isinstance(value, tuple | list) else value
            for name, value in locals().items()
            if name not in {"self", "__class__", "encoders"}
        }
        super().__init__()
        _require_alike(encoders)
        self.channels = tuple(encoders)
        self.architecture: dict[str, Any] = {
            "channels": list(self.channels),
            "encoders": {channel: encoder.architecture for channel, encoder in encoders.items()},
            **sizes,
        }
        first = encoders[self.channels[0]]
        self.sampling_rate, self.samples, self.frames = (
            first.sampling_rate, first.samples, first.frames,
        )  # fmt: skip
        self.visible = whole(self.frames * (1 - mask_ratio))  # L
        if not 1 <= self.visible < self.frames:
            raise ValueError(
                f"a mask ratio of {mask_ratio} leaves {self.visible} of {self.frames} frames "
                f"visible, wanted 1 to {self.frames - 1}"
            )
        self.temperature = temperature
        self.alpha = alpha
        self.stop_gradient = stop_gradient
        unimodal_dim = first.dimension  # U

        self.embedding = nn.ModuleDict(
            {channel: Embedding(unimodal_dim, encoder_dim) for channel in self.channels}
        )
        self.modality_tokens = nn.ParameterDict(
            {
                channel: nn.Parameter(torch.empty(1, self.frames, encoder_dim))
                for channel in self.channels
            }
        )
        self.register_buffer("positions", sincos_positions(self.frames, encoder_dim)[None])
        self.encoder_blocks = nn.ModuleList(
            Block(encoder_dim, encoder_heads) for _ in range(encoder_blocks)
        )
        self.encoder_norm = nn.LayerNorm(encoder_dim, eps=NORM_EPS)

        self.decoder_embed = nn.Linear(encoder_dim, decoder_dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, decoder_dim))
        self.register_buffer("decoder_positions", sincos_positions(self.frames, decoder_dim)[None])
        self.decoder_blocks = nn.ModuleDict(
            {
                channel: nn.ModuleList(
                    Block(decoder_dim, decoder_heads) for _ in range(decoder_blocks)
                )
                for channel in self.channels
            }
        )
        self.decoder_norm = nn.LayerNorm(decoder_dim, eps=NORM_EPS)
        self.decoder_pred = nn.ModuleDict(
            {channel: nn.Linear(decoder_dim, unimodal_dim) for channel in self.channels}
        )

        self.fusion_projection = projection_head(encoder_dim, projection)
        self.unimodal_projection = nn.ModuleDict(
            {channel: projection_head(unimodal_dim, projection) for channel in self.channels}
        )
        self.apply(initialise_as_mae)
        for token in (*self.modality_tokens.values(), self.mask_token):
            nn.init.normal_(token, std=0.02)
        # Last, so that no initialisation can reach them (defect S1).
        self.encoders = nn.ModuleDict(
            {
                channel: without_pretraining(deepcopy(encoder)).requires_grad_(False)
                for channel, encoder in encoders.items()
            }
        )
        self.train(self.training)

    @property
    def dimension(self) -> int:
        """Size D of the feature of an epoch."""
        return self.encoder_norm.normalized_shape[0]

    def train(self, mode: bool = True) -> "SynthSleepNet":
        """Set the mode; the encoders stay in evaluation mode, but for the dropout of adapters."""
        super().train(mode)
        self.encoders.eval()
        for dropout in lora_dropouts(self.encoders):
            dropout.train(mode)
        return self

    def forward(
        self,
        signals: Tensor,
        present: Tensor,
        *,
        noise: Tensor | None = None,
        gather: Callable[[Tensor], Tensor] | None = None,
    ) -> Losses:
        """Give the losses of a random masking of each epoch.

        The reconstruction is the mean over all hidden frames of all channels that are there, the
        contrast the mean over channels, of those that at least two epochs of the batch have; zero
        where there is none.

        Parameters
        ----------
        signals
            (B, C, T), in the order of `channels`.
        present
            (B, C), False where an epoch does not have a channel; what `signals` holds there is
            not looked at.
        noise
            From `draw_noise`, (C, B, F); drawn from torch's own generator where None.
        gather
            Where other processes have more epochs of this batch: gives all their rows from ours,
            (B, P), with gradients, so that each epoch is compared with the whole batch. All
            processes must then have the same number of epochs, and of each channel at least one.

        Raises
        ------
        ValueError
            When signals have another shape, or an epoch has no channel.
        """
        if noise is None:
            noise = self.draw_noise(len(signals))
        presence = self._presence(signals, present)
        tokens = self.embed_channels(signals, presence)
        latent, hidden = self.forward_encoder(tokens, presence, noise=noise)
        predicted = self.forward_decoder(latent, hidden, presence)
        reconstruction = self.forward_loss(tokens, predicted, hidden)
        contrastive = self.forward_contrast(latent, tokens, presence, gather=gather)
        return Losses(reconstruction + self.alpha * contrastive, reconstruction, contrastive)

    def _presence(self, signals: Tensor, present: Tensor) -> Presence:
        presence = Presence(present, channels=self.channels)
        if signals.shape != (wanted := (presence.epochs, len(self.channels), self.samples)):
            raise ValueError(
                f"found signals of shape {tuple(signals.shape)}, wanted {wanted}: "
                f"{', '.join(self.channels)}, of {self.samples / self.sampling_rate:g} s at "
                f"{self.sampling_rate} Hz"
            )
        return presence

    def draw_noise(self, epochs: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw what decides the maskings of some epochs, on the CPU, the same for every device.

        Parameters
        ----------
        epochs
            B.
        generator
            On the CPU; torch's own where None.

        Returns
        -------
        (C, B, F): for each channel, epoch and frame a number in [0, 1); the frames of a channel
        with the lowest stay visible.
        """
        return torch.rand(len(self.channels), epochs, self.frames, generator=generator)

    def embed_channels(self, signals: Tensor, presence: Presence) -> dict[str, Tensor]:
        """Give the tokens (N, 1 + F, U) of each channel that is there, CLS first.

        Torch keeps nothing for the way back of what is frozen before the first adapter.
        """
        tokens = {}
        for channel, rows in presence.rows.items():
            encoder = self.encoder(channel)
            epochs = signals[:, self.channels.index(channel)][rows]  # (N, T)
            frames = encoder.make_frames(epochs).split(CHUNK)
            tokens[channel] = encoder.encode_tokens(
                torch.cat([encoder.embed_frames(part) for part in frames])
            )
        return tokens

    def encoder(self, channel: str) -> NeuroNet:
        """Give the encoder of a channel."""
        encoder = self.encoders[channel]
        assert isinstance(encoder, NeuroNet)  # noqa: S101 - tells mypy
        return encoder

    def forward_encoder(
        self, tokens: Mapping[str, Tensor], presence: Presence, *, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Hidden]]:
        """Fuse the tokens of the channels.

        Parameters
        ----------
        tokens
            From `embed_channels`.
        presence
            Which epochs have which channels.
        noise
            (C, B, F); nothing is hidden where None.

        Returns
        -------
        latent : Tensor
            (B, C' L, D): L tokens for each of the C' channels of `tokens`, one channel after the
            other. Those of a channel that an epoch does not have mean nothing.
        hidden : dict
            What is hidden of each channel; empty without noise.
        """
        parts, hidden = [], {}
        for channel, unimodal in tokens.items():
            x = self.embedding[channel](unimodal)[:, 1:]  # (N, F, D)
            x = x + self.modality_tokens[channel] + self.positions
            if noise is not None:
                own = noise[self.channels.index(channel)].to(x.device)[presence.rows[channel]]
                x, mask, ids_restore = random_masking(x, visible=self.visible, noise=own)
                hidden[channel] = Hidden(mask, ids_restore)  # x is (N, L, D) now
            parts.append(presence.spread(x, channel))
        x = torch.cat(parts, dim=1)  # (B, C' L, D)
        valid = presence.valid(parts[0].shape[1])
        for block in self.encoder_blocks:
            x = block(x, valid)
        return self.encoder_norm(x), hidden

    def forward_decoder(
        self, latent: Tensor, hidden: Mapping[str, Hidden], presence: Presence
    ) -> dict[str, Tensor]:
        """Predict all tokens (N, F, U) of each channel from its own part of `latent` (defect S2).

        `latent` is (B, C' L, D), in the order of `hidden`.
        """
        predicted = {}
        parts = latent.split(self.visible, dim=1)  # C' x (B, L, D)
        for (channel, (_, ids_restore)), part in zip(hidden.items(), parts, strict=True):
            x = self.decoder_embed(part[presence.rows[channel]])  # (N, L, d)
            x = restore(x, mask_token=self.mask_token, ids_restore=ids_restore)  # (N, F, d)
            x = x + self.decoder_positions
            for block in self.decoder_blocks[channel]:  # type: ignore[attr-defined]
                x = block(x)
            predicted[channel] = self.decoder_pred[channel](self.decoder_norm(x))
        return predicted

    def forward_loss(
        self,
        tokens: Mapping[str, Tensor],
        predicted: Mapping[str, Tensor],
        hidden: Mapping[str, Hidden],
    ) -> Tensor:
        """Give the mean squared error over the hidden frames of all channels that are there."""
        errors, epochs = [], 0
        for channel, (mask, _) in hidden.items():
            target = tokens[channel][:, 1:]
            if self.stop_gradient:
                target = target.detach()
            errors.append(masked_error(target, predicted[channel], mask) * len(mask))
            epochs += len(mask)
        # Of each epoch and channel as many frames are hidden.
        return torch.stack(errors).sum() / epochs

    def forward_contrast(
        self,
        latent: Tensor,
        tokens: Mapping[str, Tensor],
        presence: Presence,
        *,
        gather: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Give NT-Xent between the fusion and each channel, the mean over the channels.

        Compared are the projected mean of the visible fused tokens and that of all tokens of the
        channel, with CLS, as published.
        """
        gather = gather or _alone
        fusion = None
        losses = []
        for channel, unimodal in tokens.items():
            there = gather(presence.spread(unimodal.new_ones(presence.counts[channel], 1), channel))
            pairs = there.squeeze(1).nonzero().squeeze(1)
            if len(pairs) < FEWEST:
                continue
            if fusion is None:
                fusion = gather(self.fusion_projection(self.pool(latent, presence)))
            own = self.unimodal_projection[channel](unimodal.mean(dim=1))  # (N, P)
            own = gather(presence.spread(own, channel))
            losses.append(nt_xent(fusion[pairs], own[pairs], temperature=self.temperature))
        return torch.stack(losses).mean() if losses else latent.new_zeros(())

    def pool(self, latent: Tensor, presence: Presence) -> Tensor:
        """Give the mean (B, D) of the fused tokens (B, C' L, D) that are there."""
        valid = presence.valid(latent.shape[1] // len(presence.rows))
        if valid is None:
            return latent.mean(dim=1)
        total = latent.where(valid[:, :, None], 0).sum(dim=1)
        return total / valid.sum(dim=1, keepdim=True)

    def forward_features(self, signals: Tensor, present: Tensor) -> Tensor:
        """Give the feature (B, D) of epochs: the mean of all fused tokens, nothing hidden.

        Signals (B, C, T) and presence (B, C) as in `forward`.
        """
        presence = self._presence(signals, present)
        latent, _ = self.forward_encoder(self.embed_channels(signals, presence), presence)
        return self.pool(latent, presence)

    @property
    def tuning_targets(self) -> str:
        """Layers that fine-tuning adapts by LoRA, as published.

        The linear layers of each channel's frame backbone, and the MLP of the last fused block.
        """
        last = len(self.encoder_blocks) - 1
        return (
            r"encoders\.\w+\.frame_backbone\.feature_layer\.[02]"
            rf"|encoder_blocks\.{last}\.mlp\.fc[12]"
        )

    def frozen(self) -> Iterator[tuple[str, Tensor]]:
        """Give all of the encoders that training must not change: weights and statistics."""
        for name, parameter in self.encoders.named_parameters(prefix="encoders"):
            if not parameter.requires_grad:
                yield name, parameter
        yield from self.encoders.named_buffers(prefix="encoders")

    def frozen_digest(self) -> str:
        """Give the SHA-256 of the names and values of all that is frozen."""
        return digest(self.frozen())


def _alone(x: Tensor) -> Tensor:
    return x


def _require_alike(encoders: Mapping[str, NeuroNet]) -> None:
    """Raise `ValueError` where encoders cannot be fused."""
    if not encoders:
        raise ValueError("found no channels to fuse, wanted an encoder for at least one")
    first, *others = encoders
    for channel in others:
        for name, meaning in ALIKE.items():
            one, other = getattr(encoders[first], name), getattr(encoders[channel], name)
            if one != other:
                raise ValueError(
                    f"the encoder of {first} has {meaning} {one}, that of {channel} {other}; "
                    "wanted the same: train all encoders with one `unimodal` section"
                )


# Published sizes; `tiny` is ours, for laptops and tests.
PRESETS: dict[Preset, dict[str, Any]] = {
    "tiny": {
        "encoder_dim": 64, "encoder_heads": 4, "encoder_blocks": 2,
        "decoder_dim": 32, "decoder_heads": 4, "decoder_blocks": 1,
        "projection": (64, 32),
    },
    "published": {
        "encoder_dim": 512, "encoder_heads": 8, "encoder_blocks": 4,
        "decoder_dim": 256, "decoder_heads": 8, "decoder_blocks": 3,
        "projection": (512, 256),
    },
}  # fmt: skip


def synthsleepnet(
    preset: Preset, encoders: Mapping[str, NeuroNet], **overrides: Any
) -> SynthSleepNet:
    """Build SynthSleepNet from a preset; `overrides` replace its values."""
    return SynthSleepNet(encoders, **{**PRESETS[preset], **overrides})


def describe_synthsleepnet(model: SynthSleepNet, about: Mapping[str, Any]) -> dict[str, Any]:
    """Give the description that stands with the weights and that `load_synthsleepnet` builds from.

    `about` adds what else is to be known, such as `channel`, the fusion's name.
    """
    return {
        "kind": KIND,
        "architecture": model.architecture,
        "channels": list(model.channels),
        "sampling_rate": model.sampling_rate,
        **about,
    }


def save_synthsleepnet(path: Path, model: SynthSleepNet, about: Mapping[str, Any]) -> None:
    """Write a model, its adapters folded in, and its description; the model stays as it is."""
    write_weights(path, merged_state(model), describe_synthsleepnet(model, about))


def load_synthsleepnet(path: Path) -> tuple[SynthSleepNet, dict[str, Any]]:
    """Rebuild a model without adapters in evaluation mode, frozen; give the description too."""
    about = read_about(path, kind=KIND)
    model = rebuild_synthsleepnet(about["architecture"])
    fill(model, read_tensors(path), path=path)
    return model.eval().requires_grad_(False), about


def rebuild_synthsleepnet(architecture: Mapping[str, Any]) -> SynthSleepNet:
    """Build a model of an `architecture`, as JSON keeps it; its weights are new ones."""
    sizes = dict(architecture)
    # JSON does not keep the order of a map.
    channels, described = sizes.pop("channels"), sizes.pop("encoders")
    return SynthSleepNet({name: NeuroNet(**described[name]) for name in channels}, **sizes)
