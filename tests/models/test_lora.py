"""Low-rank adaptation: what it adds, what it leaves, and that it folds in."""

import copy

import pytest
import torch
from torch import Tensor, nn

from somnoflow.models.frozen import digest
from somnoflow.models.lora import add_lora, lora_dropouts, merge_lora, merged_state


class Small(nn.Module):
    """Two named layers, one of them to be adapted, and a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.inner = nn.Sequential(nn.Linear(8, 8, bias=False), nn.GELU(), nn.Linear(8, 4))
        self.frozen = nn.Linear(4, 4).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 6) to (B, 4)."""
        return self.frozen(self.inner(self.first(x)))


@pytest.fixture
def plain() -> Small:
    torch.manual_seed(0)
    return Small().eval()


def adapted(plain: Small, targets: str | list[str] = r"inner\.[02]", **sizes) -> Small:
    model = copy.deepcopy(plain)
    add_lora(model, targets, **{"rank": 4, "alpha": 16, "dropout": 0.05, **sizes})
    return model


def train(model: Small) -> None:
    """Take some steps, so that no adapter is zero."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(8, 6)).square().mean().backward()
        optimizer.step()


def test_adapters_begin_without_effect(plain: Small) -> None:
    x = torch.randn(5, 6)
    assert torch.equal(adapted(plain)(x), plain(x))


def test_the_update_is_scaled_by_the_root_of_the_rank(plain: Small) -> None:
    """y = W x + alpha / sqrt(r) B A x."""
    model = adapted(plain, ["first"], rank=4, alpha=8)
    layer = model.first
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert (tuple(a.shape), tuple(b.shape)) == ((4, 6), (8, 4))
    assert a.std() > 0
    nn.init.normal_(b)
    x = torch.randn(5, 6)
    torch.testing.assert_close(layer(x), plain.first(x) + 8 / 2 * (x @ a.T @ b.T))


def test_only_targets_are_frozen(plain: Small) -> None:
    model = adapted(plain)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {
        "first.weight",
        "first.bias",
        *(f"inner.{n}.lora_{part}.default.weight" for n in (0, 2) for part in "AB"),
    }


def test_no_weight_is_touched(plain: Small) -> None:
    before = digest(plain.state_dict().items())
    model = adapted(plain)
    left = {
        name.replace(".base_layer", ""): values
        for name, values in model.state_dict().items()
        if "lora_" not in name
    }
    assert digest(left.items()) == before
    train(model)
    for n in (0, 2):
        assert torch.equal(model.inner[n].base_layer.weight, plain.inner[n].weight)


@pytest.mark.parametrize("targets", [r"inner\.[02]", ["first", "2"]])
def test_merged_is_the_same_model(plain: Small, targets: str | list[str]) -> None:
    model = adapted(plain, targets)
    train(model)
    x = torch.randn(5, 6)
    wanted = model(x)
    state = merged_state(model)
    assert torch.equal(model(x), wanted)  # nothing changed
    merge_lora(model)
    assert [type(part) for part in model.modules()] == [type(part) for part in plain.modules()]
    torch.testing.assert_close(model(x), wanted, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(plain(x), wanted, atol=1e-2)
    assert state.keys() == plain.state_dict().keys()
    assert digest(model.state_dict().items()) == digest(state.items())
    plain.load_state_dict(state)
    assert torch.equal(plain(x), model(x))


def test_without_adapters_merging_is_nothing(plain: Small) -> None:
    before = digest(plain.state_dict().items())
    merge_lora(plain)
    assert digest(merged_state(plain).items()) == digest(plain.state_dict().items()) == before


def test_a_merged_model_can_be_adapted_again(plain: Small) -> None:
    model = adapted(plain)
    train(model)
    with pytest.raises(ValueError, match="has adapters already"):
        add_lora(model, ["first"], rank=2, alpha=8, dropout=0)
    merge_lora(model)
    add_lora(model, ["first"], rank=2, alpha=8, dropout=0)
    assert sum("lora_A" in name for name in model.state_dict()) == 1


def test_dropout_follows_the_mode_of_the_model(plain: Small) -> None:
    assert not any(part.training for part in adapted(plain).modules())
    model = adapted(plain.train())
    assert all(part.training for part in lora_dropouts(model))
    assert len(list(lora_dropouts(model))) == 2
    train(model)
    x = torch.randn(5, 6)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_a_seed_decides_the_adapters(plain: Small) -> None:
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(digest(adapted(plain).state_dict().items()))
    assert found[0] == found[1] != found[2]


def test_a_target_that_is_not_there_is_named(plain: Small) -> None:
    with pytest.raises(ValueError, match="outer"):
        adapted(plain, ["outer"])
