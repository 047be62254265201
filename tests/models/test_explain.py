"""Explanations: heat lies where the model looks, goes with its weights, and changes nothing."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tests.models.packed_shards import T, make_cohort
from tests.recordings import make_signal, noise, write_recording

from somnoflow.cli import main
from somnoflow.commands.explain import explain
from somnoflow.config.explain import ExplainSlice
from somnoflow.config.pack import Pack
from somnoflow.data.packed import PackedEpochs
from somnoflow.explain.choosing import choose_epochs
from somnoflow.explain.context import Span, context_of, logits_of
from somnoflow.explain.events import find_events, stretch_around
from somnoflow.explain.explaining import NightExplainer
from somnoflow.explain.explanation import GRAD_CAM, ROLLOUT, read_explanations
from somnoflow.explain.gradcam import grad_cam
from somnoflow.explain.maps import feature_maps
from somnoflow.explain.model import ExplainedModel, load_explained
from somnoflow.explain.physical import PackedMeasures
from somnoflow.explain.rollout import attention_of, attention_rollout, roll_out
from somnoflow.explain.timing import Cells, lay_out, scale_heat
from somnoflow.io.digest import sha256_file
from somnoflow.models.context import ContextHead
from somnoflow.models.deepsleepnet import DeepSleepNet
from somnoflow.models.encoders import ModalityEncoder
from somnoflow.models.errors import WeightsError
from somnoflow.models.frozen import digest
from somnoflow.models.fused_stager import FusedHead
from somnoflow.models.heads import LinearProbe, write_linear
from somnoflow.models.layers import Attention
from somnoflow.models.neuronet import neuronet
from somnoflow.models.seresnet_bilstm import SeResNetBiLstm
from somnoflow.models.stager import Stager, describe_stager
from somnoflow.models.supervised import describe_supervised
from somnoflow.models.synthsleepnet import save_synthsleepnet, synthsleepnet
from somnoflow.models.tinysleepnet import TinySleepNet
from somnoflow.models.weights import write_weights
from somnoflow.night import read_night
from somnoflow.stages import STAGE_NAMES
from somnoflow.tasks import TASKS

SUPERVISED = {"deepsleepnet": DeepSleepNet, "tinysleepnet": TinySleepNet,
              "seresnet_bilstm": SeResNetBiLstm}  # fmt: skip
FRAMES = ("neuronet", "modality", "synthsleepnet")
RATE = 100
TASK = TASKS["staging"]


def frozen(module):
    return module.eval().requires_grad_(False)


def build(name, *, window=4, seed=0):
    """Build a small model with weights of chance."""
    torch.manual_seed(seed)
    if name in SUPERVISED:
        made = SUPERVISED[name](sampling_rate=RATE, samples=T, preset="tiny", window=window)
        return ExplainedModel(frozen(made).encoder, made.head, ("EEG_C4",))
    if name == "synthsleepnet":
        channels = ("EEG_C4", "EOG_L")
        fused = synthsleepnet("tiny", {channel: neuronet("synth-tiny") for channel in channels})
        head = FusedHead(fused.dimension, context="mamba2", width=16, window=window)
        return ExplainedModel(frozen(fused), frozen(head), channels)
    encoder = neuronet("tiny")
    if name == "modality":
        channels = ("EEG_C4", "EEG_C3")
        own = ModalityEncoder(encoder, channels=channels)
        return ExplainedModel(frozen(own), frozen(LinearProbe(own.dimension, dropout=0)), channels)
    head = ContextHead(encoder.dimension, context="bimamba", width=16, window=window)
    return ExplainedModel(frozen(encoder), frozen(head), ("EEG_C4",))


class Given:
    """Epochs of one night in memory."""

    def __init__(self, signals, *, channels, numbers=None):
        self.signals = signals.astype(np.float32)
        self.channels, self.samples, self.sampling_rate = channels, T, RATE
        n = len(signals)
        self.present = np.ones((n, len(channels)), bool)
        self.table = pl.DataFrame(
            {"dataset": "sim", "subject": "sim/a", "recording": "a-n1",
             "epoch": np.arange(n) if numbers is None else numbers, "onset_s": 30.0 * np.arange(n),
             "stage": 2, "usable": True},
            schema_overrides={"epoch": pl.Int32, "stage": pl.Int8},
        )  # fmt: skip

    def __len__(self):
        return len(self.signals)

    def rows(self, *, scored):
        return np.arange(len(self))

    def read(self, rows):
        return self.signals[rows]


def night(model, *, epochs=7, seed=1):
    rng = np.random.default_rng(seed)
    return Given(rng.normal(size=(epochs, len(model.channels), T)), channels=model.channels)


def answer_of(model, epochs, row, **asked):
    return NightExplainer(model, epochs, np.arange(len(epochs))).explain(row, **asked)


# Every model


@pytest.mark.parametrize("name", [*SUPERVISED, *FRAMES])
def test_every_sample_has_a_heat_and_nothing_is_changed_by_it(name):
    model = build(name)
    epochs = night(model)
    before = [digest(part.state_dict().items()) for part in (model.encoder, model.head)]
    first = answer_of(model, epochs, 5)
    heats = first.heats
    assert set(heats) == ({GRAD_CAM, ROLLOUT} if name in FRAMES else {GRAD_CAM})
    for heat in heats.values():
        assert heat.shape == (len(model.channels), T)
        assert np.isfinite(heat).all()
        assert np.ptp(heat) > 0
        scaled = scale_heat(heat)
        assert (scaled >= 0).all()
        assert scaled.max() in {0, 1}
    after = [digest(part.state_dict().items()) for part in (model.encoder, model.head)]
    assert after == before
    assert not any(part.training for part in (model.encoder, model.head))
    assert all(p.grad is None for p in (*model.encoder.parameters(), *model.head.parameters()))
    assert not any(module._forward_hooks or module._forward_pre_hooks
                   for module in model.encoder.modules())  # fmt: skip
    again = answer_of(model, epochs, 5)
    np.testing.assert_array_equal(again.probabilities, first.probabilities)
    np.testing.assert_array_equal(again.heats[GRAD_CAM], heats[GRAD_CAM])


@pytest.mark.parametrize("name", [*SUPERVISED, *FRAMES])
def test_the_answer_is_the_one_that_the_night_is_scored_by(name):
    """Seven epochs, the fourth missing: the context ends at the gap."""
    model = build(name, window=2)
    epochs = night(model)
    epochs.table = epochs.table.with_columns(epoch=pl.Series([0, 1, 2, 4, 5, 6, 7], dtype=pl.Int32))
    with torch.no_grad():
        features = model.encode(torch.from_numpy(epochs.signals), torch.from_numpy(epochs.present))
    starts = np.array([True, False, False, True, False, False, False])
    wanted = model.head.predict_proba(features.numpy(), starts, stride=2)
    for row in range(7):
        found = answer_of(model, epochs, row)
        np.testing.assert_allclose(found.probabilities, wanted[row], atol=1e-5)
        assert found.explained == wanted[row].argmax()


@pytest.mark.parametrize("name", [*SUPERVISED, *FRAMES])
def test_heat_goes_with_the_weights(name):
    """Drawn anew, from the head down to the first layer, they give another heat."""
    model = build(name)
    epochs = night(model)
    own = answer_of(model, epochs, 5, asked=2).heats[GRAD_CAM]
    other = answer_of(build(name, seed=9), epochs, 5, asked=2).heats[GRAD_CAM]
    assert abs(np.corrcoef(own.ravel(), other.ravel())[0, 1]) < 0.6
    torch.manual_seed(5)
    for module in model.head.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    cascaded = answer_of(model, epochs, 5, asked=2).heats[GRAD_CAM]
    assert np.corrcoef(own.ravel(), cascaded.ravel())[0, 1] < 0.99


def test_heat_is_of_the_class_that_is_asked_for():
    model = build("tinysleepnet")
    epochs = night(model)
    heats = [answer_of(model, epochs, 2, asked=k).heats[GRAD_CAM].ravel() for k in range(5)]
    assert np.corrcoef(heats).min() < 0.5
    assert answer_of(model, epochs, 2, asked=3).explained == 3


def test_channels_that_are_absent_have_no_heat():
    for name in ("synthsleepnet", "modality"):
        model = build(name)
        epochs = night(model)
        epochs.present[3, 0] = False
        epochs.signals[3, 0] = 0
        for heat in answer_of(model, epochs, 3).heats.values():
            assert not heat[0].any()
            assert heat[1].any()


# Where it lies in time


def smoothed(model):
    """Let every convolution be a mean over its kernel, so that nothing moves what it sees."""
    for module in model.encoder.modules():
        if isinstance(module, torch.nn.Conv1d | torch.nn.Conv2d):
            module.weight.fill_(1 / module.weight[0].numel())
    return model


def record(model, signals, maps):
    """Give the outputs of the maps' layers while the model runs."""
    found = []
    hooks = [part.layer.register_forward_hook(lambda m, i, o: found.append(o)) for part in maps]
    model.encode(signals, torch.ones(1, 1, dtype=torch.bool))
    for hook in hooks:
        hook.remove()
    return found


def energy_of(model, maps):
    """Give a function from signals to the energy of some maps, in place of logits (1, 1)."""

    def energy(signals):
        parts = [(output**2).sum() for output in record(model, signals, maps)]
        return torch.stack(parts).sum()[None, None]

    return energy


@pytest.mark.parametrize(
    ("name", "cell"),
    [("deepsleepnet", 0.48), ("tinysleepnet", 0.48), ("seresnet_bilstm", 2.56), ("neuronet", 0.5)],
)
@pytest.mark.parametrize("second", [6.0, 15.0, 24.0])
def test_a_burst_is_hottest_where_it_is(name, cell, second):
    """Within one cell of the coarsest map; frames have the bound of their cropped shortcuts."""
    model = smoothed(build(name))
    signal = np.zeros(T, np.float32)
    place = round(second * RATE)
    signal[place - 15 : place + 15] = 5
    epoch, there = torch.from_numpy(signal)[None, None], torch.ones(1, 1, dtype=torch.bool)
    maps = list(feature_maps(model.encoder, there=(0,)))
    heat = grad_cam(energy_of(model, maps), epoch, there, encoder=model.encoder, target=0)[0]
    assert abs(hottest(heat) - second) <= cell
    with torch.no_grad():
        outputs = record(model, epoch, maps)
    for part, output in zip(maps, outputs, strict=True):
        own = output[0].mean(dim=0).double().numpy()
        own = lay_out(np.atleast_2d(own), part.cells, samples=T)
        assert abs(hottest(own) - second) <= max(part.cells.step / RATE, 0.5)


def hottest(heat):
    """Give the second in the middle of what is hottest."""
    return np.flatnonzero(heat > 0.99 * heat.max()).mean() / RATE


def test_heat_is_linear_between_cells():
    heat = lay_out(np.array([[0.0, 0, 1, 0]]), Cells(first=49.5, step=100), samples=400)
    assert heat.shape == (400,)
    assert set(np.flatnonzero(heat == heat.max())) == {249, 250}
    assert (heat[:150] == 0).all()
    assert heat[200] == pytest.approx(0.505)


def test_frames_that_overlap_are_averaged():
    """Three frames of 4 samples every 2: samples 2 to 5 are in two of them."""
    cells = Cells(first=1.5, step=4, frame_step=2)
    heat = lay_out(np.array([[2.0], [4], [8]]), cells, samples=9)
    np.testing.assert_allclose(heat, [2, 2, 3, 3, 6, 6, 8, 8, 8])


def test_scaling_keeps_zeros():
    np.testing.assert_array_equal(scale_heat(np.array([[-2.0, 4], [1, 0]])), [[0, 1], [0.25, 0]])
    assert not scale_heat(np.array([[-2.0, -4]])).any()


# Attention


def test_attention_is_the_one_that_the_model_uses():
    torch.manual_seed(0)
    module = Attention(8, 2)
    x = torch.randn(3, 5, 8)
    valid = torch.tensor([[True] * 5, [True, True, False, True, False], [True] * 5])
    for known in (None, valid):
        weights = attention_of(module, x, known)  # (B, H, L, L)
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 2, 5))
        v = module.qkv(x).reshape(3, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)[2]
        wanted = module.proj((weights @ v).transpose(1, 2).reshape(3, 5, 8))
        torch.testing.assert_close(module(x, known), wanted)


def test_roll_out_is_that_of_the_paper():
    first = torch.tensor([[[[1.0, 0], [0.5, 0.5]], [[0.0, 1], [0.5, 0.5]]]])  # (1, 2, 2, 2)
    torch.testing.assert_close(roll_out([first])[0], torch.tensor([[0.75, 0.25], [0.25, 0.75]]))
    second = torch.tensor([[[[0.0, 1], [0, 1]]]])
    wanted = torch.tensor([[0.5, 0.5], [0.0, 1]]) @ torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    torch.testing.assert_close(roll_out([first, second])[0], wanted)


@pytest.mark.parametrize("name", ["neuronet", "synthsleepnet"])
def test_roll_out_follows_the_attention(name):
    """All tokens of the fusion, or of the encoder, attend to those of one place."""
    model = build(name)
    frames = model.encoder if name == "neuronet" else model.encoder.encoder("EEG_C4")
    epochs = night(model)
    stack = frames.encoder_blocks
    for block in stack:
        block.attn.qkv.weight.zero_()
        block.attn.qkv.bias.zero_()
    even = attention_rollout(
        model, torch.from_numpy(epochs.signals[:1]), torch.from_numpy(epochs.present[:1])
    )
    inner = even[0, 500:2500]
    assert np.ptp(inner) < 0.2 * inner.mean()


# A model that has learned


@pytest.fixture(scope="module")
def taught():
    """A TinySleepNet that tells epochs with a burst at 13 Hz from epochs without."""
    torch.manual_seed(0)
    model = TinySleepNet(sampling_rate=RATE, samples=T, preset="tiny", dropout=0.2, window=1)
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(90):
        signals, label, _ = with_spindles(rng, epochs=24)
        logits, _ = model(torch.from_numpy(signals)[:, None], torch.ones(24, 1, dtype=torch.bool))
        loss = torch.nn.functional.cross_entropy(logits[:, 0], torch.from_numpy(2 * label))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return ExplainedModel(frozen(model).encoder, model.head, ("EEG_C4",))


def with_spindles(rng, *, epochs, chance=0.5):
    """Draw noise (N, T); in some a burst of 2 s at 13 Hz; give who has it, and from where."""
    signals = rng.normal(size=(epochs, T)).astype(np.float32)
    label = (rng.random(epochs) < chance).astype(np.int64)
    begin = rng.integers(200, T - 400, epochs)
    time = np.arange(200) / RATE
    burst = 3 * np.sin(2 * np.pi * 13 * time) * np.hanning(200)
    for signal, has, at in zip(signals, label, begin, strict=True):
        signal[at : at + 200] += has * burst
    return signals, label, begin


def test_heat_lies_on_an_implanted_spindle(taught):
    signals, label, begin = with_spindles(np.random.default_rng(77), epochs=40)
    epochs = Given(signals[:, None], channels=("EEG_C4",))
    ratios, right = [], 0
    for row, has in enumerate(label):
        answer = answer_of(taught, epochs, row, asked=2)
        right += answer.probabilities.argmax() == 2 * has
        if has:
            heat = scale_heat(answer.heats[GRAD_CAM])[0]
            inside = np.zeros(T, bool)
            inside[begin[row] : begin[row] + 200] = True
            ratios.append(heat[inside].mean() / max(heat[~inside].mean(), 1e-6))
    assert right >= 36
    assert np.median(ratios) > 3
    assert np.mean(np.array(ratios) > 1) > 0.7


# Contexts


@pytest.mark.parametrize(
    ("name", "place", "wanted"),
    [("neuronet", 3, Span(2, 4)), ("neuronet", 6, Span(6, 7)), ("neuronet", 8, Span(7, 9)),
     ("tinysleepnet", 3, Span(0, 4)), ("tinysleepnet", 6, Span(0, 7)),
     ("tinysleepnet", 9, Span(7, 11)), ("seresnet_bilstm", 3, Span(1, 6)),
     ("seresnet_bilstm", 10, Span(8, 11)), ("modality", 5, Span(5, 6))],
)  # fmt: skip
def test_the_context_is_what_decides(name, place, wanted):
    """Runs of 7 and 4 epochs, windows of 2."""
    starts = np.zeros(11, bool)
    starts[[0, 7]] = True
    assert context_of(build(name, window=2).head, starts, place) == wanted


def test_neighbours_are_part_of_the_answer():
    head = build("tinysleepnet", window=2).head
    features = torch.randn(5, head.lstm.input_size)
    own = logits_of(head, features, 4)
    features[0] += 1
    assert not torch.equal(logits_of(head, features, 4), own)


# Events


def test_spindles_and_slow_waves_are_found_where_they_are():
    rng = np.random.default_rng(0)
    time = np.arange(3 * T) / RATE
    eeg = rng.normal(0, 1, 3 * T).cumsum()
    eeg = 5 * rng.normal(size=3 * T) + 4 * (eeg - np.convolve(eeg, np.ones(100) / 100, "same"))
    at = 30 + 12.0
    eeg += 40 * np.sin(2 * np.pi * 13 * time) * np.exp(-(((time - at) / 0.4) ** 2))
    wave = (time > 50) & (time < 52)
    eeg[wave] += 100 * np.sin(2 * np.pi * 1.0 * (time[wave] - 50))
    epochs = eeg.reshape(3, T).astype(np.float32)
    found = find_events(epochs, place=1, sampling_rate=RATE)
    assert any(one.onset_s < 12 < sum(one) for one in found.spindles)
    assert any(19 < one.onset_s < 22 for one in found.slow_waves)
    nothing = find_events(np.zeros_like(epochs) + rng.normal(0, 1, epochs.shape), place=1,
                          sampling_rate=RATE)  # fmt: skip
    assert nothing.slow_waves == []
    assert find_events(epochs[:, ::2], place=1, sampling_rate=50) == (None, None)


def test_the_stretch_ends_at_a_gap():
    numbers = [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert stretch_around(numbers, 1) == (0, 3)
    assert stretch_around(numbers, 4) == (3, 9)
    assert stretch_around(numbers, 9) == (5, 10)


# The choice of epochs


def predicted(stages, answers):
    n = len(stages)
    return pl.DataFrame(
        {"dataset": "sim", "subject": "sim/a", "recording": [f"n{k % 3}" for k in range(n)],
         "epoch": np.arange(n), "stage": stages, "predicted": answers},
        schema_overrides={"stage": pl.Int8, "predicted": pl.Int8},
    )  # fmt: skip


def test_half_are_right_and_half_are_wrong():
    rng = np.random.default_rng(0)
    stage = rng.integers(0, 4, 300)  # no REM
    answer = np.where(rng.random(300) < 0.8, stage, (stage + 1) % 5)
    answer[stage == 3] = 3  # always right
    chosen = choose_epochs(predicted(stage, answer), each=4, seed=1)
    counts = chosen.group_by("stage", right=pl.col("stage") == pl.col("predicted")).len()
    assert len(chosen) == 16
    assert sorted(counts.rows()) == sorted(
        [*((k, right, 2) for k in range(3) for right in (False, True)), (3, True, 4)]
    )
    assert chosen["recording"].value_counts()["count"].min() >= 4
    assert chosen.equals(choose_epochs(predicted(stage, answer), each=4, seed=1))
    assert not chosen.equals(choose_epochs(predicted(stage, answer), each=4, seed=2))
    assert not len(choose_epochs(predicted(stage, answer).clear(), each=4, seed=1))


# Files and the command


def write_model(folder: Path, name: str) -> list[Path]:
    """Write the files of a small model."""
    model = build(name)
    path, head = folder / "model.safetensors", folder / "head.safetensors"
    if name in SUPERVISED:
        torch.manual_seed(0)
        made = SUPERVISED[name](sampling_rate=RATE, samples=T, preset="tiny", window=4)
        write_weights(path, made.state_dict(), describe_supervised(made, {"channel": "EEG_C4"}))
        return [path]
    if name == "synthsleepnet":
        save_synthsleepnet(path, model.encoder, {"channel": "all"})
        probe = LinearProbe(model.encoder.dimension, dropout=0)
        write_linear(head, probe, {})
        return [path, head]
    stager = Stager(model.encoder, model.head, tuning="full")
    write_weights(path, stager.state_dict(), describe_stager(stager, {"channel": "EEG_C4"}))
    return [path]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Packed shards whose samples are hundredths, as the tests' signals are written."""
    made = make_cohort(tmp_path_factory.mktemp("cohort"))
    for index in made.packed:
        epochs = index.with_name("epochs.parquet")
        table = pl.read_parquet(epochs, hive_partitioning=False)
        scale = [pl.lit(0.5, pl.Float32).alias(f"{name}_scale") for name in ("EEG_C4", "EOG_L")]
        table.with_columns(scale).write_parquet(epochs)
        content = json.loads(index.read_text())
        content["sha256"]["epochs.parquet"] = sha256_file(epochs)
        index.write_text(json.dumps(content))
    return made


def write_predictions(path: Path, packed, *, subjects=("sim/e",)) -> pl.DataFrame:
    epochs = PackedEpochs(packed, channels=["EEG_C4"], subjects=subjects)
    n = len(epochs)
    table = epochs.table.with_columns(
        role=pl.lit("test"), predicted=pl.Series((np.arange(n) % 5).astype(np.int8)),
        **{f"p_{name}": pl.lit(0.2, pl.Float32) for name in STAGE_NAMES},
    )  # fmt: skip
    table.write_parquet(path)
    return table


@pytest.mark.parametrize("name", ["tinysleepnet", "neuronet", "synthsleepnet"])
def test_the_command_explains_test_epochs(name, cohort, tmp_path):
    predictions = tmp_path / "predictions.parquet"
    told = write_predictions(predictions, cohort.packed)
    path = tmp_path / "explanation.parquet"
    explain(
        packed=cohort.packed, predictions=predictions, model=write_model(tmp_path, name),
        explanation=path, threads=1, cfg=ExplainSlice(epochs=1, seed=1),
    )  # fmt: skip
    found = read_explanations(path, task=TASK)
    assert found.about == {"each": 1, "seed": 1, "of": 11}
    table = found.table
    channels = {"EEG_C4", "EOG_L"} if name == "synthsleepnet" else {"EEG_C4"}
    methods = {GRAD_CAM} if name in SUPERVISED else {GRAD_CAM, ROLLOUT}
    assert set(table["channel"]) == channels
    assert set(table["method"]) == methods
    stages = set(told.filter(pl.col("usable"), pl.col("stage") >= 0)["stage"])
    assert len(table) == len(stages) * len(channels) * len(methods)
    assert set(table["stage"]) == stages
    assert table.join(told, on=["recording", "epoch", "stage", "predicted"]).height == len(table)
    assert (table["explained"] == table["predicted"]).all()
    assert table["p_N1"].unique().to_list() == [pytest.approx(0.2)]
    assert set(table["signal"].list.len()) == set(table["heat"].list.len()) == {T}
    eeg = table.filter(pl.col("channel") == "EEG_C4")
    assert set(eeg["unit"]) == {"uV"}
    assert eeg["spindles"].null_count() == 0
    assert table.filter(pl.col("channel") == "EOG_L")["spindles"].null_count() == len(table) - len(
        eeg
    )


def test_signals_are_given_in_their_unit(cohort):
    epochs = PackedEpochs(cohort.packed, channels=["EEG_C4"], subjects=["sim/e"])
    rows = np.array([3, 4])
    values, unit = PackedMeasures(cohort.packed, epochs).read(rows, channel="EEG_C4")
    # The gain is 0.01, so a sample is 100 times the value that models read; one is 0.5 uV.
    np.testing.assert_allclose(values, 50 * epochs.read(rows)[:, 0], rtol=1e-5, atol=1e-4)
    assert unit == "uV"


def test_a_model_is_not_explained_by_wrong_files(tmp_path):
    encoder, head = write_model(tmp_path, "synthsleepnet")
    with pytest.raises(WeightsError, match="is an encoder alone and gives no classes"):
        load_explained([encoder])
    with pytest.raises(WeightsError, match="holds 'head'"):
        load_explained([head])
    with pytest.raises(WeightsError, match="found 3 files"):
        load_explained([encoder, head, head])
    with pytest.raises(WeightsError, match="wanted 'neuronet' or"):
        load_explained([*write_model(tmp_path, "tinysleepnet"), head])
    other = tmp_path / "other.parquet"
    pl.DataFrame({"epoch": [1]}).write_parquet(other)
    with pytest.raises(ValueError, match=r"other\.parquet lacks"):
        read_explanations(other, task=TASK)


# somnoflow explain


def explain_file(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(["explain", *map(str, arguments)])
    return int(caught.value.code or 0)


@pytest.fixture
def edf(tmp_path):
    """A night of 11 epochs: an EEG with a zero line in its third, and an EOG."""
    eeg = noise(rate=RATE, seconds=330, seed=0)
    eeg[6000:9000] = 0
    eog = noise(rate=RATE, seconds=330, seed=1)
    signals = [make_signal(eeg, label="C4-M1"), make_signal(eog, label="E1-M2")]
    return write_recording(tmp_path / "n1.edf", signals)


@pytest.mark.parametrize("name", ["tinysleepnet", "synthsleepnet"])
def test_a_night_becomes_a_page(name, edf, tmp_path, capsys):
    model, *head = write_model(tmp_path, name)
    out = tmp_path / "out"
    given = (edf, "--model", model, *(("--head", head[0]) if head else ()))
    assert explain_file(*given, "--epochs", "3-4", "--out", out, "--stage", "N2") == 0
    assert "n1.edf, 2 epochs of 30 s" in capsys.readouterr().out
    drawn = ["n1-epoch3.svg", "n1-epoch4.svg"]
    assert sorted(path.name for path in out.iterdir()) == [*drawn, "n1.html", "n1.parquet"]
    table = read_explanations(out / "n1.parquet", task=TASK).table
    assert set(table["explained"]) == {2}
    assert set(table["stage"]) == {-1}
    assert set(table["epoch"]) == {3, 4}
    likely = table.select(TASK.probabilities).to_numpy()
    np.testing.assert_array_equal(table["predicted"], likely.argmax(axis=1))
    np.testing.assert_allclose(likely.sum(axis=1), 1, atol=1e-5)
    # In the unit of the file, whatever the model reads.
    physical = read_night(edf, channels=["EEG_C4"], sampling_rate=RATE, pack=Pack(scaling="none"))
    np.testing.assert_allclose(table["signal"][0], physical.signals[3, 0], atol=1e-4)
    page = (out / "n1.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "Epoch 3 of n1: predicted" in page
    assert "E1-M2" in page or name == "tinysleepnet"
    assert "<script" not in page
    assert all((out / one).read_text().startswith("<svg") for one in drawn)


def test_an_epoch_without_a_signal_is_named(edf, tmp_path, capsys):
    [model] = write_model(tmp_path, "tinysleepnet")
    given = (edf, "--model", model, "--out", tmp_path / "out")
    assert explain_file(*given, "--epochs", "1-3") == 1
    assert "Without a usable signal: 2." in capsys.readouterr().out
    assert not (tmp_path / "out" / "n1-epoch2.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--epochs", "9-11"), "found epochs 9 to 11, wanted some of 0 to 10: "),
     (("--epochs", "2"), "no epoch from 2 to 2 of "),
     (("--epochs", "5-3"), "found 5-3, wanted epochs such as 120-130 or 120"),
     (("--epochs", "-3"), "wanted epochs such as 120-130"),
     (("--stage", "S2"), "knows no class 'S2', wanted one of W, N1, N2, N3, REM"),
     (("--model", "{encoder}"), "is an encoder alone and gives no classes. Wanted: its head too"),
     (("--model", "{other}"), "n1.edf: "),
     (("--model", "nothing.safetensors"), "nothing.safetensors"),
     (("--model", "{edf}"), "is damaged"),
     (("--head", "{head}"), "wanted 'neuronet' or 'synthsleepnet'"),
     (("--dataset", "lap"), "no dataset 'lap'")],
)  # fmt: skip
def test_a_mistake_ends_in_one_message(arguments, said, edf, tmp_path, capsys):
    [model] = write_model(tmp_path, "tinysleepnet")
    (tmp_path / "a").mkdir()
    encoder, head = write_model(tmp_path / "a", "synthsleepnet")
    other = tmp_path / "other.safetensors"
    torch.manual_seed(0)
    made = TinySleepNet(sampling_rate=RATE, samples=T, preset="tiny")
    write_weights(other, made.state_dict(), describe_supervised(made, {"channel": "EEG_F3"}))
    named = {"encoder": encoder, "head": head, "other": other, "edf": edf}
    words = [word.format(**named) for word in arguments]
    options = ("--model", model, "--epochs", "3", "--out", tmp_path / "out")
    assert explain_file(edf, *options, *words) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "out").exists()
