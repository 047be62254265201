"""The frame backbone: one call is the loop over frames, and its state keeps its names."""

import pytest
import torch
from torch import Tensor, nn

from somnoflow.models.backbone import FrameBackbone, SqueezeExcitation

SMALL = {"stem": 8, "channels": (8, 8, 12, 16)}
SQUEEZED = {**SMALL, "squeeze": 4}


def trained(**sizes) -> FrameBackbone:
    """Give a backbone whose batch norms have seen frames, in evaluation mode."""
    torch.manual_seed(0)
    backbone = FrameBackbone(300, **sizes)
    backbone(torch.randn(6, 5, 300))
    return backbone.eval()


def test_one_call_is_the_loop_over_frames_bit_for_bit() -> None:
    """Defect N19: in evaluation, how many frames share a call changes no bit of their maps.

    So it is for the published sizes. With others, torch computes the last few values of a map
    without vector instructions, which can differ in the last bit.
    """
    backbone = trained()
    flat: list[Tensor] = []
    backbone.feature_layer.register_forward_pre_hook(lambda _module, inputs: flat.append(*inputs))
    frames = torch.randn(3, 7, 300)
    tokens = backbone(frames)
    loop = [backbone(frames[:, f]) for f in range(7)]
    assert torch.equal(flat[0], torch.cat(flat[1:], dim=1))
    # The two linear layers are matrix products, which may add in another order for other sizes.
    torch.testing.assert_close(tokens, torch.stack(loop, dim=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "sizes", [SMALL, SQUEEZED, {"stem": 8, "channels": (8, 16), "strides": (1, 2)}]
)
def test_one_call_is_the_loop_for_other_sizes(sizes: dict) -> None:
    backbone = trained(**sizes)
    frames = torch.randn(3, 7, 300)
    loop = torch.stack([backbone(frames[:, f]) for f in range(7)], dim=1)
    torch.testing.assert_close(backbone(frames), loop, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sizes", [SMALL, SQUEEZED])
def test_a_frame_does_not_see_its_neighbours(sizes: dict) -> None:
    backbone = trained(**sizes)
    frames = torch.randn(2, 6, 300)
    changed = frames.clone()
    changed[:, 3] += 1
    same = (backbone(frames) == backbone(changed)).all(dim=2)
    assert same.all(dim=0).tolist() == [True, True, True, False, True, True]


@pytest.mark.parametrize("sizes", [SMALL, SQUEEZED])
def test_training_is_that_of_separate_frames(sizes: dict) -> None:
    """Rows of an image or a batch of frames: the same statistics and gradients."""
    torch.manual_seed(0)
    one, other = FrameBackbone(300, **sizes), FrameBackbone(300, **sizes)
    other.load_state_dict(one.state_dict())
    frames, gradient = torch.randn(4, 5, 300), torch.randn(4, 5, one.features)
    one(frames).backward(gradient)
    other(frames.reshape(20, 300)).backward(gradient.reshape(20, -1))
    for name, values in one.state_dict().items():
        torch.testing.assert_close(values, other.state_dict()[name], msg=name)
    for (name, left), right in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-3, atol=1e-4, msg=name)
    assert one.bn1.num_batches_tracked == 1


def test_convolutions_are_one_dimensional() -> None:
    """Against torch's own Conv1d with the same weights, for each kernel and stride."""
    backbone = FrameBackbone(300, **SMALL)
    x = torch.randn(2, 8, 3, 60)
    for module in backbone.modules():
        if not isinstance(module, nn.Conv2d) or module.in_channels != 8:
            continue
        loop = [
            nn.functional.conv1d(
                x[:, :, f], module.weight[:, :, 0],
                stride=module.stride[1], padding=module.padding[1],
            )
            for f in range(3)
        ]  # fmt: skip
        torch.testing.assert_close(module(x), torch.stack(loop, dim=2), rtol=1e-4, atol=1e-5)


def test_names_of_the_state() -> None:
    """Encoders on disk hold these names and shapes; a change would make them unreadable."""
    with torch.device("meta"):
        state = FrameBackbone(300).state_dict()
    weights = {name: tuple(v.shape) for name, v in state.items() if v.ndim > 1}
    assert len(state) == len(weights) + 2 + 31 * 5  # two biases; five values of each batch norm
    assert weights["conv1.weight"] == (32, 1, 1, 7)
    assert weights["feature_layer.0.weight"] == (256, 512)
    assert weights["feature_layer.2.weight"] == (256, 256)
    c_in = 32
    for number, c_out in enumerate((32, 32, 48, 64)):
        for branch, kernel in enumerate((3, 5, 7)):
            block = f"branches.{branch}.{number}"
            assert weights[f"{block}.conv1.weight"] == (c_out, c_in, 1, kernel)
            assert weights[f"{block}.conv2.weight"] == (c_out, c_out, 1, kernel)
            shortcut = weights.get(f"{block}.shortcut.0.weight")
            assert shortcut == (None if number < 2 else (c_out, c_in, 1, 1))
        c_in = c_out


def test_squeeze_and_excitation_scales_each_channel_of_each_frame() -> None:
    """Written out: mean over time, two matrices without bias, a weight from 0 to 1."""
    torch.manual_seed(0)
    squeeze = SqueezeExcitation(8, reduction=4)
    x = torch.randn(2, 8, 3, 20)
    down, up = squeeze[0].weight, squeeze[2].weight
    assert (tuple(down.shape), tuple(up.shape)) == ((2, 8), (8, 2))
    scaled = squeeze(x)
    for b in range(2):
        for f in range(3):
            weight = torch.sigmoid(up @ torch.relu(down @ x[b, :, f].mean(dim=-1)))
            torch.testing.assert_close(scaled[b, :, f], x[b, :, f] * weight[:, None])


def test_squeeze_and_excitation_comes_before_the_sum() -> None:
    """With weights of nearly 0 only the shortcut is left, and without it nothing differs."""
    torch.manual_seed(0)
    squeezed, plain = FrameBackbone(300, **SQUEEZED), FrameBackbone(300, **SMALL)
    added = {name for name in squeezed.state_dict() if name not in plain.state_dict()}
    assert len(added) == 3 * 4 * 2
    assert all(".squeeze." in name for name in added)
    plain.load_state_dict({n: v for n, v in squeezed.state_dict().items() if n not in added})
    one, other = squeezed.branches[0][0].eval(), plain.branches[0][0].eval()
    x = torch.randn(2, 8, 3, 60)
    y = other.bn2(other.conv2(nn.functional.elu(other.bn1(other.conv1(x)))))
    wanted = nn.functional.elu(one.squeeze(y) + other.shortcut(x)[..., : y.shape[-1]])
    torch.testing.assert_close(one(x), wanted)
    assert not torch.allclose(one(x), other(x), atol=1e-2)


def test_a_reduction_beyond_the_channels_is_named() -> None:
    with pytest.raises(ValueError, match="found squeeze 16, wanted at most the 8 channels"):
        FrameBackbone(300, **SMALL, squeeze=16)
