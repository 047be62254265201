"""NeuroNet: masked prediction and contrastive learning on one channel (arXiv 2404.17585).

Methods are named as in MAE (arXiv 2111.06377), so that paper, MAE and this file can be read side
by side.

Notation
--------
B  epochs in a batch            F  frames of an epoch      D  embedding of the encoder
T  samples of an epoch (3000)   W  samples of a frame      d  embedding of the decoder
L  visible frames               E  values of a frame token
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from somnoflow.models.backbone import FrameBackbone
from somnoflow.models.epoch_encoder import EpochEncoder
from somnoflow.models.layers import (
    NORM_EPS,
    Block,
    initialise_as_mae,
    projection_head,
    sincos_positions,
)
from somnoflow.models.losses import nt_xent
from somnoflow.models.masking import masked_error, random_masking, restore

Preset = Literal["tiny", "T", "B", "synth-tiny", "synth"]
Objective = Literal["hybrid", "masked", "contrastive"]

# A product of seconds and Hz (0.29 x 100) or of frames and shares (10 x (1 - 0.8)) can fall a
# rounding error short of the whole number it means.
ROUNDING = 1e-9
# What pre-training needs and a feature does not.
PRETRAINING_ONLY = (
    "decoder_embed", "mask_token", "decoder_positions", "decoder_blocks", "decoder_norm",
    "decoder_pred", "projection",
)  # fmt: skip


class Losses(NamedTuple):
    """Losses of a batch, float32; None is what the objective does not compute.

    `total` is `reconstruction + alpha x contrastive`, or the one of them that the objective is.
    """

    total: Tensor
    reconstruction: Tensor | None
    contrastive: Tensor | None


class NeuroNet(EpochEncoder):
    """A masked autoencoder over the frames of an epoch, with a contrastive loss on its CLS token.

    An epoch is cut into overlapping frames, each becomes a token (`FrameBackbone`). Two random
    maskings of the same tokens pass encoder and decoder; each is to predict the hidden tokens, and
    their CLS tokens are to find each other in the batch.

    Parameters
    ----------
    sampling_rate
        Hz. Published: 100.
    epoch_seconds
        Length of an epoch. Published: 30.
    frame_window, frame_step
        Length of a frame and step between frames in seconds, cut down to whole samples; frames
        that would pass the end are dropped. Published: 3 and 0.375, which is F = 73 of W = 300.
    encoder_dim, encoder_heads, encoder_blocks
        D, heads and blocks of the encoder. Published: 512 (T) or 768 (B), 8, 4.
    decoder_dim, decoder_heads, decoder_blocks
        d, heads and blocks of the decoder. Published: 192, 8, 1 (T) or 256, 8, 3 (B).
    projection
        Sizes of the projection's two linear layers. Published: 1024, 512.
    stem, stem_stride, channels, strides, squeeze
        Of the frame backbone. Published: 32; 2; 32, 32, 48, 64; 1, 1, 2, 2; none. As encoder of
        SynthSleepNet: 64; 2; 64, 128, 128, 256; 1, 1, 2, 2; 16.
    trainable_positions
        Train the positions, and one of CLS. Published: no; as encoder of SynthSleepNet, yes.
    mask_ratio
        Share of the frames hidden from the encoder. Published: 0.8, so L = 14 of 73 are visible.
    temperature
        Of the contrastive loss. Published: 0.05.
    alpha
        Weight of the contrastive loss. Published: 1.
    stop_gradient
        Take the frame tokens as a fixed target of the reconstruction. Published: no, the target
        is trained with its prediction (defect N11).
    mask_block
        Neighbouring frames that are hidden or shown together. Published: 1, although neighbours
        share 88 % of their samples (defect N11).
    objective
        `hybrid`: both losses, as published. `masked`: the reconstruction alone, `contrastive`: the
        contrast alone; what the other half needs (projection, decoder) is then not run, has no
        gradient and is not decayed. It stays in the state, so that files have one form.

    Notes
    -----
    The weights of the frame backbone and of the projection start as torch's layers do, those of
    encoder and decoder as in MAE. Positions are buffers of the state, so a converted checkpoint
    brings its own; the one of CLS is zero. Trained positions start from the same values.
    """

    positions: Tensor
    cls_position: Tensor | None
    decoder_positions: Tensor

    def __init__(
        self,
        *,
        sampling_rate: int = 100,
        epoch_seconds: float = 30,
        frame_window: float = 3.0,
        frame_step: float = 0.375,
        encoder_dim: int = 768,
        encoder_heads: int = 8,
        encoder_blocks: int = 4,
        decoder_dim: int = 256,
        decoder_heads: int = 8,
        decoder_blocks: int = 3,
        projection: Sequence[int] = (1024, 512),
        stem: int = 32,
        stem_stride: int = 2,
        channels: Sequence[int] = (32, 32, 48, 64),
        strides: Sequence[int] = (1, 1, 2, 2),
        mask_ratio: float = 0.8,
        temperature: float = 0.05,
        alpha: float = 1.0,
        stop_gradient: bool = False,
        mask_block: int = 1,
        objective: Objective = "hybrid",
        squeeze: int | None = None,
        trainable_positions: bool = False,
    ) -> None:
        super().__init__()
        self.architecture: dict[str, Any] = {
            name: list(value) if isinstance(value, tuple | list) else value
            for name, value in locals().items()
            if name not in {"self", "__class__"}
        }
        self.sampling_rate = sampling_rate
        self.samples = whole(epoch_seconds * sampling_rate)  # T
        self.window = whole(frame_window * sampling_rate)  # W
        self.step = whole(frame_step * sampling_rate)
        if not 1 <= self.step <= self.window <= self.samples:
            raise ValueError(
                f"frames of {self.window} samples every {self.step} samples do not fit an epoch "
                f"of {self.samples} samples ({epoch_seconds} s at {sampling_rate} Hz); wanted "
                "1 <= step <= window <= epoch"
            )
        self.frames = (self.samples - self.window) // self.step + 1  # F
        self.mask_ratio = mask_ratio
        self.visible = whole(self.frames * (1 - mask_ratio))  # L
        if not 1 <= self.visible < self.frames:
            raise ValueError(
                f"a mask ratio of {mask_ratio} leaves {self.visible} of {self.frames} frames "
                f"visible, wanted 1 to {self.frames - 1}"
            )
        self.temperature = temperature
        self.alpha = alpha
        self.stop_gradient = stop_gradient
        self.mask_block = mask_block
        self.objective = objective

        self.frame_backbone = FrameBackbone(
            self.window,
            stem=stem,
            stem_stride=stem_stride,
            channels=channels,
            strides=strides,
            squeeze=squeeze,
        )
        token = self.frame_backbone.features  # E

        self.patch_embed = nn.Linear(token, encoder_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, encoder_dim))
        self._add_positions("positions", encoder_dim, trained=trainable_positions)
        self.register_parameter(
            "cls_position",
            nn.Parameter(torch.zeros(1, 1, encoder_dim)) if trainable_positions else None,
        )
        self.encoder_blocks = nn.ModuleList(
            Block(encoder_dim, encoder_heads) for _ in range(encoder_blocks)
        )
        self.encoder_norm = nn.LayerNorm(encoder_dim, eps=NORM_EPS)

        self.decoder_embed = nn.Linear(encoder_dim, decoder_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self._add_positions("decoder_positions", decoder_dim, trained=trainable_positions)
        self.decoder_blocks = nn.ModuleList(
            Block(decoder_dim, decoder_heads) for _ in range(decoder_blocks)
        )
        self.decoder_norm = nn.LayerNorm(decoder_dim, eps=NORM_EPS)
        self.decoder_pred = nn.Linear(decoder_dim, token)
        for part in (
            self.patch_embed, self.encoder_blocks,
            self.decoder_embed, self.decoder_blocks, self.decoder_pred,
        ):  # fmt: skip
            part.apply(initialise_as_mae)
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)

        self.projection = projection_head(encoder_dim, projection)
        if objective == "masked":
            self.projection.requires_grad_(False)
        if objective == "contrastive":
            self.mask_token.requires_grad_(False)
            self.decoder_positions.requires_grad_(False)
            for unused in (
                self.decoder_embed, self.decoder_blocks, self.decoder_norm, self.decoder_pred,
            ):  # fmt: skip
                unused.requires_grad_(False)

    def _add_positions(self, name: str, dim: int, *, trained: bool) -> None:
        positions = sincos_positions(self.frames, dim)[None]
        if trained:
            self.register_parameter(name, nn.Parameter(positions))
        else:
            self.register_buffer(name, positions)

    @property
    def dimension(self) -> int:
        """Size D of the feature of an epoch."""
        return self.encoder_norm.normalized_shape[0]

    def forward(
        self,
        epochs: Tensor,
        *,
        noise: Tensor | None = None,
        gather: Callable[[Tensor], Tensor] | None = None,
    ) -> Losses:
        """Give the losses of two random maskings of each epoch (equations 1 to 4 of the paper).

        Parameters
        ----------
        epochs
            Signals (B, T).
        noise
            From `draw_noise`, (2, B, blocks); drawn from torch's own generator where None.
        gather
            Where other processes have more epochs of this batch: gives all their projections from
            ours, (B, P), with gradients, so that each epoch is compared with the whole batch.
        """
        if noise is None:
            noise = self.draw_noise(len(epochs))
        tokens = self.embed_frames(self.make_frames(epochs))  # (B, F, E)
        # The two maskings are one batch of 2B: no layer of encoder and decoder mixes epochs.
        latent, mask, ids_restore = self.forward_encoder(
            tokens, mask_ratio=self.mask_ratio, noise=noise.flatten(0, 1)
        )  # (2B, 1 + L, D), (2B, F), (2B, F)
        if self.objective == "contrastive":
            contrastive = self.forward_contrast(latent, gather=gather)
            return Losses(contrastive, None, contrastive)
        predicted = self.forward_decoder(latent, ids_restore)  # (2B, F, E)
        target = tokens.detach() if self.stop_gradient else tokens
        reconstruction = torch.stack(
            [
                self.forward_loss(target, view, hidden)
                for view, hidden in zip(predicted.chunk(2), mask.chunk(2), strict=True)
            ]
        ).sum()
        if self.objective == "masked":
            return Losses(reconstruction, reconstruction, None)
        contrastive = self.forward_contrast(latent, gather=gather)
        return Losses(reconstruction + self.alpha * contrastive, reconstruction, contrastive)

    def draw_noise(self, epochs: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw what decides the two maskings of some epochs, on the CPU.

        The same seed hides the same frames on every device, and each of several processes can
        take its epochs' part of one draw.

        Parameters
        ----------
        epochs
            B.
        generator
            On the CPU; torch's own where None.

        Returns
        -------
        (2, B, blocks): for each masking, epoch and block of `mask_block` frames a number in
        [0, 1); the blocks with the lowest stay visible.
        """
        return torch.rand(2, epochs, math.ceil(self.frames / self.mask_block), generator=generator)

    def make_frames(self, epochs: Tensor) -> Tensor:
        """Cut epochs (B, T) into frames (B, F, W); what does not fill a last frame is dropped."""
        self.require_epochs(epochs)
        return epochs.unfold(1, self.window, self.step)

    def embed_frames(self, frames: Tensor) -> Tensor:
        """Map frames (B, F, W) to tokens (B, F, E) in one call of the frame backbone."""
        tokens: Tensor = self.frame_backbone(frames)
        return tokens

    def random_masking(
        self, x: Tensor, *, mask_ratio: float, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Keep int(F (1 - mask_ratio)) random tokens of each epoch, in random order.

        Parameters
        ----------
        x
            Tokens (B, F, D).
        mask_ratio
            Share of the tokens that is hidden.
        noise
            Of `draw_noise`: one masking (B, blocks), or V of them one after another, (V B, blocks).

        Returns
        -------
        kept : Tensor
            (V B, L, D).
        mask : Tensor
            (V B, F): 0 is kept, 1 is hidden.
        ids_restore : Tensor
            (V B, F): where in (kept, hidden) each frame is found.
        """
        frames = x.shape[1]
        noise = noise.repeat_interleave(self.mask_block, dim=1)[:, :frames]
        return random_masking(x, visible=whole(frames * (1 - mask_ratio)), noise=noise)

    def forward_encoder(
        self, tokens: Tensor, *, mask_ratio: float, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encode visible frame tokens (B, F, E) to (V B, 1 + L, D), CLS first; give the mask too.

        Each token is embedded once, for all V maskings of `noise` (V B, blocks).
        """
        x = self.patch_embed(tokens) + self.positions  # (B, F, D)
        x, mask, ids_restore = self.random_masking(
            x, mask_ratio=mask_ratio, noise=noise
        )  # (V B, L, D)
        return self._encode(x), mask, ids_restore

    def _encode(self, x: Tensor) -> Tensor:
        cls = self.cls_token
        if self.cls_position is not None:
            cls = cls + self.cls_position  # type: ignore[assignment]
        x = torch.cat([cls.expand(len(x), -1, -1), x], dim=1)  # (B, 1 + L, D)
        for block in self.encoder_blocks:
            x = block(x)
        return self.encoder_norm(x)

    def forward_decoder(self, latent: Tensor, ids_restore: Tensor) -> Tensor:
        """Predict all frame tokens (B, F, E) from the encoded visible ones (B, 1 + L, D)."""
        x = self.decoder_embed(latent[:, 1:])  # (B, L, d), without CLS
        x = restore(x, mask_token=self.mask_token, ids_restore=ids_restore)  # (B, F, d)
        x = x + self.decoder_positions
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))

    def forward_loss(self, target: Tensor, predicted: Tensor, mask: Tensor) -> Tensor:
        """Give the mean squared error of the tokens (B, F, E) over hidden frames only."""
        return masked_error(target, predicted, mask)

    def forward_contrast(
        self, latent: Tensor, *, gather: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Give NT-Xent of the projected CLS tokens of two views, both in (2B, 1 + L, D)."""
        # Each view is a batch of its own for the projection's batch norm, as published.
        views = [self.projection(cls) for cls in latent[:, 0].chunk(2)]  # 2 x (B, P)
        first, second = map(gather, views) if gather else views
        return nt_xent(first, second, temperature=self.temperature)

    def forward_features(self, epochs: Tensor) -> Tensor:
        """Give the feature (B, D) of epochs (B, T): the mean of all encoded frame tokens.

        Nothing is masked and CLS is left out: it is what every head is trained on, chosen by and
        deployed with (defect N10).
        """
        return self.forward_tokens(self.embed_frames(self.make_frames(epochs)))

    def forward_tokens(self, tokens: Tensor) -> Tensor:
        """Give the feature (B, D) of epochs from all their frame tokens (B, F, E)."""
        return self.encode_tokens(tokens)[:, 1:].mean(dim=1)

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Encode all frame tokens (B, F, E), nothing masked, to (B, 1 + F, D), CLS first."""
        return self._encode(self.patch_embed(tokens) + self.positions)


def without_pretraining(encoder: NeuroNet) -> NeuroNet:
    """Take off what only pre-training needs; give the same encoder, of which features remain."""
    for name in PRETRAINING_ONLY:
        if hasattr(encoder, name):
            delattr(encoder, name)
    return encoder


def whole(number: float) -> int:
    """Cut a number down to a whole one, forgiving a rounding error."""
    return math.floor(number + ROUNDING)


# Published sizes; `tiny` and `synth-tiny` are ours, for laptops and tests.
PRESETS: dict[Preset, dict[str, Any]] = {
    "tiny": {
        "encoder_dim": 64, "encoder_heads": 4, "encoder_blocks": 2,
        "decoder_dim": 32, "decoder_heads": 4, "decoder_blocks": 1,
        "projection": (128, 64),
        "stem": 8, "stem_stride": 4, "channels": (8, 16), "strides": (1, 2),
    },
    "T": {
        "encoder_dim": 512, "encoder_heads": 8, "encoder_blocks": 4,
        "decoder_dim": 192, "decoder_heads": 8, "decoder_blocks": 1,
    },
    "B": {
        "encoder_dim": 768, "encoder_heads": 8, "encoder_blocks": 4,
        "decoder_dim": 256, "decoder_heads": 8, "decoder_blocks": 3,
    },
    "synth-tiny": {
        "frame_window": 4.0, "frame_step": 1.0,
        "encoder_dim": 64, "encoder_heads": 4, "encoder_blocks": 2,
        "decoder_dim": 32, "decoder_heads": 4, "decoder_blocks": 1,
        "projection": (128, 64),
        "stem": 8, "stem_stride": 4, "channels": (8, 16), "strides": (1, 2), "squeeze": 4,
        "trainable_positions": True,
    },
    "synth": {
        "frame_window": 4.0, "frame_step": 1.0,
        "encoder_dim": 768, "encoder_heads": 8, "encoder_blocks": 4,
        "decoder_dim": 256, "decoder_heads": 8, "decoder_blocks": 3,
        "stem": 64, "channels": (64, 128, 128, 256), "squeeze": 16,
        "trainable_positions": True,
    },
}  # fmt: skip


def neuronet(preset: Preset, **architecture: Any) -> NeuroNet:
    """Build NeuroNet from a preset; `architecture` overrides its values."""
    return NeuroNet(**{**PRESETS[preset], **architecture})
