"""The stager of nights: its features, what makes it blind to gain, and its refinement."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import iqr, kurtosis, skew

from somnoflow.models.errors import WeightsError
from somnoflow.models.night_adaptation import Adaptation, adapt, smooth
from somnoflow.models.night_features import SHAPE, SPECTRUM, NightFeatures
from somnoflow.models.night_stager import (
    NightStager,
    load_night_stager,
    measure_levels,
    write_night_stager,
)

RNG = np.random.default_rng(0)
NOISE = np.cumsum(RNG.normal(size=(6, 3000)), axis=1) * 0.1 + RNG.normal(size=(6, 3000))


def features_of(epochs: np.ndarray) -> dict[str, np.ndarray]:
    found = NightFeatures().forward_features(torch.from_numpy(epochs)).numpy()
    return dict(zip((*SHAPE, *SPECTRUM), found.T, strict=True))


def build(**changes: object) -> NightStager:
    torch.manual_seed(0)
    sizes = {"members": 2, "width": 8, "dilations": (1, 2), "dropout": 0.2, "adaptation": {}}
    return NightStager(**{**sizes, **changes}).eval()


def test_shape_by_other_formulas() -> None:
    """As the feature table of Sleep-EDF-78 defines them, written for one epoch at a time."""
    found = features_of(NOISE)
    assert set(SHAPE) <= set(found)
    for place, x in enumerate(NOISE):
        d = np.diff(x)
        mobility = np.sqrt(d.var() / x.var())
        turns = np.count_nonzero(np.diff(np.sign(d)))
        counts = np.histogram(x, 30)[0]
        share = counts[counts > 0] / len(x)
        wanted = {
            "std": x.std(),
            "iqr": iqr(x),
            "skewness": skew(x),
            "kurtosis": kurtosis(x),
            "zero_crossings": np.count_nonzero(np.diff(np.sign(x))),
            "hjorth_mobility": mobility,
            "hjorth_complexity": np.sqrt(np.diff(d).var() / d.var()) / mobility,
            "petrosian_fd": np.log10(3000) / (np.log10(3000) + np.log10(1 + 0.4 * turns)),
            "binned_entropy_30": -(share * np.log2(share)).sum(),
        }
        for name, value in wanted.items():
            assert found[name][place] == pytest.approx(value, rel=1e-4, abs=1e-5), name


def test_higuchi_of_known_dimensions() -> None:
    """A line has the slope 0, and white noise 1."""
    line = features_of(np.linspace(0, 1, 3000)[None])["higuchi_fd"]
    white = features_of(np.random.default_rng(1).normal(size=(1, 3000)))["higuchi_fd"]
    assert line[0] == pytest.approx(0, abs=0.01)
    assert white[0] == pytest.approx(1, abs=0.03)


def test_a_sine_is_in_its_band() -> None:
    sine = 10 * np.sqrt(2) * np.sin(2 * np.pi * 13.5 * np.arange(3000) / 100)
    found = features_of(sine[None])
    spectrum = [found[name][0] for name in SPECTRUM[: len(SPECTRUM) // 2]]
    assert SPECTRUM[int(np.argmax(spectrum))] == "log_power_13_14_q50"
    # Its power of 100 uV2 lies in about a Hertz.
    assert max(spectrum) == pytest.approx(2, abs=0.2)


def test_constant_epochs_have_finite_features() -> None:
    found = NightFeatures().forward_features(torch.zeros(2, 3000))
    assert found.shape == (2, NightFeatures().dimension)
    assert found.isfinite().all()


@pytest.mark.parametrize("epochs", [0, 1, 7, 59, 60, 119, 120, 400])
def test_nights_of_any_length(epochs: int) -> None:
    features = RNG.normal(size=(epochs, len(SHAPE) + len(SPECTRUM))).astype(np.float32)
    found = build().head.predict_proba(features, np.zeros(epochs, bool), stride=1)
    assert found.shape == (epochs, 5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_gain_does_not_matter() -> None:
    stager = build()
    epochs = np.cumsum(RNG.normal(size=(150, 3000)), axis=1) * RNG.uniform(0.05, 1, (150, 1))
    epochs += RNG.normal(size=(150, 3000))

    def score(gain: float) -> np.ndarray:
        features = stager.encoder.forward_features(torch.from_numpy(gain * epochs)).numpy()
        return stager.head.predict_proba(features, np.zeros(150, bool), stride=1)

    np.testing.assert_allclose(score(0.01), score(1), atol=1e-3)


def test_scoring_leaves_the_mode_and_repeats() -> None:
    head = build().head.train()
    features = RNG.normal(size=(130, len(SHAPE) + len(SPECTRUM))).astype(np.float32)
    first = head.predict_proba(features, np.zeros(130, bool), stride=1)
    assert head.training
    np.testing.assert_array_equal(
        head.predict_proba(features, np.zeros(130, bool), stride=1), first
    )


def test_wake_far_from_sleep_does_not_change_the_levels() -> None:
    """A day in front of the night: the answers of the night are about the same."""
    head = build(adaptation=None).head
    with torch.no_grad():
        for net in head.nets:  # says wake where the first feature is high
            net.fc.weight.zero_()
            net.fc.bias.zero_()
            net.stem.weight.zero_()
            net.stem.bias.zero_()
            net.stem.weight[0, 0, 0] = 1
            net.fc.weight[0, 0, 0] = 10
            net.fc.bias[1] = 5
    night = RNG.normal(size=(300, len(SHAPE) + len(SPECTRUM)))
    day = RNG.normal(size=(900, len(SHAPE) + len(SPECTRUM))) + 4
    both = np.concatenate([np.exp(day), np.exp(night)]).astype(np.float32)
    alone = head.predict_proba(both[900:], np.zeros(300, bool), stride=1)
    after = head.predict_proba(both, np.zeros(1200, bool), stride=1)[900:]
    assert (alone.argmax(axis=1) == after.argmax(axis=1)).mean() > 0.7


def test_small_differences_are_not_blown_up() -> None:
    """Features closer together than the least spread: they are told apart by that."""
    compressed = (0.01 * RNG.normal(size=(500, len(SHAPE)))).astype(np.float32)
    least = np.linspace(0.001, 0.5, len(SHAPE)).astype(np.float32)
    _, spread = measure_levels(compressed, least=least)
    assert spread[0] == pytest.approx(0.01, rel=0.2)
    np.testing.assert_array_equal(spread[1:], least[1:])


def test_the_least_spread_of_a_stager_is_used() -> None:
    stager = build(adaptation=None)
    features = np.abs(RNG.normal(size=(100, len(SHAPE) + len(SPECTRUM)))).astype(np.float32)
    starts = np.zeros(100, bool)
    before = stager.head.predict_proba(features, starts, stride=1)
    stager.head.least_spread.fill_(1e6)
    with torch.no_grad():
        for net in stager.head.nets:  # blind to all that is not relative to the night
            net.stem.weight[:, len(SHAPE) :] = 0
    after = stager.head.predict_proba(features, starts, stride=1)
    assert before.std(axis=0).max() > 1e-3
    # Away from the ends, whose neighbours are missing.
    np.testing.assert_allclose(after[10:-10], np.tile(after[50], (80, 1)), atol=1e-4)


def make_night() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Three stages in long runs, told apart by spectra; first answers that are often wrong."""
    rng = np.random.default_rng(3)
    stages = np.repeat(rng.permutation(np.tile([0, 2, 3], 8)), 20)
    spectra = rng.normal(size=(len(stages), 8)) + 3 * rng.normal(size=(5, 8))[stages]
    first = np.full((len(stages), 5), 0.1)
    said = np.where(rng.random(len(stages)) < 0.35, rng.choice([0, 2, 3], len(stages)), stages)
    first[np.arange(len(stages)), said] = 0.6
    transitions = np.full((5, 5), 0.02) + 0.9 * np.eye(5)
    return stages, spectra, first, transitions


def test_refinement_by_the_spectra_of_the_night() -> None:
    stages, spectra, first, transitions = make_night()
    refined = adapt(first, spectra, transitions=transitions, how=Adaptation())
    assert (first.argmax(axis=1) == stages).mean() < 0.85
    assert (refined.argmax(axis=1) == stages).mean() > 0.95
    np.testing.assert_allclose(refined.sum(axis=1), 1)


def test_refinement_invents_no_stage_and_leaves_short_nights() -> None:
    _stages, spectra, first, transitions = make_night()
    first[:, [1, 4]] = 1e-6
    first /= first.sum(axis=1, keepdims=True)
    refined = adapt(first, spectra, transitions=transitions, how=Adaptation())
    assert set(refined.argmax(axis=1)) <= {0, 2, 3}
    same = adapt(first[:119], spectra[:119], transitions=transitions, how=Adaptation())
    np.testing.assert_array_equal(same, first[:119])


def test_refinement_leaves_recordings_of_too_few_stages() -> None:
    stages, spectra, first, transitions = make_night()
    few = np.isin(stages, [0, 2])
    first[few, 3] = 0.01
    first /= first.sum(axis=1, keepdims=True)
    how = Adaptation()
    same = adapt(first[few], spectra[few], transitions=transitions, how=how)
    np.testing.assert_array_equal(same, first[few])
    refined = adapt(first[few], spectra[few], transitions=transitions, how=Adaptation(stages=2))
    assert np.abs(refined - first[few]).max() > 0.1
    # Stages that are said without being sure of it have no support.
    unsure = 0.5 * first + 0.1
    assert unsure.max() < how.sure
    np.testing.assert_array_equal(adapt(unsure, spectra, transitions=transitions, how=how), unsure)


def test_refinement_of_equal_spectra_is_finite() -> None:
    _, spectra, first, transitions = make_night()
    refined = adapt(first, spectra * 0, transitions=transitions, how=Adaptation())
    assert np.isfinite(refined).all()


def test_forward_backward_against_all_paths() -> None:
    rng = np.random.default_rng(4)
    likelihoods, transitions = rng.random((4, 2)), rng.dirichlet([1, 1], size=2)
    total = np.zeros((4, 2))
    for number in range(2**4):
        path = [number >> place & 1 for place in range(4)]
        weight = np.prod(likelihoods[np.arange(4), path])
        weight *= np.prod([transitions[a, b] for a, b in itertools.pairwise(path)])
        total[np.arange(4), path] += weight
    wanted = total / total.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(smooth(np.log(likelihoods), transitions=transitions), wanted)


def test_written_and_read_again(tmp_path: Path) -> None:
    stager, path = build(), tmp_path / "model.safetensors"
    write_night_stager(path, stager, channel="EEG_C4")
    again, about = load_night_stager(path)
    assert about["channels"] == ["EEG_C4"]
    features = RNG.normal(size=(130, len(SHAPE) + len(SPECTRUM))).astype(np.float32)
    starts = np.zeros(130, bool)
    np.testing.assert_array_equal(
        again.head.predict_proba(features, starts, stride=1),
        stager.head.predict_proba(features, starts, stride=1),
    )


def test_an_architecture_of_another_version_is_named(tmp_path: Path) -> None:
    stager, path = build(), tmp_path / "model.safetensors"
    stager.architecture["depth"] = 3
    write_night_stager(path, stager, channel="EEG_C4")
    with pytest.raises(WeightsError, match="another version"):
        load_night_stager(path)
