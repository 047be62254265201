"""Temperature, ECE, NLL and Brier against closed forms and a plain search."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.special import softmax

from somnoflow.evaluate.calibration import (
    BINS,
    FEWEST,
    HIGHEST,
    LOWEST,
    NoTemperatureError,
    apply_temperature,
    brier_score,
    count_bins,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)


def overconfident(rng, *, epochs=4000, sharpened=2.5, classes=5):
    """Draw the truth from probabilities, and give them sharpened: the right T is `sharpened`."""
    logits = rng.normal(0, 1.5, (epochs, classes))
    p = softmax(logits, axis=1)
    targets = (p.cumsum(axis=1) < rng.random((epochs, 1))).sum(axis=1)
    return softmax(logits * sharpened, axis=1), targets


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("sharpened", [0.5, 1.0, 2.5])
def test_the_temperature_undoes_what_was_sharpened(sharpened, classes):
    rng = np.random.default_rng(0)
    p, targets = overconfident(rng, sharpened=sharpened, classes=classes, epochs=20_000)
    assert fit_temperature(p, targets) == pytest.approx(sharpened, rel=0.05)


def test_no_other_temperature_has_a_smaller_loss():
    p, targets = overconfident(np.random.default_rng(1), epochs=300)
    found = fit_temperature(p, targets)
    losses = {
        t: negative_log_likelihood(apply_temperature(p, t), targets).mean()
        for t in (found, 0.99 * found, 1.01 * found, 1.0)
    }
    assert min(losses, key=losses.get) == found
    assert fit_temperature(p, targets) == found


def test_temperature_is_the_softmax_of_divided_logits():
    logits = np.random.default_rng(2).normal(0, 3, (50, 5))
    p = softmax(logits, axis=1)
    np.testing.assert_allclose(apply_temperature(p, 1.7), softmax(logits / 1.7, axis=1), atol=1e-12)
    np.testing.assert_allclose(apply_temperature(p, 1), p, atol=1e-12)
    for temperature in (0.05, 0.3, 20):
        after = apply_temperature(p, temperature)
        np.testing.assert_array_equal(after.argmax(axis=1), p.argmax(axis=1))
        np.testing.assert_allclose(after.sum(axis=1), 1)


def test_a_class_of_probability_0_keeps_it_and_a_row_of_nan_stays_one():
    p = np.array([[0.9, 0.1, 0.0], [np.nan] * 3, [1.0, 0.0, 0.0]], dtype=np.float32)
    with np.errstate(all="raise"):
        after = apply_temperature(p, 10)
    assert after[0, 2] == 0
    assert after[0, :2].sum() == pytest.approx(1)
    assert np.isnan(after[1]).all()
    np.testing.assert_array_equal(after[2], [1, 0, 0])


@pytest.mark.parametrize("temperature", [0, -1, np.nan, np.inf])
def test_an_impossible_temperature_is_refused(temperature):
    with pytest.raises(ValueError, match="above 0"):
        apply_temperature([[0.5, 0.5]], temperature)


def test_where_no_temperature_can_be_fitted_the_reason_is_said():
    p, targets = overconfident(np.random.default_rng(3))
    with pytest.raises(NoTemperatureError, match=f"{FEWEST - 1} validation epochs, wanted"):
        fit_temperature(p[: FEWEST - 1], targets[: FEWEST - 1])
    assert fit_temperature(p[:FEWEST], targets[:FEWEST]) > 0
    with pytest.raises(NoTemperatureError, match="likeliest in all of 4000"):
        fit_temperature(p, p.argmax(axis=1))
    with pytest.raises(NoTemperatureError, match="likeliest"):
        fit_temperature(np.full((200, 5), 0.2), np.zeros(200, int))
    impossible = p.copy()
    impossible[np.arange(41), targets[:41]] = 0
    with pytest.raises(NoTemperatureError, match="probability 0 in 41 of 4000"):
        fit_temperature(impossible, targets)


def test_a_few_impossible_epochs_are_left_out_of_the_fit():
    p, targets = overconfident(np.random.default_rng(4))
    impossible = p.copy()
    impossible[np.arange(40), targets[:40]] = 0
    assert fit_temperature(impossible, targets) == fit_temperature(p[40:], targets[40:])


def test_the_temperature_stays_in_its_range():
    p = np.tile([0.6, 0.4], (1000, 1))
    right = np.zeros(1000, int)
    right[0] = 1
    assert fit_temperature(np.tile([0.501, 0.499], (1000, 1)), right) == LOWEST
    assert fit_temperature(p, 1 - right) == HIGHEST


def test_bins_and_ece_by_hand():
    # 1/15 is still in the first bin, 0.95 in the last one.
    bins = count_bins([0.0, 1 / 15, 0.95, 0.95, 1.0], [False, True, True, False, True])
    assert bins.shape == (BINS, 3)
    np.testing.assert_allclose(bins[0], [2, 1 / 15, 1])
    np.testing.assert_allclose(bins[-1], [3, 2.9, 2])
    assert bins[1:-1].sum() == 0
    expected = 2 / 5 * abs(1 / 30 - 1 / 2) + 3 / 5 * abs(2.9 / 3 - 2 / 3)
    assert expected_calibration_error(bins) == pytest.approx(expected)
    rows = reliability(bins)
    assert [row["epochs"] for row in rows] == [2, *[0] * 13, 3]
    assert rows[1]["accuracy"] is None
    assert (rows[-1]["low"], rows[-1]["high"]) == (round(14 / 15, 6), 1)
    assert (rows[-1]["confidence"], rows[-1]["accuracy"]) == (0.966667, 0.666667)


def test_bins_of_parts_add_up_and_nothing_has_no_ece():
    rng = np.random.default_rng(5)
    sure, right = rng.random(500), rng.random(500) < 0.5
    np.testing.assert_allclose(
        count_bins(sure[:200], right[:200]) + count_bins(sure[200:], right[200:]),
        count_bins(sure, right),
    )
    assert np.isnan(expected_calibration_error(count_bins([], [])))


def test_loss_and_brier_by_hand():
    p = [[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]]
    np.testing.assert_allclose(negative_log_likelihood(p, [0, 0]), -np.log([0.7, 1e-7]))
    np.testing.assert_allclose(brier_score(p, [0, 0]), [0.09 + 0.04 + 0.01, 2])


def test_whoever_applies_a_temperature_does_not_wait_for_scipy():
    code = (
        "import sys; from somnoflow.evaluate.calibration import apply_temperature;"
        "apply_temperature([[0.3, 0.7]], 2.0);"
        "print([m for m in ('scipy', 'sklearn', 'polars', 'torch') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
