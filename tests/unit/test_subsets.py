"""Subsets of the training labels: nested, without replacement, counted, training subjects only."""

import json
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somnoflow.commands.subset import subset
from somnoflow.config.label_efficiency import LabelEfficiency
from somnoflow.config.subset import SubsetSlice, read_subset
from somnoflow.data.subsets import KEY, draw_labels, read_counts, read_labels
from somnoflow.io.digest import sha256_file
from somnoflow.signals.quality import Flag
from somnoflow.stages import STAGE_NAMES

UNITS = ("subjects", "epochs")


def scored_epochs(*sizes, seed=0):
    """Make scored epochs of as many subjects as sizes, sorted as `read_usable` sorts them."""
    rng = np.random.default_rng(seed)
    rows = [
        {"dataset": "d", "subject": f"d/S{k:02}", "recording": f"S{k:02}n{n}", "epoch": epoch,
         "stage": int(rng.integers(0, 5))}
        for k, size in enumerate(sizes)
        for n in (1, 2)
        for epoch in range(size)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def keys(table):
    return table.select(KEY).rows()


cohorts = st.lists(st.integers(1, 12), min_size=1, max_size=8).map(lambda n: scored_epochs(*n))
shares = st.floats(0.01, 100)


@settings(max_examples=60, deadline=None)
@given(cohorts, st.sampled_from(UNITS), shares, shares, st.integers(0, 9))
def test_a_larger_subset_holds_the_smaller_ones_of_its_seed(scored, by, one, two, seed):
    small, large = (
        draw_labels(scored, subset=SubsetSlice(by=by, percent=percent, seed=seed))
        for percent in sorted((one, two))
    )
    assert set(keys(small)) <= set(keys(large))


@settings(max_examples=60, deadline=None)
@given(cohorts, st.sampled_from(UNITS), shares, st.integers(0, 9))
def test_a_subset_is_part_of_the_whole_without_repeats_and_in_its_order(scored, by, percent, seed):
    drawn = draw_labels(scored, subset=SubsetSlice(by=by, percent=percent, seed=seed))
    whole = keys(scored)
    assert drawn.height == len(set(keys(drawn)))
    assert keys(drawn) == [key for key in whole if key in set(keys(drawn))]
    units = {"subjects": scored["subject"].n_unique(), "epochs": scored.height}[by]
    found = {"subjects": drawn["subject"].n_unique(), "epochs": drawn.height}[by]
    assert found == max(1, round(units * percent / 100))
    if percent == 100:
        assert drawn.equals(scored)


@settings(max_examples=30, deadline=None)
@given(cohorts, shares, st.integers(0, 9))
def test_a_subset_by_subject_takes_all_epochs_of_its_subjects(scored, percent, seed):
    drawn = draw_labels(scored, subset=SubsetSlice(by="subjects", percent=percent, seed=seed))
    whole = Counter(scored["subject"].to_list())
    assert all(whole[name] == n for name, n in Counter(drawn["subject"].to_list()).items())


@pytest.mark.parametrize("by", UNITS)
def test_everything_is_drawn_at_100_percent_and_by_nothing(by):
    scored = scored_epochs(5, 3, 7)
    assert draw_labels(scored, subset=SubsetSlice(by=by, percent=100, seed=4)).equals(scored)
    assert draw_labels(scored, subset=SubsetSlice()).equals(scored)


@pytest.mark.parametrize("by", UNITS)
def test_seeds_differ_and_the_same_seed_repeats(by):
    scored = scored_epochs(*[6] * 20)

    def drawn(seed):
        return keys(draw_labels(scored, subset=SubsetSlice(by=by, percent=10, seed=seed)))

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(1, 6)}) == 5


def test_the_draw_is_known():
    scored = scored_epochs(2, 2, 2, 2)
    by_subject = draw_labels(scored, subset=SubsetSlice(by="subjects", percent=50, seed=1))
    # numpy.random.RandomState(1).permutation(4) begins with 3, 2.
    assert by_subject["subject"].unique().sort().to_list() == ["d/S02", "d/S03"]


@pytest.mark.parametrize("by", UNITS)
def test_at_least_one_is_drawn(by):
    drawn = draw_labels(scored_epochs(3, 3), subset=SubsetSlice(by=by, percent=0.001, seed=2))
    assert (drawn["subject"].n_unique(), drawn.height) == (1, 6 if by == "subjects" else 1)


def test_names_of_the_configuration_are_read_back():
    names = LabelEfficiency(methods=["linear"], percents=[0.5, 10], seeds=2).subsets
    assert len(names) == len(set(names)) == 8
    found = [read_subset(name) for name in names]
    assert {(one.by, one.percent, one.seed) for one in found} == {
        (by, percent, seed) for by in UNITS for percent in (0.5, 10) for seed in (1, 2)
    }
    assert read_subset("all").by is None
    with pytest.raises(ValueError, match="found labels 'half'"):
        read_subset("half")


@pytest.fixture
def packed(tmp_path):
    """Two packed shards of five subjects with unusable and unscored epochs, and a split."""
    rng = np.random.default_rng(3)
    indexes = []
    for shard in (0, 1):
        frames = []
        for subject in range(shard, 5, 2):
            stage = rng.integers(0, 5, 20).astype(np.int8)
            stage[:3] = -1
            quality = np.zeros(20, np.uint8)
            quality[15:] = Flag.MISSING
            frames.append(
                pl.DataFrame(
                    {"dataset": "d", "subject": f"d/S{subject}", "recording": f"S{subject}n1",
                     "epoch": np.arange(20, dtype=np.int32), "stage": stage,
                     "apnea": (stage > 2).astype(np.int8) - (stage < 1), "hypopnea": -1,
                     "respiratory": -1,
                     "EEG_C4_quality": quality, "EEG_C4_center": 0.0, "EEG_C4_gain": 1.0}
                )
            )  # fmt: skip
        folder = tmp_path / f"shard={shard}"
        folder.mkdir()
        pl.concat(frames).write_parquet(folder / "epochs.parquet")
        digest = sha256_file(folder / "epochs.parquet")
        index = {"channels": ["EEG_C4"], "sha256": {"epochs.parquet": digest}}
        (folder / "index.json").write_text(json.dumps(index))
        indexes.append(folder / "index.json")
    split = tmp_path / "split.json"
    fold = {"fold": 0, "pretrain": ["d/S0", "d/S1", "d/S2"], "train": ["d/S0", "d/S1", "d/S2"],
            "val": ["d/S3"], "test": ["d/S4"]}  # fmt: skip
    split.write_text(json.dumps({"folds": [fold]}))
    return {"packed": indexes, "split": split}


def run_subset(packed, folder, name, *, task="staging"):
    folder.mkdir(parents=True, exist_ok=True)
    files = {"labels": folder / "labels.parquet", "counts": folder / "counts.json"}
    subset(**packed, **files, fold=0, cfg=read_subset(name, task=task))
    return read_labels(files["labels"]), read_counts(files["counts"])


@pytest.mark.parametrize("name", ["all", "subjects-100-seed2", "epochs-100-seed1"])
def test_only_usable_scored_epochs_of_training_subjects_are_drawn(packed, tmp_path, name):
    labels, counts = run_subset(packed, tmp_path / name, name)
    assert labels.columns == list(KEY)
    assert set(labels["subject"]) == {"d/S0", "d/S1", "d/S2"}
    # Of 20 epochs the first three have no stage and the last five no signal.
    assert set(labels["epoch"]) == set(range(3, 15))
    assert labels.height == counts["epochs"] == counts["of"]["epochs"] == 36
    assert counts["subjects"] == counts["of"]["subjects"] == 3


def test_counts_are_those_of_the_labels(packed, tmp_path):
    labels, counts = run_subset(packed, tmp_path / "labels=epochs-30-seed2", "epochs-30-seed2")
    assert (counts["by"], counts["percent"], counts["seed"]) == ("epochs", 30, 2)
    assert counts["of"] == {"subjects": 3, "epochs": 36}
    assert counts["epochs"] == labels.height == 11
    assert counts["subjects"] == labels["subject"].n_unique()
    stages = pl.concat(pl.read_parquet(path.with_name("epochs.parquet"))
                       for path in packed["packed"])  # fmt: skip
    joined = labels.join(stages, on=KEY)
    assert joined.height == labels.height
    assert counts["classes"] == {
        name: joined.filter(pl.col("stage") == code).height for code, name in enumerate(STAGE_NAMES)
    }


def test_each_task_draws_from_its_own_labels(packed, tmp_path):
    """An event is drawn from epochs in which it was looked for, staged or not, and nested too."""
    tables = pl.concat(pl.read_parquet(path.with_name("epochs.parquet"))
                       for path in packed["packed"])  # fmt: skip
    looked = tables.filter(
        pl.col("apnea") >= 0, pl.col("EEG_C4_quality") == 0,
        pl.col("subject").is_in(["d/S0", "d/S1", "d/S2"]),
    )  # fmt: skip
    drawn = {}
    for percent in (20, 60, 100):
        name = f"epochs-{percent}-seed1"
        labels, counts = run_subset(packed, tmp_path / name, name, task="apnea")
        drawn[percent] = set(keys(labels))
        assert counts["task"] == "apnea"
        assert counts["of"]["epochs"] == looked.height
        assert sum(counts["classes"].values()) == labels.height == len(drawn[percent])
    assert drawn[20] < drawn[60] < drawn[100] == set(keys(looked))
    events = looked.filter(pl.col("apnea") == 1).height
    assert counts["classes"] == {"none": looked.height - events, "apnea": events}
    assert 0 < events < looked.height


def test_a_task_that_nobody_looked_for_is_named(packed, tmp_path):
    wanted = (
        r"fold 0 of .*split\.json: no training subject has an epoch in which hypopnea was looked "
        r"for; take it out of synthsleepnet\.tasks / unimodal\.tasks / heads\.tasks"
    )
    with pytest.raises(ValueError, match=wanted):
        run_subset(packed, tmp_path, "all", task="hypopnea")


def test_files_are_the_same_on_a_rerun_and_in_any_order_of_shards(packed, tmp_path):
    run_subset(packed, tmp_path / "one", "epochs-20-seed1")
    run_subset(packed | {"packed": packed["packed"][::-1]}, tmp_path / "two", "epochs-20-seed1")
    for name in ("labels.parquet", "counts.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_read_labels_has_no_column_of_the_folder(packed, tmp_path):
    labels, _ = run_subset(packed, tmp_path / "labels=all" / "fold=0", "all")
    assert labels.columns == list(KEY)
