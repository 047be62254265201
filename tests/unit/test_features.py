"""Tables of precomputed features: what is read, refused and standardised, and by whom."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from somnoflow.commands.features import features as run_features
from somnoflow.config.features import Features, FeaturesSlice
from somnoflow.data.features import FeatureTable, encode, join_cohort, read_features, standardise
from somnoflow.io.digest import sha256_file
from somnoflow.tasks import TASKS
from somnoflow.training.embedded import EmbeddedEpochs, read_labelled
from somnoflow.training.embedding import embedding_schema

CFG = Features(path="features.parquet", dataset="lab", stage="scored")


def make_table(subjects: int = 3, epochs: int = 8) -> pl.DataFrame:
    """Features that grow with the epoch; each person has a level and a spread of its own."""
    rows = [
        {
            "subject": f"{subject}",
            "recording": f"night{subject}",
            "epoch": epoch,
            "scored": epoch % 5,
            "amplitude": (subject + 1) * (10.0 + epoch),
            "slope": float(epoch),
            "scorer": "A",
        }
        for subject in range(subjects)
        for epoch in range(epochs)
    ]
    return pl.DataFrame(rows)


def read(folder: Path, table: pl.DataFrame, **changed: object) -> FeatureTable:
    path = folder / "features.parquet"
    table.write_parquet(path)
    return read_features(path, cfg=Features(**{**CFG.model_dump(), **changed}))


def test_rows_are_sorted_and_named_as_the_package_names_them(tmp_path: Path) -> None:
    found = read(tmp_path, make_table().reverse())
    assert found.names == ("amplitude", "slope")
    assert found.table["subject"].unique().sort().to_list() == ["lab/0", "lab/1", "lab/2"]
    assert found.table["epoch"].to_list() == [*range(8)] * 3
    assert found.table["onset_s"][:3].to_list() == [0, 30, 60]
    assert found.table["usable"].all()
    np.testing.assert_array_equal(found.values[:8, 0], 10.0 + np.arange(8))


def test_a_csv_reads_as_the_same_table(tmp_path: Path) -> None:
    table = make_table().with_columns(
        scored=pl.when(pl.col("epoch") == 3).then(None).otherwise(pl.col("scored").cast(float))
    )
    table.write_csv(tmp_path / "features.csv")
    found = read_features(tmp_path / "features.csv", cfg=CFG)
    wanted = read(tmp_path, table)
    assert found.table.equals(wanted.table)
    np.testing.assert_array_equal(found.values, wanted.values)
    assert (found.table["stage"] == -1).sum() == 3


def test_names_of_digits_keep_their_zeros_in_a_csv(tmp_path: Path) -> None:
    table = make_table().with_columns(
        subject=pl.lit("00") + pl.col("subject"), recording=pl.lit("0") + pl.col("subject")
    )
    table.write_csv(tmp_path / "features.csv")
    found = read_features(tmp_path / "features.csv", cfg=CFG).table
    assert found["subject"].unique().sort().to_list() == ["lab/000", "lab/001", "lab/002"]
    assert found["recording"].unique().sort().to_list() == ["00", "01", "02"]


def test_codes_patterns_and_keys_are_configurable(tmp_path: Path) -> None:
    table = make_table().with_columns(subject="lab/" + pl.col("subject"))
    found = read(
        tmp_path, table, dataset=None, columns=["slo*"], stages={str(n): "N2" for n in range(5)}
    )
    assert found.names == ("slope",)
    assert set(found.table["stage"]) == {2}
    assert set(found.table["dataset"]) == {"lab"}
    logged = read(tmp_path, make_table(), log=["ampli*"])
    np.testing.assert_allclose(logged.values[:8, 0], np.log(10.0 + np.arange(8)))


def test_an_epoch_without_a_finite_feature_is_kept_and_not_usable(tmp_path: Path) -> None:
    bad = pl.col("epoch").is_in([2, 5]) & (pl.col("subject") == "1")
    value = pl.when(pl.col("epoch") == 2).then(float("nan")).otherwise(None)
    table = make_table().with_columns(slope=pl.when(bad).then(value).otherwise("slope"))
    found = read(tmp_path, table)
    assert found.table.filter(~pl.col("usable"))["epoch"].to_list() == [2, 5]
    given = standardise(found, train=["lab/1"], normalise=["cohort", "night"])
    assert np.isfinite(given.values).all()
    assert not given.values[~found.table["usable"].to_numpy()].any()


@pytest.mark.parametrize(
    ("change", "changed", "message"),
    [
        (lambda t: t.drop("epoch"), {}, r"no column 'epoch' \(epoch\)"),
        (lambda t: pl.concat([t, t[:2]]), {}, "4 rows have an epoch that another row has too"),
        (lambda t: t.with_columns(scored=7), {}, "24 of 24 stages are unknown: '7'"),
        (lambda t: t[:0], {}, "0 rows"),
        (lambda t: t, {"columns": ["theta*"]}, "'theta\\*' names none of its 2 numeric columns"),
        (lambda t: t, {"log": ["slope"]}, "3 of 24 values of 'slope' are 0 or less"),
        (lambda t: t, {"dataset": None}, "24 subjects such as '0' are no keys"),
        (lambda t: t.with_columns(subject=None), {}, "24 of subject in 24 rows are empty"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_with_numbers(tmp_path: Path, change, changed, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        read(tmp_path, change(make_table()), **changed)


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "features.parquet"
    path.write_bytes(b"no table")
    with pytest.raises(ValueError, match="is no parquet table"):
        read_features(path, cfg=CFG)
    with pytest.raises(ValueError, match=r"wanted \.parquet or \.csv"):
        read_features(tmp_path / "features.xlsx", cfg=CFG)


def test_one_dataset_or_a_column_of_datasets() -> None:
    with pytest.raises(ValueError, match="wanted one of them"):
        Features(path="f.csv", dataset="lab", dataset_column="source")


def test_night_takes_the_level_of_a_person_out_and_cohort_keeps_it(tmp_path: Path) -> None:
    found = read(tmp_path, make_table(), columns=["amplitude"])
    night = standardise(found, train=["lab/0"], normalise=["night"]).values.reshape(3, 8)
    np.testing.assert_allclose(night, night[[0, 0, 0]], rtol=1e-6)
    cohort = standardise(found, train=["lab/0"], normalise=["cohort"]).values.reshape(3, 8)
    np.testing.assert_allclose(np.sinh(cohort[0]).mean(), 0, atol=1e-6)
    np.testing.assert_allclose(np.sinh(cohort[0]).std(), 1, rtol=1e-6)
    assert cohort[2].min() > cohort[0].max()
    both = standardise(found, train=["lab/0"], normalise=["cohort", "night"])
    assert both.dimension == 2


def test_no_other_subject_changes_what_training_subjects_are_scaled_by(tmp_path: Path) -> None:
    table = make_table()
    other = table.with_columns(
        amplitude=pl.when(pl.col("subject") == "2").then(1e6).otherwise("amplitude")
    )
    one, two = (
        standardise(read(tmp_path, t), train=["lab/0", "lab/1"], normalise=["cohort", "night"])
        for t in (table, other)
    )
    np.testing.assert_array_equal(one.values[:16], two.values[:16])


def test_a_feature_that_does_not_vary_becomes_zero(tmp_path: Path) -> None:
    found = read(tmp_path, make_table().with_columns(slope=0.1 + 0.2))
    given = standardise(found, train=["lab/0"], normalise=["cohort", "night"]).values
    assert not given[:, [1, 3]].any()


def test_bins_tell_where_a_value_lies_among_those_of_training_subjects() -> None:
    values = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [-9.0], [99.0], [0.5]])
    learned = np.arange(8) < 5
    coded = encode(values, learned=learned, bins=2)  # edges 0, 2, 4
    wanted = [[-1, -1], [0, -1], [1, -1], [1, 0], [1, 1], [-1, -1], [1, 1], [-0.5, -1]]
    np.testing.assert_allclose(coded, wanted)
    both = encode(np.hstack([values, -values]), learned=learned, bins=2)
    np.testing.assert_allclose(both[:, :2], wanted)
    np.testing.assert_allclose(both[:, 2:], -coded[:, ::-1])


def test_bins_of_a_table_are_finite_and_zero_where_an_epoch_is_not_usable(tmp_path: Path) -> None:
    table = make_table().with_columns(
        slope=pl.when(pl.col("epoch") == 4).then(float("nan")).otherwise(0.3)
    )
    given = standardise(
        read(tmp_path, table), train=["lab/0"], normalise=["cohort", "night"], bins=3
    )
    assert given.dimension == 2 * 2 * 3
    assert np.isfinite(given.values).all()
    assert not given.values[4].any()
    np.testing.assert_array_equal(given.values[0, 3:6], given.values[23, 3:6])


def test_training_subjects_need_a_usable_epoch(tmp_path: Path) -> None:
    found = read(tmp_path, make_table())
    with pytest.raises(ValueError, match="1 training subjects have 0 epochs"):
        standardise(found, train=["lab/9"], normalise=["cohort"])


# With the cohort


def cohort_of(table: pl.DataFrame) -> pl.DataFrame:
    return table.select(
        pl.lit("lab").alias("dataset"),
        ("lab/" + pl.col("subject")).alias("subject"),
        "recording",
        pl.col("epoch").cast(pl.Int32),
        onset_s=pl.col("epoch") * 30.0 + 7,
        stage=pl.lit(3, pl.Int8),
    )


def test_the_cohort_says_which_epochs_there_are_and_their_stages(tmp_path: Path) -> None:
    cohort = cohort_of(make_table(epochs=9))
    found = join_cohort(read(tmp_path, make_table()), cohort, where="t")
    assert len(found.table) == 27
    assert found.table.filter(~pl.col("usable"))["epoch"].to_list() == [8, 8, 8]
    assert set(found.table["stage"]) == {3}
    assert found.table["onset_s"][0] == 7
    np.testing.assert_array_equal(found.values[9:17, 0], 2 * (10.0 + np.arange(8)))


def test_rows_that_belong_to_no_epoch_and_subjects_without_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 of 24 rows of t are no epochs of the cohort"):
        join_cohort(read(tmp_path, make_table()), cohort_of(make_table(epochs=7)), where="t")
    with pytest.raises(ValueError, match="no row of 1 of 4 subjects of the cohort: lab/3"):
        join_cohort(read(tmp_path, make_table()), cohort_of(make_table(4)), where="t")


def test_the_command_writes_what_heads_read(tmp_path: Path) -> None:
    table = make_table().with_columns(
        slope=pl.when(pl.col("epoch") == 4).then(float("inf")).otherwise("slope")
    )
    table.write_parquet(tmp_path / "features.parquet")
    packed = tmp_path / "packed/index.json"
    packed.parent.mkdir()
    epochs = packed.with_name("epochs.parquet")
    events = {"apnea": 1, "hypopnea": 0, "respiratory": 1}
    labels = [pl.lit(label, pl.Int8).alias(name) for name, label in events.items()]
    cohort_of(make_table()).with_columns(labels).write_parquet(epochs)
    digests = {"epochs.parquet": sha256_file(epochs)}
    packed.write_text(json.dumps({"dataset": "lab", "shard": 3, "sha256": digests}))
    split = tmp_path / "split.json"
    roles = {"pretrain": ["lab/0"], "train": ["lab/0"], "val": ["lab/1"], "test": ["lab/2"]}
    split.write_text(json.dumps({"folds": [{"fold": 0, **roles}], "unscored": []}))
    index = tmp_path / "out/index.json"
    index.parent.mkdir()
    run_features(
        table=tmp_path / "features.parquet",
        packed=[packed],
        split=split,
        index=index,
        fold=0,
        cfg=FeaturesSlice(name="lab", table=CFG),
    )
    written = pl.read_parquet(tmp_path / "out/dataset=lab/shard=3.parquet", hive_partitioning=False)
    assert written.columns == embedding_schema(4).names
    told = written.select(*events, "quality", "modalities").unique().row(0, named=True)
    assert told == {**events, "quality": 0, "modalities": ""}
    labelled = read_labelled(index, subjects=["lab/1"], task=TASKS["staging"])
    assert labelled.embeddings.shape == (7, 4)
    assert set(labelled.targets) == {3}
    embedded = EmbeddedEpochs(index, subjects=["lab/0", "lab/2"])
    assert embedded.table.filter(~pl.col("usable"))["epoch"].to_list() == [4, 4]
    np.testing.assert_allclose(np.sinh(embedded.read(np.array([0, 7]))[:, 0]).sum(), 0, atol=1e-1)
