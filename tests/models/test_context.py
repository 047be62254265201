"""Context modules: what reaches an epoch, from which epochs, and in no case from padding."""

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from somnoflow.config.context import ContextName
from somnoflow.models.context import CONTEXTS, ContextHead, build_context, reverse_valid

W = 16
CAUSAL = {"lstm", "mamba", "mamba2"}
# At width 256, counted by hand from the papers: E = 512 inner channels, N = 16 states.
PARAMETERS = {
    "lstm": 2 * (4 * 256 * (256 + 256) + 2 * 4 * 256),
    "transformer": 2 * (4 * 256 * 257 + 2 * 2048 * 256 + 2048 + 256 + 2 * 2 * 256),
    "lstm_transformer": 526_336 + 2_630_144,
    "mamba": 256 * 1024 + 512 * (4 + 1) + 512 * 48 + 17 * 512 + 512 * 17 + 512 * 256,
    "mamba2": 256 * (1024 + 32 + 8) + 544 * (4 + 1) + 3 * 8 + 512 + 512 * 256 + 2 * 256,
    "bimamba": 2 * 437_760 + 512 * 256 + 256,
}
every_context = pytest.mark.parametrize("name", CONTEXTS)


def make_module(name: str, width: int = W) -> nn.Module:
    torch.manual_seed(0)
    return build_context(name, width).double().eval()


def make_tokens(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_valid(lengths: list[int], longest: int | None = None) -> Tensor:
    return torch.arange(longest or max(lengths)) < torch.tensor(lengths)[:, None]


def same(one: Tensor, two: Tensor) -> None:
    torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)


def test_every_configured_module_is_tested_here() -> None:
    assert set(CONTEXTS) == set(get_args(ContextName)) == set(PARAMETERS)


# Modules


@every_context
def test_windows_of_a_batch_do_not_see_each_other(name: str) -> None:
    """Defect N5: permuting the batch permutes the outputs."""
    module, x, valid = make_module(name), make_tokens(5, 7, W), make_valid([7, 3, 1, 6, 7])
    order = torch.tensor([3, 0, 4, 2, 1])
    whole = module(x, valid)
    same(module(x[order], valid[order])[valid[order]], whole[order][valid[order]])
    for row in range(5):
        same(
            module(x[row : row + 1], valid[row : row + 1])[valid[row : row + 1]],
            whole[row][valid[row]],
        )


@every_context
def test_padding_never_reaches_a_valid_epoch(name: str) -> None:
    module, lengths = make_module(name), [7, 3, 1]
    x, valid = make_tokens(3, 7, W), make_valid(lengths)
    out = module(x, valid)
    other = torch.where(valid[..., None], x, 100 * make_tokens(3, 7, W, seed=2))
    same(module(other, valid)[valid], out[valid])
    wider = torch.cat([x, 100 * make_tokens(3, 4, W, seed=3)], dim=1)
    same(module(wider, make_valid(lengths, 11))[:, :7][valid], out[valid])
    for row, length in enumerate(lengths):
        alone = module(x[row : row + 1, :length], make_valid([length]))
        same(alone[0], out[row, :length])


@every_context
def test_causal_modules_see_the_past_only_and_the_others_the_future_too(name: str) -> None:
    module, x, valid = make_module(name), make_tokens(2, 9, W), make_valid([9, 9])
    out = module(x, valid)
    changed = x.clone()
    changed[:, 5:] += 1
    after = module(changed, valid)
    assert not torch.allclose(after[:, 5:], out[:, 5:])
    if name in CAUSAL:
        same(after[:, :5], out[:, :5])
        same(module(x[:, :5], valid[:, :5]), out[:, :5])
    else:
        assert ((after - out)[:, 0].abs() > 1e-9).any()


@every_context
def test_the_first_epoch_reaches_the_last(name: str) -> None:
    module, x, valid = make_module(name), make_tokens(2, 20, W), make_valid([20, 20])
    changed = x.clone()
    changed[:, 0] += 1
    assert ((module(changed, valid) - module(x, valid))[:, -1].abs() > 1e-9).any()


@every_context
def test_the_order_of_epochs_matters(name: str) -> None:
    module, x, valid = make_module(name), make_tokens(1, 8, W), make_valid([8])
    order = torch.tensor([1, 0, *range(2, 8)])
    assert not torch.allclose(module(x[:, order], valid)[:, 7], module(x, valid)[:, 7])


@every_context
@pytest.mark.parametrize("length", [1, 20, 37])
def test_any_length_and_a_batch_of_one_window(name: str, length: int) -> None:
    module, x, valid = make_module(name), make_tokens(1, length, W), make_valid([length])
    out = module(x, valid)
    assert out.shape == x.shape
    assert out.isfinite().all()
    assert torch.equal(module(x, valid), out)


@every_context
def test_published_sizes(name: str) -> None:
    found = sum(p.numel() for p in build_context(name, 256).parameters())
    assert found == PARAMETERS[name]


def test_reversal_moves_the_valid_part_only_and_undoes_itself() -> None:
    x = torch.arange(10.0).reshape(2, 5, 1)
    valid = make_valid([5, 3])
    assert reverse_valid(x, valid)[..., 0].tolist() == [[4, 3, 2, 1, 0], [7, 6, 5, 8, 9]]
    assert torch.equal(reverse_valid(reverse_valid(x, valid), valid), x)


@pytest.mark.parametrize("name", ["transformer", "lstm_transformer"])
def test_a_width_that_heads_do_not_divide_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"width 20 cannot be divided among 8 .* such as 16"):
        build_context(name, 20)


def test_an_unknown_module_is_named() -> None:
    with pytest.raises(ValueError, match="found context module 'gru', wanted one of lstm, "):
        build_context("gru", 16)


# Head


def make_head(name: str, **changes: object) -> ContextHead:
    torch.manual_seed(0)
    return ContextHead(12, **{"context": name, "width": W, "window": 6, **changes}).eval()


@every_context
def test_gradients_reach_every_parameter_of_the_head(name: str) -> None:
    head, valid = make_head(name).train(), make_valid([6, 4, 1])
    logits = head(make_tokens(3, 6, 12).float(), valid)
    assert logits.shape == (3, 6, 5)
    logits[valid].square().sum().backward()
    missed = [key for key, p in head.named_parameters() if p.grad is None or not p.grad.any()]
    # A batch norm takes the bias before it out again.
    assert set(missed) <= {"embed_layer.0.bias", "embed_layer.3.bias" if name == "mamba2" else ""}


def without_dropout(head: ContextHead) -> ContextHead:
    for module in head.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return head


@every_context
def test_padding_reaches_neither_logits_nor_batch_norms(name: str) -> None:
    lengths = [6, 4, 1]
    x, valid = make_tokens(3, 6, 12), make_valid(lengths)
    narrow, wide = (without_dropout(make_head(name)).double().train() for _ in range(2))
    logits = narrow(x, valid)[valid]
    padded = torch.full((3, 9, 12), torch.nan, dtype=x.dtype)
    padded[:, :6][valid] = x[valid]
    longer = make_valid(lengths, 9)
    same(wide(padded, longer)[longer], logits)
    for key, value in narrow.state_dict().items():
        torch.testing.assert_close(wide.state_dict()[key], value, rtol=1e-10, atol=1e-12)
    hidden = narrow.embed_layer[0](x[valid])
    torch.testing.assert_close(narrow.embed_layer[1].running_mean, 0.1 * hidden.mean(dim=0))


@every_context
def test_a_head_is_rebuilt_from_its_architecture_and_state(name: str) -> None:
    head = make_head(name, dropout=0.3, seen=np.array([0, 2]))
    again = ContextHead(**head.architecture)
    again.load_state_dict(head.state_dict())
    x, starts = make_tokens(11, 12).float().numpy(), np.arange(11) % 8 == 0
    assert np.array_equal(
        again.predict_proba(x, starts, stride=6), head.predict_proba(x, starts, stride=6)
    )


# Scoring


def make_night(epochs: int) -> np.ndarray:
    return make_tokens(epochs, 12).float().numpy()


@every_context
def test_scoring_cuts_no_batch_short_and_crosses_no_run(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defects N6, N9, S12: however windows fall into batches, each epoch has its own answer."""
    head, x = make_head(name), make_night(41)
    starts = np.isin(np.arange(41), [0, 13, 14])
    whole = head.predict_proba(x, starts, stride=6)
    assert whole.shape == (41, 5)
    np.testing.assert_allclose(whole.sum(axis=1), 1, rtol=1e-5)
    parts = [
        head.predict_proba(x[a:b], starts[a:b], stride=6) for a, b in ((0, 13), (13, 14), (14, 41))
    ]
    np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-6)
    monkeypatch.setattr("somnoflow.models.context.EPOCHS_AT_ONCE", 6)
    np.testing.assert_allclose(head.predict_proba(x, starts, stride=6), whole, atol=1e-6)


@every_context
def test_overlapping_windows_are_averaged(name: str) -> None:
    head, x = make_head(name), make_night(10)
    starts = np.arange(10) == 0
    found = head.predict_proba(x, starts, stride=4)
    windows = [head.predict_proba(x[a:b], starts[: b - a], stride=6) for a, b in ((0, 6), (4, 10))]
    np.testing.assert_allclose(found[:4], windows[0][:4], atol=1e-6)
    np.testing.assert_allclose(found[4:6], (windows[0][4:] + windows[1][:2]) / 2, atol=1e-6)
    np.testing.assert_allclose(found[6:], windows[1][2:], atol=1e-6)


def test_scoring_gives_unseen_stages_nothing_and_keeps_the_mode() -> None:
    head = make_head("mamba", dropout=0.5, seen=np.array([0, 2])).train()
    starts = np.array([True])
    found = head.predict_proba(make_night(1), starts, stride=6)
    assert (found[:, [1, 3, 4]] == 0).all()
    assert found.sum() == pytest.approx(1)
    assert head.training
    assert head.context.training
    assert head.predict_proba(make_night(0), starts[:0], stride=6).shape == (0, 5)
    with pytest.raises(ValueError, match="windows of 6 epochs every 7 epochs leave epochs out"):
        head.predict_proba(make_night(1), starts, stride=7)


def test_input_dropout_hides_single_features_in_training_only() -> None:
    head = make_head("lstm", input_dropout=0.5)
    seen: list[Tensor] = []
    head.embed_layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x, valid = torch.ones(2, 5, head.dimension), torch.ones(2, 5, dtype=torch.bool)
    head.train()(x, valid)
    head.eval()(x, valid)
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}
    assert set(seen[1].unique().tolist()) == {1.0}
    assert head.architecture["input_dropout"] == 0.5
