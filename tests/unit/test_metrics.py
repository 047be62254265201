"""The metrics against hand-counted examples and scikit-learn; bad predictions are refused."""

import json
import warnings

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from somnoflow.commands.evaluate import evaluate
from somnoflow.config.evaluate import Evaluate
from somnoflow.evaluate.confusion import PROBABILITIES, agreement, count_test_epochs
from somnoflow.evaluate.metrics import majority_baseline, pooled, recording_table, summarise

CFG = Evaluate(resamples=100)


def predictions(stage, predicted, *, subject="d/s1", recording="r1", fold=0, usable=None):
    """Make the rows of one recording; the predicted stage has the probability 0.6."""
    stage, predicted = np.asarray(stage), np.asarray(predicted)
    usable = np.ones(len(stage), bool) if usable is None else np.asarray(usable)
    probability = np.full((len(stage), 5), 0.1)
    probability[np.arange(len(stage)), predicted] = 0.6
    frame = pl.DataFrame(
        {
            "dataset": subject.split("/")[0],
            "subject": subject,
            "recording": recording,
            "epoch": np.arange(len(stage), dtype=np.int32),
            "onset_s": 30.0 * np.arange(len(stage)),
            "fold": np.int32(fold),
            "role": "test",
            "stage": stage.astype(np.int8),
            "usable": usable,
            "predicted": np.where(usable, predicted, -1).astype(np.int8),
            **{name: probability[:, k].astype(np.float32) for k, name in enumerate(PROBABILITIES)},
        }
    )
    return frame.with_columns(
        pl.when("usable").then(pl.col(name)).alias(name) for name in PROBABILITIES
    )


def write(folder, *frames):
    paths = []
    for k, frame in enumerate(frames):
        path = folder / f"fold={k}" / "predictions.parquet"
        path.parent.mkdir(parents=True)
        frame.write_parquet(path)
        paths.append(path)
    return paths


def draw(seed, n=300):
    rng = np.random.default_rng(seed)
    stage = rng.integers(-1, 5, n)
    right = rng.random(n) < 0.6
    predicted = np.where(right, stage.clip(0), rng.integers(0, 5, n))
    return stage, predicted, rng.random(n) < 0.9


def test_hand_counted_example():
    # W W W N2 N2 REM against W W N2 N2 N2 N2
    confusion = np.zeros((5, 5), int)
    confusion[0, 0], confusion[0, 2], confusion[2, 2], confusion[4, 2] = 2, 1, 2, 1
    result = pooled(confusion)
    assert result["accuracy"] == pytest.approx(4 / 6, abs=1e-6)
    assert result["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3, abs=1e-6)
    chance = (3 * 2 + 2 * 4) / 36
    assert result["kappa"] == pytest.approx((4 / 6 - chance) / (1 - chance), abs=1e-6)
    per_class = result["per_class"]
    assert per_class["W"] == {"precision": 1.0, "recall": 0.666667, "f1": 0.8, "support": 3}
    assert per_class["N2"]["f1"] == pytest.approx(4 / 6, abs=1e-6)
    assert per_class["REM"] == {"precision": None, "recall": 0.0, "f1": 0.0, "support": 1}
    assert per_class["N1"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    # N1 and N3 occur nowhere: the mean is over W, N2, REM.
    assert result["macro_f1"] == pytest.approx((0.8 + 4 / 6 + 0) / 3, abs=1e-6)
    assert result["confusion_matrix"][0] == [2, 0, 1, 0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_own_formulas_agree_with_scikit_learn(seed):
    stage, predicted, usable = draw(seed)
    keep = (stage >= 0) & usable
    true, guess = stage[keep], predicted[keep]
    confusion = sk.confusion_matrix(true, guess, labels=range(5))
    own, by_cells = agreement(confusion), pooled(confusion)
    expected = {
        "accuracy": sk.accuracy_score(true, guess),
        "macro_f1": sk.f1_score(true, guess, average="macro"),
        "kappa": sk.cohen_kappa_score(true, guess),
    }
    for name, value in expected.items():
        assert getattr(own, name) == pytest.approx(value, abs=1e-12)
        assert by_cells[name] == pytest.approx(value, abs=1e-6)
    assert by_cells["balanced_accuracy"] == pytest.approx(
        sk.balanced_accuracy_score(true, guess), abs=1e-6
    )
    np.testing.assert_allclose(own.f1, sk.f1_score(true, guess, average=None), atol=1e-12)


def test_agreement_takes_many_tables_at_once():
    tables = np.random.default_rng(0).integers(0, 9, (3, 4, 5, 5))
    many = agreement(tables)
    one = agreement(tables[2, 1])
    assert many.f1.shape == (3, 4, 5)
    assert many.kappa[2, 1] == one.kappa
    np.testing.assert_array_equal(many.f1[2, 1], one.f1)


def test_a_single_stage_everywhere_has_no_kappa():
    confusion = np.zeros((5, 5), int)
    confusion[2, 2] = 7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = pooled(confusion)
    assert result["kappa"] is None
    assert (result["accuracy"], result["macro_f1"]) == (1.0, 1.0)
    assert np.isnan(agreement(confusion).kappa)


def test_majority_baseline():
    confusion = np.zeros((5, 5), int)
    confusion[0, 0], confusion[2, 2], confusion[2, 0] = 2, 5, 1
    result = majority_baseline(confusion)
    assert result["stage"] == "N2"
    assert result["accuracy"] == pytest.approx(6 / 8)
    assert result["macro_f1"] == pytest.approx((2 * 6 / (6 + 8) + 0) / 2, abs=1e-6)
    assert result["kappa"] == 0.0


def test_counts_add_up_and_overlaps_are_counted_once(tmp_path):
    stage = [0, 1, -1, -1, 2, 3]
    usable = [True, False, True, False, True, True]
    counted = count_test_epochs(write(tmp_path, predictions(stage, [0] * 6, usable=usable)))
    counts = summarise(counted, cfg=CFG)["counts"]
    assert counts == {
        "epochs": 6, "scored": 3, "unscored": 2, "unusable": 1, "unscored_unusable": 1,
    }  # fmt: skip
    assert counts["scored"] + counts["unscored"] + counts["unusable"] == counts["epochs"]


def test_only_test_rows_are_read(tmp_path):
    test = predictions([0, 1], [0, 1])
    validation = predictions([0, 1], [4, 4], subject="d/s2").with_columns(role=pl.lit("val"))
    counted = count_test_epochs(write(tmp_path, pl.concat([validation, test])))
    assert counted.table["subject"].to_list() == ["d/s1"]
    assert counted.confusion.sum() == 2


def test_recordings_keep_their_own_counts(tmp_path):
    first = [
        predictions([0, 0, 1], [0, 1, 1], recording="r2"),
        predictions([4, 4], [4, 4], recording="r1"),
    ]
    second = predictions([2, 3, 3], [2, 2, 2], subject="d/s0", recording="r0", fold=1)
    counted = count_test_epochs(write(tmp_path, pl.concat(first), second))
    table = recording_table(counted)
    assert table["recording"].to_list() == ["r0", "r1", "r2"]
    np.testing.assert_allclose(table["accuracy"], [1 / 3, 1, 2 / 3])
    assert table["kappa"].to_list()[1] is None
    assert counted.per_subject().sum(axis=(1, 2)).tolist() == [3, 5]
    spread = summarise(counted, cfg=CFG)["per_recording"]
    assert spread["accuracy"]["mean"] == pytest.approx(2 / 3, abs=1e-6)
    assert spread["kappa"]["n"] == 2


def test_rows_of_the_matrix_are_the_true_stages(tmp_path):
    counted = count_test_epochs(write(tmp_path, predictions([0, 0, 3], [4, 4, 2])))
    content = summarise(counted, cfg=CFG)["pooled"]
    assert content["confusion_matrix"][0] == [0, 0, 0, 0, 2]
    assert content["confusion_matrix"][3] == [0, 0, 1, 0, 0]
    assert content["per_class"]["W"]["support"] == 2
    assert content["per_class"]["REM"]["support"] == 0


def test_each_dataset_has_its_own_block(tmp_path):
    frames = [
        predictions([0, 1, 2], [0, 1, 2], subject="a/1", recording="a1"),
        predictions([0, 1, 2], [0, 0, 0], subject="b/1", recording="b1", fold=1),
    ]
    content = summarise(count_test_epochs(write(tmp_path, *frames)), cfg=CFG)
    assert set(content["datasets"]) == {"a", "b"}
    assert content["datasets"]["a"]["pooled"]["accuracy"] == 1
    assert content["datasets"]["b"]["pooled"]["accuracy"] == pytest.approx(1 / 3, abs=1e-6)
    assert content["pooled"]["accuracy"] == pytest.approx(4 / 6, abs=1e-6)


def test_a_cohort_without_any_human_stage_gives_nulls(tmp_path):
    content = summarise(count_test_epochs(write(tmp_path, predictions([-1, -1], [0, 2]))), cfg=CFG)
    assert content["pooled"]["accuracy"] is None
    assert content["baseline"]["stage"] is None
    assert "no metric is defined" in content["notes"][0]


def broken(**changes):
    frame = predictions([0, 1, 2, 3], [0, 1, 2, 3], usable=[True, True, True, False])
    first = pl.int_range(pl.len()) == 0
    return frame.with_columns(
        pl.when(first).then(pl.lit(value, dtype=frame.schema[name])).otherwise(name).alias(name)
        for name, value in changes.items()
    )


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (broken(epoch=1), "more than once"),
        (broken(p_W=0.7), "sum 1"),
        (broken(p_W=None), "sum 1"),
        (broken(p_W=-0.1, p_N1=0.8), "sum 1"),
        (broken(predicted=5), r"predicted is not in 0\.\.4"),
        (broken(predicted=-1), r"predicted is not in 0\.\.4"),
        (broken(stage=6), r"stage is not in -1\.\.4"),
        (broken(usable=False), "predicted is not -1"),
        (broken(fold=3), "two folds"),
        (broken().drop("p_REM"), "p_REM"),
    ],
)
def test_impossible_rows_are_refused(tmp_path, frame, message):
    with pytest.raises(ValueError, match=message):
        count_test_epochs(write(tmp_path, frame))


def test_a_subject_tested_in_two_folds_is_refused(tmp_path):
    frames = [predictions([0], [0]), predictions([1], [1], recording="r2", fold=1)]
    with pytest.raises(ValueError, match="d/s1 is a test subject in"):
        count_test_epochs(write(tmp_path, *frames))


def test_no_test_epoch_is_an_error(tmp_path):
    frame = predictions([0], [0]).with_columns(role=pl.lit("val"))
    with pytest.raises(ValueError, match="'test'"):
        count_test_epochs(write(tmp_path, frame))
    with pytest.raises(ValueError, match="0 file"):
        count_test_epochs([])


def test_command_writes_strict_json_and_the_same_bytes_again(tmp_path):
    frames = []
    for k in range(3):
        stage, predicted, usable = draw(k)
        frames.append(
            predictions(stage, predicted, subject=f"d/s{k}", recording=f"r{k}", fold=k,
                        usable=usable)
        )  # fmt: skip
    paths = write(tmp_path, *frames)
    for name in "ab":
        evaluate(
            predictions=paths,
            metrics=tmp_path / f"{name}.json",
            recordings=tmp_path / f"{name}.tsv",
            calibration=tmp_path / f"{name}-calibration.json",
            cfg=CFG,
        )
    text = (tmp_path / "a.json").read_text()
    assert text == (tmp_path / "b.json").read_text()
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()
    content = json.loads(text, parse_constant=pytest.fail)
    low, high = content["intervals"]["macro_f1"]
    assert low <= content["pooled"]["macro_f1"] <= high
    header = (tmp_path / "a.tsv").read_text().splitlines()[0].split("\t")
    assert header[:3] == ["dataset", "subject", "recording"]
    assert {"epochs", "scored", "unscored", "unusable", "accuracy", "kappa"} <= set(header)
