"""Embeddings in a plane: who is drawn, that the same epochs give the same bytes, and few epochs."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from somnoflow.commands.project import project
from somnoflow.config.projection import Projection
from somnoflow.data.projection import PCA_COLUMNS, TSNE_COLUMNS, read_projection
from somnoflow.evaluate.projection import draw_epochs, principal_components
from somnoflow.io.digest import sha256_file

D = 8
CFG = Projection(epochs=50, perplexity=5)


def write_embeddings(
    folder: Path, nights: dict[str, int], *, embeddings: np.ndarray | None = None
) -> Path:
    """Write one shard of nights of so many epochs; in ten one has no stage and one no signal."""
    rows = []
    rng = np.random.default_rng(1)
    for subject, epochs in nights.items():
        for epoch in range(epochs):
            stage = epoch % 5
            usable = epoch % 10 != 8
            found = rng.normal(0, 0.1, D) + 3 * np.eye(D)[stage]
            rows.append(
                {
                    "dataset": "sim", "subject": f"sim/{subject}", "recording": f"{subject}n1",
                    "epoch": epoch, "stage": -1 if epoch % 10 == 7 else stage, "usable": usable,
                    "embedding": list(found) if usable else None,
                }
            )  # fmt: skip
    if embeddings is not None:
        for row, found in zip(rows, embeddings, strict=True):
            row["embedding"] = list(found)
    schema = {"epoch": pl.Int32, "stage": pl.Int8, "embedding": pl.Array(pl.Float32, D)}
    file = folder / "dataset=sim" / "shard=0.parquet"
    file.parent.mkdir(parents=True)
    pl.DataFrame(rows, schema_overrides=schema).write_parquet(file)
    index = folder / "index.json"
    part = {"file": "dataset=sim/shard=0.parquet", "sha256": sha256_file(file)}
    index.write_text(json.dumps({"made_by": "embed", "dimension": D, "parts": [part]}))
    return index


def run(folder: Path, index: Path, *, test: list[str], cfg: Projection = CFG) -> Path:
    fold = {"fold": 0, "pretrain": [], "train": ["sim/z"], "val": ["sim/y"], "test": test}
    split = folder / "split.json"
    split.write_text(json.dumps({"folds": [fold]}))
    out = folder / "projection.parquet"
    project(embeddings=index, split=split, projection=out, fold=0, threads=1, cfg=cfg)
    return out


def test_scored_usable_test_epochs_get_a_place(tmp_path: Path) -> None:
    index = write_embeddings(tmp_path, {"a": 40, "b": 40, "c": 40})
    found = read_projection(run(tmp_path, index, test=["sim/a", "sim/b"]))
    assert set(found.table["subject"]) == {"sim/a", "sim/b"}
    assert (found.table["stage"] >= 0).all()
    assert not found.table["epoch"].is_in([8, 18, 28, 38]).any()
    assert found.table.schema["tsne_1"] == pl.Float32
    places = found.table.select(*PCA_COLUMNS, *TSNE_COLUMNS).to_numpy()
    assert np.isfinite(places).all()
    assert found.about == {
        "epochs": 50, "of": 64, "perplexity": 5.0,
        "explained_variance": found.about["explained_variance"],
    }  # fmt: skip
    first, second = found.about["explained_variance"]
    assert 1 > first > second > 0


def test_epochs_of_one_kind_lie_together(tmp_path: Path) -> None:
    index = write_embeddings(tmp_path, {"a": 60})
    table = read_projection(run(tmp_path, index, test=["sim/a"])).table
    stage, places = table["stage"].to_numpy(), table.select(TSNE_COLUMNS).to_numpy()
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert (stage[distance.argmin(axis=1)] == stage).all()


def test_each_recording_gives_as_many_as_it_can() -> None:
    nights = {"short": 5, "long": 100, "other": 100}
    scored = pl.DataFrame(
        [
            {"dataset": "d", "subject": name, "recording": name, "epoch": epoch}
            for name, epochs in nights.items()
            for epoch in range(epochs)
        ]
    )
    drawn = draw_epochs(scored, epochs=45, seed=1)
    assert dict(drawn["recording"].value_counts().rows()) == {"short": 5, "long": 20, "other": 20}
    assert drawn.is_unique().all()
    assert drawn.equals(draw_epochs(scored.reverse(), epochs=45, seed=1))
    assert not drawn.equals(draw_epochs(scored, epochs=45, seed=2))
    assert draw_epochs(scored, epochs=1000, seed=1).height == 205


def test_the_same_epochs_give_the_same_bytes(tmp_path: Path) -> None:
    index = write_embeddings(tmp_path, {"a": 40})
    first = run(tmp_path, index, test=["sim/a"]).read_bytes()
    assert run(tmp_path, index, test=["sim/a"]).read_bytes() == first


@pytest.mark.parametrize("epochs", [1, 2])
def test_too_few_epochs_give_an_empty_table(tmp_path: Path, epochs: int) -> None:
    index = write_embeddings(tmp_path, {"a": epochs, "b": 20})
    found = read_projection(run(tmp_path, index, test=["sim/a"]))
    assert found.table.height == 0
    assert found.about == {
        "epochs": 0, "of": epochs, "explained_variance": None, "perplexity": None,
    }  # fmt: skip


def test_nobody_tested_gives_an_empty_table(tmp_path: Path) -> None:
    index = write_embeddings(tmp_path, {"a": 20})
    assert read_projection(run(tmp_path, index, test=[])).about["of"] == 0


@pytest.mark.parametrize("epochs", [3, 4, 5, 7])
def test_few_epochs_are_enough(tmp_path: Path, epochs: int) -> None:
    index = write_embeddings(tmp_path, {"a": epochs})
    found = read_projection(run(tmp_path, index, test=["sim/a"]))
    assert found.about["perplexity"] == pytest.approx(min(5, (epochs - 1) / 3))
    assert np.isfinite(found.table.select(*PCA_COLUMNS, *TSNE_COLUMNS).to_numpy()).all()


def test_embeddings_that_are_all_alike_are_one_point(tmp_path: Path) -> None:
    index = write_embeddings(tmp_path, {"a": 7}, embeddings=np.ones((7, D)))
    found = read_projection(run(tmp_path, index, test=["sim/a"]))
    assert found.table.height == 7
    assert not found.table.select(*PCA_COLUMNS, *TSNE_COLUMNS).to_numpy().any()
    assert found.about["explained_variance"] == [0, 0]


def test_embeddings_of_one_number_have_one_component() -> None:
    places, shares = principal_components(np.arange(6, dtype=np.float32)[:, None], seed=1)
    assert places.shape == (6, 2)
    assert list(shares) == pytest.approx([1, 0])


def test_a_subject_without_embeddings_is_named(tmp_path: Path) -> None:
    index = write_embeddings(tmp_path, {"a": 10})
    with pytest.raises(ValueError, match=r"1 of 2 subjects of the split are not in .*sim/b"):
        run(tmp_path, index, test=["sim/a", "sim/b"])


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "odd.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(path)
    with pytest.raises(ValueError, match=r"odd\.parquet lacks .*Make it again with the rule"):
        read_projection(path)
