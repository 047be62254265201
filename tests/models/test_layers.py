"""Layers: positions, attention and the contrastive loss against their definitions."""

import math

import pytest
import torch

from somnoflow.models.layers import Attention, Block, sincos_positions
from somnoflow.models.losses import nt_xent


def test_positions_follow_the_formula() -> None:
    positions = sincos_positions(5, 8)
    for t in range(5):
        for i in range(4):
            angle = t / 10_000 ** (2 * i / 8)
            assert positions[t, i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert positions[t, 4 + i].item() == pytest.approx(math.cos(angle), abs=1e-6)
    with pytest.raises(ValueError, match="even embedding, found 7"):
        sincos_positions(5, 7)


def test_attention_is_softmax_of_scaled_products() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2).double()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    q, k, v = attention.qkv(x).split(8, dim=-1)
    heads = []
    for h in (slice(0, 4), slice(4, 8)):
        weights = (q[..., h] @ k[..., h].transpose(1, 2) / 2).softmax(-1)
        heads.append(weights @ v[..., h])
    torch.testing.assert_close(attention(x), attention.proj(torch.cat(heads, -1)))
    with pytest.raises(ValueError, match="10 cannot be divided among 4 heads"):
        Attention(10, 4)


def test_block_is_pre_norm_with_vit_sizes() -> None:
    block = Block(8, 2)
    assert block.norm1.eps == block.norm2.eps == 1e-6
    assert block.attn.qkv.bias is not None
    assert block.mlp.fc1.out_features == 32
    torch.nn.init.zeros_(block.attn.proj.weight)
    torch.nn.init.zeros_(block.attn.proj.bias)
    torch.nn.init.zeros_(block.mlp.fc2.weight)
    torch.nn.init.zeros_(block.mlp.fc2.bias)
    x = torch.randn(2, 3, 8)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_nt_xent_is_the_naive_double_loop(temperature: float) -> None:
    torch.manual_seed(1)
    first, second = torch.randn(6, 10), torch.randn(6, 10)
    z = torch.cat([first, second]).double()
    loss = 0.0
    for i in range(12):
        partner = (i + 6) % 12
        similarity = [
            torch.nn.functional.cosine_similarity(z[i], z[k], dim=0).item() / temperature
            for k in range(12)
        ]
        others = sum(math.exp(similarity[k]) for k in range(12) if k != i)
        loss -= math.log(math.exp(similarity[partner]) / others) / 12
    assert nt_xent(first, second, temperature=temperature).item() == pytest.approx(loss, rel=1e-5)


def test_nt_xent_stays_finite_where_exponentials_would_not() -> None:
    same = torch.ones(4, 3)
    assert nt_xent(same, same, temperature=1e-3).item() == pytest.approx(math.log(7), rel=1e-4)
    assert nt_xent(torch.zeros(4, 3), same, temperature=1e-3).isfinite()


def test_nt_xent_is_float32_under_autocast() -> None:
    first, second = torch.randn(8, 16), torch.randn(8, 16)
    plain = nt_xent(first, second, temperature=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert nt_xent(first, second, temperature=0.05).item() == plain.item()


def test_tokens_that_are_not_there_are_not_looked_at() -> None:
    """The others are as without them; a mask of all is no mask."""
    torch.manual_seed(0)
    block = Block(8, 2)
    x = torch.randn(3, 5, 8)
    valid = torch.ones(3, 5, dtype=torch.bool)
    torch.testing.assert_close(block(x, valid), block(x))
    valid[0, 2] = valid[2, :3] = False
    masked = block(x, valid)
    for b in range(3):
        torch.testing.assert_close(
            masked[b, valid[b]], block(x[b : b + 1, valid[b]])[0], rtol=1e-5, atol=1e-6
        )
    other = torch.where(valid[..., None], x, 100.0)
    torch.testing.assert_close(block(other, valid)[valid], masked[valid])
    assert not torch.allclose(block(other)[valid], masked[valid])
