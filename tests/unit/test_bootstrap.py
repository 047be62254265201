"""Bootstrap intervals: over subjects, seeded, right against a plain loop, null for one subject."""

import numpy as np
import pytest

from somnoflow.config.evaluate import Evaluate
from somnoflow.evaluate import bootstrap
from somnoflow.evaluate.bootstrap import intervals, percentile_interval, resample
from somnoflow.evaluate.confusion import agreement

CFG = Evaluate(resamples=400, seed=3)


def cohort(rng, subjects, *, epochs=200, spread=0.1):
    """Draw subjects whose own accuracy varies around 0.7."""
    tables = np.zeros((subjects, 5, 5), int)
    for table in tables:
        accuracy = np.clip(rng.normal(0.7, spread), 0, 1)
        stage = rng.integers(0, 5, epochs)
        wrong = (stage + rng.integers(1, 5, epochs)) % 5
        predicted = np.where(rng.random(epochs) < accuracy, stage, wrong)
        np.add.at(table, (stage, predicted), 1)
    return tables


def test_the_same_seed_gives_the_same_interval():
    tables = cohort(np.random.default_rng(0), 8)
    assert intervals(tables, cfg=CFG) == intervals(tables, cfg=CFG)
    other = intervals(tables, cfg=CFG.model_copy(update={"seed": 4}))
    assert other["accuracy"] != intervals(tables, cfg=CFG)["accuracy"]


def test_the_size_of_a_batch_of_draws_changes_nothing(monkeypatch):
    tables = cohort(np.random.default_rng(1), 6)
    whole = resample(tables, resamples=150, seed=5)
    monkeypatch.setattr(bootstrap, "DRAWS_AT_ONCE", 60)
    parts = resample(tables, resamples=150, seed=5)
    np.testing.assert_array_equal(whole.kappa, parts.kappa)


def test_agrees_with_a_plain_loop_over_drawn_subjects():
    tables = cohort(np.random.default_rng(2), 10)
    rng = np.random.default_rng(9)
    loop = [
        float(agreement(tables[rng.integers(0, 10, 10)].sum(axis=0)).accuracy) for _ in range(4000)
    ]
    fast = resample(tables, resamples=4000, seed=1).accuracy
    assert fast.std() == pytest.approx(np.std(loop), rel=0.06)
    np.testing.assert_allclose(
        np.quantile(fast, [0.025, 0.975]), np.quantile(loop, [0.025, 0.975]), atol=0.006
    )


def test_interval_is_over_subjects_not_epochs():
    # Ten times the epochs of the same subjects say no more about other subjects.
    tables = cohort(np.random.default_rng(4), 12)
    assert intervals(tables, cfg=CFG)["accuracy"] == intervals(tables * 10, cfg=CFG)["accuracy"]


def test_covers_the_true_value_about_as_often_as_promised():
    rng = np.random.default_rng(6)
    cfg = Evaluate(resamples=200, confidence=0.9)
    hits = 0
    for _ in range(150):
        low, high = intervals(cohort(rng, 25, epochs=100, spread=0.08), cfg=cfg)["accuracy"]
        hits += low <= 0.7 <= high
    assert 0.8 <= hits / 150 <= 0.97


def test_one_subject_has_no_interval_and_a_reason():
    result = intervals(cohort(np.random.default_rng(0), 1), cfg=CFG)
    assert result["accuracy"] is result["kappa"] is result["macro_f1"] is None
    assert set(result["f1"].values()) == {None}
    assert "1 test subject(s)" in result["reason"]


def test_subjects_without_scored_epochs_are_not_drawn():
    tables = cohort(np.random.default_rng(0), 3)
    empty = np.zeros((2, 5, 5), int)
    with_empty = intervals(np.concatenate([tables, empty]), cfg=CFG)
    assert with_empty["subjects"] == 3
    assert with_empty == intervals(tables, cfg=CFG)


def test_a_stage_of_one_subject_only_is_sometimes_undefined():
    tables = np.zeros((3, 5, 5), int)
    tables[:, 0, 0] = 5
    tables[0, 4, 4] = 2
    result = intervals(tables, cfg=CFG)
    # Probability that the one subject is never drawn: (2/3)^3 = 0.296.
    assert result["undefined_resamples"]["REM"] == pytest.approx(0.296 * 400, abs=40)
    assert result["f1"]["REM"] == [1.0, 1.0]
    assert result["f1"]["N1"] is None
    assert result["undefined_resamples"]["N1"] == 400


def test_percentile_interval():
    assert percentile_interval(np.arange(101.0), 0.9) == [5.0, 95.0]
    assert percentile_interval(np.array([np.nan, 2.0]), 0.9) == [2.0, 2.0]
    assert percentile_interval(np.array([np.nan]), 0.9) is None
