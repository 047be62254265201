"""SynthSleepNet: what is frozen, what each part sees, and channels that are not there."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from somnoflow.models.frozen import digest
from somnoflow.models.layers import initialise_as_mae
from somnoflow.models.lora import add_lora, merge_lora
from somnoflow.models.losses import nt_xent
from somnoflow.models.neuronet import NeuroNet, neuronet, without_pretraining
from somnoflow.models.synthsleepnet import (
    LORA_TARGETS,
    SynthSleepNet,
    load_synthsleepnet,
    save_synthsleepnet,
    synthsleepnet,
)

CHANNELS = ("EOG_L", "EEG_C4", "ECG")
B, F, L = 6, 27, 16


def encoder(**sizes) -> NeuroNet:
    """Give a small unimodal encoder whose batch norms have seen signals."""
    sizes = {"encoder_dim": 32, "encoder_blocks": 1, **sizes}
    model = neuronet("synth-tiny", **sizes)
    model(torch.randn(4, model.samples))
    return model.eval()


def fusion(channels: tuple[str, ...] = CHANNELS, *, lora: bool = True, **sizes) -> SynthSleepNet:
    """Give a small fusion; its adapters are not zeros, as after some training."""
    torch.manual_seed(0)
    model = synthsleepnet("tiny", {name: encoder() for name in channels}, **sizes)
    if lora:
        add_lora(model, LORA_TARGETS, rank=2, alpha=8, dropout=0.05)
        for name, values in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(values, std=0.1)
    return model


@pytest.fixture
def model() -> SynthSleepNet:
    return fusion()


@pytest.fixture
def signals() -> Tensor:
    return torch.randn(B, 3, 3000, generator=torch.Generator().manual_seed(1))


EVERY = torch.ones(B, 3, dtype=torch.bool)


def some_absent() -> Tensor:
    present = EVERY.clone()
    present[0, 1] = present[1, 0] = present[1, 2] = present[3, 2] = False
    return present


def without(model: SynthSleepNet, channels: tuple[str, ...]) -> SynthSleepNet:
    """Give the same model, built for some of its channels."""
    less = SynthSleepNet(
        {name: NeuroNet(**model.architecture["encoders"][name]) for name in channels},
        **{k: v for k, v in model.architecture.items() if k not in ("channels", "encoders")},
    )
    add_lora(less, LORA_TARGETS, rank=2, alpha=8, dropout=0.05)
    state = model.state_dict()
    less.load_state_dict({name: state[name] for name in less.state_dict()})
    return less.train(model.training)


def of_pretrained(model: NeuroNet | SynthSleepNet, channel: str = "") -> str:
    """Give the digest of what the fusion keeps of an encoder."""
    part = model.encoder(channel) if isinstance(model, SynthSleepNet) else model
    return digest(part.state_dict().items())


# Construction


def block(dim: int) -> int:
    """Count a transformer block: two norms, attention, and an MLP four times as wide."""
    attention = dim * 3 * dim + 3 * dim + dim * dim + dim
    return 2 * 2 * dim + attention + dim * 4 * dim + 4 * dim + 4 * dim * dim + dim


def dense(*sizes: int) -> int:
    return sum(a * b + b for a, b in pairwise(sizes))


def published_encoder() -> int:
    """Count the encoder of one modality, layer by layer from its description."""
    backbone = 7 * 64 + 2 * 64
    for kernel in (3, 5, 7):
        before = 64
        for after in (64, 128, 128, 256):
            backbone += kernel * (before + after) * after + 2 * 2 * after
            backbone += 2 * after * (after // 16)
            if (before, after) != (64, 64):  # 128 -> 128 has stride 2
                backbone += before * after + 2 * after
            before = after
    backbone += dense(6656, 3328, 3328)
    tokens = dense(3328, 768) + 768 + (27 + 1) * 768
    return backbone + tokens + 4 * block(768) + 2 * 768


def test_published_parameter_count_of_an_encoder() -> None:
    with torch.device("meta"):
        model = neuronet("synth")
    assert (model.frames, model.window, model.dimension) == (27, 400, 768)
    assert (model.frame_backbone.flat, model.frame_backbone.features) == (6656, 3328)
    decoder = dense(768, 256) + 256 + 27 * 256 + 3 * block(256) + 2 * 256 + dense(256, 3328)
    projection = dense(768, 1024, 512) + 2 * 1024
    assert sum(p.numel() for p in model.parameters()) == (
        published_encoder() + decoder + projection
    )


def test_published_parameter_count_with_three_modalities() -> None:
    with torch.device("meta"):
        model = synthsleepnet("published", dict.fromkeys(CHANNELS, neuronet("synth")))
        add_lora(model, LORA_TARGETS, rank=4, alpha=16, dropout=0.05)
    lora = 4 * 4 * (768 + 768)
    own = dense(768, 512, 512) + 2 * 512 + 27 * 512  # embedding and modality token
    own += 3 * block(256) + dense(256, 768) + dense(768, 512, 256) + 2 * 512
    shared = 4 * block(512) + 2 * 512 + dense(512, 256) + 256 + 2 * 256
    shared += dense(512, 512, 256) + 2 * 512
    counted = sum(p.numel() for p in model.parameters())
    assert counted == 3 * (published_encoder() + lora + own) + shared
    # The published count holds fixed positions, and a CLS token that nothing uses.
    assert round((counted + 27 * (512 + 256) + 512) / 1e6) == 225


def test_construction_keeps_pretrained_weights() -> None:
    """Defect S1: the published initialisation runs over the loaded encoders."""
    torch.manual_seed(0)
    loaded = {name: encoder() for name in CHANNELS}
    model = synthsleepnet("tiny", loaded)
    before = {name: of_pretrained(without_pretraining(one)) for name, one in loaded.items()}
    assert before == {name: of_pretrained(model, name) for name in CHANNELS}
    assert len(set(before.values())) == 3
    model.apply(initialise_as_mae)  # what the published code does
    assert all(before[name] != of_pretrained(model, name) for name in CHANNELS)


def test_new_layers_start_as_in_mae() -> None:
    model = fusion(lora=False)
    for name, part in model.named_modules():
        if isinstance(part, nn.Linear) and not name.startswith("encoders."):
            bound = (6 / (part.in_features + part.out_features)) ** 0.5
            assert part.weight.abs().max() <= bound, name
            assert part.weight.abs().max() > 0.9 * bound, name
            assert not part.bias.any(), name
    for token in (*model.modality_tokens.values(), model.mask_token):
        assert token.std().item() == pytest.approx(0.02, rel=0.3)


def test_an_encoder_of_two_channels_is_two() -> None:
    """Channels of one modality begin alike and are adapted by themselves."""
    shared = encoder()
    model = synthsleepnet("tiny", {"EEG_C4": shared, "EEG_C3": shared})
    one, other = model.encoder("EEG_C4"), model.encoder("EEG_C3")
    assert of_pretrained(model, "EEG_C4") == of_pretrained(model, "EEG_C3")
    one.patch_embed.weight.add_(1)
    assert of_pretrained(model, "EEG_C4") != of_pretrained(model, "EEG_C3")
    assert other is not shared
    assert hasattr(shared, "decoder_pred")  # the caller's is whole
    assert not hasattr(other, "decoder_pred")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"frame_step": 2.0}, "EOG_L has a step between frames in samples of 100, that of ECG 200"),
        ({"frame_window": 5.0}, "EOG_L has a frame in samples of 400, that of ECG 500"),
        ({"sampling_rate": 128}, "EOG_L has a sampling rate in Hz of 100, that of ECG 128"),
        ({"epoch_seconds": 20}, "EOG_L has an epoch in samples of 3000, that of ECG 2000"),
        ({"encoder_dim": 64}, "EOG_L has an embedding of 32, that of ECG 64"),
    ],
)
def test_encoders_that_cannot_be_fused_are_named(sizes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        synthsleepnet("tiny", {"EOG_L": encoder(), "ECG": encoder(**sizes)})


def test_no_channels_and_no_visible_frame_are_errors() -> None:
    with pytest.raises(ValueError, match="no channels to fuse"):
        synthsleepnet("tiny", {})
    with pytest.raises(ValueError, match="leaves 0 of 27 frames visible, wanted 1 to 26"):
        synthsleepnet("tiny", {"ECG": encoder()}, mask_ratio=0.99)


@pytest.mark.parametrize(
    ("shape", "present", "message"),
    [
        ((6, 3, 2999), EVERY, r"\(6, 3, 2999\), wanted \(6, 3, 3000\): EOG_L, EEG_C4, ECG, of 30"),
        ((6, 2, 3000), EVERY, r"\(6, 2, 3000\), wanted \(6, 3, 3000\)"),
        ((5, 3, 3000), EVERY, r"\(5, 3, 3000\), wanted \(6, 3, 3000\)"),
        ((6, 3000), EVERY, r"\(6, 3000\), wanted \(6, 3, 3000\)"),
        ((6, 3, 3000), EVERY[:, :2], r"presence of shape \(6, 2\) .* wanted \(B, 3\)"),
        ((6, 3, 3000), EVERY.int(), r"type torch.int32, wanted \(B, 3\) and torch.bool"),
    ],
)
def test_wrong_shapes_are_named(
    model: SynthSleepNet, shape: tuple[int, ...], present: Tensor, message: str
) -> None:
    for call in (model, model.forward_features):
        with pytest.raises(ValueError, match=message):
            call(torch.zeros(shape), present)


def test_epochs_without_any_channel_are_named(model: SynthSleepNet, signals: Tensor) -> None:
    present = EVERY.clone()
    present[2:4] = False
    for call in (model, model.forward_features):
        with pytest.raises(ValueError, match=r"2 of 6 epochs have none of the .* ECG, 2 the first"):
            call(signals, present)


# What is frozen


def test_frozen_means_frozen(model: SynthSleepNet, signals: Tensor) -> None:
    """Defect N8: neither weights nor batch norm statistics of the encoders move."""
    before = model.frozen_digest()
    trained = {name: p.clone() for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=0.5
    )
    for _ in range(2):
        optimizer.zero_grad()
        model(signals, some_absent()).total.backward()
        optimizer.step()
    assert model.frozen_digest() == before
    state = dict(model.named_parameters())
    assert all(not torch.equal(state[name], values) for name, values in trained.items())
    model.encoders.train()  # what the published code does
    model(signals, EVERY)
    assert model.frozen_digest() != before


def test_a_gradient_reaches_all_that_is_trained(model: SynthSleepNet, signals: Tensor) -> None:
    model(signals, EVERY).total.backward()
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert p.grad is not None, name
            assert p.grad.isfinite().all(), name
            assert p.grad.abs().sum() > 0, name
        else:
            assert p.grad is None, name
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    biases = {name for name in frozen if not name.startswith("encoders.")}
    # The gradient of a bias before a batch norm would be zero but for rounding.
    assert biases == {
        "fusion_projection.0.bias",
        *(f"{part}.{c}.0.bias" for part in ("embedding", "unimodal_projection") for c in CHANNELS),
    }
    assert all("lora_" in name for name in dict(model.named_parameters()).keys() - frozen
               if name.startswith("encoders."))  # fmt: skip


@pytest.mark.parametrize("lora", [True, False])
def test_torch_keeps_nothing_of_what_is_frozen(lora: bool, signals: Tensor) -> None:
    model = fusion(lora=lora)
    seen: dict[str, bool] = {}
    one = model.encoder("ECG")
    for name in ("frame_backbone", "patch_embed", "encoder_norm"):
        part = getattr(one, name)
        part.register_forward_hook(
            lambda _m, _i, o, name=name: seen.update({name: o.requires_grad})
        )
    model(signals, EVERY)
    assert seen == {"frame_backbone": False, "patch_embed": False, "encoder_norm": lora}


def test_only_the_adapters_dropout_is_in_training_mode(model: SynthSleepNet) -> None:
    model.train()
    modes = {name: part.training for name, part in model.encoders.named_modules()}
    active = {name for name, mode in modes.items() if mode}
    assert active
    assert all("lora_dropout" in name for name in active)
    assert model.embedding["ECG"].training
    model.eval()
    assert not any(part.training for part in model.modules())


# Masking, prediction, contrast


def test_masks_hide_the_stated_number_of_each_channel(
    model: SynthSleepNet, signals: Tensor
) -> None:
    assert (model.frames, model.visible) == (F, L)
    noise = model.draw_noise(B, generator=torch.Generator().manual_seed(3))
    assert noise.shape == (3, B, F)
    presence = model._presence(signals, EVERY)
    latent, hidden = model.forward_encoder(
        model.embed_channels(signals, presence), presence, noise=noise
    )
    assert latent.shape == (B, 3 * L, 64)
    assert list(hidden) == list(CHANNELS)
    for number, (mask, _) in enumerate(hidden.values()):
        lowest = noise[number].argsort(dim=1)[:, :L]
        assert (mask.gather(1, lowest) == 0).all()
        assert (mask.sum(dim=1) == F - L).all()


def without_attention(model: SynthSleepNet) -> None:
    """Let each token pass by itself."""
    for block in (
        *model.encoder_blocks,
        *(block for blocks in model.decoder_blocks.values() for block in blocks),
    ):
        nn.init.zeros_(block.attn.proj.weight)


def test_each_decoder_sees_its_own_channel(model: SynthSleepNet, signals: Tensor) -> None:
    """Defect S2: the published decoders all get nearly the first channel's tokens.

    Without attention a prediction depends on its own token alone, so a change of a channel's
    tokens moves that channel's predictions, where frames are visible, and no others.
    """
    model.eval()
    without_attention(model)
    presence = model._presence(signals, EVERY)
    noise = model.draw_noise(B)
    tokens = model.embed_channels(signals, presence)
    latent, hidden = model.forward_encoder(tokens, presence, noise=noise)

    def as_published(latent: Tensor) -> Tensor:
        return torch.cat([latent[:, i : i + L] for i in range(3)], dim=1)

    def moved(changed: str, slices) -> dict[str, Tensor]:
        other = {**tokens, changed: tokens[changed] + 1}
        after, _ = model.forward_encoder(other, presence, noise=noise)
        pairs = [model.forward_decoder(slices(one), hidden, presence) for one in (latent, after)]
        return {c: ((pairs[1][c] - pairs[0][c]).abs().amax(-1) > 1e-6) for c in CHANNELS}

    for changed in CHANNELS:
        for channel, places in moved(changed, lambda latent: latent).items():
            visible = hidden[channel].mask == 0
            assert torch.equal(places, visible if channel == changed else visible & False)
    # The same look at the published slices finds the defect.
    wrong = moved(CHANNELS[0], as_published)
    assert all(places.any() for places in wrong.values())


def test_forward_is_what_the_paper_writes(model: SynthSleepNet, signals: Tensor) -> None:
    """Step by step, channel by channel, with explicit loops over epochs and frames."""
    model.eval()
    model.alpha = 0.3
    noise = model.draw_noise(B)
    losses = model(signals, EVERY, noise=noise)
    tokens, fused, masks, restores = {}, [], {}, {}
    for number, channel in enumerate(CHANNELS):
        own = model.encoder(channel)
        frames = own.make_frames(signals[:, number])
        tokens[channel] = own.encode_tokens(own.embed_frames(frames))  # (B, 1 + F, 32)
        assert tokens[channel].shape == (B, 1 + F, 32)
        x = model.embedding[channel](tokens[channel])[:, 1:]
        x = x + model.modality_tokens[channel] + model.positions
        order = noise[number].argsort(dim=1)
        fused.append(torch.stack([x[b, order[b, :L]] for b in range(B)]))
        masks[channel], restores[channel] = torch.ones(B, F), order.argsort(dim=1)
        masks[channel].scatter_(1, order[:, :L], 0)
    latent = torch.cat(fused, dim=1)
    for block_ in model.encoder_blocks:
        latent = block_(latent)
    latent = model.encoder_norm(latent)
    error, hidden, contrasts = 0.0, 0, []
    projected = model.fusion_projection(latent.mean(dim=1))
    for number, channel in enumerate(CHANNELS):
        part = model.decoder_embed(latent[:, number * L : (number + 1) * L])
        full = model.mask_token.expand(B, F, -1).clone()
        for b in range(B):
            full[b, noise[number, b].argsort()[:L]] = part[b]
        x = full + model.decoder_positions
        for block_ in model.decoder_blocks[channel]:
            x = block_(x)
        x = model.decoder_pred[channel](model.decoder_norm(x))
        for b, f in masks[channel].nonzero().tolist():
            error += (x[b, f] - tokens[channel][b, 1 + f]).square().mean()
            hidden += 1
        own = model.unimodal_projection[channel](tokens[channel].mean(dim=1))
        contrasts.append(nt_xent(projected, own, temperature=0.1))
    assert hidden == 3 * B * (F - L)
    contrast = sum(contrasts) / 3
    torch.testing.assert_close(losses.reconstruction, error / hidden)
    torch.testing.assert_close(losses.contrastive, contrast)
    torch.testing.assert_close(losses.total, error / hidden + 0.3 * contrast)


def test_stop_gradient_cuts_the_target_only(signals: Tensor) -> None:
    grads = []
    for stop in (False, True):
        model = fusion(stop_gradient=stop)
        noise = model.draw_noise(B, generator=torch.Generator().manual_seed(1))
        torch.manual_seed(1)  # of the adapters' dropout
        model(signals, EVERY, noise=noise).reconstruction.backward()
        grads.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    name = "encoders.ECG.encoder_blocks.0.attn.proj.lora_B.default.weight"
    assert grads[1][name].abs().sum() > 0
    assert not torch.allclose(grads[0][name], grads[1][name])
    torch.testing.assert_close(
        grads[0]["decoder_pred.ECG.weight"], grads[1]["decoder_pred.ECG.weight"]
    )


def test_feature_is_the_mean_of_all_fused_tokens(model: SynthSleepNet, signals: Tensor) -> None:
    model.eval()
    presence = model._presence(signals, EVERY)
    latent, hidden = model.forward_encoder(model.embed_channels(signals, presence), presence)
    assert not hidden
    assert latent.shape == (B, 3 * F, 64)
    features = model.forward_features(signals, EVERY)
    assert features.shape == (B, model.dimension)
    torch.testing.assert_close(features, latent.mean(dim=1))


def test_a_permuted_batch_gives_permuted_features(model: SynthSleepNet, signals: Tensor) -> None:
    """Defect N5: nothing runs across the batch."""
    model.eval()
    order, present = torch.tensor([3, 1, 5, 0, 2, 4]), some_absent()
    torch.testing.assert_close(
        model.forward_features(signals, present)[order],
        model.forward_features(signals[order], present[order]),
    )


def test_the_order_of_the_channels_changes_nothing(model: SynthSleepNet, signals: Tensor) -> None:
    model.eval()
    order = [2, 0, 1]
    other = without(model, tuple(CHANNELS[i] for i in order))
    for present in (EVERY, some_absent()):
        torch.testing.assert_close(
            model.forward_features(signals, present),
            other.forward_features(signals[:, order], present[:, order]),
        )
        noise = model.draw_noise(B)
        torch.testing.assert_close(
            model(signals, present, noise=noise),
            other(signals[:, order], present[:, order], noise=noise[order]),
        )


def test_chunks_of_a_batch_change_nothing(
    model: SynthSleepNet, signals: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.eval()
    whole = model.forward_features(signals, some_absent())
    calls: list[int] = []
    model.encoder("ECG").frame_backbone.register_forward_hook(
        lambda _m, inputs, _o: calls.append(len(inputs[0]))
    )
    monkeypatch.setattr("somnoflow.models.synthsleepnet.CHUNK", 3)
    torch.testing.assert_close(model.forward_features(signals, some_absent()), whole)
    assert calls == [3, 1]


def test_seeds_decide_the_noise(model: SynthSleepNet) -> None:
    one, again, other = (
        model.draw_noise(2, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


# Absent channels


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_an_absent_channel_is_left_out_of_training(
    model: SynthSleepNet, signals: Tensor, absent: int
) -> None:
    """Losses, gradients and statistics are those of a model that never had it."""
    left = [i for i in range(3) if i != absent]
    less = without(model, tuple(CHANNELS[i] for i in left))
    present = EVERY.clone()
    present[:, absent] = False
    signals[:, absent] = torch.nan
    noise = model.draw_noise(B)
    torch.manual_seed(4)
    found = model(signals, present, noise=noise)
    torch.manual_seed(4)
    wanted = less(signals[:, left], EVERY[:, left], noise=noise[left])
    torch.testing.assert_close(found, wanted)
    found.total.backward()
    wanted.total.backward()
    whole = dict(model.named_parameters())
    for name, p in less.named_parameters():
        if p.requires_grad:
            torch.testing.assert_close(whole[name].grad, p.grad, rtol=1e-4, atol=1e-6, msg=name)
    state = model.state_dict()
    for name, values in less.state_dict().items():
        torch.testing.assert_close(state[name], values, msg=name)
    untouched = [p for name, p in whole.items() if f".{CHANNELS[absent]}." in name]
    assert all(p.grad is None for p in untouched)
    assert model.embedding[CHANNELS[absent]][1].num_batches_tracked == 0


def test_features_of_an_epoch_do_not_know_what_it_lacks(
    model: SynthSleepNet, signals: Tensor
) -> None:
    """Epochs that have different channels share a batch: each is as by itself."""
    model.eval()
    present = some_absent()
    signals[~present] = torch.nan
    features = model.forward_features(signals, present)
    assert features.isfinite().all()
    for b in range(B):
        there = present[b].nonzero()[:, 0].tolist()
        less = without(model, tuple(CHANNELS[i] for i in there))
        alone = less.forward_features(
            signals[b : b + 1, there], torch.ones(1, len(there), dtype=torch.bool)
        )
        torch.testing.assert_close(features[b : b + 1], alone, rtol=1e-5, atol=1e-5)


def test_losses_of_a_mixed_batch_count_what_is_there(model: SynthSleepNet, signals: Tensor) -> None:
    """Each channel's error and contrast over the epochs that have it, with its own statistics."""
    present, noise = some_absent(), model.draw_noise(B)
    signals[~present] = torch.nan
    seen: dict[str, int] = {}
    for channel in CHANNELS:
        model.embedding[channel][1].register_forward_hook(
            lambda _m, inputs, _o, channel=channel: seen.update({channel: len(inputs[0])})
        )
        model.unimodal_projection[channel].register_forward_hook(
            lambda _m, inputs, _o, channel=channel: seen.update({f"p {channel}": len(inputs[0])})
        )
    losses = model(signals, present, noise=noise)
    counts = dict(zip(CHANNELS, present.sum(dim=0).tolist(), strict=True))
    assert seen == {
        **{channel: n * (1 + F) for channel, n in counts.items()},
        **{f"p {channel}": n for channel, n in counts.items()},
    }
    losses.total.backward()
    assert all(
        p.grad is not None and p.grad.isfinite().all()
        for p in model.parameters()
        if p.requires_grad
    )
    # The reconstruction is the mean over hidden frames, whatever channel they are of.
    model.eval()
    losses = model(signals, present, noise=noise)
    presence = model._presence(signals, present)
    tokens = model.embed_channels(signals, presence)
    latent, hidden = model.forward_encoder(tokens, presence, noise=noise)
    predicted = model.forward_decoder(latent, hidden, presence)
    errors = torch.cat(
        [(predicted[c] - tokens[c][:, 1:]).square().mean(-1)[hidden[c].mask == 1] for c in CHANNELS]
    )
    assert len(errors) == present.sum() * (F - L)
    torch.testing.assert_close(losses.reconstruction, errors.mean())
    fused = model.fusion_projection(model.pool(latent, presence))
    contrasts = [
        nt_xent(
            fused[present[:, number]],
            model.unimodal_projection[channel](tokens[channel].mean(dim=1)),
            temperature=0.1,
        )
        for number, channel in enumerate(CHANNELS)
    ]
    torch.testing.assert_close(losses.contrastive, torch.stack(contrasts).mean())


def test_a_channel_of_one_epoch_has_no_contrast(model: SynthSleepNet, signals: Tensor) -> None:
    present = EVERY.clone()
    present[1:, 2] = False
    losses = model(signals, present)
    losses.total.backward()
    assert losses.contrastive > 0
    assert model.unimodal_projection["ECG"][0].weight.grad is None
    assert model.decoder_pred["ECG"].weight.grad is not None
    lonely = torch.eye(3, dtype=torch.bool)
    losses = model(signals[:3], lonely)
    assert losses.contrastive == 0
    assert losses.total == losses.reconstruction


def test_parts_of_a_batch_are_compared_with_all_of_it(
    model: SynthSleepNet, signals: Tensor
) -> None:
    """What `gather` gives of other processes, channels that are not there included."""
    model.eval()
    present, noise = some_absent(), model.draw_noise(B)
    half = slice(0, 3), slice(3, 6)
    others: list[Tensor] = []

    def record(x: Tensor) -> Tensor:
        others.append(x)
        return x

    model(signals[half[1]], present[half[1]], noise=noise[:, half[1]], gather=record)
    losses = model(
        signals[half[0]],
        present[half[0]],
        noise=noise[:, half[0]],
        gather=lambda x: torch.cat([x, others.pop(0)]),
    )
    assert not others
    wanted = model(signals, present, noise=noise)
    torch.testing.assert_close(losses.contrastive, wanted.contrastive)


def test_bfloat16_gives_nearly_the_same_losses(model: SynthSleepNet, signals: Tensor) -> None:
    present, noise = some_absent(), model.draw_noise(B)
    plain = model(signals, present, noise=noise)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(signals, present, noise=noise)
        features = model.eval().forward_features(signals, present)
    assert {loss.dtype for loss in mixed} == {torch.float32}
    assert mixed.total.item() == pytest.approx(plain.total.item(), rel=0.1)
    assert features.isfinite().all()
    mixed.total.backward()


# Files


def test_a_model_comes_back_from_its_file(
    model: SynthSleepNet, signals: Tensor, tmp_path: Path
) -> None:
    model.train()
    model(signals, EVERY)
    before = digest(model.state_dict().items())
    for name in ("one", "two"):
        save_synthsleepnet(tmp_path / name, model, {"channel": "all", "best_pass": 2})
    assert digest(model.state_dict().items()) == before
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    again, about = load_synthsleepnet(tmp_path / "one")
    assert about["kind"] == "synthsleepnet"
    assert (about["channel"], about["best_pass"]) == ("all", 2)
    # The order of the channels decides the order of the signals, and JSON sorts maps.
    assert again.channels == tuple(about["channels"]) == CHANNELS
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())
    merge_lora(model)
    model.eval()
    assert {n: tuple(v.shape) for n, v in again.state_dict().items()} == {
        n: tuple(v.shape) for n, v in model.state_dict().items()
    }
    for present in (EVERY, some_absent()):
        assert torch.equal(
            again.forward_features(signals, present), model.forward_features(signals, present)
        )


def test_a_loaded_model_is_adapted_where_the_paper_says(
    model: SynthSleepNet, signals: Tensor
) -> None:
    merge_lora(model)
    model.requires_grad_(False)
    add_lora(model, model.tuning_targets, rank=2, alpha=8, dropout=0.05)
    adapted = {
        name.partition(".lora_")[0] for name, p in model.named_parameters() if p.requires_grad
    }
    assert adapted == {
        *(f"encoders.{c}.frame_backbone.feature_layer.{n}" for c in CHANNELS for n in (0, 2)),
        "encoder_blocks.1.mlp.fc1",
        "encoder_blocks.1.mlp.fc2",
    }
    before = model.frozen_digest()
    model.forward_features(signals, some_absent()).square().sum().backward()
    assert model.frozen_digest() == before
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
