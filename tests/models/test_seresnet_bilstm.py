"""SE-ResNet-BiLSTM: its layers, and the window of five epochs around each."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from somnoflow.models.seresnet_bilstm import SeResNetBiLstm


def build(**changes: object) -> SeResNetBiLstm:
    torch.manual_seed(0)
    sizes = {"sampling_rate": 100, "samples": 3000, "preset": "tiny"}
    return SeResNetBiLstm(**{**sizes, **changes})


def test_parameters_layer_by_layer() -> None:
    def block(c_in: int, c_out: int) -> int:
        convolutions = 7 * c_in * c_out + 7 * c_out * c_out + c_in * c_out
        return convolutions + 3 * 2 * c_out + 2 * c_out * (c_out // 16)

    def lstm(width: int) -> int:
        return 2 * 4 * 128 * (width + 128 + 2)

    wanted = {
        "stem": 49 * 32 + 2 * 32,
        "blocks": block(32, 32) + block(32, 64) + block(64, 128) + block(128, 128),
        "lstm": lstm(128) + lstm(256),
        "fc": 128 * 256 + 128 + 5 * 128 + 5,
    }
    model = build(preset="published")
    found = {
        name: sum(p.numel() for p in part.parameters())
        for part_of in (model.encoder, model.head)
        for name, part in part_of.named_children()
    }
    assert found == wanted
    assert sum(p.numel() for p in model.parameters()) == sum(wanted.values()) == 1_187_877


@pytest.mark.parametrize(
    ("rate", "kernel", "stride"), [(64, 31, 2), (100, 49, 4), (128, 63, 5), (256, 125, 10)]
)
def test_the_first_filter_follows_the_sampling_rate(rate: int, kernel: int, stride: int) -> None:
    conv = build(sampling_rate=rate, samples=30 * rate).encoder.stem[0]
    assert (conv.kernel_size[0], conv.stride[0]) == (kernel, stride)


def test_squeeze_and_excitation_scale_the_maps() -> None:
    """With the last layer of it at zero all its weights are one half."""
    block = build().encoder.blocks[0].eval()
    x = torch.randn(2, 16, 40)
    nn.init.zeros_(block.squeeze[2].weight)
    shortcut = block.shortcut(x)
    y = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))
    torch.testing.assert_close(block(x), (0.5 * y + shortcut).relu())


def window_of(place: int, *, run: int, window: int) -> tuple[int, int]:
    """The whole window of a run that is nearest to centred on an epoch, by trying all."""
    size = min(window, run)
    begins = range(run - size + 1)
    begin = min(begins, key=lambda b: (abs(b + window // 2 - place), b))
    return begin, begin + size


@pytest.mark.parametrize("window", [1, 3, 5])
@pytest.mark.parametrize("run", [1, 2, 4, 5, 6, 11])
def test_each_epoch_sees_its_window(window: int, run: int) -> None:
    head = build(window=window).head.eval()
    features = torch.randn(1, run, 32)
    found = head(features, torch.ones(1, run, dtype=torch.bool))[0][0]
    for place in range(run):
        begin, end = window_of(place, run=run, window=window)
        cells, _ = head.lstm(features[:, begin:end])
        torch.testing.assert_close(found[place], head.fc(cells[0, place - begin]))


def test_an_epoch_is_encoded_once_and_a_window_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build().eval()
    encoded: list[int] = []
    encode = model.encoder.forward_features

    def count(epochs: Tensor) -> Tensor:
        encoded.append(len(epochs))
        return encode(epochs)

    monkeypatch.setattr(model.encoder, "forward_features", count)
    seen: list[Tensor] = []
    model.head.lstm.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    valid = torch.tensor([[True] * 9, [True] * 4 + [False] * 5])
    model(torch.randn(2, 9, 3000), valid)
    assert encoded == [13]
    assert int(seen[0].batch_sizes[0]) == 5 + 1, "five whole windows, one short one"


def test_a_window_of_one_whole_run_is_the_bilstm_itself() -> None:
    head = build().head.eval()
    features = torch.randn(3, 5, 32)
    found, state = head(features, torch.ones(3, 5, dtype=torch.bool))
    torch.testing.assert_close(found, head.fc(head.lstm(features)[0]))
    assert state is None


def test_all_epochs_of_a_long_night() -> None:
    head = build().head
    features = np.random.default_rng(0).normal(size=(1200, 32)).astype(np.float32)
    starts = np.arange(1200) % 400 == 0
    found = head.predict_proba(features, starts, stride=1)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
