"""NeuroNet written as its authors published it: the baseline of speed, the other side of `convert`.

Module and parameter names, sizes and the order of computation are those of the authors' repository
(dlcjfgmlnasa/NeuroNet); the code is ours and straightforward. What Somnoflow does otherwise is
here as published: the frames of an epoch pass the backbone one after another, the two maskings
pass the autoencoder one after another, and NT-Xent compares all pairs through a (2B, 2B, P) tensor
and a mask filled in a loop (defects N17 and N19). Only the printing at each step is left out, and
the sizes of the backbone are arguments, so that the preset `tiny` can be built too, and with
`squeeze` the squeeze and excitation of SynthSleepNet's.

Notation: B epochs, T samples of an epoch, F frames, W samples of a frame, D and d embeddings,
P size of a projection.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize, scaled_dot_product_attention

POOLS = {3: 16, 5: 11, 7: 6}


class SELayer(nn.Module):
    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // reduction, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channels // reduction, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean(dim=2)).unsqueeze(2)


class BasicBlock(nn.Module):
    def __init__(
        self, c_in: int, c_out: int, *, kernel: int, stride: int, squeeze: int | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(c_in, c_out, kernel, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm1d(c_out)
        self.relu = nn.ELU(inplace=True)
        self.conv2 = nn.Conv1d(c_out, c_out, kernel, padding=1, bias=False)
        self.bn2 = nn.BatchNorm1d(c_out)
        self.se = SELayer(c_out, squeeze) if squeeze else nn.Identity()
        self.downsample = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(
                nn.Conv1d(c_in, c_out, 1, stride=stride, bias=False), nn.BatchNorm1d(c_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.se(self.bn2(self.conv2(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(shortcut[:, :, : y.shape[2]] + y)


class BackBone(nn.Module):
    def __init__(
        self,
        *,
        stem: int,
        stem_stride: int,
        channels: Sequence[int],
        strides: Sequence[int],
        squeeze: int | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, stem, 7, stride=stem_stride, padding=3, bias=False)
        self.bn1 = nn.BatchNorm1d(stem)
        self.relu = nn.ELU(inplace=True)
        self.maxpool = nn.MaxPool1d(3, stride=2, padding=1)
        self.depth = len(channels)
        for kernel, pool in POOLS.items():
            c_in = stem
            for number, (c_out, stride) in enumerate(zip(channels, strides, strict=True), start=1):
                block = BasicBlock(c_in, c_out, kernel=kernel, stride=stride, squeeze=squeeze)
                setattr(self, f"layer{kernel}x{kernel}_{number}", nn.Sequential(block))
                c_in = c_out
            setattr(self, f"maxpool{kernel}", nn.AvgPool1d(pool, stride=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = []
        for kernel in POOLS:
            y = x
            for number in range(1, self.depth + 1):
                y = getattr(self, f"layer{kernel}x{kernel}_{number}")(y)
            maps.append(getattr(self, f"maxpool{kernel}")(y))
        return torch.cat(maps, dim=-1).reshape(len(x), -1)


class FrameBackBone(nn.Module):
    def __init__(self, window: int, **sizes: Any) -> None:
        super().__init__()
        self.model = BackBone(**sizes)
        flat = self.model(torch.randn(2, 1, window)).shape[1]
        self.model.apply(_forget)
        self.feature_num = token = flat // 2
        self.feature_layer = nn.Sequential(
            nn.Linear(flat, token), nn.ELU(), nn.Linear(token, token)
        )

    def forward(self, frames: Tensor) -> Tensor:
        tokens = []
        for number in range(frames.shape[1]):
            tokens.append(self.model(frames[:, number].unsqueeze(1)))
        return self.feature_layer(torch.stack(tokens, dim=1))


def _forget(module: nn.Module) -> None:
    if isinstance(module, nn.BatchNorm1d):
        module.reset_running_stats()


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        B, L, D = x.shape
        q, k, v = self.qkv(x).reshape(B, L, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, L, D))


class Mlp(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class MaskedAutoEncoderViT(nn.Module):
    def __init__(
        self,
        token: int,
        frames: int,
        *,
        encoder_embed_dim: int,
        encoder_heads: int,
        encoder_depths: int,
        decoder_embed_dim: int,
        decoder_heads: int,
        decoder_depths: int,
    ) -> None:
        super().__init__()
        D, d = encoder_embed_dim, decoder_embed_dim
        self.patch_embed = nn.Linear(token, D)
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, D))
        self.pos_embed = nn.Parameter(positions(frames, D, cls=True), requires_grad=False)
        self.encoder_block = nn.ModuleList(Block(D, encoder_heads) for _ in range(encoder_depths))
        self.encoder_norm = nn.LayerNorm(D, eps=1e-6)
        self.decoder_embed = nn.Linear(D, d)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, d))
        self.decoder_pos_embed = nn.Parameter(positions(frames, d, cls=False), requires_grad=False)
        self.decoder_block = nn.ModuleList(Block(d, decoder_heads) for _ in range(decoder_depths))
        self.decoder_norm = nn.LayerNorm(d, eps=1e-6)
        self.decoder_pred = nn.Linear(d, token)

    def forward(self, x: Tensor, noise: Tensor, mask_ratio: float) -> tuple[Tensor, Tensor, Tensor]:
        latent, mask, restore = self.forward_encoder(x, noise, mask_ratio)
        return latent, self.forward_decoder(latent, restore), mask

    def forward_encoder(
        self, x: Tensor, noise: Tensor, mask_ratio: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = self.patch_embed(x) + self.pos_embed[:, 1:]
        B, F, D = x.shape
        kept = int(F * (1 - mask_ratio))
        shuffle = torch.argsort(noise, dim=1)
        restore = torch.argsort(shuffle, dim=1)
        x = torch.gather(x, 1, shuffle[:, :kept].unsqueeze(-1).repeat(1, 1, D))
        mask = torch.ones(B, F, device=x.device)
        mask[:, :kept] = 0
        mask = torch.gather(mask, 1, restore)
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(B, -1, -1)
        x = torch.cat([cls, x], dim=1)
        for block in self.encoder_block:
            x = block(x)
        return self.encoder_norm(x), mask, restore

    def forward_decoder(self, x: Tensor, restore: Tensor) -> Tensor:
        x = self.decoder_embed(x[:, 1:])
        B, kept, d = x.shape
        x = torch.cat([x, self.mask_token.repeat(B, restore.shape[1] - kept, 1)], dim=1)
        x = torch.gather(x, 1, restore.unsqueeze(-1).repeat(1, 1, d)) + self.decoder_pos_embed
        for block in self.decoder_block:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))


class PublishedNeuroNet(nn.Module):
    """The published model; `sizes` are those of the backbone."""

    def __init__(
        self,
        *,
        fs: int,
        second: int,
        time_window: float,
        time_step: float,
        projection_hidden: Sequence[int],
        temperature: float,
        sizes: dict[str, Any] | None = None,
        **autoencoder: int,
    ) -> None:
        super().__init__()
        self.window, self.step = int(time_window * fs), int(time_step * fs)
        self.starts = range(0, fs * second - self.window + 1, self.step)
        self.temperature = temperature
        backbone = {
            "stem": 32, "stem_stride": 2, "channels": (32, 32, 48, 64), "strides": (1, 1, 2, 2)
        }  # fmt: skip
        self.frame_backbone = FrameBackBone(self.window, **(sizes or backbone))
        self.autoencoder = MaskedAutoEncoderViT(
            self.frame_backbone.feature_num, len(self.starts), **autoencoder
        )
        hidden, projected = projection_hidden
        self.projectors = nn.Sequential(
            nn.Linear(autoencoder["encoder_embed_dim"], hidden),
            nn.BatchNorm1d(hidden),
            nn.ELU(),
            nn.Linear(hidden, projected),
        )
        # Never called by the authors; its buffers are in their files.
        self.projectors_bn = nn.BatchNorm1d(projected, affine=False)

    def forward(
        self, x: Tensor, *, mask_ratio: float, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Give the two losses of epochs (B, T); `noise` (2B, F) decides what is hidden."""
        x = self.frame_backbone(self.make_frame(x))
        if noise is None:
            noise = torch.rand(2 * len(x), x.shape[1], device=x.device)
        reconstruction = torch.zeros((), device=x.device)
        projected = []
        for draw in noise.chunk(2):
            latent, predicted, mask = self.autoencoder(x, draw, mask_ratio)
            error = ((predicted - x) ** 2).mean(dim=-1)
            reconstruction = reconstruction + (error * mask).sum() / mask.sum()
            projected.append(self.projectors(latent[:, 0]))
        return reconstruction, nt_xent(*projected, temperature=self.temperature)

    def make_frame(self, x: Tensor) -> Tensor:
        frames = []
        for start in self.starts:
            frames.append(x[:, start : start + self.window])
        return torch.stack(frames, dim=1)

    def forward_latent(self, x: Tensor) -> Tensor:
        """Give all encoded tokens (B, 1 + F, D) of epochs (B, T), CLS first, nothing hidden."""
        tokens = self.frame_backbone(self.make_frame(x))
        in_order = torch.arange(tokens.shape[1], device=x.device).repeat(len(x), 1)
        return self.autoencoder.forward_encoder(tokens, in_order, 0.0)[0]


def nt_xent(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    B = len(first)
    z = normalize(torch.cat([first, second]), dim=-1)  # (2B, P)
    similar = torch.cosine_similarity(z.unsqueeze(1), z.unsqueeze(0), dim=-1)  # by (2B, 2B, P)
    others = torch.ones(2 * B, 2 * B, dtype=torch.bool)
    others.fill_diagonal_(False)
    for i in range(B):
        others[i, B + i] = False
        others[B + i, i] = False
    right = torch.cat([torch.diag(similar, B), torch.diag(similar, -B)]).unsqueeze(1)
    wrong = similar[others.to(z.device)].reshape(2 * B, -1)
    logits = torch.cat([right, wrong], dim=1) / temperature
    return nn.functional.cross_entropy(
        logits, torch.zeros(2 * B, dtype=torch.long, device=z.device)
    )


def positions(frames: int, dim: int, *, cls: bool) -> Tensor:
    """Give the authors' positions: a grid one wide, so the first half is the same everywhere."""
    rate = 10_000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    halves = []
    for place in (torch.zeros(frames), torch.arange(frames)):
        angle = place.double()[:, None] * rate
        halves += [angle.sin(), angle.cos()]
    grid = torch.cat(halves, dim=1).float()
    return torch.cat([torch.zeros(1, dim), grid] if cls else [grid])[None]
