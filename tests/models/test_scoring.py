"""Embed, head and score: frozen encoders, each epoch once, roles from the split file only."""

import json
import logging
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from packed_shards import ROLES, Cohort, make_cohort, write_json, write_shard

from somnoflow.commands.embed import embed
from somnoflow.commands.head import head
from somnoflow.commands.score import score
from somnoflow.config.embed import EmbedSlice
from somnoflow.config.heads import HeadSlice, Knn, Linear
from somnoflow.config.pretrain import Recipe
from somnoflow.config.score import ScoreSlice
from somnoflow.data.packed import PackedEpochs
from somnoflow.data.subsets import write_labels
from somnoflow.fingerprint import closure
from somnoflow.io.digest import DigestError
from somnoflow.models.context import ContextHead
from somnoflow.models.heads import load_head, write_context
from somnoflow.models.pretrained import load_frozen
from somnoflow.models.weights import read_tensors, write_weights
from somnoflow.tasks import TASKS
from somnoflow.training.embedded import read_dimension, read_labelled, read_parts, to_matrix
from somnoflow.training.embedding import embed_rows
from somnoflow.training.initial import build_neuronet
from somnoflow.training.roles import Roles, read_roles
from somnoflow.training.scoring import gather_predictions, score_part

STAGING = TASKS["staging"]
LINEAR = Linear(passes=12, batch_size=8)
NAMES = ["p_W", "p_N1", "p_N2", "p_N3", "p_REM"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A NeuroNet as `pretrain` writes it, with batch norm statistics of its own."""
    model = build_neuronet(Recipe(frame_step=1.5), sampling_rate=100)
    model(torch.randn(8, 3000, generator=torch.Generator().manual_seed(0)))
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    about = {
        "kind": "neuronet",
        "architecture": model.architecture,
        "channel": "EEG_C4",
        "sampling_rate": 100,
    }
    write_weights(path, model.state_dict(), about)
    return path


def run_embed(cohort: Cohort, encoder: Path, folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.json"
    cfg = EmbedSlice(**{"channel": "EEG_C4", "batch_size": 5, **changes})
    embed(encoder=encoder, packed=cohort.packed, index=index, gpus=0, threads=1, cfg=cfg)
    return index


def run_head(index: Path, split: Path, folder: Path, name: str = "linear") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    parts = pl.concat(read_parts(index, subjects=read_roles(split, fold=0).train))
    write_labels(folder / "labels.parquet", parts.filter(pl.col("usable") & (pl.col("stage") >= 0)))
    recipe = LINEAR if name == "linear" else Knn(components=50, neighbours=5)
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
        cfg=HeadSlice(name=name, task="staging", recipe=recipe),
    )
    return folder / "head.safetensors"


def make_context_head(index: Path, path: Path) -> Path:
    """Write a context head that was not trained, over windows of six epochs."""
    torch.manual_seed(0)
    head = ContextHead(read_dimension(index), context="transformer", width=16, window=6)
    torch.nn.init.normal_(head.fc.weight)  # so that neighbours show in the probabilities
    write_context(path, head, {})
    return path


def run_score(
    index: Path, trained: Path, split: Path, path: Path, *, stride: int = 6
) -> pl.DataFrame:
    cfg = ScoreSlice(task="staging", stride=stride)
    score(embeddings=index, head=trained, split=split, predictions=path, fold=0, threads=1, cfg=cfg)
    return pl.read_parquet(path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("shared"), epochs=23)


@pytest.fixture(scope="module")
def embedded(shared: Cohort, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_embed(shared, encoder, tmp_path_factory.mktemp("embedded"))


# Embed


def test_every_epoch_has_one_row_and_only_usable_ones_an_embedding(
    shared: Cohort, embedded: Path
) -> None:
    index = json.loads(embedded.read_text())
    assert index["dimension"] == 64
    for path, part in zip(shared.packed, index["parts"], strict=True):
        rows = pl.read_parquet(embedded.parent / part["file"], hive_partitioning=False)
        packed = PackedEpochs([path], channels=["EEG_C4"])
        modalities = pl.when("usable").then(pl.lit("EEG")).otherwise(pl.lit(""))
        wanted = packed.table.with_columns(modalities=modalities)
        assert rows.drop("embedding").equals(wanted.select(rows.columns[:-1]))
        assert (part["epochs"], part["usable"]) == (len(packed), packed.table["usable"].sum())
        assert (rows["embedding"].is_null() == ~rows["usable"]).all()
        assert (~rows["usable"]).sum() > 0
    schema = pq.read_schema(embedded.parent / index["parts"][0]["file"])
    assert str(schema.field("embedding").type) == "fixed_size_list<element: float>[64]"


def test_embeddings_are_the_features_of_their_own_epochs(
    shared: Cohort, embedded: Path, encoder: Path
) -> None:
    model, _ = load_frozen(encoder)
    packed = PackedEpochs(shared.packed[:1], channels=["EEG_C4"])
    part = json.loads(embedded.read_text())["parts"][0]
    rows = pl.read_parquet(embedded.parent / part["file"], hive_partitioning=False)
    for row in (0, 1, 30, len(packed) - 1):
        with torch.inference_mode():
            wanted = model.forward_features(torch.from_numpy(packed.read(np.array([row]))[:, 0]))[0]
        np.testing.assert_allclose(rows["embedding"][row].to_numpy(), wanted, atol=1e-4)


def test_embeddings_are_byte_stable_and_independent_of_blocks(
    shared: Cohort, embedded: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = run_embed(shared, encoder, tmp_path / "again")
    assert again.read_bytes() == embedded.read_bytes()
    monkeypatch.setattr("somnoflow.training.embedding.BLOCK", 1)
    other = run_embed(shared, encoder, tmp_path / "other", batch_size=4)
    for part in json.loads(embedded.read_text())["parts"]:
        one, two = (
            pl.read_parquet(index.parent / part["file"], hive_partitioning=False)
            for index in (embedded, other)
        )
        assert one.drop("embedding").equals(two.drop("embedding"))
        usable = one["usable"]
        np.testing.assert_allclose(
            one["embedding"].filter(usable).to_numpy(),
            two["embedding"].filter(usable).to_numpy(),
            atol=1e-5,
        )


def test_frozen_weights_and_statistics_stay_as_they_are(shared: Cohort, encoder: Path) -> None:
    """Defect N8: frozen means evaluation mode; nothing drifts while embedding."""
    model, _ = load_frozen(encoder)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    packed = PackedEpochs(shared.packed, channels=["EEG_C4"])
    embed_rows(model, packed, np.arange(9), batch_size=4, device=torch.device("cpu"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert not any(p.requires_grad for p in model.parameters())
    model.train()
    model(torch.from_numpy(packed.read(np.arange(9))[:, 0]))
    drifted = [n for n, tensor in model.state_dict().items() if not torch.equal(tensor, before[n])]
    assert drifted  # the check above can fail


def test_loading_keeps_every_weight(encoder: Path) -> None:
    """Defect S1: no initialisation runs over loaded weights."""
    model, _ = load_frozen(encoder)
    stored = read_tensors(encoder)
    state = model.state_dict()
    assert state.keys() == stored.keys()
    assert all(torch.equal(state[name], stored[name]) for name in stored)


def test_embedding_leaves_the_encoder_file_alone_and_removes_stale_parts(
    shared: Cohort, encoder: Path, tmp_path: Path
) -> None:
    before = encoder.read_bytes()
    stale = tmp_path / "dataset=old" / "shard=7.parquet"
    stale.parent.mkdir()
    stale.write_bytes(b"")
    run_embed(shared, encoder, tmp_path)
    assert encoder.read_bytes() == before
    assert not stale.exists()


def test_another_channel_rate_or_length_is_named(
    shared: Cohort, encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="was trained on EEG_C4, wanted EOG_L"):
        run_embed(shared, encoder, tmp_path, channel="EOG_L")
    other = write_shard(
        tmp_path, dataset="sim", shard=0, subjects=["a"], epochs=2, seed=1, rate=200
    )
    with pytest.raises(ValueError, match=r"has 200 Hz, .* was trained on 100"):
        run_embed(Cohort([other], shared.split), encoder, tmp_path)


# Head


@pytest.mark.parametrize("name", ["linear", "knn"])
def test_heads_repeat_to_the_bit(embedded: Path, shared: Cohort, tmp_path: Path, name: str) -> None:
    one, two = (run_head(embedded, shared.split, tmp_path / str(i), name) for i in range(2))
    assert one.read_bytes() == two.read_bytes()
    assert (one.parent / "training.csv").read_bytes() == (two.parent / "training.csv").read_bytes()


def test_the_deployed_head_reproduces_the_score_it_was_chosen_for(
    embedded: Path, shared: Cohort, tmp_path: Path
) -> None:
    """Defect N3: the file holds the best pass, not the last one."""
    from sklearn.metrics import f1_score

    path = run_head(embedded, shared.split, tmp_path)
    table = pl.read_csv(tmp_path / "training.csv")
    best = table.filter(pl.col("best") == 1)
    assert best["pass"].item() == 1 + table["val_macro_f1"].arg_max()
    val = read_labelled(embedded, subjects=ROLES["val"], task=STAGING)
    predicted = load_head(path, dimension=64).predict_proba(val.embeddings).argmax(1)
    found = f1_score(
        val.targets, predicted, labels=np.unique(val.targets), average="macro", zero_division=0
    )
    assert found == pytest.approx(best["val_macro_f1"].item(), abs=1e-9)


def test_test_subjects_do_not_reach_the_head(
    shared: Cohort, encoder: Path, embedded: Path, tmp_path: Path
) -> None:
    """Defect N1: other stages and signals of test subjects, the same head to the bit."""
    changed = make_cohort(tmp_path / "c", epochs=23, salt={"sim/e": 4}, stages={"sim/e": 2})
    index = run_embed(changed, encoder, tmp_path / "e")
    assert index.read_bytes() != embedded.read_bytes()
    for name in ("linear", "knn"):
        one = run_head(embedded, shared.split, tmp_path / f"one-{name}", name)
        two = run_head(index, changed.split, tmp_path / f"two-{name}", name)
        assert one.read_bytes() == two.read_bytes()
    other = make_cohort(tmp_path / "d", epochs=23, stages={"sim/a": 2})
    third = run_head(run_embed(other, encoder, tmp_path / "f"), other.split, tmp_path / "three")
    linear = (tmp_path / "one-linear" / "head.safetensors").read_bytes()
    assert third.read_bytes() != linear  # the check above can fail


def test_unscored_and_unusable_epochs_are_never_trained_on(embedded: Path) -> None:
    """Defect N18: of 23 epochs two are unscored and another one is unusable."""
    train = read_labelled(embedded, subjects=ROLES["train"], task=STAGING)
    assert len(train) == 3 * (23 - 3)
    assert train.targets.min() >= 0
    assert np.abs(train.embeddings).sum(axis=1).min() > 0


def test_a_stage_nobody_has_is_logged_and_never_predicted(
    shared: Cohort, encoder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cohort = make_cohort(tmp_path / "c", epochs=12, roles={**ROLES, "train": ["sim/b"]})
    index = run_embed(cohort, encoder, tmp_path / "e")
    present = set(read_labelled(index, subjects=["sim/b"], task=STAGING).targets.tolist())
    missing = sorted({0, 1, 2, 3, 4} - present)
    assert missing
    for name in ("linear", "knn"):
        with caplog.at_level(logging.WARNING):
            path = run_head(index, cohort.split, tmp_path / name, name)
        assert "no training epoch of stage" in caplog.text
        table = run_score(index, path, cohort.split, tmp_path / name / "p.parquet")
        assert not set(missing) & set(table["predicted"].to_list())
        assert all(table[NAMES[stage]].drop_nulls().eq(0).all() for stage in missing)
    assert "allow 9 of heads.knn.components = 50" in caplog.text


def test_no_labelled_validation_epoch_is_named(
    embedded: Path, shared: Cohort, tmp_path: Path
) -> None:
    split = write_json(tmp_path / "split.json", {"folds": [{"fold": 0, **ROLES, "val": []}]})
    with pytest.raises(ValueError, match="validation subjects have 0 usable scored epochs"):
        run_head(embedded, split, tmp_path)


def test_a_changed_part_is_refused(shared: Cohort, encoder: Path, tmp_path: Path) -> None:
    index = run_embed(shared, encoder, tmp_path)
    part = tmp_path / json.loads(index.read_text())["parts"][0]["file"]
    part.write_bytes(part.read_bytes() + b" ")
    with pytest.raises(DigestError, match="forcerun embed"):
        run_head(index, shared.split, tmp_path)


# Score


@pytest.mark.parametrize("name", ["linear", "knn", "transformer"])
def test_every_epoch_of_val_and_test_is_scored_once(
    embedded: Path, shared: Cohort, tmp_path: Path, name: str
) -> None:
    """Defects N6, N7, N9: no epoch is lost in a last batch, none is scored twice."""
    if name == "transformer":
        trained = make_context_head(embedded, tmp_path / "head")
    else:
        trained = run_head(embedded, shared.split, tmp_path, name)
    table = run_score(embedded, trained, shared.split, tmp_path / "p.parquet")
    wanted = PackedEpochs(
        shared.packed, channels=["EEG_C4"], subjects=[*ROLES["val"], *ROLES["test"]]
    ).table
    keys = ["dataset", "subject", "recording", "epoch", "onset_s", "stage", "usable"]
    assert table.select(keys).equals(wanted.select(keys))
    assert table.columns == [
        "dataset", "subject", "recording", "epoch", "onset_s", "fold", "role", "stage", "usable",
        "predicted", "p_W", "p_N1", "p_N2", "p_N3", "p_REM",
    ]  # fmt: skip
    assert table.schema["epoch"] == table.schema["fold"] == pl.Int32
    assert table.schema["stage"] == table.schema["predicted"] == pl.Int8
    roles = dict(table.select("subject", "role").unique().iter_rows())
    assert roles == {"sim/d": "val", "sim/e": "test"}
    usable = table.filter("usable")
    shares = usable.select("p_W", "p_N1", "p_N2", "p_N3", "p_REM").to_numpy()
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert (shares.argmax(axis=1) == usable["predicted"].to_numpy()).all()
    unusable = table.filter(~pl.col("usable"))
    assert len(unusable) == 2
    assert (unusable["predicted"] == -1).all()
    assert unusable["p_W"].null_count() == 2
    assert table.filter(pl.col("stage") == -1).height == 4


def test_scoring_is_byte_stable_and_says_its_counts(
    embedded: Path, shared: Cohort, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = run_head(embedded, shared.split, tmp_path)
    with caplog.at_level(logging.INFO):
        for name in "ab":
            run_score(embedded, trained, shared.split, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert "test: 23 epochs of 1 subjects, 22 usable and predicted, 20 of these" in caplog.text


def test_an_epoch_twice_or_a_subject_missing_stops_scoring(
    embedded: Path, shared: Cohort, tmp_path: Path
) -> None:
    trained = run_head(embedded, shared.split, tmp_path)
    index = json.loads(embedded.read_text())
    twice = write_json(
        embedded.with_name("twice.json"), {**index, "parts": [*index["parts"], index["parts"][0]]}
    )
    with pytest.raises(ValueError, match=r"46 of 69 epochs of .* are there twice"):
        run_score(twice, trained, shared.split, tmp_path / "p")
    split = write_json(tmp_path / "s.json", {"folds": [{"fold": 0, **ROLES, "test": ["sim/x"]}]})
    with pytest.raises(ValueError, match=r"1 of 2 subjects of the split are not in .*: sim/x"):
        run_score(embedded, trained, split, tmp_path / "p")


@pytest.mark.parametrize("stride", [6, 2])
def test_windows_end_where_a_recording_does_and_at_an_unusable_epoch(
    embedded: Path, shared: Cohort, tmp_path: Path, stride: int
) -> None:
    """Defect S12: neither other nights nor the far side of a gap change what an epoch gets."""
    trained = make_context_head(embedded, tmp_path / "head")
    table = run_score(embedded, trained, shared.split, tmp_path / "p.parquet", stride=stride)
    rows = pl.concat(read_parts(embedded, subjects=["sim/e"])).filter("usable")
    x = to_matrix(rows["embedding"], dimension=64)
    assert rows["epoch"].to_list() == [0, 1, *range(3, 23)]
    head = load_head(trained, dimension=64)
    alone = [
        head.predict_proba(part, np.arange(len(part)) == 0, stride=stride)
        for part in (x[:2], x[2:])
    ]
    found = table.filter(pl.col("subject") == "sim/e", pl.col("usable")).select(NAMES).to_numpy()
    np.testing.assert_allclose(found, np.concatenate(alone), atol=1e-5)
    joined = head.predict_proba(x, np.arange(len(x)) == 0, stride=stride)
    assert not np.allclose(found, joined, atol=1e-2)  # the check above can fail


def test_the_stride_of_the_configuration_is_that_of_the_windows(
    embedded: Path, shared: Cohort, tmp_path: Path
) -> None:
    trained = make_context_head(embedded, tmp_path / "head")
    one, two = (
        run_score(embedded, trained, shared.split, tmp_path / "p", stride=s)[NAMES[0]]
        for s in (6, 3)
    )
    assert not np.allclose(one.drop_nulls(), two.drop_nulls(), atol=1e-2)
    with pytest.raises(ValueError, match="windows of 6 epochs every 7 epochs leave epochs out"):
        run_score(embedded, trained, shared.split, tmp_path / "p", stride=7)


def test_recordings_out_of_order_or_in_pieces_stop_scoring(
    embedded: Path, shared: Cohort, tmp_path: Path
) -> None:
    head = load_head(make_context_head(embedded, tmp_path / "head"), dimension=64)
    part = pl.concat(read_parts(embedded, subjects=["sim/e"]))
    with pytest.raises(ValueError, match="23 epochs of 1 recordings are not in the order of"):
        score_part(part.reverse(), head=head, dimension=64, stride=6)
    pieces = [
        score_part(piece, head=head, dimension=64, stride=6) for piece in (part[:11], part[11:])
    ]
    roles = Roles(pretrain=(), train=(), val=(), test=("sim/e",))
    with pytest.raises(ValueError, match="1 recordings of here lie in 2 pieces, wanted each in"):
        gather_predictions(pieces, task=STAGING, roles=roles, fold=0, where="here")


# Code


def test_commands_import_only_what_they_need() -> None:
    for name in ("embed", "head", "score"):
        assert "somnoflow.training.pretraining" not in closure(f"somnoflow.commands.{name}")
    for name in ("embed", "score"):
        assert "somnoflow.training.resume" not in closure(f"somnoflow.commands.{name}")
    for name in ("head", "score"):
        assert "somnoflow.models.neuronet" not in closure(f"somnoflow.commands.{name}")
    assert "somnoflow.training.probing" not in closure("somnoflow.commands.score")
