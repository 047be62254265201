"""NeuroNet against its paper: sizes, framing, masks, losses, features."""

import pytest
import torch
from torch import nn

from somnoflow.models.backbone import FrameBackbone
from somnoflow.models.losses import nt_xent
from somnoflow.models.neuronet import NeuroNet, neuronet


def parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def draw(model: NeuroNet, epochs: int, *, seed: int) -> torch.Tensor:
    return model.draw_noise(epochs, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def tiny() -> NeuroNet:
    torch.manual_seed(0)
    return neuronet("tiny")


@pytest.mark.parametrize(("preset", "published"), [("T", 14.9), ("B", 33.0)])
def test_published_parameter_counts(preset: str, published: float) -> None:
    """The published count holds the fixed positions, which are parameters there, buffers here."""
    with torch.device("meta"):
        model = neuronet(preset)
    counted = parameters(model) + model.positions.numel() + model.decoder_positions.numel()
    assert round(counted / 1e6, 1) == published


def test_encoder_side_of_b_is_29_million() -> None:
    """All but decoder and projection: frame backbone, embedding, CLS, blocks, norm."""
    with torch.device("meta"):
        model = neuronet("B")
    decoder = parameters(
        model.decoder_embed, model.decoder_blocks, model.decoder_norm, model.decoder_pred
    )
    encoder = parameters(model) - decoder - model.mask_token.numel() - parameters(model.projection)
    assert round(encoder / 1e6, 1) == 29.0


@pytest.mark.parametrize(
    ("window", "channels", "lengths", "flat"),
    [
        (300, (32, 32, 48, 64), [19, 13, 6], 512),  # NeuroNet, 3 s
        (400, (64, 128, 128, 256), [25, 19, 12], 6656),  # SynthSleepNet, 4 s
    ],
)
def test_published_backbone_sizes(
    window: int, channels: tuple[int, ...], lengths: list[int], flat: int
) -> None:
    with torch.device("meta"):
        backbone = FrameBackbone(window, channels=channels)
    assert backbone.lengths == lengths
    assert (backbone.flat, backbone.features) == (flat, flat // 2)


@pytest.mark.parametrize("window", [209, 257, 300, 500])
def test_declared_lengths_are_the_real_ones(window: int) -> None:
    backbone = FrameBackbone(window, stem=4, channels=(4, 4, 4, 4))
    maps: list[int] = []
    for branch in backbone.branches:
        branch.register_forward_hook(lambda _m, _i, out: maps.append(out.shape[-1]))
    tokens = backbone(torch.randn(3, window))
    assert maps == backbone.lengths
    assert tokens.shape == (3, backbone.features)


def test_too_short_a_frame_names_the_shortest_that_fits() -> None:
    with pytest.raises(
        ValueError, match=r"frame of 100 samples .* at least (\d+) samples"
    ) as error:
        FrameBackbone(100)
    shortest = int(str(error.value).split()[-2])
    assert min(FrameBackbone(shortest).lengths) >= 1
    with pytest.raises(ValueError, match="too short"):
        FrameBackbone(shortest - 1)


def test_published_framing(tiny: NeuroNet) -> None:
    assert (tiny.frames, tiny.window, tiny.step, tiny.visible) == (73, 300, 37, 14)
    epochs = torch.arange(2 * 3000, dtype=torch.float32).reshape(2, 3000)
    frames = tiny.make_frames(epochs)
    assert frames.shape == (2, 73, 300)
    for f in (0, 1, 72):
        assert torch.equal(frames[:, f], epochs[:, 37 * f : 37 * f + 300])


def test_framing_forgives_rounding_errors() -> None:
    # 0.29 * 100 is 28.999999999999996 and 10 * (1 - 0.8) is 1.9999999999999996.
    model = neuronet("tiny", frame_window=3.0, frame_step=0.29, epoch_seconds=5.62)
    assert (model.step, model.frames, model.visible) == (29, 10, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frame_window": 31}, "frames of 3100 samples every 37 samples do not fit"),
        ({"frame_step": 0.001}, "every 0 samples"),
        ({"mask_ratio": 0.99}, "leaves 0 of 73 frames visible"),
        ({"encoder_heads": 7}, "64 cannot be divided among 7 heads"),
        ({"channels": (8,)}, "1 channels need as many strides, found 2"),
    ],
)
def test_sizes_that_do_not_fit_are_named(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        neuronet("tiny", **wrong)


def test_wrong_epoch_length_is_named(tiny: NeuroNet) -> None:
    with pytest.raises(ValueError, match=r"found epochs of shape \(2, 2999\), wanted \(B, 3000\)"):
        tiny(torch.zeros(2, 2999))


def test_other_rates_and_lengths(tiny: NeuroNet) -> None:
    model = neuronet("tiny", sampling_rate=128, epoch_seconds=20, frame_window=4, frame_step=1)
    assert (model.frames, model.window) == (17, 512)
    assert model(torch.randn(3, 2560)).total.isfinite()
    assert model.eval().forward_features(torch.randn(3, 2560)).shape == (3, 64)


def test_all_frames_at_once_is_the_frame_loop_in_evaluation(tiny: NeuroNet) -> None:
    """Defect N19: one call of the frame backbone gives the loop's numbers."""
    tiny(torch.randn(4, 3000))  # running statistics other than 0 and 1
    tiny.eval()
    frames = tiny.make_frames(torch.randn(3, 3000))
    calls: list[int] = []
    tiny.frame_backbone.register_forward_hook(lambda *_: calls.append(1))
    together = tiny.embed_frames(frames)
    assert len(calls) == 1
    loop = torch.stack([tiny.frame_backbone(frames[:, f]) for f in range(73)], dim=1)
    torch.testing.assert_close(together, loop, rtol=1e-5, atol=1e-6)


def test_all_frames_move_batch_norm_once_per_step(tiny: NeuroNet) -> None:
    """Documented difference from the published loop, which moves it 73 times."""
    tiny(torch.randn(4, 3000))
    assert tiny.frame_backbone.bn1.num_batches_tracked == 1


@pytest.mark.parametrize("ratio", [0.5, 0.8])
def test_masks_hide_the_stated_number_and_restore_the_order(tiny: NeuroNet, ratio: float) -> None:
    x = torch.arange(5 * 73, dtype=torch.float32).reshape(5, 73, 1)
    kept, mask, restore = tiny.random_masking(x, mask_ratio=ratio, noise=tiny.draw_noise(5)[0])
    visible = int(73 * (1 - ratio))
    assert kept.shape == (5, visible, 1)
    assert mask.sum(dim=1).tolist() == [73 - visible] * 5
    filled = torch.cat([kept, torch.full((5, 73 - visible, 1), -1.0)], dim=1)
    back = filled.gather(1, restore[:, :, None])
    assert torch.equal(back[mask == 0], x[mask == 0])
    assert (back[mask == 1] == -1).all()
    assert len({tuple(row.tolist()) for row in mask}) == 5


def test_masks_depend_on_the_noise_only(tiny: NeuroNet) -> None:
    one, again, other = (
        tiny.random_masking(
            torch.randn(4, 73, 2), mask_ratio=0.8, noise=draw(tiny, 4, seed=seed)[0]
        )[1]
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_block_masking_hides_neighbours_together() -> None:
    model = neuronet("tiny", mask_block=9)
    noise = model.draw_noise(8)
    assert noise.shape == (2, 8, 9)
    _, mask, _ = model.random_masking(torch.randn(8, 73, 1), mask_ratio=0.8, noise=noise[0])
    assert mask.sum(dim=1).tolist() == [59] * 8
    changes = mask.diff(dim=1).abs().sum(dim=1)
    assert (changes <= 6).all()  # 14 visible of blocks of 9: at most three runs


def test_loss_counts_hidden_frames_only(tiny: NeuroNet) -> None:
    target, predicted = torch.randn(2, 73, 6), torch.randn(2, 73, 6)
    mask = torch.zeros(2, 73)
    mask[0, 3] = mask[1, 5] = mask[1, 6] = 1
    wanted = sum(
        ((predicted[b, f] - target[b, f]) ** 2).mean() for b, f in [(0, 3), (1, 5), (1, 6)]
    )
    assert tiny.forward_loss(target, predicted, mask).item() == pytest.approx(
        wanted.item() / 3, rel=1e-5
    )


def test_forward_is_the_sum_that_the_paper_writes(tiny: NeuroNet) -> None:
    """recon1 + recon2 + alpha NT-Xent, computed step by step on two separate maskings."""
    tiny(torch.randn(4, 3000))
    tiny.eval()
    tiny.alpha = 0.3
    x = torch.randn(4, 3000)
    noise = tiny.draw_noise(4)
    losses = tiny(x, noise=noise)
    tokens = tiny.embed_frames(tiny.make_frames(x))
    reconstruction, projections = torch.zeros(()), []
    for view in noise:
        latent, mask, restore = tiny.forward_encoder(tokens, mask_ratio=0.8, noise=view)
        assert latent.shape == (4, 15, 64)
        predicted = tiny.forward_decoder(latent, restore)
        reconstruction = reconstruction + tiny.forward_loss(tokens, predicted, mask)
        projections.append(tiny.projection(latent[:, 0]))
    contrastive = nt_xent(*projections, temperature=0.05)
    torch.testing.assert_close(losses.reconstruction, reconstruction)
    torch.testing.assert_close(losses.contrastive, contrastive, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses.total, reconstruction + 0.3 * contrastive)


def test_gradient_reaches_every_parameter(tiny: NeuroNet) -> None:
    tiny(torch.randn(4, 3000)).total.backward()
    without = [
        name
        for name, p in tiny.named_parameters()
        if p.grad is None or not p.grad.isfinite().all() or not p.grad.abs().sum() > 0
    ]
    # The gradient of a bias before a batch norm would be zero but for rounding.
    assert without == ["projection.0.bias"]


def test_stop_gradient_only_cuts_the_target(tiny: NeuroNet) -> None:
    """Defect N11: the published target is trainable; the option makes it fixed."""
    x = torch.randn(4, 3000)
    grads = []
    for stop in (False, True):
        tiny.zero_grad()
        tiny.stop_gradient = stop
        losses = tiny(x, noise=draw(tiny, 4, seed=1))
        losses.reconstruction.backward()
        grads.append(tiny.frame_backbone.feature_layer[2].weight.grad.clone())
    assert grads[1].abs().sum() > 0
    assert not torch.allclose(grads[0], grads[1])


def test_feature_is_the_mean_of_frame_tokens_without_cls(tiny: NeuroNet) -> None:
    """Defect N10: CLS is for the contrastive loss, never the feature."""
    tiny.eval()
    x = torch.randn(3, 3000)
    tokens = tiny.embed_frames(tiny.make_frames(x))
    latent, mask, _ = tiny.forward_encoder(tokens, mask_ratio=0.0, noise=tiny.draw_noise(3)[0])
    assert latent.shape == (3, 74, 64)
    assert mask.sum() == 0
    torch.testing.assert_close(
        tiny.forward_features(x), latent[:, 1:].mean(1), rtol=1e-4, atol=1e-5
    )
    assert not torch.allclose(tiny.forward_features(x), latent[:, 0], atol=1e-2)


def test_bfloat16_autocast_gives_nearly_the_same_losses(tiny: NeuroNet) -> None:
    """The precision of training on a GPU, tried on the CPU."""
    x = torch.randn(4, 3000)
    plain = tiny(x, noise=draw(tiny, 4, seed=1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = tiny(x, noise=draw(tiny, 4, seed=1))
    assert {loss.dtype for loss in mixed} == {torch.float32}
    mixed.total.backward()
    assert mixed.total.item() == pytest.approx(plain.total.item(), rel=0.1)
    trained = [p for p in tiny.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)


def test_a_permuted_batch_gives_permuted_features(tiny: NeuroNet) -> None:
    """Defect N5: nothing runs across the batch."""
    tiny(torch.randn(4, 3000))
    tiny.eval()
    x = torch.randn(6, 3000)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(
        tiny.forward_features(x)[order], tiny.forward_features(x[order]), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(
        tiny.forward_features(x[:1]), tiny.forward_features(x)[:1], rtol=1e-4, atol=1e-5
    )


def test_decoder_puts_each_visible_token_back_to_its_time(tiny: NeuroNet) -> None:
    """A token's prediction changes most where the token stands, not where it was shuffled to."""
    tiny.eval()
    for block in tiny.decoder_blocks:  # without attention, each place depends on its token only
        nn.init.zeros_(block.attn.proj.weight)
    tokens = torch.randn(1, 73, tiny.frame_backbone.features)
    latent, mask, restore = tiny.forward_encoder(
        tokens, mask_ratio=0.8, noise=draw(tiny, 1, seed=0)[0]
    )
    before = tiny.forward_decoder(latent, restore)
    changed = latent.clone()
    changed[:, 1] += 1.0  # the first visible token
    moved = (tiny.forward_decoder(changed, restore) - before).abs().sum(-1)[0] > 1e-6
    place = (restore[0] == 0).nonzero().item()
    assert moved.nonzero().ravel().tolist() == [place]
    assert mask[0, place] == 0


def test_architecture_rebuilds_the_model(tiny: NeuroNet) -> None:
    again = NeuroNet(**tiny.architecture)
    again.load_state_dict(tiny.state_dict())
    tiny.eval(), again.eval()
    x = torch.randn(2, 3000)
    assert torch.equal(tiny.forward_features(x), again.forward_features(x))


@pytest.mark.parametrize(
    ("objective", "unused"),
    [
        ("masked", {"projection"}),
        (
            "contrastive",
            {"mask_token", "decoder_embed", "decoder_blocks", "decoder_norm", "decoder_pred"},
        ),
    ],
)
def test_half_an_objective_neither_runs_nor_trains_the_other(
    objective: str, unused: set[str]
) -> None:
    torch.manual_seed(0)
    model = neuronet("tiny", objective=objective)
    torch.manual_seed(0)
    hybrid = neuronet("tiny")
    pairs = zip(model.parameters(), hybrid.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    ran: list[str] = []
    for name in ("projection", "decoder_embed", "decoder_pred"):
        getattr(model, name).register_forward_hook(lambda *_, name=name: ran.append(name))
    x, noise = torch.randn(4, 3000), model.draw_noise(4)
    losses, both = model(x, noise=noise), hybrid(x, noise=noise)
    assert not set(ran) & unused
    assert ran
    losses.total.backward()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {name for name, p in model.named_parameters() if p.grad is not None}
    assert not {name.split(".")[0] for name in trained} & unused
    if objective == "masked":
        assert losses.contrastive is None
        torch.testing.assert_close(losses.total, both.reconstruction)
    else:
        assert losses.reconstruction is None
        torch.testing.assert_close(losses.total, both.contrastive)


def naive_nt_xent(first: torch.Tensor, second: torch.Tensor, temperature: float) -> float:
    """Equation 1 of SimCLR, written as loops in float64."""
    views = [*first.double(), *second.double()]
    views = [(z / z.abs().max()) / (z / z.abs().max()).norm() for z in views]
    total = 0.0
    for i, z in enumerate(views):
        partner = (i + len(first)) % len(views)
        others = [torch.exp(z @ views[k] / temperature) for k in range(len(views)) if k != i]
        total -= torch.log(torch.exp(z @ views[partner] / temperature) / sum(others)).item()
    return total / len(views)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_nt_xent_is_the_naive_loop(temperature: float) -> None:
    torch.manual_seed(1)
    first = torch.randn(5, 7)
    second = first + torch.randn(5, 7)
    loss = nt_xent(first, second, temperature=temperature)
    assert loss.item() == pytest.approx(naive_nt_xent(first, second, temperature), rel=1e-5)
    assert loss.item() == pytest.approx(
        nt_xent(second, first, temperature=temperature).item(), rel=1e-5
    )


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_nt_xent_knows_directions_only(scale: float) -> None:
    torch.manual_seed(1)
    first, second = torch.randn(2, 5, 7)
    wanted = nt_xent(first, second, temperature=0.05).item()
    huge = (first * scale).requires_grad_()
    loss = nt_xent(huge, second, temperature=0.05)
    loss.backward()
    assert loss.item() == pytest.approx(wanted, rel=1e-5)
    assert huge.grad is not None
    assert huge.grad.isfinite().all()
    assert huge.grad.abs().sum() > 0


def test_nt_xent_of_zeros_is_finite_and_of_one_epoch_an_error() -> None:
    zeros = torch.zeros(3, 4, requires_grad=True)
    loss = nt_xent(zeros, torch.randn(3, 4), temperature=0.05)
    loss.backward()
    assert loss.isfinite()
    assert zeros.grad is not None
    assert zeros.grad.isfinite().all()
    with pytest.raises(ValueError, match=r"shapes \(1, 4\) and \(1, 4\), wanted twice"):
        nt_xent(torch.randn(1, 4), torch.randn(1, 4), temperature=0.05)


def test_nt_xent_gradient_is_that_of_the_naive_form() -> None:
    torch.manual_seed(2)
    views = torch.randn(2, 4, 6, dtype=torch.float64).float().requires_grad_()
    nt_xent(views[0], views[1], temperature=0.2).backward()
    step = 1e-3
    for place in [(0, 1, 2), (1, 3, 0)]:
        ends = []
        for sign in (1, -1):
            moved = views.detach().double().clone()
            moved[place] += sign * step
            ends.append(naive_nt_xent(moved[0], moved[1], 0.2))
        assert views.grad is not None
        assert views.grad[place].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-4)


@pytest.mark.parametrize(
    ("rate", "seconds", "window", "step"),
    [(64, 30, 5.0, 2.5), (100, 20, 4.0, 2.0), (256, 10, 1, 1)],
)
@pytest.mark.parametrize("objective", ["hybrid", "masked", "contrastive"])
def test_any_rate_and_framing_learns(
    rate: int, seconds: float, window: float, step: float, objective: str
) -> None:
    torch.manual_seed(0)
    model = neuronet(
        "tiny", sampling_rate=rate, epoch_seconds=seconds, frame_window=window, frame_step=step,
        mask_ratio=0.5, objective=objective, stop_gradient=True, mask_block=2,
    )  # fmt: skip
    epochs, noise = torch.randn(6, round(rate * seconds)), model.draw_noise(6)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = model(epochs, noise=noise).total
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_published_sizes_as_encoder_of_synthsleepnet() -> None:
    with torch.device("meta"):
        model = neuronet("synth")
    assert (model.samples, model.window, model.step, model.frames) == (3000, 400, 100, 27)
    assert (model.frame_backbone.flat, model.frame_backbone.features) == (6656, 3328)
    assert (model.dimension, len(model.encoder_blocks), len(model.decoder_blocks)) == (768, 4, 3)
    assert model.mask_token.shape[-1] == 256
    assert [part.out_features for part in model.projection if isinstance(part, nn.Linear)] == [
        1024, 512,
    ]  # fmt: skip
    assert (model.mask_ratio, model.temperature) == (0.8, 0.05)


def test_positions_are_trained_where_asked() -> None:
    """As published for SynthSleepNet, that of CLS too; NeuroNet's stay as they are."""
    torch.manual_seed(0)
    fixed, model = neuronet("tiny"), neuronet("tiny", trainable_positions=True)
    assert torch.equal(fixed.positions, model.positions)
    assert set(model.state_dict()) - set(fixed.state_dict()) == {"cls_position"}
    model(torch.randn(4, 3000)).total.backward()
    for name in ("positions", "cls_position", "decoder_positions"):
        values = getattr(model, name)
        assert isinstance(values, nn.Parameter)
        assert values.grad is not None
        assert values.grad.abs().sum() > 0
        assert not isinstance(getattr(fixed, name), nn.Parameter)
    # The position of CLS moves CLS alone, before the blocks.
    seen: list[torch.Tensor] = []
    model.encoder_blocks[0].register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    x = torch.randn(2, 3000)
    model.eval().forward_features(x)
    model.cls_position.data += 1
    model.forward_features(x)
    change = (seen[1] - seen[0]).abs().amax(dim=(0, 2))
    assert change[0] > 0.9
    assert not change[1:].any()


def test_trained_positions_come_back_with_the_state() -> None:
    model = neuronet("synth-tiny")
    model.positions.data += 1
    again = NeuroNet(**model.architecture)
    again.load_state_dict(model.state_dict())
    model.eval(), again.eval()
    x = torch.randn(2, 3000)
    assert torch.equal(model.forward_features(x), again.forward_features(x))


def test_trained_positions_of_an_unused_decoder_stay() -> None:
    model = neuronet("synth-tiny", objective="contrastive")
    model(torch.randn(4, 3000)).total.backward()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {name for name, p in model.named_parameters() if p.grad is not None}
    assert "decoder_positions" not in trained
