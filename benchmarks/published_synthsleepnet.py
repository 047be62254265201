"""SynthSleepNet written as its authors published it: the baseline of speed, and `convert`'s source.

Module and parameter names, sizes and the order of computation are those of the authors' repository
(dlcjfgmlnasa/SynthSleepNet); the code is ours and straightforward. What Somnoflow does otherwise is
here as published: each channel passes an encoder of its own, its frames one after another, and
adapters stay beside the frozen weights (peft). Two defects are left out, since they change results
and no speed: weights are not drawn anew over loaded encoders (S1), and each decoder is given the
tokens of its own channel (S2).

Notation: B epochs, T samples of an epoch, F frames, E values of an encoder's token, D and d
embeddings, L visible frames of a channel.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from published_neuronet import Block, FrameBackBone, nt_xent, positions

SIZES = {
    "stem": 64, "stem_stride": 2, "channels": (64, 128, 128, 256), "strides": (1, 1, 2, 2),
    "squeeze": 16,
}  # fmt: skip


class NeuroNetEncoder(nn.Module):
    """One channel's encoder without masks; CLS is the first of its tokens."""

    def __init__(
        self,
        *,
        fs: int,
        second: int,
        time_window: float,
        time_step: float,
        encoder_embed_dim: int,
        encoder_heads: int,
        encoder_depths: int,
        sizes: Mapping[str, Any] = SIZES,
    ) -> None:
        super().__init__()
        D = encoder_embed_dim
        self.window, step = int(time_window * fs), int(time_step * fs)
        self.starts = range(0, fs * second - self.window + 1, step)
        self.frame_backbone = FrameBackBone(self.window, **sizes)
        self.patch_embed = nn.Linear(self.frame_backbone.feature_num, D)
        self.encoder_block = nn.ModuleList(Block(D, encoder_heads) for _ in range(encoder_depths))
        self.encoder_norm = nn.LayerNorm(D, eps=1e-6)
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, D), requires_grad=False)
        self.pos_embed = nn.Parameter(positions(len(self.starts), D, cls=True), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map epochs (B, T) to tokens (B, 1 + F, E)."""
        frames = []
        for start in self.starts:
            frames.append(x[:, start : start + self.window])
        x = self.frame_backbone(torch.stack(frames, dim=1))
        x = self.patch_embed(x) + self.pos_embed[:, 1:]
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([cls, x], dim=1)
        for block in self.encoder_block:
            x = block(x)
        return self.encoder_norm(x)


class Turned(nn.Module):
    """Swap the last two axes; a layer without a state, as in the authors' sequence."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def adapted(encoder: nn.Module, *, rank: int, alpha: float, dropout: float) -> nn.Module:
    """Freeze an encoder and put the published adapters beside it."""
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415 - takes seconds to import

    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, bias="none", use_rslora=True,
        init_lora_weights="gaussian", target_modules=["attn.proj"],
    )  # fmt: skip
    return get_peft_model(encoder, config)


class PublishedSynthSleepNet(nn.Module):
    """The published fusion of encoders that give tokens (B, 1 + F, E)."""

    def __init__(
        self,
        backbone_networks: Mapping[str, nn.Module],
        *,
        backbone_embed_dim: int,
        num_backbone_frames: int,
        encoder_embed_dim: int,
        encoder_heads: int,
        encoder_depths: int,
        decoder_embed_dim: int,
        decoder_heads: int,
        decoder_depths: int,
        projection_hidden: Sequence[int],
        temperature: float,
    ) -> None:
        super().__init__()
        names = list(backbone_networks)
        E, D, d, F = backbone_embed_dim, encoder_embed_dim, decoder_embed_dim, num_backbone_frames
        self.temperature = temperature
        self.backbone_networks = nn.ModuleDict(backbone_networks)
        self.backbone_embedded = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(E, D), Turned(), nn.BatchNorm1d(D), nn.ELU(), Turned(),
                    nn.Linear(D, D),
                )
                for name in names
            }
        )  # fmt: skip
        self.modal_token_dict = nn.ParameterDict(
            {name: nn.Parameter(0.02 * torch.randn(1, F, D)) for name in names}
        )
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, D))  # never used
        self.multimodal_encoder_pos_embed = nn.Parameter(
            positions(F, D, cls=False), requires_grad=False
        )
        self.multimodal_encoder_block = nn.ModuleList(
            Block(D, encoder_heads) for _ in range(encoder_depths)
        )
        self.multimodal_encoder_norm = nn.LayerNorm(D, eps=1e-6)
        self.decoder_embed = nn.Linear(D, d)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, d))
        self.multimodal_decoder_pos_embed = nn.Parameter(
            positions(F, d, cls=False), requires_grad=False
        )
        self.multimodal_decoder_block_dict = nn.ModuleDict(
            {
                name: nn.ModuleList(Block(d, decoder_heads) for _ in range(decoder_depths))
                for name in names
            }
        )
        self.multimodal_decoder_norm = nn.LayerNorm(d, eps=1e-6)
        self.multimodal_decoder_pred_dict = nn.ModuleDict({name: nn.Linear(d, E) for name in names})
        self.backbone_projector_dict = nn.ModuleDict(
            {name: projector(E, projection_hidden) for name in names}
        )
        self.fusion_projector = projector(D, projection_hidden)

    def forward_encoder(
        self, data: Mapping[str, Tensor], *, mask_ratio: float, noise: Mapping[str, Tensor] | None
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        total, tokens, masks, restores = [], {}, {}, {}
        for name, epochs in data.items():
            tokens[name] = self.backbone_networks[name](epochs)
            x = self.backbone_embedded[name](tokens[name])[:, 1:]
            x = x + self.modal_token_dict[name] + self.multimodal_encoder_pos_embed
            B, F, D = x.shape
            kept = int(F * (1 - mask_ratio))
            draw = torch.rand(B, F, device=x.device) if noise is None else noise[name]
            shuffle = torch.argsort(draw, dim=1)
            restores[name] = torch.argsort(shuffle, dim=1)
            total.append(torch.gather(x, 1, shuffle[:, :kept].unsqueeze(-1).repeat(1, 1, D)))
            mask = torch.ones(B, F, device=x.device)
            mask[:, :kept] = 0
            masks[name] = torch.gather(mask, 1, restores[name])
        x = torch.cat(total, dim=1)
        for block in self.multimodal_encoder_block:
            x = block(x)
        return self.multimodal_encoder_norm(x), tokens, masks, restores

    def forward_decoder(self, x: Tensor, restores: Mapping[str, Tensor]) -> Tensor:
        kept = x.shape[1] // len(restores)
        total = []
        for number, (name, restore) in enumerate(restores.items()):
            y = self.decoder_embed(x[:, number * kept : (number + 1) * kept])
            B, _, d = y.shape
            y = torch.cat([y, self.mask_token.repeat(B, restore.shape[1] - kept, 1)], dim=1)
            y = torch.gather(y, 1, restore.unsqueeze(-1).repeat(1, 1, d))
            y = y + self.multimodal_decoder_pos_embed
            for block in self.multimodal_decoder_block_dict[name]:
                y = block(y)
            total.append(self.multimodal_decoder_pred_dict[name](self.multimodal_decoder_norm(y)))
        return torch.cat(total, dim=1)

    def forward(
        self,
        data: Mapping[str, Tensor],
        *,
        mask_ratio: float,
        noise: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Give the two losses of the channels' epochs (B, T); `noise` (B, F) decides on masks."""
        fused, tokens, masks, restores = self.forward_encoder(
            data, mask_ratio=mask_ratio, noise=noise
        )
        real = torch.cat([own[:, 1:] for own in tokens.values()], dim=1)
        mask = torch.cat(list(masks.values()), dim=1)
        error = ((self.forward_decoder(fused, restores) - real) ** 2).mean(dim=-1)
        reconstruction = (error * mask).sum() / mask.sum()
        projected = self.fusion_projector(fused.mean(dim=1))
        contrasts = [
            nt_xent(
                projected,
                self.backbone_projector_dict[name](own.mean(dim=1)),
                temperature=self.temperature,
            )
            for name, own in tokens.items()
        ]
        return reconstruction, torch.stack(contrasts).mean()

    def forward_multimodal_embed(self, data: Mapping[str, Tensor]) -> Tensor:
        """Give the fused embedding (B, D): the mean of all tokens, nothing hidden."""
        return self.forward_encoder(data, mask_ratio=0.0, noise=None)[0].mean(dim=1)


def projector(size: int, hidden: Sequence[int]) -> nn.Sequential:
    between, last = hidden
    return nn.Sequential(
        nn.Linear(size, between), nn.BatchNorm1d(between), nn.ELU(), nn.Linear(between, last)
    )
