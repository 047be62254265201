"""TinySleepNet: its layers, counted, and its state."""

import numpy as np
import torch
from torch import nn

from somnoflow.models.tinysleepnet import TinySleepNet


def build(**changes: object) -> TinySleepNet:
    torch.manual_seed(0)
    sizes = {"sampling_rate": 100, "samples": 3000, "preset": "tiny", "window": 4}
    return TinySleepNet(**{**sizes, **changes})


def test_parameters_layer_by_layer() -> None:
    """1.5 M, by the published code; its paper says 1.3 M."""
    model = build(preset="published")
    wanted = {
        "encoder": 128 * 50 + 3 * 128 * 128 * 8 + 4 * 2 * 128,
        "lstm": 4 * 128 * (16 * 128 + 128 + 2),
        "fc": 5 * 128 + 5,
    }
    parts = {"encoder": model.encoder, "lstm": model.head.lstm, "fc": model.head.fc}
    found = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    assert found == wanted
    assert sum(p.numel() for p in model.parameters()) == 1_516_421


def test_published_numbers_of_layers() -> None:
    encoder = build(preset="published").encoder
    layers = [layer for layer in encoder.modules() if isinstance(layer, nn.Conv1d)]
    assert [(c.kernel_size[0], c.stride[0]) for c in layers] == [(50, 6), (8, 1), (8, 1), (8, 1)]
    assert encoder.dimension == 2048
    norms = [layer for layer in encoder.modules() if isinstance(layer, nn.BatchNorm1d)]
    assert {norm.eps for norm in norms} == {1e-3}


def test_state_carried_over_windows_is_one_pass() -> None:
    model = build().eval()
    features = torch.randn(30, model.encoder.dimension)
    starts = np.zeros(30, bool)
    starts[[0, 7, 18]] = True
    found = model.head.predict_proba(features.numpy(), starts, stride=1)
    for run, rows in enumerate(np.split(np.arange(30), [7, 18])):
        once, _ = model.head(features[rows][None], torch.ones(1, len(rows), dtype=torch.bool))
        wanted = once[0].softmax(dim=-1).detach().numpy()
        np.testing.assert_allclose(found[rows], wanted, atol=1e-5, err_msg=f"run {run}")


def test_the_past_alone_is_seen() -> None:
    head = build().head.eval()
    features, valid = torch.randn(1, 6, 512), torch.ones(1, 6, dtype=torch.bool)
    changed = features.clone()
    changed[:, 3] += 1
    moved = (head(changed, valid)[0] - head(features, valid)[0]).abs().amax(dim=-1)[0] > 0
    assert moved.tolist() == [False, False, False, True, True, True]
