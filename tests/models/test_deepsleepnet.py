"""DeepSleepNet: its layers, counted and named, and the model of its first step."""

import numpy as np
import pytest
import torch
from torch import nn

from somnoflow.models.deepsleepnet import (
    DeepFeatureNet,
    DeepSleepNet,
    SequenceResidual,
    turn_windows,
)


def published(**changes: object) -> DeepSleepNet:
    sizes = {"sampling_rate": 100, "samples": 3000, "preset": "published"}
    return DeepSleepNet(**{**sizes, **changes})


def tiny(**changes: object) -> DeepSleepNet:
    torch.manual_seed(0)
    return published(preset="tiny", **changes)


def convolutions(branch: nn.Module) -> list[tuple[int, int, int, int]]:
    return [
        (layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0])
        for layer in branch.modules()
        if isinstance(layer, nn.Conv1d)
    ]


def pools(branch: nn.Module) -> list[int]:
    return [layer.width for layer in branch.modules() if hasattr(layer, "width")]


def test_layers_are_the_published_ones() -> None:
    encoder = published().encoder
    later = [(64, 128), (128, 128), (128, 128)]
    assert convolutions(encoder.small) == [(1, 64, 50, 6), *((*c, 8, 1) for c in later)]
    assert convolutions(encoder.large) == [(1, 64, 400, 50), *((*c, 6, 1) for c in later)]
    assert (pools(encoder.small), pools(encoder.large)) == ([8, 4], [4, 2])
    assert encoder.dimension == 16 * 128 + 8 * 128


def test_simplified_layers() -> None:
    encoder = published(simplified=True).encoder
    assert [kernel for _, _, kernel, _ in convolutions(encoder.small)] == [50, 8, 8, 8]
    assert [kernel for _, _, kernel, _ in convolutions(encoder.large)] == [400, 8, 8, 8]
    assert (pools(encoder.small), pools(encoder.large)) == ([8, 4], [8, 4])
    assert encoder.dimension == 16 * 128 + 2 * 128


@pytest.mark.parametrize(
    ("rate", "small", "large"),
    [(64, (32, 4), (256, 32)), (128, (64, 8), (512, 64)), (201, (100, 12), (804, 100))],
)
def test_first_filters_follow_the_sampling_rate(
    rate: int, small: tuple[int, int], large: tuple[int, int]
) -> None:
    encoder = tiny(sampling_rate=rate, samples=30 * rate).encoder
    assert convolutions(encoder.small)[0][2:] == small
    assert convolutions(encoder.large)[0][2:] == large


def test_parameters_layer_by_layer() -> None:
    """22.6 M; the published "about 21 M" rounds down, its LSTMs have peepholes and one bias."""

    def lstm(width: int) -> int:
        return 4 * 512 * (width + 512 + 2)

    wanted = {
        "small": 64 * 50 + 128 * 64 * 8 + 2 * 128 * 128 * 8 + 2 * (64 + 3 * 128),
        "large": 64 * 400 + 128 * 64 * 6 + 2 * 128 * 128 * 6 + 2 * (64 + 3 * 128),
        "shortcut": 1024 * 3072 + 2 * 1024,
        "ahead": lstm(3072) + lstm(512),
        "back": lstm(3072) + lstm(512),
        "fc": 5 * 1024 + 5,
    }
    model = published()
    found = {
        name: sum(parameter.numel() for parameter in part.parameters())
        for part_of in (model.encoder, model.head)
        for name, part in part_of.named_children()
        if name != "dropout"
    }
    assert found == wanted
    assert sum(p.numel() for p in model.parameters()) == sum(wanted.values()) == 22_647_685


def test_forget_gates_begin_open() -> None:
    lstm = published().head.ahead
    for layer in (0, 1):
        both = getattr(lstm, f"bias_ih_l{layer}") + getattr(lstm, f"bias_hh_l{layer}")
        assert (both[512:1024] == 1).all()
        assert (both[:512] != 1).all()


def test_the_head_looks_both_ways() -> None:
    torch.manual_seed(0)
    head = tiny().head.eval()
    features = torch.randn(1, 5, 768)
    valid = torch.ones(1, 5, dtype=torch.bool)
    for place in (0, 4):
        changed = features.clone()
        changed[:, place] += 1
        moved = (head(changed, valid)[0] - head(features, valid)[0]).abs().amax(dim=-1)
        assert (moved > 1e-6).all()


def test_state_is_that_of_each_direction_alone() -> None:
    """As published: the layers of a direction see nothing of the other."""
    head = tiny().head.eval()
    features, valid = torch.randn(2, 5, 768), torch.ones(2, 5, dtype=torch.bool)
    _, state = head(features, valid)
    wanted = (*head.ahead(features)[1], *head.back(features.flip(1))[1])
    for part, one in zip(state, wanted, strict=True):
        assert part.shape == (2, 2, 32)
        torch.testing.assert_close(part, one)


def test_windows_are_turned_by_themselves() -> None:
    x = torch.arange(8.0).expand(2, 8)[..., None]
    valid = torch.arange(8) < torch.tensor([[8], [5]])
    turned = turn_windows(x, valid, window=3)[..., 0]
    assert turned.tolist() == [[2, 1, 0, 5, 4, 3, 7, 6], [2, 1, 0, 4, 3, 5, 6, 7]]
    assert torch.equal(turn_windows(turned[..., None], valid, window=3), x)


@pytest.mark.parametrize("run", [1, 3, 4, 10])
def test_a_run_is_scored_as_its_windows_are(run: int) -> None:
    head = tiny(window=4).head.eval()
    features, valid = torch.randn(1, run, 768), torch.ones(1, run, dtype=torch.bool)
    parts, state = [], None
    for begin in range(0, run, 4):
        some = slice(begin, begin + 4)
        part, state = head(features[:, some], valid[:, some], state)
        parts.append(part[0])
    torch.testing.assert_close(head.answer_run(features[0]), torch.cat(parts))


def test_both_states_go_on() -> None:
    """The published code hands on the state of the direction that goes back, too."""
    head = tiny().head.eval()
    features, valid = torch.randn(1, 3, 768), torch.ones(1, 3, dtype=torch.bool)
    _, state = head(features, valid)
    fresh, _ = head(features, valid)
    for place in range(4):
        one = tuple(part if i == place else torch.zeros_like(part) for i, part in enumerate(state))
        assert (head(features, valid, one)[0] - fresh).abs().max() > 1e-6


def test_first_step_trains_the_same_encoder() -> None:
    model = tiny(seen=np.array([0, 1, 3]))
    stage = model.cnn_stage()
    assert stage.encoder is model.encoder
    assert torch.equal(stage.head.seen, model.head.seen)
    assert not stage.head.stateful
    assert [name for name, _ in stage.head.named_parameters()] == ["fc.weight", "fc.bias"]
    signals, valid = torch.randn(6, 1, 3000), torch.ones(6, 1, dtype=torch.bool)
    logits, state = stage(signals, valid)
    assert logits.shape == (6, 1, 5)
    assert state is None
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(stage.parameters(), lr=0.1)
    logits.square().sum().backward()
    optimizer.step()
    moved = [name for name, value in model.state_dict().items() if not before[name].equal(value)]
    assert moved
    assert all(name.startswith("encoder.") for name in moved)
    assert set(model.state_dict()) == set(before), "the first step's head is no part of the model"
    features = model.encoder.eval().forward_features(signals[:, 0]).detach().numpy()
    found = stage.head.predict_proba(features, np.ones(6, bool), stride=1)
    assert (found[:, [2, 4]] == 0).all()


def test_penalised_convolutions() -> None:
    model = published()
    assert [tuple(w.shape) for w in model.first_convolutions()] == [(64, 1, 50), (64, 1, 400)]
    own = dict(model.named_parameters())
    assert all(any(w is mine for mine in own.values()) for w in model.first_convolutions())


def test_parts_have_their_kinds() -> None:
    model = tiny()
    assert isinstance(model.encoder, DeepFeatureNet)
    assert isinstance(model.head, SequenceResidual)
