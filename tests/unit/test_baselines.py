"""Baselines: YASA's features and stages are those of their own epochs; the majority is counted."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from somnoflow.baselines.yasa_features import (
    DIMENSION,
    FEATURES,
    PROBABILITIES,
    describe_night,
    run_yasa,
    smooth,
)
from somnoflow.commands.embed_yasa import embed_yasa
from somnoflow.commands.pack import pack
from somnoflow.commands.score_majority import score_majority
from somnoflow.commands.score_yasa import score_yasa
from somnoflow.commands.yasa import yasa
from somnoflow.config.baselines import YasaSlice
from somnoflow.config.pack import Pack
from somnoflow.config.score import ScoreSlice
from somnoflow.data.labels import EVENT_NAMES
from somnoflow.data.subsets import KEY, write_labels
from somnoflow.io.digest import sha256_file
from somnoflow.io.parquet import ChannelEpochs, PartWriter, RecordingEpochs, part_schema
from somnoflow.signals.epochs import Grid
from somnoflow.signals.quality import Flag
from somnoflow.tasks import TASKS
from somnoflow.training.embedded import read_labelled
from somnoflow.training.scoring import prediction_schema

CHANNEL = YasaSlice(channel="EEG_C4")
SCALE = 1 / 16  # exact as float32
EPOCHS = 24
FIRST = 7  # epochs before sleep that were cropped
FLAT = (9, 10, 23)
STAGES = [*([-1] * 2), *([2] * 12), *([0] * 6), *([3] * 4)]


@dataclass
class Cohort:
    """A shard of each kind, YASA's features of it, and what the log said."""

    folder: Path
    features: list[Path]
    packed: list[Path]
    split: Path
    messages: list[str]


def loudness(subject: str) -> np.ndarray:
    """Give how loud each epoch of a subject is, different in all of them."""
    return np.random.default_rng(ord(subject)).permutation(np.linspace(0.5, 2, EPOCHS))


def make_samples(subject: str, *, epochs: int, rate: int = 100) -> np.ndarray:
    """Make an EEG (epochs, T) in int16 steps: noise with most power in low frequencies."""
    rng = np.random.default_rng([3, ord(subject)])
    samples = 30 * rate
    shape = 1 / np.maximum(np.fft.rfftfreq(epochs * samples, 1 / rate), 0.5)
    noise = np.fft.irfft(np.fft.rfft(rng.normal(size=epochs * samples)) * shape)
    night = (noise / noise.std()).reshape(epochs, samples) * loudness(subject)[:epochs, None] * 20
    return np.rint(night / SCALE).astype(np.int16)


def make_night(subject: str, **how: object) -> RecordingEpochs:
    """Make a night: "c" was never recorded, "s" is short, "z" is a flat line, "a" partly so."""
    epochs = 8 if subject == "s" else EPOCHS
    samples = make_samples(subject, epochs=epochs, **how)
    quality = np.zeros(epochs, np.uint8)
    flat = {"a": list(FLAT), "z": list(range(epochs))}.get(subject, [])
    samples[flat] = 0
    quality[flat] = Flag.FLAT | Flag.ZERO
    channel = ChannelEpochs(samples, SCALE, quality)
    if subject == "c":
        channel = ChannelEpochs(None, 1.0, np.full(epochs, Flag.MISSING, np.uint8))
    return RecordingEpochs(
        subject=subject,
        recording=f"{subject}-n1",
        night=1,
        grid=Grid(onset=0.0, epochs=epochs, first=FIRST),
        stage=np.array(STAGES[:epochs], np.int8),
        events=dict.fromkeys(EVENT_NAMES),
        channels={"EEG_C4": channel, "EOG_L": ChannelEpochs(samples[::-1], SCALE, quality * 0)},
    )


def write_part(folder: Path, nights: list[RecordingEpochs], *, rate: int = 100) -> Path:
    """Write a part as parse does; give its index."""
    folder.mkdir(parents=True)
    channels = {name: {"sampling_rate": rate} for name in ("EEG_C4", "EOG_L")}
    schema = part_schema(
        list(channels), events=EVENT_NAMES, samples=30 * rate, metadata={"channels": channels}
    )
    part = folder / "part-0.parquet"
    with PartWriter(part, schema, epoch_seconds=30) as writer:
        for night in nights:
            writer.write(night)
    shard = folder.name.removeprefix("shard=")
    content = {
        "dataset": "lab",
        "shard": int(shard),
        "part": {"file": part.name, "sha256": sha256_file(part)},
    }
    (folder / "index.json").write_text(json.dumps(content))
    return folder / "index.json"


def place(folder: Path, kind: str, shard: int, file: str) -> Path:
    path = folder / kind / "dataset=lab" / f"shard={shard}" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = tmp_path_factory.mktemp("baselines")
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("somnoflow.baselines")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    features, packed = [], []
    for shard, subjects in enumerate(("asc", "bz", "")):
        nights = [make_night(subject) for subject in subjects]
        index = write_part(place(folder, "signals", shard, "").parent / f"shard={shard}", nights)
        features.append(place(folder, "yasa", shard, "features.parquet"))
        yasa(part_index=index, features=features[-1], cfg=CHANNEL)
        packed.append(place(folder, "packed", shard, "index.json"))
        pack(
            part_index=index,
            signals=packed[-1].with_name("signals.npy"),
            epochs=packed[-1].with_name("epochs.parquet"),
            index=packed[-1],
            cfg=Pack(),
        )
    logger.removeHandler(handler)
    split = folder / "split.json"
    roles = {"pretrain": [], "train": ["lab/a", "lab/s"], "val": ["lab/b"]}
    tested = {"test": ["lab/c", "lab/z"]}
    split.write_text(json.dumps({"folds": [{"fold": 0, **roles, **tested}]}))
    return Cohort(folder, features, packed, split, messages)


def read(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path, hive_partitioning=False)


def test_each_epoch_has_one_row_with_its_own_features(cohort: Cohort) -> None:
    night = read(cohort.features[0]).filter(pl.col("subject") == "lab/a")
    assert night["epoch"].to_list() == list(range(FIRST, FIRST + EPOCHS))
    assert night["onset_s"].to_list() == [30.0 * epoch for epoch in night["epoch"]]
    assert night["stage"].to_list() == STAGES
    assert night["quality"].to_list() == [10 if n in FLAT else 0 for n in range(EPOCHS)]
    usable = night["usable"].to_numpy()
    assert np.flatnonzero(~usable).tolist() == list(FLAT)
    # A row that slipped would have another epoch's loudness.
    ratio = night["eeg_std"].to_numpy()[usable] / loudness("a")[usable]
    assert ratio.max() < 1.3 * ratio.min()
    assert night.filter(~pl.col("usable"))["eeg_std"].null_count() == len(FLAT)
    assert night.filter("usable").null_count().sum_horizontal().item() == 0


def test_features_and_answers_of_a_whole_night_are_yasas_own(cohort: Cohort) -> None:
    import mne
    from yasa import SleepStaging

    samples = make_night("b").channels["EEG_C4"].samples
    volts = np.asarray(samples).reshape(1, -1) * SCALE * 1e-6
    raw = mne.io.RawArray(volts, mne.create_info(["C4"], 100, "eeg"), verbose="error")
    staging = SleepStaging(raw, eeg_name="C4")
    with pytest.warns(match="unpickle"):
        hypnogram = staging.predict()
    wanted = staging.get_features()
    night = read(cohort.features[1]).filter(pl.col("subject") == "lab/b")
    found = night.select(FEATURES).to_numpy()
    np.testing.assert_allclose(found, wanted.to_numpy(), rtol=1e-4, atol=1e-5)
    shares = night.select(PROBABILITIES).to_numpy()
    names = ["WAKE", "N1", "N2", "N3", "REM"]
    np.testing.assert_allclose(shares, hypnogram.proba[names].to_numpy(), atol=1e-5)
    likeliest = [names[code] for code in shares.argmax(axis=1)]
    assert likeliest == hypnogram.hypno.astype(str).tolist()
    # Over all epochs, smoothing again gives what YASA gave.
    again = smooth(wanted, usable=np.ones(EPOCHS, bool))
    np.testing.assert_allclose(again, wanted, rtol=1e-3, atol=1e-4)


def test_what_stands_in_unusable_epochs_does_not_matter(cohort: Cohort) -> None:
    night = read(cohort.features[0]).filter(pl.col("subject") == "lab/a")
    usable = night["usable"].to_numpy()
    microvolts = np.asarray(make_night("a").channels["EEG_C4"].samples) * SCALE
    # Too faint for the neighbours to see it through the filter.
    microvolts[~usable] = np.random.default_rng(0).normal(0, 1e-7, (len(FLAT), 3000))
    values, probabilities = run_yasa(microvolts.ravel(), usable=usable, sampling_rate=100)
    own = night.filter("usable")
    np.testing.assert_allclose(values[usable], own.select(FEATURES), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(probabilities[usable], own.select(PROBABILITIES), atol=1e-3)


def test_a_night_is_scaled_by_its_usable_epochs_alone() -> None:
    usable = np.ones(31, bool)
    usable[5:15] = False
    rng = np.random.default_rng(0)
    features = pd.DataFrame(rng.normal(size=(31, len(FEATURES))), columns=list(FEATURES))
    again = smooth(features, usable=usable)
    scaled = again[usable].filter(like="_norm").drop(columns="time_norm")
    np.testing.assert_allclose(scaled.median(), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.quantile(0.95) - scaled.quantile(0.05), 1, rtol=1e-5)


def test_recordings_that_yasa_cannot_use_are_kept_and_named(cohort: Cohort) -> None:
    table = pl.concat(map(read, cohort.features))
    counts = table.group_by("subject").agg(pl.len(), pl.col("usable").sum())
    assert dict(zip(counts["subject"], counts.select("len", "usable").rows(), strict=True)) == {
        "lab/a": (EPOCHS, EPOCHS - len(FLAT)),
        "lab/s": (8, 0),
        "lab/c": (EPOCHS, 0),
        "lab/b": (EPOCHS, EPOCHS),
        "lab/z": (EPOCHS, 0),
    }
    said = "\n".join(cohort.messages)
    assert "s-n1, EEG_C4: 4 minutes, YASA wants at least 5; none of its 8 epochs" in said
    assert "c-n1, EEG_C4: it was not recorded" in said
    assert "z-n1, EEG_C4: no epoch carries a signal" in said
    assert "1 of 3 recordings: a-n1, 21 of 24 epochs have features" in said


def test_slow_signals_are_not_shown_to_yasa(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = write_part(tmp_path / "shard=0", [make_night("b", rate=80)], rate=80)
    yasa(part_index=index, features=tmp_path / "features.parquet", cfg=CHANNEL)
    assert not read(tmp_path / "features.parquet")["usable"].any()
    assert "80 Hz, YASA wants more than 80 Hz" in caplog.text


def test_a_channel_that_was_not_kept_is_named(tmp_path: Path) -> None:
    index = write_part(tmp_path / "shard=0", [])
    with pytest.raises(ValueError, match=r"EEG_C4, EOG_L, wanted EEG_Fpz\. Add it to signals\.ch"):
        yasa(part_index=index, features=tmp_path / "f", cfg=YasaSlice(channel="EEG_Fpz"))


def test_epochs_that_do_not_follow_each_other_are_refused(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    index = write_part(tmp_path / "shard=0", [make_night("b")])
    night = pq.read_table(index.with_name("part-0.parquet"), partitioning=None)
    gap = night.take([0, 1, 2, *range(4, EPOCHS)])
    with pytest.raises(ValueError, match="b-n1, EEG_C4: its 23 epochs do not follow each other"):
        describe_night(gap, dataset="lab", channel="EEG_C4", sampling_rate=100)


def embed(cohort: Cohort, folder: Path, *, features: list[Path] | None = None) -> Path:
    index = folder / "index.json"
    chosen = features or cohort.features
    embed_yasa(features=chosen, packed=cohort.packed, index=index, cfg=CHANNEL)
    return index


def test_embeddings_are_of_their_epochs_and_of_one_size(cohort: Cohort, tmp_path: Path) -> None:
    index = embed(cohort, tmp_path)
    content = json.loads(index.read_text())
    assert content["dimension"] == DIMENSION
    assert [(part["epochs"], part["usable"]) for part in content["parts"]] == [
        (56, 21), (48, 24), (0, 0),
    ]  # fmt: skip
    table = read(tmp_path / content["parts"][0]["file"])
    assert table["subject"].unique(maintain_order=True).to_list() == ["lab/a", "lab/c", "lab/s"]
    assert table["stage"].to_list() == [*STAGES, *STAGES, *STAGES[:8]]
    values = np.stack(table.filter("usable")["embedding"].to_list())
    assert np.isfinite(values).all()
    assert np.abs(values).max() < 20
    stds = read(cohort.features[0]).filter("usable")["eeg_std"].to_numpy()
    np.testing.assert_allclose(values[:, FEATURES.index("eeg_std")], np.arcsinh(stds), rtol=1e-5)
    again = embed(cohort, tmp_path / "again")
    assert again.read_bytes() == index.read_bytes()


def test_heads_read_the_embeddings(cohort: Cohort, tmp_path: Path) -> None:
    index = embed(cohort, tmp_path)
    found = read_labelled(index, subjects=["lab/a", "lab/s"], task=TASKS["staging"])
    scored = [stage for n, stage in enumerate(STAGES) if n not in FLAT and stage >= 0]
    assert found.targets.tolist() == scored
    assert found.embeddings.shape == (len(scored), DIMENSION)


def test_features_of_other_epochs_are_refused(cohort: Cohort, tmp_path: Path) -> None:
    fewer = place(tmp_path, "yasa", 0, "features.parquet")
    read(cohort.features[0])[1:].write_parquet(fewer)
    rest = [place(tmp_path, "yasa", n, "features.parquet") for n in (1, 2)]
    for source, copy in zip(cohort.features[1:], rest, strict=True):
        copy.write_bytes(source.read_bytes())
    with pytest.raises(ValueError, match="has 55 epochs, of which 55 are among the 56 packed ones"):
        embed(cohort, tmp_path / "out", features=[fewer, *rest])


def test_the_stagers_answers_are_predictions(cohort: Cohort, tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    score_yasa(features=cohort.features, split=cohort.split, predictions=path, fold=0, cfg=CHANNEL)
    found = read(path)
    assert found.columns == prediction_schema(TASKS["staging"]).names
    assert dict(found.group_by("subject", "role").len().select("subject", "role").rows()) == {
        "lab/b": "val", "lab/c": "test", "lab/z": "test",
    }  # fmt: skip
    assert found.filter("usable").height == EPOCHS
    assert set(found.filter(~pl.col("usable"))["predicted"]) == {-1}
    source = read(cohort.features[1]).filter("usable")
    assert np.array_equal(
        found.filter("usable")["predicted"], source.select(PROBABILITIES).to_numpy().argmax(axis=1)
    )
    assert found.filter("usable")["stage"].to_list() == STAGES


def run_majority(cohort: Cohort, path: Path, *, stages: list[int], task: str = "staging") -> None:
    epochs = [FIRST + n for n, stage in enumerate(STAGES) if stage in stages]
    labels = pl.DataFrame(
        {"dataset": "lab", "subject": "lab/a", "recording": "a-n1", "epoch": epochs},
        schema_overrides={"epoch": pl.Int32},
    )
    write_labels(path.with_name("labels.parquet"), labels.select(KEY))
    score_majority(
        packed=cohort.packed,
        split=cohort.split,
        labels=path.with_name("labels.parquet"),
        predictions=path,
        fold=0,
        cfg=ScoreSlice(task=task, stride=1),
    )


def test_the_majority_is_that_of_the_labels_that_may_be_seen(
    cohort: Cohort, tmp_path: Path
) -> None:
    path = tmp_path / "predictions.parquet"
    run_majority(cohort, path, stages=[0, 3])
    found = read(path)
    assert found.columns == prediction_schema(TASKS["staging"]).names
    assert found.height == 3 * EPOCHS
    # Of "c" the EOG alone was recorded, of "z" nothing.
    usable = found["usable"]
    assert found.filter(usable)["subject"].unique().sort().to_list() == ["lab/b", "lab/c"]
    assert set(found.filter(usable)["predicted"]) == {0}
    assert set(found.filter(~usable)["predicted"]) == {-1}
    np.testing.assert_allclose(found.select(PROBABILITIES).row(0), [0.6, 0, 0, 0.4, 0], atol=1e-6)
    run_majority(cohort, path, stages=[0, 2, 3])
    assert set(read(path).filter("usable")["predicted"]) == {2}


def test_the_majority_of_an_event_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="asked for apnea, wanted staging"):
        run_majority(cohort, tmp_path / "p.parquet", stages=[2], task="apnea")
