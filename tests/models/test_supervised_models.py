"""What all supervised models of nights hold to, whichever it is."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from packed_shards import make_cohort
from torch import Tensor

from somnoflow.config.supervised import Supervised
from somnoflow.data.packed import PackedEpochs
from somnoflow.models.errors import WeightsError
from somnoflow.models.recurrent import NightModel, keep_state
from somnoflow.models.supervised import (
    MODELS,
    build_supervised,
    describe_supervised,
    load_supervised,
)
from somnoflow.models.tuned import load_tuned
from somnoflow.models.weights import write_weights
from somnoflow.training.tuned_scoring import score_recordings

NAMES = list(MODELS)
T = 640  # 10 s at 64 Hz


def build(name: str, *, window: int = 3, **changes: object) -> NightModel:
    """A small model whose batch norms have seen signals, in evaluation mode."""
    torch.manual_seed(1)
    sizes = {"sampling_rate": 64, "samples": T, "preset": "tiny", "window": window, "dropout": 0.0}
    model = MODELS[name](**{**sizes, **changes})
    model(torch.randn(2, 3, model.encoder.samples), torch.ones(2, 3, dtype=torch.bool))
    return model.eval()


def windows(*lengths: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Signals (B, L, T) of windows of these lengths, and which of them are valid."""
    L = max(lengths)
    valid = torch.arange(L) < torch.tensor(lengths)[:, None]
    return torch.randn(len(lengths), L, T, generator=torch.manual_seed(seed)), valid


def night(*lengths: int, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) of runs of these lengths, and where they start."""
    rng = np.random.default_rng(lengths)
    starts = np.zeros(sum(lengths), bool)
    starts[np.cumsum([0, *lengths[:-1]])] = True
    return rng.normal(size=(sum(lengths), dimension)).astype(np.float32), starts


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest) -> NightModel:
    return build(request.param)


def test_rows_of_a_batch_do_not_meet(model: NightModel) -> None:
    """Defect N5."""
    signals, valid = windows(6, 2, 5, 1)
    order = torch.tensor([2, 0, 3, 1])
    logits, state = model(signals, valid)
    permuted, permuted_state = model(signals[order], valid[order])
    torch.testing.assert_close(permuted[valid[order]], logits[order][valid[order]])
    for one, other in zip(state or (), permuted_state or (), strict=True):
        torch.testing.assert_close(other, one[:, order])


def test_padding_never_matters(model: NightModel) -> None:
    signals, valid = windows(6, 2)
    strange = signals.masked_fill(~valid[..., None], float("nan"))
    logits = model(signals, valid)[0]
    assert torch.equal(model(strange, valid)[0][valid], logits[valid])
    alone = model(signals[1:, :2], valid[1:, :2])[0]
    torch.testing.assert_close(alone[0], logits[1, :2])


def test_padding_is_in_no_statistics(model: NightModel) -> None:
    signals, valid = windows(5, 2)
    padded, whole = copy.deepcopy(model).train(), copy.deepcopy(model).train()
    padded(signals.masked_fill(~valid[..., None], 1e6), valid)
    whole(signals[valid][None], torch.ones(1, 7, dtype=torch.bool))
    for name, buffer in whole.named_buffers():
        torch.testing.assert_close(padded.get_buffer(name), buffer, msg=name)


def test_every_epoch_has_a_probability(model: NightModel) -> None:
    """Defects N6 and N9: also in runs shorter than the window."""
    features, starts = night(1, 2, 3, 4, 5, 6, 7, dimension=model.encoder.dimension)
    found = model.head.predict_proba(features, starts, stride=1)
    assert found.shape == (28, 5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_runs_do_not_meet(model: NightModel) -> None:
    """Defect S12; the state is that of zeros where a run begins."""
    lengths = (4, 1, 9, 3, 7)
    features, starts = night(*lengths, dimension=model.encoder.dimension)
    found = model.head.predict_proba(features, starts, stride=1)
    alone = [
        model.head.predict_proba(run, np.arange(len(run)) == 0, stride=1)
        for run in np.split(features, np.cumsum(lengths)[:-1])
    ]
    np.testing.assert_allclose(found, np.concatenate(alone), rtol=1e-4, atol=1e-6)


def test_a_run_begins_at_the_first_row(model: NightModel) -> None:
    features, starts = night(5, 4, dimension=model.encoder.dimension)
    found = model.head.predict_proba(features, starts, stride=1)
    starts[0] = False
    assert np.array_equal(model.head.predict_proba(features, starts, stride=1), found)
    assert model.head.predict_proba(features[:0], starts[:0], stride=1).shape == (0, 5)


def test_scoring_is_forward_on_the_same_windows(model: NightModel) -> None:
    signals, valid = windows(8)
    features = model.encoder.forward_features(signals[0]).detach()
    found = model.head.predict_proba(features.numpy(), np.arange(8) == 0, stride=1)
    logits, state = [], None
    if model.head.stateful:
        for begin in (0, 3, 6):
            some = slice(begin, begin + 3)
            part, state = model(signals[:, some], valid[:, some], state)
            logits.append(part[0])
            state = keep_state(state, torch.ones(1, dtype=torch.bool))
    else:
        logits.append(model(signals, valid)[0][0])
    wanted = torch.cat(logits).softmax(dim=-1).detach()
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-6)


def test_scoring_is_in_evaluation_mode(model: NightModel) -> None:
    model.head.train()
    features, starts = night(9, dimension=model.encoder.dimension)
    before = {name: buffer.clone() for name, buffer in model.head.named_buffers()}
    trained = model.head.predict_proba(features, starts, stride=1)
    assert model.head.training
    assert all(torch.equal(model.head.get_buffer(name), was) for name, was in before.items())
    model.head.eval()
    assert np.array_equal(model.head.predict_proba(features, starts, stride=1), trained)


@pytest.mark.parametrize("name", NAMES)
def test_classes_not_seen_have_no_probability(name: str) -> None:
    model = build(name, seen=np.array([0, 2, 3]))
    features, starts = night(6, 2, dimension=model.encoder.dimension)
    found = model.head.predict_proba(features, starts, stride=1)
    assert (found[:, [1, 4]] == 0).all()
    assert (found[:, [0, 2, 3]] > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_events_have_two_classes(name: str) -> None:
    model = build(name, task="apnea")
    features, starts = night(4, dimension=model.encoder.dimension)
    assert model.head.predict_proba(features, starts, stride=1).shape == (4, 2)
    assert model.head.task.name == "apnea"


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_gives_the_same(name: str, tmp_path: Path) -> None:
    model = build(name, seen=np.array([0, 1, 2, 4]), task="staging")
    path = tmp_path / "model.safetensors"
    about = describe_supervised(model, {"channel": "EEG_C4", "best_pass": 2})
    write_weights(path, model.state_dict(), about)
    loaded, found = load_tuned(path)
    assert type(loaded) is MODELS[name]
    assert (found["kind"], found["name"]) == ("supervised", name)
    assert (found["channel"], found["channels"], found["best_pass"]) == ("EEG_C4", ["EEG_C4"], 2)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    for part, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[part], value), part
    signals, valid = windows(5, 3)
    # Not to the bit: where weights lie in memory decides which vector instructions torch takes.
    torch.testing.assert_close(loaded(signals, valid)[0], model(signals, valid)[0].detach())
    features, starts = night(7, dimension=model.encoder.dimension)
    np.testing.assert_allclose(
        loaded.head.predict_proba(features, starts, stride=1),
        model.head.predict_proba(features, starts, stride=1),
        rtol=1e-5,
    )


def test_an_unknown_model_names_its_file(tmp_path: Path) -> None:
    model = build("tinysleepnet")
    about = describe_supervised(model, {"channel": "EEG_C4"})
    write_weights(tmp_path / "m", model.state_dict(), {**about, "name": "newsleepnet"})
    with pytest.raises(WeightsError, match=r"m holds the model 'newsleepnet', wanted one of deep"):
        load_supervised(tmp_path / "m")


def test_an_architecture_of_another_version_names_its_file(tmp_path: Path) -> None:
    model = build("tinysleepnet")
    about = describe_supervised(model, {"channel": "EEG_C4"})
    about["architecture"] = {**about["architecture"], "depth": 3}
    write_weights(tmp_path / "m", model.state_dict(), about)
    with pytest.raises(WeightsError, match=r"m describes a tinysleepnet that .* another version"):
        load_supervised(tmp_path / "m")


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_builds_its_model(name: str) -> None:
    recipe = getattr(Supervised(), name)
    recipe = recipe.model_copy(update={"window": 7, "dropout": 0.25})
    model = build_supervised(name, recipe, sampling_rate=100, samples=3000, task="hypopnea")
    assert type(model) is MODELS[name]
    assert model.head.window == 7
    assert model.architecture["dropout"] == 0.25
    assert model.head.task.name == "hypopnea"
    again = MODELS[name](**model.architecture)
    again.load_state_dict(model.state_dict())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", [64, 100, 128, 256])
def test_sampling_rates(name: str, rate: int) -> None:
    model = build(name, sampling_rate=rate, samples=30 * rate)
    features = model.encoder.forward_features(torch.randn(2, 30 * rate))
    assert features.shape == (2, model.encoder.dimension)


@pytest.mark.parametrize("name", NAMES)
def test_lengths_that_strides_do_not_divide(name: str) -> None:
    model = build(name, samples=T + 3)
    assert model.encoder.forward_features(torch.randn(2, T + 3)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "least"), [("deepsleepnet", 16), ("tinysleepnet", 16), ("seresnet_bilstm", 25)]
)
def test_a_sampling_rate_that_is_too_low(name: str, least: int) -> None:
    build(name, sampling_rate=least, samples=30 * least)
    with pytest.raises(ValueError, match=rf"rate of {least - 1} Hz .* wanted at least {least} Hz"):
        build(name, sampling_rate=least - 1, samples=30 * (least - 1))


@pytest.mark.parametrize(
    ("name", "kernel"), [("deepsleepnet", 256), ("tinysleepnet", 32), ("seresnet_bilstm", 31)]
)
def test_an_epoch_that_is_too_short(name: str, kernel: int) -> None:
    build(name, samples=kernel)
    with pytest.raises(ValueError, match=rf"{kernel - 1} samples .* wanted at least {kernel} sam"):
        build(name, samples=kernel - 1)


def test_signals_of_another_length(model: NightModel) -> None:
    with pytest.raises(ValueError, match=rf"\(2, 639\), wanted \(B, {T}\): 10 s at 64 Hz"):
        model.encoder.forward_features(torch.zeros(2, T - 1))


def test_maps_are_of_epoch_channel_and_time(model: NightModel) -> None:
    found: list[Tensor] = []
    for module in model.encoder.maps():
        module.register_forward_hook(lambda _module, _inputs, out: found.append(out))
    model.encoder.forward_features(torch.randn(3, T))
    assert len(found) == (2 if type(model) is MODELS["deepsleepnet"] else 1)
    for map_ in found:
        assert map_.ndim == 3
        assert len(map_) == 3
        assert map_.shape[2] > 1


def test_training_reaches_every_parameter(model: NightModel) -> None:
    signals, valid = windows(4, 3)
    logits, _ = model.train()(signals, valid)
    logits[valid].square().sum().backward()
    untouched = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert untouched == []


def test_bfloat16(model: NightModel) -> None:
    signals, valid = windows(4, 3)
    wanted, _ = model(signals, valid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, state = model(signals, valid)
        logits, _ = model(signals, valid, keep_state(state, torch.zeros(2, dtype=torch.bool)))
    torch.testing.assert_close(logits[valid].float(), wanted[valid], rtol=0.1, atol=0.1)


@pytest.mark.parametrize("name", ["deepsleepnet", "tinysleepnet"])
def test_state_goes_on_or_begins_anew(name: str) -> None:
    model = build(name)
    signals, valid = windows(3, 3)
    _, state = model(signals, valid)
    kept = keep_state(state, torch.tensor([True, False]))
    for part, whole in zip(kept, state, strict=True):
        assert not part.requires_grad
        assert torch.equal(part[:, 0], whole[:, 0])
        assert not part[:, 1].any()
    begun, _ = model(signals, valid)
    going_on, _ = model(signals, valid, kept)
    torch.testing.assert_close(going_on[1], begun[1])
    assert (going_on[0] - begun[0]).abs().max() > 1e-4
    assert keep_state(None, torch.tensor([True])) is None


@pytest.mark.parametrize("name", NAMES)
def test_packed_nights_are_scored(name: str, tmp_path: Path) -> None:
    """Each epoch once; those without a signal have no class and end a run."""
    cohort = make_cohort(tmp_path, epochs=9)
    model = build(name, sampling_rate=100, samples=3000)
    epochs = PackedEpochs(
        cohort.packed, channels=["EEG_C4"], subjects=["sim/d", "sim/e"], require="any"
    )
    tables = list(score_recordings(model, epochs, stride=3))
    assert [len(table) for table in tables] == [9, 9]
    for table in tables:
        assert (table["p_W"].is_null() == ~table["usable"]).all()
        assert table["p_W"].null_count() == 1
