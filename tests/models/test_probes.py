"""Heads for events on simulated embeddings: what is learned, drawn, chosen and predicted."""

import logging
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from packed_shards import ROLES, write_json
from sklearn.metrics import average_precision_score, f1_score

from somnoflow.commands.head import head
from somnoflow.commands.score import score
from somnoflow.config.context import Context
from somnoflow.config.heads import HeadSlice, Knn, Linear
from somnoflow.config.score import ScoreSlice
from somnoflow.data.subsets import KEY, write_labels
from somnoflow.io.digest import sha256_file
from somnoflow.models.heads import LinearProbe, load_head, write_linear
from somnoflow.models.knn import KnnProbe, write_knn
from somnoflow.models.weights import read_about, read_tensors, write_weights
from somnoflow.tasks import TASKS
from somnoflow.training.balance import chances, class_weights, draw
from somnoflow.training.embedded import read_labelled
from somnoflow.training.threshold import best_threshold

APNEA = TASKS["apnea"]
RECIPES = {
    "linear": Linear(passes=8, batch_size=16),
    "knn": Knn(components=8, neighbours=7),
    "lstm": Context(window=6, width=16, passes=4, batch_size=8, learning_rate=5e-3),
}
D = 8


def make_night(name: str, *, epochs: int = 120, rate: float = 0.12) -> pl.DataFrame:
    """Make the embedded epochs of a subject; one of ten has no label, and two are not usable."""
    rng = np.random.default_rng([7, ord(name)])
    apnea = (rng.random(epochs) < rate).astype(np.int8)
    x = rng.normal(0, 1, (epochs, D)) + 2.5 * np.outer(apnea, np.arange(D) < 2)
    usable = ~np.isin(np.arange(epochs), [4, 50])
    return pl.DataFrame(
        {
            "dataset": "sim",
            "subject": f"sim/{name}",
            "recording": f"{name}-n1",
            "epoch": np.arange(epochs, dtype=np.int32),
            "onset_s": 30.0 * np.arange(epochs),
            "stage": rng.integers(-1, 5, epochs).astype(np.int8),
            "apnea": np.where(np.arange(epochs) % 10 == 3, -1, apnea).astype(np.int8),
            "usable": usable,
            "embedding": [list(row) if good else None for row, good in zip(x, usable, strict=True)],
        },
        schema_overrides={"embedding": pl.Array(pl.Float32, D)},
    )


def change(table: pl.DataFrame, subject: str, **columns: object) -> pl.DataFrame:
    """Give other values to the columns of a subject."""
    own = pl.col("subject") == f"sim/{subject}"
    return table.with_columns(
        pl.when(own).then(value).otherwise(pl.col(name)).cast(table.schema[name]).alias(name)
        for name, value in columns.items()
    )


@pytest.fixture(scope="module")
def nights() -> pl.DataFrame:
    return pl.concat([make_night(name) for name in "abcde"])


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("split")
    return write_json(folder / "split.json", {"folds": [{"fold": 0, **ROLES}]})


def write_embedded(table: pl.DataFrame, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table.write_parquet(folder / "part.parquet")
    part = {"file": "part.parquet", "sha256": sha256_file(folder / "part.parquet")}
    content = {"made_by": "embed", "dimension": D, "parts": [part]}
    return write_json(folder / "index.json", content)


def run_head(
    table: pl.DataFrame,
    split: Path,
    folder: Path,
    name: str = "linear",
    *,
    labels: pl.DataFrame | None = None,
    hidden: list[float] | None = None,
    **changes: object,
) -> Path:
    index = write_embedded(table, folder)
    if labels is None:
        labels = table.filter(pl.col("subject").is_in(ROLES["train"]), pl.col("apnea") >= 0)
    write_labels(folder / "labels.parquet", labels)
    head(
        embeddings=index,
        split=split,
        labels=folder / "labels.parquet",
        head=folder / "head.safetensors",
        training=folder / "training.csv",
        resume=folder / "resume",
        name=name,
        fold=0,
        threads=1,
        cfg=HeadSlice(
            name=name,
            task="apnea",
            recipe=RECIPES[name].model_copy(update=changes),
            hidden=hidden,
        ),
    )
    return folder / "head.safetensors"


def run_score(table: pl.DataFrame, trained: Path, split: Path, folder: Path) -> pl.DataFrame:
    index, path = write_embedded(table, folder), folder / "predictions.parquet"
    cfg = ScoreSlice(task="apnea", stride=6)
    score(embeddings=index, head=trained, split=split, predictions=path, fold=0, threads=1, cfg=cfg)
    return pl.read_parquet(path)


def labelled(predictions: pl.DataFrame, role: str) -> pl.DataFrame:
    return predictions.filter(pl.col("role") == role, "usable", pl.col("label") >= 0)


# Balance


def test_a_balanced_draw_takes_rare_classes_as_often() -> None:
    targets = np.repeat([0, 2], [950, 50])
    chance = chances(targets, sampling="balanced")
    drawn = draw(np.arange(1000), chance=chance, generator=np.random.default_rng(0))
    assert len(drawn) == 1000
    assert np.bincount(targets[drawn], minlength=3)[1:].tolist() == pytest.approx([0, 500], abs=60)
    assert len(set(drawn[targets[drawn] == 2].tolist())) == 50  # with replacement
    again = draw(np.arange(1000), chance=chance, generator=np.random.default_rng(0))
    assert np.array_equal(drawn, again)
    plain = draw(
        np.arange(1000),
        chance=chances(targets, sampling="plain"),
        generator=np.random.default_rng(0),
    )
    assert sorted(plain) == list(range(1000))


def test_weights_have_one_value_per_class_of_the_task() -> None:
    weights = class_weights(np.array([0, 0, 0, 1]), kind="balanced", classes=2)
    assert weights.tolist() == pytest.approx([2 / 3, 2])


@pytest.mark.parametrize("changes", [{"sampling": "balanced"}, {"class_weights": "balanced"}])
def test_balance_raises_the_probability_of_a_rare_event(
    nights: pl.DataFrame, split: Path, tmp_path: Path, changes: dict[str, str]
) -> None:
    blind = nights.with_columns(pl.col("apnea").shuffle(seed=0))  # only how often tells anything
    means = []
    for number, options in enumerate(({}, changes, changes)):
        folder = tmp_path / str(number)
        trained = run_head(blind, split, folder, passes=1, learning_rate=0.02, **options)
        means.append(run_score(blind, trained, split, folder)["p_apnea"].mean())
    assert means[1] > 1.5 * means[0]
    assert means[2] == means[1]


# Training


@pytest.mark.parametrize("name", RECIPES)
def test_an_event_is_learned_and_chosen_by_its_average_precision(
    nights: pl.DataFrame, split: Path, tmp_path: Path, name: str
) -> None:
    trained = run_head(nights, split, tmp_path, name)
    history = pl.read_csv(tmp_path / "training.csv")
    best = history.filter(pl.col("best") == 1).row(0, named=True)
    assert best["val_average_precision"] == history["val_average_precision"].max()
    assert best["val_auroc"] > 0.8
    assert "val_macro_f1" not in history.columns
    table = run_score(nights, trained, split, tmp_path)
    val, test = labelled(table, "val"), labelled(table, "test")
    found = average_precision_score(val["label"], val["p_apnea"])
    assert found == pytest.approx(best["val_average_precision"], abs=1e-9)  # defect N3
    assert average_precision_score(test["label"], test["p_apnea"]) > 3 * test["label"].mean()


def test_epochs_without_a_label_are_never_trained_on(
    nights: pl.DataFrame, split: Path, tmp_path: Path
) -> None:
    """Their signals may be anything for a probe, even where the keys would let them be seen."""
    unlabelled = pl.col("apnea") == -1
    loud = nights.with_columns(
        pl.when(unlabelled)
        .then(pl.lit([50.0] * D, pl.Array(pl.Float32, D)))
        .otherwise("embedding")
        .alias("embedding")
    )
    whole = nights.select(KEY)
    train = read_labelled(
        write_embedded(nights, tmp_path), subjects=ROLES["train"], task=APNEA, labels=whole
    )
    assert train.targets.min() == 0
    assert len(train) == train.of == 3 * (120 - 12 - 2)
    one, two = (
        run_head(table, split, tmp_path / str(n), labels=whole).read_bytes()
        for n, table in enumerate((nights, loud))
    )
    assert one == two
    shown = change(loud, "a", apnea=pl.max_horizontal("apnea", 0))
    assert run_head(shown, split, tmp_path / "shown", labels=whole).read_bytes() != one


def test_test_subjects_do_not_reach_an_events_head(
    nights: pl.DataFrame, split: Path, tmp_path: Path
) -> None:
    """Defects S3 and S4."""
    other = change(nights, "e", apnea=1 - pl.col("apnea").abs())
    for name in RECIPES:
        one, two = (
            run_head(table, split, tmp_path / f"{name}{n}", name).read_bytes()
            for n, table in enumerate((nights, other))
        )
        assert one == two


def test_a_killed_balanced_training_ends_bit_equal(
    nights: pl.DataFrame, split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from somnoflow.training.supervised import Supervised

    class Killed(BaseException):
        """Stands for a kill inside this process."""

    whole = run_head(nights, split, tmp_path / "whole", "lstm", sampling="balanced")
    plain = Supervised.training_step

    def killed(self, batch, batch_idx):
        if self.current_epoch == 2:
            raise Killed
        return plain(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "training_step", killed)
        with pytest.raises(Killed):
            run_head(nights, split, tmp_path / "killed", "lstm", sampling="balanced")
    again = run_head(nights, split, tmp_path / "killed", "lstm", sampling="balanced")
    assert again.read_bytes() == whole.read_bytes()
    other = run_head(nights, split, tmp_path / "plain", "lstm")
    assert other.read_bytes() != whole.read_bytes()


def test_the_hidden_layers_are_those_of_the_configuration(
    nights: pl.DataFrame, split: Path, tmp_path: Path
) -> None:
    trained = run_head(nights, split, tmp_path, hidden=[0.5, 0.5], passes=1)
    about, state = read_about(trained, kind="head"), read_tensors(trained)
    assert (about["task"], about["classes"]) == ("apnea", ["none", "apnea"])
    assert about["hidden"] == [4, 4]
    assert [tuple(state[f"fc.{n}.weight"].shape) for n in (0, 4, 8)] == [(4, D), (4, 4), (2, 4)]
    assert isinstance(load_head(trained, dimension=D), LinearProbe)


def test_synthsleepnets_probe_has_the_published_size() -> None:
    # 512 x 256 + 256, 256 x 256 + 256, 256 x 5 + 5, and two batch norms of 256.
    probe = LinearProbe(512, dropout=0.5, hidden=[256, 256])
    assert sum(p.numel() for p in probe.parameters()) == 131_328 + 65_792 + 1_285 + 1_024


# Files


def test_files_without_a_task_are_heads_for_staging(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, stages = rng.normal(size=(30, 6)).astype(np.float32), rng.integers(0, 5, 30)
    write_linear(tmp_path / "linear", LinearProbe(6, dropout=0.1), {})
    write_knn(tmp_path / "knn", KnnProbe.fit(x, stages, components=3, neighbours=3))
    for name in ("linear", "knn"):
        about, tensors = read_about(tmp_path / name, kind="head"), read_tensors(tmp_path / name)
        for new in ("task", "classes", "hidden"):
            about.pop(new, None)
        write_weights(tmp_path / f"old-{name}", tensors, about)
        new, old = (load_head(tmp_path / f, dimension=6) for f in (name, f"old-{name}"))
        assert old.task == TASKS["staging"]
        starts = np.arange(30) == 0
        assert np.array_equal(
            new.predict_proba(x, starts, stride=1), old.predict_proba(x, starts, stride=1)
        )


def test_a_head_for_another_task_is_named(
    split: Path, nights: pl.DataFrame, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    write_linear(tmp_path / "head", LinearProbe(D, dropout=0.1, task="hypopnea"), {})
    with pytest.raises(ValueError, match="head was trained for hypopnea, wanted one for apnea"):
        run_score(nights, tmp_path / "head", split, tmp_path)


# Threshold


def test_the_threshold_has_the_highest_f1() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        targets = np.append(rng.integers(0, 2, 30), 1)
        p = rng.integers(0, 8, 31).astype(np.float32) / 8
        scores = {t: f1_score(targets, p >= t) for t in np.unique(p)}
        wanted = max(t for t, value in scores.items() if value == max(scores.values()))
        assert best_threshold(targets, p) == wanted


def test_of_equal_thresholds_the_highest_is_taken() -> None:
    p = np.array([0.9, 0.8, 0.4, 0.3, 0.2], np.float32)
    # From 0.9 on: F1 2 / 3; from 0.3 on: 2 x 2 / (4 + 2), the same.
    assert best_threshold(np.array([1, 0, 0, 1, 0]), p) == np.float32(0.9)


def test_only_validation_subjects_move_the_threshold(
    nights: pl.DataFrame, split: Path, tmp_path: Path
) -> None:
    """Defects S3, S4, S5: other labels of test subjects change neither threshold nor answer."""
    trained = run_head(nights, split, tmp_path)
    flipped = 1 - pl.col("apnea").abs()
    before, test, val = (
        run_score(table, trained, split, tmp_path / str(n))
        for n, table in enumerate(
            (nights, change(nights, "e", apnea=flipped), change(nights, "d", apnea=flipped))
        )
    )
    same = ["threshold", "predicted", "p_apnea"]
    assert before.select(same).equals(test.select(same))
    assert not before["label"].equals(test["label"])
    assert before["threshold"][0] != val["threshold"][0]


def test_event_predictions_have_their_columns(
    nights: pl.DataFrame, split: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = run_head(nights, split, tmp_path)
    with caplog.at_level(logging.INFO):
        table = run_score(nights, trained, split, tmp_path)
    assert table.columns == [
        "dataset", "subject", "recording", "epoch", "onset_s", "fold", "role", "stage", "label",
        "usable", "predicted", "threshold", "p_none", "p_apnea",
    ]  # fmt: skip
    kinds = table.schema
    assert kinds["label"] == kinds["predicted"] == pl.Int8
    assert kinds["threshold"] == kinds["p_none"] == kinds["p_apnea"] == pl.Float32
    assert set(table["role"]) == {"val", "test"}
    assert len(table) == 240
    usable = table.filter("usable")
    assert np.allclose(usable["p_none"] + usable["p_apnea"], 1, atol=1e-6)
    # Those without a label are asked too.
    assert usable.filter(pl.col("label") == -1)["p_apnea"].null_count() == 0
    assert usable.filter(pl.col("label") == -1).height == 24
    assert table["threshold"].n_unique() == 1
    assert usable["predicted"].to_list() == (usable["p_apnea"] >= usable["threshold"]).to_list()
    unusable = table.filter(~pl.col("usable"))
    assert (unusable["predicted"] == -1).all()
    assert unusable["p_apnea"].null_count() == len(unusable) == 4
    val = labelled(table, "val")
    assert val["threshold"][0] == best_threshold(val["label"].to_numpy(), val["p_apnea"].to_numpy())
    assert "apnea from p_apnea 0." in caplog.text
    assert "test: 120 epochs of 1 subjects, 118 usable and predicted, 106 of these" in caplog.text
    again = run_score(nights, trained, split, tmp_path / "again")
    assert again.equals(table)
    name = "predictions.parquet"
    assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert pq.read_schema(tmp_path / name).names == table.columns


# Errors


@pytest.mark.parametrize("name", RECIPES)
def test_validation_subjects_need_epochs_with_and_without(
    nights: pl.DataFrame, split: Path, tmp_path: Path, name: str
) -> None:
    quiet = change(nights, "d", apnea=pl.min_horizontal("apnea", 0))
    wanted = (
        r"the validation subjects have 0 usable epochs with apnea and 106 without, wanted some of "
        r"both: .* \(split\.validation\), .* take apnea out of synthsleepnet\.tasks"
    )
    with pytest.raises(ValueError, match=wanted):
        run_head(quiet, split, tmp_path, name)
    trained = run_head(nights, split, tmp_path, name)
    with pytest.raises(ValueError, match=wanted):
        run_score(quiet, trained, split, tmp_path)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("role", ["training", "validation"])
def test_a_task_that_nobody_looked_for_is_named(
    nights: pl.DataFrame, split: Path, tmp_path: Path, name: str, role: str
) -> None:
    table = nights
    for subject in "abc" if role == "training" else "d":
        table = change(table, subject, apnea=-1)
    with pytest.raises(
        ValueError,
        match=rf"no {role} subject has an epoch in which apnea was looked for; take it out of "
        r"synthsleepnet.tasks / unimodal.tasks / heads.tasks",
    ):
        run_head(table, split, tmp_path, name, labels=nights)


def test_one_label_is_too_few_for_a_linear_probe_and_its_share_is_named(
    nights: pl.DataFrame, split: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError,
        match=r"training subjects have 1 usable scored epochs, wanted at least 2 for apnea. These "
        r"are 0\.31 % of 318, the share that may be seen: .* label_efficiency\.percents",
    ):
        run_head(nights, split, tmp_path, labels=nights.head(1))


@pytest.mark.parametrize("name", RECIPES)
def test_training_without_an_event_is_told_and_still_scored(
    nights: pl.DataFrame,
    split: Path,
    tmp_path: Path,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A small share of the labels may have none: the curve shows it, nothing stops."""
    none = nights.filter(pl.col("apnea") == 0, pl.col("subject") == "sim/a")
    with caplog.at_level(logging.WARNING):
        trained = run_head(nights, split, tmp_path, name, labels=none, sampling="balanced")
    text = "no training epoch of class apnea: its probability will be 0 everywhere"
    assert text in caplog.text
    table = run_score(nights, trained, split, tmp_path)
    assert table["p_apnea"].drop_nulls().eq(0).all()
