"""The metrics of rare events against scikit-learn and plain loops; bad predictions are refused."""

import json

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn import metrics as sk

from somnoflow.commands.evaluate_events import evaluate_events
from somnoflow.config.evaluate import Evaluate
from somnoflow.evaluate.bootstrap import draw_subjects
from somnoflow.evaluate.event_agreement import compare, severity
from somnoflow.evaluate.event_bootstrap import intervals
from somnoflow.evaluate.event_metrics import recording_table, summarise
from somnoflow.evaluate.event_nights import judge_nights
from somnoflow.evaluate.event_overlap import count_events
from somnoflow.evaluate.event_ranking import areas, precision_recall, rank
from somnoflow.evaluate.event_values import VALUES, confusion_tables, epoch_values
from somnoflow.evaluate.events import read_events
from somnoflow.tasks import TASKS

CFG = Evaluate(resamples=100)
TASK = TASKS["respiratory"]


def predictions(label, score, *, subject="d/s1", recording="r1", fold=0, role="test",
                threshold=0.5, stage=None, usable=None, epoch=None):  # fmt: skip
    """Make the rows of one recording."""
    label, score = np.asarray(label, np.int8), np.asarray(score, np.float32)
    n = len(label)
    usable = np.ones(n, bool) if usable is None else np.asarray(usable)
    says = score >= np.float32(threshold)
    return pl.DataFrame(
        {
            "dataset": subject.split("/")[0],
            "subject": subject,
            "recording": recording,
            "epoch": np.asarray(np.arange(n) if epoch is None else epoch, np.int32),
            "onset_s": 30.0 * np.arange(n),
            "fold": np.full(n, fold, np.int32),
            "role": role,
            "stage": np.asarray(np.full(n, 2) if stage is None else stage, np.int8),
            "label": label,
            "usable": usable,
            "predicted": np.where(usable, says, -1).astype(np.int8),
            "threshold": np.full(n, threshold, np.float32),
            "p_none": 1 - score,
            "p_respiratory": score,
        }
    ).with_columns(pl.when("usable").then(pl.col(name)).alias(name) for name in TASK.probabilities)


def draw(rng, n, **how):
    """Draw a recording in which a higher score means more events, with many ties."""
    label = (rng.random(n) < 0.2).astype(int)
    score = np.round(np.clip(0.35 * label + rng.random(n) * 0.65, 0, 1), 1)
    unknown = rng.random(n) < 0.05
    stage = rng.integers(-1, 5, n)
    return predictions(np.where(unknown, -1, label), score, stage=stage,
                       usable=rng.random(n) < 0.9, **how)  # fmt: skip


def write(folder, *frames):
    paths = []
    for k, frame in enumerate(frames):
        path = folder / f"fold={k}" / "predictions.parquet"
        path.parent.mkdir(parents=True)
        frame.write_parquet(path)
        paths.append(path)
    return paths


def write_cohort(folder, ahi, *, dataset="d"):
    path = folder / "recordings.tsv"
    rows = [{"dataset": dataset, "recording": name, "ahi": value} for name, value in ahi.items()]
    pl.DataFrame(rows, strict=False).write_csv(path, separator="\t", null_value="")
    return path


@pytest.fixture
def cohort(tmp_path):
    """Two folds of four test subjects and one validation subject each, one with two nights."""
    rng = np.random.default_rng(5)
    frames, ahi = [], {}
    for fold in range(2):
        parts = []
        for k in range(5):
            role = "val" if k == 4 else "test"
            name = f"{fold}{k}"
            for night in range(2 if k == 1 else 1):
                how = {"subject": f"d/s{name}", "recording": f"r{name}n{night}"}
                parts.append(
                    draw(rng, 150, fold=fold, role=role, threshold=0.4 + 0.2 * fold, **how)
                )
                ahi[f"r{name}n{night}"] = round(float(rng.uniform(2, 40)), 2)
        frames.append(pl.concat(parts))
    ahi["r03n0"] = None
    return write(tmp_path, *frames), write_cohort(tmp_path, ahi)


@pytest.fixture
def judged(cohort):
    """The test rows that are judged, by polars alone."""
    rows = pl.concat([pl.read_parquet(path, hive_partitioning=False) for path in cohort[0]])
    return rows.filter(pl.col("role") == "test", "usable", pl.col("label") >= 0)


def summary(paths, table):
    found = read_events(paths, task=TASK)
    return summarise(found, judge_nights(found, cohort=table), cfg=CFG)


def expected(rows):
    true, guess = rows["label"].to_numpy(), rows["predicted"].to_numpy()
    score = rows["p_respiratory"].to_numpy()
    return {
        "sensitivity": sk.recall_score(true, guess),
        "specificity": sk.recall_score(true, guess, pos_label=0),
        "ppv": sk.precision_score(true, guess),
        "npv": sk.precision_score(true, guess, pos_label=0),
        "f1": sk.f1_score(true, guess),
        "accuracy": sk.accuracy_score(true, guess),
        "balanced_accuracy": sk.balanced_accuracy_score(true, guess),
        "kappa": sk.cohen_kappa_score(true, guess),
        "auroc": sk.roc_auc_score(true, score),
        "auprc": sk.average_precision_score(true, score),
    }


def test_pooled_values_are_those_of_scikit_learn(cohort, judged):
    content = summary(*cohort)
    for name, value in expected(judged).items():
        assert content["pooled"][name] == pytest.approx(value, abs=1e-6), name
    assert content["prevalence"] == pytest.approx(judged["label"].mean(), abs=1e-6)
    assert content["thresholds"] == {"0": 0.4, "1": 0.6}
    assert content["task"] == "respiratory"
    assert content["datasets"] == {}


def test_each_recording_has_the_values_of_scikit_learn(cohort, judged):
    found = read_events(cohort[0], task=TASK)
    table = recording_table(found, judge_nights(found, cohort=cohort[1]))
    assert table["recording"].to_list() == sorted(judged["recording"].unique())
    for row in table.iter_rows(named=True):
        mine = judged.filter(pl.col("recording") == row["recording"])
        for name, value in expected(mine).items():
            assert row[name] == pytest.approx(value, abs=1e-9), name
        assert row["judged"] == mine.height
        asleep = mine.filter(pl.col("stage") > 0)
        assert row["sleep_hours"] == pytest.approx(asleep.height / 120)
        assert row["true_per_hour"] == pytest.approx(asleep["label"].sum() * 120 / asleep.height)


@pytest.mark.parametrize("seed", range(6))
def test_weighted_areas_are_those_of_repeated_epochs(seed):
    rng = np.random.default_rng(seed)
    n = 80
    label, group = rng.random(n) < 0.3, rng.integers(0, 5, n)
    score = rng.integers(0, 3 + 3 * seed, n) / 10
    times = rng.multinomial(5, [0.2] * 5).astype(float)
    rows = np.repeat(np.arange(n), times[group].astype(int))
    wanted = (
        sk.roc_auc_score(label[rows], score[rows]),
        sk.average_precision_score(label[rows], score[rows]),
    )
    assert areas(rank(score, label, group), times) == pytest.approx(wanted, abs=1e-12)


def test_areas_are_undefined_where_they_are():
    score, group = np.array([0.1, 0.5]), np.zeros(2, int)
    assert np.isnan(areas(rank(score, np.array([False, False]), group))).all()
    auroc, auprc = areas(rank(score, np.array([True, True]), group))
    assert np.isnan(auroc)
    assert auprc == 1
    assert np.isnan(areas(rank(score[:0], np.zeros(0, bool), group[:0]))).all()


def test_the_curve_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    label, score = rng.random(500) < 0.2, np.round(rng.random(500), 2)
    curve = precision_recall(rank(score, label, np.zeros(500, int)))
    precision, recall, _ = sk.precision_recall_curve(label, score)
    np.testing.assert_allclose(curve["recall"], recall[-2::-1], atol=1e-4)
    np.testing.assert_allclose(curve["precision"], precision[-2::-1], atol=1e-4)


def test_a_long_curve_is_cut_to_points_of_it():
    rng = np.random.default_rng(0)
    label = rng.random(5000) < 0.2
    curve = precision_recall(rank(rng.random(5000), label, np.zeros(5000, int)))
    assert 100 < len(curve["recall"]) <= 201
    assert curve["recall"][-1] == 1
    assert sorted(curve["recall"]) == curve["recall"]


def test_intervals_are_those_of_a_plain_loop_over_the_same_draws(cohort, judged):
    found = read_events(cohort[0], task=TASK)
    got = intervals(found.test, cfg=CFG)
    names = judged["subject"].unique().sort().to_list()
    parts = {name: judged.filter(pl.col("subject") == name) for name in names}
    loop = []
    for times in draw_subjects(len(names), resamples=CFG.resamples, seed=CFG.seed):
        for one in times:
            drawn = [parts[name] for name, k in zip(names, one, strict=True) for _ in range(k)]
            loop.append(expected(pl.concat(drawn)))
    for name in loop[0]:
        wanted = np.quantile([row[name] for row in loop], [0.025, 0.975])
        np.testing.assert_allclose(got[name], wanted, atol=2e-6, err_msg=name)
    assert got["subjects"] == 8
    assert got["event_f1"][0] < summary(*cohort)["pooled"]["event_f1"] < got["event_f1"][1]


def naive_events(true, predicted, judged):
    """Match runs one by one, over all pairs in the order of time."""

    def runs(flags):
        found, current = [], []
        for place, flag in enumerate([*flags, False]):
            if flag and judged[min(place, len(judged) - 1)]:
                current.append(place)
            elif current:
                found.append(set(current))
                current = []
        return found

    left, right = runs(true), runs(predicted)
    free, matched = list(right), 0
    for event in left:
        hit = next((other for other in free if event & other), None)
        if hit is not None:
            free.remove(hit)
            matched += 1
    return len(left), len(right), matched


@pytest.mark.parametrize("seed", range(8))
def test_events_are_those_of_a_plain_loop(tmp_path, seed):
    rng = np.random.default_rng(seed)
    frames, wanted = [], []
    for k in range(3):
        true, says = (np.repeat(rng.random(30) < 0.4, 3)[:80] for _ in range(2))
        true, says = true ^ (rng.random(80) < 0.1), says ^ (rng.random(80) < 0.1)
        usable, known = rng.random(80) < 0.9, rng.random(80) < 0.95
        label = np.where(known, true, -1)
        frames.append(predictions(label, says * 0.8, recording=f"r{k}", usable=usable))
        wanted.append(naive_events(true, says, usable & known))
    found = read_events(write(tmp_path, pl.concat(frames)), task=TASK)
    assert count_events(found.test).tolist() == [list(row) for row in wanted]


@pytest.mark.parametrize(
    ("true", "predicted", "epoch", "counts"),
    [
        ("0110", "0010", None, [1, 1, 1]),
        ("111111", "101010", None, [1, 3, 1]),
        ("101010", "111111", None, [3, 1, 1]),
        ("110011", "011110", None, [2, 1, 1]),
        ("1100", "0011", None, [1, 1, 0]),
        ("11", "11", [0, 2], [2, 2, 2]),
        ("0000", "0000", None, [0, 0, 0]),
    ],
)
def test_events_by_hand(tmp_path, true, predicted, epoch, counts):
    frame = predictions([int(x) for x in true], [0.9 * int(x) for x in predicted], epoch=epoch)
    found = read_events(write(tmp_path, frame), task=TASK)
    assert count_events(found.test).tolist() == [counts]


def test_an_event_ends_with_its_recording(tmp_path):
    frames = [
        predictions([0, 1], [0.1, 0.9], recording="r1"),
        predictions([1, 0], [0.9, 0.1], recording="r2", epoch=[2, 3]),
    ]
    found = read_events(write(tmp_path, pl.concat(frames)), task=TASK)
    assert count_events(found.test).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_counts_add_up(cohort):
    counts = summary(*cohort)["counts"]
    assert counts["judged"] + counts["unlabelled"] + counts["unusable"] == counts["epochs"] == 1500
    found = read_events(cohort[0], task=TASK)
    assert confusion_tables(found.test).sum() == counts["judged"]
    assert confusion_tables(found.test)[:, 1].sum() == counts["positives"]


def test_the_baseline_is_the_more_frequent_class(cohort, judged):
    baseline = summary(*cohort)["baseline"]
    true = judged["label"].to_numpy()
    assert baseline["positive"] is False
    assert baseline["accuracy"] == pytest.approx(1 - true.mean(), abs=1e-6)
    assert baseline["auprc"] == pytest.approx(true.mean(), abs=1e-6)
    assert (baseline["auroc"], baseline["balanced_accuracy"], baseline["kappa"]) == (0.5, 0.5, 0.0)
    assert (baseline["sensitivity"], baseline["f1"], baseline["event_f1"]) == (0.0, 0.0, 0.0)
    assert baseline["ppv"] is baseline["event_precision"] is None
    assert set(VALUES) < set(baseline)


def test_the_baseline_of_a_frequent_event_says_always(tmp_path):
    content = summary(
        write(tmp_path, predictions([1, 1, 0], [0.9, 0.1, 0.2])), write_cohort(tmp_path, {"r1": 3})
    )
    assert content["baseline"]["positive"] is True
    assert content["baseline"]["sensitivity"] == 1
    assert content["baseline"]["f1"] == pytest.approx(0.8)


def test_the_order_of_the_rows_changes_nothing(cohort, tmp_path):
    paths, table = cohort
    frames = [pl.read_parquet(path, hive_partitioning=False) for path in paths]
    mixed = write(tmp_path / "b", *(frame.sample(fraction=1, shuffle=True, seed=1)
                                    for frame in frames))  # fmt: skip
    assert summary(mixed, table) == summary(paths, table)


def test_what_is_not_defined_is_none_with_a_reason(tmp_path):
    content = summary(
        write(tmp_path, predictions([0, 0], [0.1, 0.2])), write_cohort(tmp_path, {"r1": None})
    )
    pooled, text = content["pooled"], " ".join(content["notes"])
    for name in ("sensitivity", "ppv", "f1", "kappa", "auroc", "auprc", "event_f1"):
        assert pooled[name] is None
        assert f"{name.replace('_', ' ')} is not defined" in text
    assert (pooled["specificity"], pooled["accuracy"]) == (1.0, 1.0)
    assert content["curve"] == {"recall": [], "precision": []}
    assert "1 test subject(s)" in content["intervals"]["reason"]
    assert content["intervals"]["f1"] is None
    assert content["ahi"] is None
    assert "AHI: not known of any test recording." in content["notes"]
    json.dumps(content, allow_nan=False)


def test_undefined_resamples_are_counted(tmp_path):
    frames = [
        predictions([0, 0, int(k == 0)], [0.1, 0.2, 0.9], subject=f"d/s{k}", recording=f"r{k}")
        for k in range(3)
    ]
    table = write_cohort(tmp_path, {f"r{k}": None for k in range(3)})
    result = summary(write(tmp_path, pl.concat(frames)), table)["intervals"]
    assert result["undefined_resamples"]["auroc"] == pytest.approx(30, abs=15)
    assert result["sensitivity"] == [1.0, 1.0]


def test_the_night_by_hand(tmp_path):
    # 120 epochs are an hour; wake and unusable epochs count neither as events nor as sleep.
    stage = [0] * 20 + [2] * 240
    label = [1] * 20 + [1] * 24 + [0] * 216
    score = [0.9] * 20 + [0.1] * 230 + [0.9] * 10
    usable = [True] * 140 + [False] * 120
    frame = predictions(label, score, stage=stage, usable=usable)
    found = read_events(write(tmp_path, frame), task=TASK)
    nights = judge_nights(found, cohort=write_cohort(tmp_path, {"r1": 30}))
    row = nights.table.row(0, named=True)
    assert (row["sleep_hours"], row["true_per_hour"], row["predicted_per_hour"]) == (1, 24, 0)


def test_the_estimated_ahi_by_hand(tmp_path):
    def night(positives, **how):
        label = np.arange(240) < positives
        return predictions(label, 0.8 * label, **how)

    frames = [
        night(20, subject="d/v1", recording="v1", role="val"),
        night(40, subject="d/v2", recording="v2", role="val"),
        night(10, subject="d/v3", recording="v3", role="val"),
        night(30, subject="d/s1", recording="r1"),
        night(8, subject="d/s2", recording="r2"),
    ]
    table = write_cohort(tmp_path, {"v1": 15, "v2": 30, "v3": None, "r1": 20, "r2": None})
    content = summary(write(tmp_path, pl.concat(frames)), table)
    # (15 + 30) per hour in 2 h each are 90 events, over 60 predicted epochs: 1.5 for each.
    assert content["calibration"] == {
        "0": {"recordings": 2, "events": 90.0, "predicted_epochs": 60, "per_hour": 22.5,
              "events_per_epoch": 1.5}
    }  # fmt: skip
    ahi = content["ahi"]
    assert ahi["points"] == {"true": [20.0], "predicted": [22.5]}
    assert (ahi["recordings"], ahi["bias"], ahi["mean_absolute_error"]) == (1, 2.5, 2.5)
    assert ahi["pearson"] is ahi["lower_limit"] is None
    assert ahi["baseline"] == {"bias": 2.5, "mean_absolute_error": 2.5}
    assert ahi["severity"]["table"][2] == [0, 0, 1, 0]
    text = " ".join(content["notes"])
    assert "AHI: not known in 1 of 2 recordings." in text
    assert "AHI: pearson is not defined: 1 recording(s), wanted at least 3." in text


def test_validation_rows_change_nothing_but_the_ahi(cohort, tmp_path):
    paths, table = cohort
    before = summary(paths, table)
    after = summary(
        write(
            tmp_path / "b",
            *(
                pl.read_parquet(path, hive_partitioning=False).filter(pl.col("role") == "test")
                for path in paths
            ),
        ),
        table,
    )
    assert after["pooled"] == before["pooled"]
    assert after["intervals"] == before["intervals"]
    assert before["ahi"] is not None
    assert after["ahi"] is None
    assert "fold 0 has no validation recording" in " ".join(after["notes"])


def test_no_predicted_epoch_in_validation_leaves_the_ahi_open(tmp_path):
    frames = [
        predictions([0, 1], [0.1, 0.1], subject="d/v", recording="v", role="val"),
        predictions([0, 1], [0.1, 0.9]),
    ]
    content = summary(write(tmp_path, pl.concat(frames)), write_cohort(tmp_path, {"v": 3, "r1": 4}))
    assert content["ahi"] is None
    assert "no epoch of the validation recordings of fold 0" in " ".join(content["notes"])


@pytest.mark.parametrize("seed", range(4))
def test_agreement_of_nights_is_that_of_scipy(seed):
    rng = np.random.default_rng(seed)
    true = rng.gamma(2, 8, 30).round(0)
    predicted = true + rng.normal(2, 6, 30).round(0)
    values = compare(true, predicted)
    gap = predicted - true
    assert values["bias"] == pytest.approx(gap.mean())
    assert values["upper_limit"] == pytest.approx(gap.mean() + 1.96 * np.std(gap, ddof=1))
    assert values["mean_absolute_error"] == pytest.approx(sk.mean_absolute_error(true, predicted))
    assert values["pearson"] == pytest.approx(stats.pearsonr(true, predicted).statistic)
    assert values["spearman"] == pytest.approx(stats.spearmanr(true, predicted).statistic)
    # Lin: Pearson's r times what location and scale cost.
    ratio = true.std() / predicted.std()
    shift = (true.mean() - predicted.mean()) ** 2 / (true.std() * predicted.std())
    wanted = values["pearson"] * 2 / (ratio + 1 / ratio + shift)
    assert values["concordance"] == pytest.approx(wanted)


def test_correlations_of_constants_are_undefined():
    values = compare(np.array([1.0, 2, 3]), np.full(3, 2.0))
    assert np.isnan([values["pearson"], values["spearman"]]).all()
    assert values["concordance"] == 0
    assert np.isnan(compare(np.full(3, 2.0), np.full(3, 2.0))["concordance"])
    assert np.isnan(list(compare(np.zeros(0), np.zeros(0)).values())).all()


def test_severity_has_its_borders_in_the_higher_class():
    true = np.array([4.9, 5, 14.9, 15, 29.9, 30, np.nan])
    result = severity(true, true[[0, 2, 1, 5, 3, 5, 0]], np.full(7, 10.0))
    assert result["table"] == [[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]]
    assert result["accuracy"] == pytest.approx(5 / 6, abs=1e-6)
    assert result["baseline"]["accuracy"] == pytest.approx(2 / 6, abs=1e-6)


def test_each_dataset_has_its_own_block(tmp_path):
    frames = [
        predictions([0, 1, 0], [0.1, 0.9, 0.2], subject="a/1", recording="a1"),
        predictions([0, 1, 0], [0.9, 0.1, 0.2], subject="b/1", recording="b1", fold=1),
    ]
    table = tmp_path / "t.tsv"
    table.write_text("dataset\trecording\tahi\na\ta1\t\nb\tb1\t\n")
    content = summary(write(tmp_path, *frames), table)
    assert content["datasets"]["a"]["pooled"]["f1"] == 1
    assert content["datasets"]["b"]["pooled"]["f1"] == 0
    assert content["datasets"]["b"]["counts"]["judged"] == 3
    assert content["pooled"]["f1"] == 0.5


def test_many_tables_at_once():
    tables = np.random.default_rng(0).integers(0, 9, (3, 4, 2, 2))
    many = epoch_values(tables)
    assert many["kappa"].shape == (3, 4)
    assert many["ppv"][2, 1] == epoch_values(tables[2, 1])["ppv"]


def broken(**changes):
    frame = predictions([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.3], usable=[True, True, True, False])
    first = pl.int_range(pl.len()) == 0
    return frame.with_columns(
        pl.when(first).then(pl.lit(value, dtype=frame.schema[name])).otherwise(name).alias(name)
        for name, value in changes.items()
    )


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (broken(epoch=1), "more than once"),
        (broken(p_none=0.7), "sum 1"),
        (broken(p_respiratory=None), "sum 1"),
        (broken(p_none=float("nan")), "sum 1"),
        (broken(predicted=2), "predicted is not 0 or 1"),
        (broken(predicted=1), "does not follow"),
        (broken(usable=False), "predicted is not -1"),
        (broken(label=3), r"label is not in -1\.\.1"),
        (broken(stage=7), r"stage is not in -1\.\.4"),
        (broken(threshold=0.4), "several values of threshold"),
        (broken(threshold=None), "threshold is no number"),
        (broken(fold=3), "several values of fold"),
        (broken().drop("label"), "lacks the columns .'label'"),
        (broken().drop("p_respiratory"), "p_respiratory"),
        (broken().with_columns(label=pl.lit(-1, pl.Int8)), "none of 4 test epochs"),
        (broken().with_columns(role=pl.lit("val")), "role 'test'"),
    ],
)
def test_impossible_rows_are_refused(tmp_path, frame, message):
    with pytest.raises(ValueError, match=message):
        read_events(write(tmp_path, frame), task=TASK)


def test_folds_are_kept_apart(tmp_path):
    twice = [predictions([0], [0.1]), predictions([1], [0.9], recording="r2", fold=1)]
    with pytest.raises(ValueError, match="d/s1 is a test subject in"):
        read_events(write(tmp_path / "a", *twice), task=TASK)
    both = [predictions([0], [0.1]), predictions([1], [0.9], recording="r2", role="val")]
    with pytest.raises(ValueError, match="a test and a validation subject"):
        read_events(write(tmp_path / "b", pl.concat(both)), task=TASK)
    same = [predictions([0], [0.1]), predictions([1], [0.9], subject="d/s2")]
    with pytest.raises(ValueError, match="both of fold 0"):
        read_events(write(tmp_path / "c", *same), task=TASK)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset\trecording\nd\tr1\n", "lacks the columns .'ahi'"),
        ("dataset\trecording\tahi\nd\tr1\tmany\n", "'many' in column ahi"),
        ("dataset\trecording\tahi\nd\tr1\t-3\n", "wanted 0 or more"),
        ("dataset\trecording\tahi\nd\tr9\t3\n", "no row for recording r1"),
    ],
)
def test_a_wrong_cohort_table_is_refused(tmp_path, text, message):
    found = read_events(write(tmp_path, predictions([0, 1], [0.1, 0.9])), task=TASK)
    table = tmp_path / "t.tsv"
    table.write_text(text)
    with pytest.raises(ValueError, match=message):
        judge_nights(found, cohort=table)


def test_command_writes_strict_json_and_the_same_bytes_again(cohort, tmp_path):
    paths, table = cohort
    for name in "ab":
        evaluate_events(
            predictions=paths, cohort=table, metrics=tmp_path / f"{name}.json",
            recordings=tmp_path / f"{name}.tsv", task="respiratory", cfg=CFG,
            calibration=tmp_path / f"{name}-calibration.json",
        )  # fmt: skip
    text = (tmp_path / "a.json").read_text()
    assert text == (tmp_path / "b.json").read_text()
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()
    calibrated = [(tmp_path / f"{name}-calibration.json").read_text() for name in "ab"]
    assert calibrated[0] == calibrated[1]
    assert json.loads(calibrated[0], parse_constant=pytest.fail)["task"] == "respiratory"
    content = json.loads(text, parse_constant=pytest.fail)
    assert set(VALUES) < set(content["intervals"])
    header = (tmp_path / "a.tsv").read_text().splitlines()[0].split("\t")
    assert {"judged", "auprc", "event_f1", "predicted_per_hour", "estimated_ahi"} <= set(header)
    assert len(content["nights"]["points"]["true"]) == content["recordings"] == 10
    assert content["ahi"]["recordings"] == 9


def test_staging_is_no_event(tmp_path):
    with pytest.raises(ValueError, match="'staging' asks for no event"):
        evaluate_events(
            predictions=[], cohort=tmp_path, metrics=tmp_path, recordings=tmp_path,
            calibration=tmp_path, task="staging", cfg=CFG,
        )  # fmt: skip
