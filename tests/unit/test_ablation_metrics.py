"""Subsets of modalities: against the metrics of stages, paired differences, bad counts refused."""

import json
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from somnoflow.commands.evaluate_ablation import evaluate_ablation
from somnoflow.config.evaluate import Evaluate
from somnoflow.evaluate.ablation import read_ablation, summarise_ablation
from somnoflow.evaluate.bootstrap import draw_subjects

CFG = Evaluate(resamples=100)
MODALITIES = ("EEG", "EOG", "ECG")


def subsets(modalities=MODALITIES):
    return [c for k in range(1, len(modalities) + 1) for c in combinations(modalities, k)]


def epochs(rng, *, subjects, modalities=MODALITIES, n=80):
    """Draw true and predicted stages, which more modalities get right more often."""
    rows = []
    for subject in subjects:
        true = rng.integers(-1, 5, n)
        for subset in subsets(modalities):
            right = rng.random(n) < 0.3 + 0.2 * len(subset)
            predicted = np.where(right, true.clip(0), rng.integers(0, 5, n))
            predicted[rng.random(n) < 0.1 / len(subset)] = -1
            rows.append(
                pl.DataFrame(
                    {"modalities": "+".join(subset), "dataset": "d", "subject": f"d/{subject}",
                     "recording": f"{subject}-n1", "true": true, "predicted": predicted}
                )
            )  # fmt: skip
    return pl.concat(rows).cast({"true": pl.Int8, "predicted": pl.Int8})


def count(rows):
    keys = ["modalities", "dataset", "subject", "recording", "true", "predicted"]
    return rows.group_by(keys).agg(n=pl.len().cast(pl.Int64)).sort(keys)


def write(folder, *frames):
    paths = []
    for fold, frame in enumerate(frames):
        path = folder / f"fold={fold}" / "counts.parquet"
        path.parent.mkdir(parents=True)
        frame.write_parquet(path)
        paths.append(path)
    return paths


@pytest.fixture
def drawn():
    rng = np.random.default_rng(3)
    return [epochs(rng, subjects=["a", "b", "c"]), epochs(rng, subjects=["e", "f"])]


def test_each_subset_has_the_metrics_of_its_epochs(tmp_path, drawn):
    content = summarise_ablation(read_ablation(write(tmp_path, *map(count, drawn))), cfg=CFG)
    assert content["modalities"] == list(MODALITIES)
    found = [tuple(one["modalities"]) for one in content["subsets"]]
    assert found == [
        MODALITIES, ("EEG", "EOG"), ("EEG", "ECG"), ("EOG", "ECG"), ("EEG",), ("EOG",), ("ECG",),
    ]  # fmt: skip
    rows = pl.concat(drawn)
    for one in content["subsets"]:
        mine = rows.filter(pl.col("modalities") == "+".join(one["modalities"]))
        scored = mine.filter(pl.col("true") >= 0, pl.col("predicted") >= 0)
        wanted = f1_score(scored["true"], scored["predicted"], average="macro")
        assert one["pooled"]["macro_f1"] == pytest.approx(wanted, abs=1e-6)
        low, high = one["intervals"]["macro_f1"]
        assert low < wanted < high
        assert one["counts"] == {
            "epochs": 400, "scored": scored.height,
            "unscored": mine.filter(pl.col("true") < 0).height,
            "unusable": mine.filter(pl.col("true") >= 0, pl.col("predicted") < 0).height,
        }  # fmt: skip
        assert (one["subjects"], one["recordings"]) == (5, 5)


def test_the_difference_draws_the_same_subjects_for_both(tmp_path, drawn):
    content = summarise_ablation(read_ablation(write(tmp_path, *map(count, drawn))), cfg=CFG)
    assert content["subsets"][0]["difference"] is None
    rows = pl.concat(drawn).filter(pl.col("true") >= 0, pl.col("predicted") >= 0)
    names = rows["subject"].unique().sort().to_list()

    tables = {}
    for subset in ("ECG", "EEG+EOG+ECG"):
        mine = rows.filter(pl.col("modalities") == subset)
        parts = [mine.filter(pl.col("subject") == name) for name in names]
        tables[subset] = [
            confusion_matrix(part["true"], part["predicted"], labels=range(5)) for part in parts
        ]

    def macro(subset, times):
        table = sum(k * one for k, one in zip(times, tables[subset], strict=True))
        return np.mean(2 * np.diag(table) / (table.sum(axis=0) + table.sum(axis=1)))

    draws = [
        one for times in draw_subjects(5, resamples=CFG.resamples, seed=CFG.seed) for one in times
    ]
    gaps = [macro("ECG", times) - macro("EEG+EOG+ECG", times) for times in draws]
    found = content["subsets"][-1]["difference"]
    np.testing.assert_allclose(found["interval"], np.quantile(gaps, [0.025, 0.975]), atol=2e-6)
    wanted = macro("ECG", [1] * 5) - macro("EEG+EOG+ECG", [1] * 5)
    assert found["macro_f1"] == pytest.approx(wanted, abs=1e-6)
    assert found["interval"][1] < 0


def test_a_subject_that_a_subset_cannot_score_is_left_out_of_both(tmp_path, drawn):
    rows = pl.concat(drawn).with_columns(
        predicted=pl.when((pl.col("modalities") == "ECG") & (pl.col("subject") == "d/a"))
        .then(pl.lit(-1, pl.Int8))
        .otherwise("predicted")
    )
    content = summarise_ablation(read_ablation(write(tmp_path, count(rows))), cfg=CFG)
    found = content["subsets"][-1]
    assert found["difference"]["subjects"] == 4
    rest = rows.filter(pl.col("subject") != "d/a", pl.col("true") >= 0, pl.col("predicted") >= 0)
    values = [
        f1_score(mine["true"], mine["predicted"], average="macro")
        for name in ("ECG", "EEG+EOG+ECG")
        for mine in [rest.filter(pl.col("modalities") == name)]
    ]
    assert found["difference"]["macro_f1"] == pytest.approx(values[0] - values[1], abs=1e-6)


def test_a_subset_that_scores_nothing_has_no_numbers(tmp_path, drawn):
    rows = pl.concat(drawn).with_columns(
        predicted=pl.when(pl.col("modalities") == "ECG").then(pl.lit(-1, pl.Int8))
        .otherwise("predicted")
    )  # fmt: skip
    content = summarise_ablation(read_ablation(write(tmp_path, count(rows))), cfg=CFG)
    found = content["subsets"][-1]
    assert found["pooled"]["macro_f1"] is found["difference"]["macro_f1"] is None
    assert "0 subject(s)" in found["difference"]["reason"]
    assert found["counts"]["scored"] == 0
    json.dumps(content, allow_nan=False)


def test_names_are_read_in_any_order(tmp_path, drawn):
    turned = count(drawn[1]).with_columns(
        pl.col("modalities").replace({"EEG+EOG": "EOG+EEG", "EEG+EOG+ECG": "ECG+EOG+EEG"})
    )
    plain = summarise_ablation(read_ablation(write(tmp_path / "a", *map(count, drawn))), cfg=CFG)
    other = summarise_ablation(
        read_ablation(write(tmp_path / "b", count(drawn[0]), turned)), cfg=CFG
    )
    assert {tuple(sorted(one["modalities"])): one["pooled"] for one in plain["subsets"]} == {
        tuple(sorted(one["modalities"])): one["pooled"] for one in other["subsets"]
    }


def broken(**changes):
    frame = count(epochs(np.random.default_rng(0), subjects=["a", "b"]))
    first = pl.int_range(pl.len()) == 0
    return frame.with_columns(
        pl.when(first).then(pl.lit(value, dtype=frame.schema[name])).otherwise(name).alias(name)
        for name, value in changes.items()
    )


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (broken().drop("n"), "lacks the columns .'n'.*rule ablate"),
        (broken(true=5), r"true is not in -1\.\.4"),
        (broken(predicted=None), r"predicted is not in -1\.\.4"),
        (broken(n=0), "n is not 1 or more"),
        (broken(modalities=""), "modalities is empty"),
        (broken(modalities="EEG+EEG"), "'EEG.EEG', wanted some of"),
        (broken(modalities="SPO2"), "'SPO2', wanted some of EEG.EOG.ECG"),
        (pl.concat([broken(), broken()[:1]]), "more than once"),
        (broken(n=77), "epochs of 2 recordings, wanted the"),
        (broken().filter((pl.col("modalities") != "EOG") | (pl.col("subject") != "d/a")),
         "of 1 recordings, wanted the"),
        (broken()[:0], "no row in 1 file"),
    ],
)  # fmt: skip
def test_impossible_counts_are_refused(tmp_path, frame, message):
    with pytest.raises(ValueError, match=message):
        read_ablation(write(tmp_path, frame))


def test_a_subject_in_two_folds_is_refused(tmp_path):
    with pytest.raises(ValueError, match="d/a is a test subject in"):
        read_ablation(write(tmp_path, broken(), broken()))


def test_command_writes_strict_json_and_the_same_bytes_again(tmp_path, drawn):
    paths = write(tmp_path, *map(count, drawn))
    for name in "ab":
        evaluate_ablation(counts=paths, metrics=tmp_path / f"{name}.json", cfg=CFG)
    text = (tmp_path / "a.json").read_text()
    assert text == (tmp_path / "b.json").read_text()
    content = json.loads(text, parse_constant=pytest.fail)
    assert len(content["subsets"]) == 7
    assert content["baseline"]["stage"] in content["stages"]
