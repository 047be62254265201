"""Temperatures per fold from validation subjects alone, judged on test subjects, and the review."""

import json

import numpy as np
import polars as pl
import pytest
from scipy.special import softmax

from somnoflow.commands.evaluate import evaluate
from somnoflow.config.evaluate import Evaluate
from somnoflow.evaluate.calibrate_folds import KEPT, calibrate
from somnoflow.evaluate.calibration import apply_temperature, fit_temperature
from somnoflow.tasks import TASKS

CFG = Evaluate(resamples=200, seed=2)
STAGING, APNEA = TASKS["staging"], TASKS["apnea"]
TRUE = {"staging": "stage", "apnea": "label"}


def night(rng, *, subject, role, fold, task=STAGING, sharpened=2.0, epochs=300):
    """Make the rows of one recording whose probabilities are too sure by `sharpened`."""
    logits = rng.normal(0, 1.2, (epochs, len(task.classes)))
    p = softmax(logits, axis=1)
    true = (p.cumsum(axis=1) < rng.random((epochs, 1))).sum(axis=1)
    sure = softmax(logits * sharpened, axis=1).astype(np.float32)
    columns = {"stage": np.zeros(epochs, np.int8), TRUE[task.name]: true.astype(np.int8)}
    return pl.DataFrame(
        {
            "dataset": "d",
            "subject": subject,
            "recording": f"{subject}-n1",
            "epoch": np.arange(epochs, dtype=np.int32),
            "onset_s": 30.0 * np.arange(epochs),
            "fold": np.int32(fold),
            "role": role,
            **columns,
            "usable": True,
            "predicted": sure.argmax(axis=1).astype(np.int8),
            **{name: sure[:, k] for k, name in enumerate(task.probabilities)},
        }
    )


def write(folder, frames):
    paths = []
    for fold, frame in enumerate(frames):
        path = folder / f"fold={fold}" / "predictions.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path)
        paths.append(path)
    return paths


def cohort(*, task=STAGING, seed=0, val=2.0, test=2.0, folds=2):
    """Give the rows of each fold: two validation and two test subjects."""
    rng = np.random.default_rng(seed)
    return [
        pl.concat(
            night(rng, subject=f"d/{role}{fold}{k}", role=role, fold=fold, task=task,
                  sharpened=val if role == "val" else test)
            for role in ("val", "test")
            for k in range(2)
        )
        for fold in range(folds)
    ]  # fmt: skip


def in_role(role):
    return pl.col("role") == role


def arrays(frame, task=STAGING):
    return frame.select(task.probabilities).to_numpy(), frame[TRUE[task.name]].to_numpy()


def test_a_temperature_per_fold_makes_test_epochs_better_calibrated(tmp_path):
    content = calibrate(write(tmp_path, cohort()), task=STAGING, cfg=CFG)
    assert [fold["fold"] for fold in content["folds"]] == [0, 1]
    for fold in content["folds"]:
        assert fold["temperature"] == pytest.approx(2, rel=0.2)
        assert fold["epochs"] == 600
        assert fold["ece_after"] < fold["ece_before"]
    test = content["test"]
    assert test["epochs"] == 1200
    for value in ("ece", "nll", "brier"):
        assert test["after"][value] < test["before"][value]
    assert test["before"]["ece"] > 0.1 > 2 * test["after"]["ece"]
    for side in ("before", "after"):
        assert sum(one["epochs"] for one in test[side]["bins"]) == 1200
    assert (content["task"], content["classes"]) == ("staging", list(STAGING.classes))


@pytest.mark.parametrize("task", [STAGING, APNEA])
def test_test_rows_never_change_a_temperature(tmp_path, task):
    frames = cohort(task=task)
    others = [
        pl.concat([mine.filter(in_role("val")), other.filter(in_role("test"))])
        for mine, other in zip(frames, cohort(task=task, seed=9, test=0.3), strict=True)
    ]
    found, changed = (
        calibrate(write(tmp_path / name, rows), task=task, cfg=CFG)
        for name, rows in (("a", frames), ("b", others))
    )
    assert found["folds"] == changed["folds"]
    assert found["test"]["before"] != changed["test"]["before"]
    expected = [fit_temperature(*arrays(frame.filter(in_role("val")), task)) for frame in frames]
    assert [fold["temperature"] for fold in found["folds"]] == pytest.approx(expected, abs=1e-6)


def test_validation_rows_are_never_judged(tmp_path):
    frames = cohort(folds=1)
    content = calibrate(write(tmp_path, frames), task=STAGING, cfg=CFG)
    test = frames[0].filter(in_role("test"))
    p, true = arrays(test)
    before = -np.log(p[np.arange(len(p)), true].astype(float)).mean()
    assert content["test"]["before"]["nll"] == pytest.approx(before, abs=1e-5)
    after = apply_temperature(p, content["folds"][0]["temperature"])
    loss = -np.log(after[np.arange(len(p)), true]).mean()
    assert content["test"]["after"]["nll"] == pytest.approx(loss, abs=1e-5)


def test_the_review_keeps_the_surest_epochs_of_each_recording(tmp_path):
    frames = cohort(folds=1)
    review = calibrate(write(tmp_path, frames), task=STAGING, cfg=CFG)["test"]["review"]
    right, kept = [], []
    for _, rows in frames[0].filter(in_role("test")).group_by("recording"):
        p, true = arrays(rows)
        surest = np.argsort(-p.max(axis=1))
        hit = (p.argmax(axis=1) == true)[surest]
        right += hit.tolist()
        kept += hit[: round(KEPT * len(hit))].tolist()
    assert (review["share"], review["epochs"], review["kept"]) == (0.8, 600, 480)
    # The order by calibrated confidence is nearly that by the maximum.
    assert review["kept_accuracy"] == pytest.approx(np.mean(kept), abs=0.02)
    assert review["all_accuracy"] == pytest.approx(np.mean(right), abs=1e-6)
    assert review["review_accuracy"] < review["all_accuracy"] < review["kept_accuracy"]
    assert review["gain"] == pytest.approx(
        review["kept_accuracy"] - review["all_accuracy"], abs=2e-6
    )
    low, high = review["intervals"]["gain"]
    assert 0 < low <= high


def test_equally_sure_epochs_are_kept_in_their_order(tmp_path):
    rng = np.random.default_rng(0)
    test = night(rng, subject="d/a", role="test", fold=0, epochs=10)
    same = test.with_columns(
        *(pl.lit(0.2, pl.Float32).alias(name) for name in STAGING.probabilities),
        stage=pl.when(pl.col("epoch") < 8).then(0).otherwise(1).cast(pl.Int8),
        predicted=pl.lit(0, pl.Int8),
    ).reverse()
    content = calibrate(write(tmp_path, [same]), task=STAGING, cfg=CFG)
    review = content["test"]["review"]
    assert (review["kept_accuracy"], review["review_accuracy"]) == (1, 0)
    assert "1 test subject(s)" in review["intervals"]["reason"]
    assert review["intervals"]["gain"] is None


def test_without_validation_epochs_the_temperature_is_null_with_a_reason(tmp_path):
    frames = [frame.filter(in_role("test")) for frame in cohort()]
    content = calibrate(write(tmp_path, frames), task=STAGING, cfg=CFG)
    for fold in content["folds"]:
        assert fold["temperature"] is None
        assert "0 validation epochs, wanted at least" in fold["reason"]
        assert fold["ece_before"] is fold["ece_after"] is None
    assert content["test"]["before"] == content["test"]["after"]


def test_unlabelled_and_unusable_epochs_take_no_part(tmp_path):
    frame = cohort(folds=1)[0]
    odd = frame.with_row_index("row").with_columns(
        stage=pl.when(pl.col("row") % 5 == 0).then(-1).otherwise("stage").cast(pl.Int8),
        usable=pl.col("row") % 7 != 0,
    )
    empty = ~pl.col("usable")
    odd = odd.with_columns(
        *(pl.when(~empty).then(pl.col(name)).alias(name) for name in STAGING.probabilities),
        predicted=pl.when(empty).then(-1).otherwise("predicted").cast(pl.Int8),
    ).drop("row")
    content = calibrate(write(tmp_path, [odd]), task=STAGING, cfg=CFG)
    judged = odd.filter("usable", pl.col("stage") >= 0)
    assert content["folds"][0]["epochs"] == judged.filter(in_role("val")).height
    assert content["test"]["epochs"] == judged.filter(in_role("test")).height
    nobody = frame.with_columns(stage=pl.lit(-1, pl.Int8))
    nothing = calibrate(write(tmp_path, [nobody]), task=STAGING, cfg=CFG)["test"]
    assert (nothing["epochs"], nothing["before"]["ece"], nothing["before"]["nll"]) == (
        0,
        None,
        None,
    )
    assert nothing["review"]["kept_accuracy"] is nothing["review"]["gain"] is None


def test_an_event_is_held_to_how_often_it_is_there(tmp_path):
    frames = cohort(task=APNEA, folds=1)
    content = calibrate(write(tmp_path, frames), task=APNEA, cfg=CFG)
    assert content["folds"][0]["temperature"] == pytest.approx(2, rel=0.3)
    test = frames[0].filter(in_role("test"))
    first = content["test"]["before"]["bins"][0]
    rare = test.filter(pl.col("p_apnea") <= 1 / 15)
    assert first["epochs"] == rare.height
    assert first["accuracy"] == pytest.approx((rare["label"] == 1).mean(), abs=1e-6)
    assert content["test"]["after"]["ece"] < content["test"]["before"]["ece"]
    assert content["classes"] == ["none", "apnea"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"role": pl.when(pl.col("epoch") < 9).then(pl.lit("val")).otherwise("role")},
            "test and a",
        ),
        ({"epoch": pl.lit(3, pl.Int32)}, "more than once"),
        ({"p_W": pl.col("p_W") + 0.5}, "sum 1"),
        ({"fold": pl.when(pl.col("role") == "val").then(1).otherwise("fold")}, "several folds"),
        ({"stage": pl.lit(7, pl.Int8)}, "true class is not in -1..4"),
    ],
)
def test_impossible_predictions_are_refused(tmp_path, change, problem):
    paths = write(tmp_path, [cohort(folds=1)[0].with_columns(**change)])
    with pytest.raises(ValueError, match=problem) as caught:
        calibrate(paths, task=STAGING, cfg=CFG)
    assert str(paths[0]) in str(caught.value)


def test_the_command_writes_the_same_strict_json_again(tmp_path):
    paths = write(tmp_path, cohort())
    texts = []
    for name in "ab":
        out = tmp_path / name
        out.mkdir()
        evaluate(
            predictions=paths, metrics=out / "metrics.json", recordings=out / "recordings.tsv",
            calibration=out / "calibration.json", cfg=CFG,
        )  # fmt: skip
        texts.append((out / "calibration.json").read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
    assert json.loads(texts[0], parse_constant=pytest.fail) == calibrate(
        paths[::-1], task=STAGING, cfg=CFG
    )
