"""Parquet parts and packed shards hold the recorder's values, the labels and nothing else."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import edfio
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.recordings import make_signal, noise, sine, write_recording

from somnoflow.commands.pack import pack
from somnoflow.commands.parse import parse
from somnoflow.config.annotation import Annotation
from somnoflow.config.dataset import Reading
from somnoflow.config.pack import Pack
from somnoflow.config.parse import ParseSlice
from somnoflow.config.signals import Signals
from somnoflow.data.labels import event_seconds
from somnoflow.data.packed import PackedEpochs, read_usable
from somnoflow.data.packing import Scaling, label_epochs, scaling_of
from somnoflow.io.digest import DigestError
from somnoflow.io.parquet import part_metadata
from somnoflow.signals.quality import Flag

UNFILTERED = Signals(channels=["EOG_L", "EEG_C4"], filters={})
READING = Reading(
    channels={"EEG": "EEG_C4", "EOG": "EOG_L"},
    stages=Annotation(format="codes", stages={"0": "W", "2": "N2", "9": "unscored"}),
)


def parse_shard(
    folder: Path,
    subjects: Sequence[str],
    *,
    shard: int = 0,
    signals: Signals = UNFILTERED,
    eog: Sequence[str] = (),
) -> Path:
    """Write and parse one night of noise for each subject; give index.json of the part."""
    data, out = folder / "data", folder / f"signals/shard={shard}"
    data.mkdir(exist_ok=True)
    out.mkdir(parents=True)
    entries = []
    for number, subject in enumerate(subjects):
        seed = int(hashlib.sha256(subject.encode()).hexdigest()[:6], 16)
        samples = noise(rate=100, seconds=300, amplitude=10 + 20 * number, seed=seed) + 5
        samples[3000:6000] = 0
        channels = [make_signal(samples)]
        if subject in eog:
            channels.append(make_signal(samples[::-1].copy(), label="EOG"))
        write_recording(data / f"{subject}.edf", channels)
        (data / f"{subject}.txt").write_text("0\n2\n9\n" * 3 + "2\n")
        entries.append(
            {"recording": f"{subject}-n1", "subject": subject, "night": 1,
             "signal": f"{subject}.edf", "stages": f"{subject}.txt", "events": None}
        )  # fmt: skip
    given = {"dataset": "lab", "shard": shard, "folder": str(data), "recordings": entries}
    (out / "checked.json").write_text(json.dumps(given))
    parse(
        checked=out / "checked.json",
        part=out / "part-0.parquet",
        index=out / "index.json",
        cfg=ParseSlice(dataset="lab", simulated=False, reading=READING, signals=signals),
    )
    return out / "index.json"


def pack_shard(folder: Path, index: Path, *, shard: int = 0, **cfg: Any) -> Path:
    out = folder / f"packed/shard={shard}"
    out.mkdir(parents=True)
    pack(
        part_index=index,
        signals=out / "signals.npy",
        epochs=out / "epochs.parquet",
        index=out / "index.json",
        cfg=Pack(**cfg),
    )
    return out / "index.json"


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_same_nights_give_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        index = parse_shard(tmp_path / name, ["S2", "S1"], eog=["S1"])
        packed = pack_shard(tmp_path / name, index)
        found = digests(index.parent)
        found.pop("checked.json")  # names the folder
        written.append((found, digests(packed.parent)))
    assert written[0] == written[1]


def test_values_are_the_source_within_half_a_step(tmp_path: Path) -> None:
    index = parse_shard(tmp_path, ["S1"])
    table = pl.read_parquet(index.with_name("part-0.parquet"))
    source = edfio.read_edf(tmp_path / "data/S1.edf").signals[0].data.reshape(10, 3000)
    scale = table["EEG_C4_scale"].to_numpy().astype(np.float64)
    found = table["EEG_C4"].to_numpy() * scale[:, None]
    assert scale[0] == pytest.approx(0.05)
    np.testing.assert_allclose(found, source, atol=0.5001 * 0.05)


def test_polars_and_pyarrow_read_rows_labels_and_nulls(tmp_path: Path) -> None:
    index = parse_shard(tmp_path, ["S1", "S2"], eog=["S2"])
    part = index.with_name("part-0.parquet")
    table = pl.read_parquet(part)
    arrow = pq.read_table(part)
    assert table["recording"].to_list() == ["S1-n1"] * 10 + ["S2-n1"] * 10
    assert table["epoch"].to_list() == [*range(10)] * 2
    assert table["onset_s"].to_list() == [30.0 * n for n in range(10)] * 2
    assert table["stage"].to_list() == ([0, 2, -1] * 3 + [2]) * 2
    assert table["EOG_L"].null_count() == arrow["EOG_L"].null_count == 10
    assert table["EOG_L_quality"].to_list()[:10] == [1] * 10
    assert table["EEG_C4_quality"].to_list()[:3] == [0, 10, 0]
    assert arrow["EEG_C4"].type.list_size == 3000
    np.testing.assert_array_equal(
        np.asarray(arrow["EEG_C4"].combine_chunks().flatten()).reshape(20, 3000),
        table["EEG_C4"].to_numpy(),
    )
    assert part_metadata(arrow.schema)["channels"]["EEG_C4"] == {
        "unit": "uV", "filter_hz": None, "sampling_rate": 100
    }  # fmt: skip


def test_the_index_of_a_part_names_its_digest_and_rejections(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    good = parse_shard(tmp_path, ["S1"])
    checked = json.loads(good.with_name("checked.json").read_text())
    (tmp_path / "data/empty.edf").write_bytes(b"")
    entry = checked["recordings"][0]
    checked["recordings"].insert(0, {**entry, "recording": "empty", "signal": "empty.edf"})
    good.with_name("checked.json").write_text(json.dumps(checked))
    parse(
        checked=good.with_name("checked.json"),
        part=good.with_name("part-0.parquet"),
        index=good,
        cfg=ParseSlice(dataset="lab", simulated=False, reading=READING, signals=UNFILTERED),
    )
    index = json.loads(good.read_text())
    assert index["part"]["sha256"] == digests(good.parent)["part-0.parquet"]
    assert [row["recording"] for row in index["recordings"]] == ["S1-n1"]
    assert [(row["file"], row["problem"]) for row in index["rejected"]] == [
        ("empty.edf", "empty file")
    ]


def test_gains_make_the_good_epochs_of_a_recording_robust_z(tmp_path: Path) -> None:
    packed = pack_shard(tmp_path, parse_shard(tmp_path, ["S1", "S2"]))
    epochs = PackedEpochs([packed], channels=["EEG_C4"])
    for subject in ("lab/S1", "lab/S2"):
        mine = np.flatnonzero((epochs.table["subject"] == subject).to_numpy())
        good = mine[epochs.table["usable"].to_numpy()[mine]]
        low, median, high = np.quantile(epochs.read(good), (0.25, 0.5, 0.75))
        assert (high - low) / 1.349 == pytest.approx(1, abs=0.02)
        assert median == pytest.approx(0, abs=0.02)
        assert len(mine) - len(good) == 1


CHOICES = [["EEG_C4"], ["EOG_L"], ["EEG_C4", "EOG_L"], ["EOG_L", "EEG_C4"], ["EOG_L", "ECG"]]


@pytest.mark.parametrize("channels", CHOICES, ids=" ".join)
def test_packed_epochs_equal_a_plain_read_over_shards(tmp_path: Path, channels: list[str]) -> None:
    signals = Signals(channels=["EOG_L", "EEG_C4", "ECG"], filters={})
    groups = [["S4", "S1"], ["S3", "S2", "S5"]]
    parts = [
        parse_shard(tmp_path, group, shard=shard, signals=signals, eog=["S3", "S4"])
        for shard, group in enumerate(groups)
    ]
    packed = [
        pack_shard(tmp_path, part, shard=shard, scaling="none") for shard, part in enumerate(parts)
    ]
    wanted = (
        pl.concat([pl.read_parquet(part.with_name("part-0.parquet")) for part in parts])
        .filter(pl.col("subject").is_in(["S1", "S3", "S5"]))
        .sort("subject", "epoch")
    )
    epochs = PackedEpochs(
        packed[::-1], channels=channels, subjects={"lab/S5", "lab/S1", "lab/S3", "lab/no"}
    )
    assert len(epochs) == 30
    assert epochs.samples == 3000
    assert epochs.table["subject"].to_list() == [f"lab/{name}" for name in wanted["subject"]]
    for column in ("recording", "epoch", "onset_s", "stage"):
        assert epochs.table[column].to_list() == wanted[column].to_list()
    usable = np.ones(30, bool)
    for channel in channels:
        usable &= (wanted[f"{channel}_quality"] == 0).to_numpy()
    scored = (wanted["stage"] >= 0).to_numpy()
    np.testing.assert_array_equal(epochs.rows(scored=False), np.flatnonzero(usable))
    np.testing.assert_array_equal(epochs.rows(scored=True), np.flatnonzero(usable & scored))
    for size in (17, 30, 0, 5):
        rows = np.random.default_rng(size).permutation(30)[:size]
        found = epochs.read(rows)
        assert (found.dtype, found.shape) == (np.float32, (size, len(channels), 3000))
        for position, channel in enumerate(channels):
            samples = [epoch or [0] * 3000 for epoch in wanted[channel].to_list()]
            scale = wanted[f"{channel}_scale"].to_numpy()[rows, None]
            plain = np.array(samples, np.float32)[rows] * np.nan_to_num(scale)
            np.testing.assert_array_equal(found[:, position], plain)


def test_a_batch_is_the_callers_own(tmp_path: Path) -> None:
    epochs = PackedEpochs(
        [pack_shard(tmp_path, parse_shard(tmp_path, ["S1"]))], channels=["EEG_C4"]
    )
    first = epochs.read(np.arange(5))
    copy = first.copy()
    epochs.read(np.arange(5, 10))
    np.testing.assert_array_equal(first, copy)


def rewrite_table(packed: Path, *columns: pl.Expr) -> None:
    """Change columns of a packed shard's epoch table, and name its new digest."""
    path = packed.with_name("epochs.parquet")
    pl.read_parquet(path).with_columns(*columns).write_parquet(path)
    index = json.loads(packed.read_text())
    index["sha256"]["epochs.parquet"] = hashlib.sha256(path.read_bytes()).hexdigest()
    packed.write_text(json.dumps(index))


def test_flags_that_only_warn_leave_an_epoch_usable(tmp_path: Path) -> None:
    packed = pack_shard(tmp_path, parse_shard(tmp_path, ["S1"]))
    flags = [0, Flag.OUT_OF_RANGE, Flag.LINE_NOISE, Flag.DISCONNECTED, Flag.FLAT, Flag.CLIPPED,
             Flag.MISSING, Flag.ZERO, Flag.OUT_OF_RANGE | Flag.LINE_NOISE, 17]  # fmt: skip
    rewrite_table(packed, pl.Series("EEG_C4_quality", flags, pl.UInt8))
    epochs = PackedEpochs([packed], channels=["EEG_C4"])
    assert epochs.rows(scored=False).tolist() == [0, 1, 2, 8]


def test_a_channel_without_spread_is_named_and_not_used(tmp_path: Path) -> None:
    index = parse_shard(tmp_path, ["S1", "S2"])
    part = index.with_name("part-0.parquet")
    table = pq.read_table(part)
    still = pa.FixedSizeListArray.from_arrays(pa.array(np.full(10 * 3000, 7, np.int16)), 3000)
    moving = table["EEG_C4"].combine_chunks()[10:]
    column = pa.chunked_array([still, moving])
    table = table.set_column(table.schema.get_field_index("EEG_C4"), "EEG_C4", column)
    pq.write_table(table, part, row_group_size=10)
    content = json.loads(index.read_text())
    content["part"]["sha256"] = hashlib.sha256(part.read_bytes()).hexdigest()
    index.write_text(json.dumps(content))
    packed = pack_shard(tmp_path, index)
    assert json.loads(packed.read_text())["constant"] == [
        {"recording": "S1-n1", "channel": "EEG_C4"}
    ]
    epochs = PackedEpochs([packed], channels=["EEG_C4"])
    used = epochs.table["subject"].to_numpy()[epochs.rows(scored=False)]
    assert set(used) == {"lab/S2"}
    assert not epochs.read(np.arange(10)).any()


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("robust_z", Scaling(30, 1.349 / 20)),
        ("median", Scaling(30, 0.5)),
        ("none", Scaling(0, 0.5)),
    ],
)
def test_scaling_of_samples(kind: str, wanted: Scaling) -> None:
    samples = np.array([[10, 20, 30, 40, 50]], np.int16)
    assert scaling_of(samples, scale=0.5, kind=kind) == pytest.approx(wanted)
    assert scaling_of(samples[:0], scale=0.5, kind=kind) == Scaling(0, 0)


def test_robust_z_of_a_constant_is_nothing() -> None:
    still = np.full((2, 100), 7, np.int16)
    assert scaling_of(still, scale=0.5, kind="robust_z") == Scaling(7, 0)
    assert scaling_of(still, scale=0.5, kind="median") == Scaling(7, 0.5)


@pytest.mark.parametrize("scaling", ["robust_z", "median", "none"])
def test_spo2_stays_in_percent(tmp_path: Path, scaling: str) -> None:
    (tmp_path / "data").mkdir()
    spo2 = make_signal(90 + noise(rate=1, seconds=300, amplitude=2), label="SpO2", rate=1, unit="%")
    write_recording(tmp_path / "data/S1.edf", [spo2])
    entry = {"recording": "n", "subject": "S1", "night": 1, "signal": "S1.edf", "stages": None,
             "events": None}  # fmt: skip
    given = {"dataset": "lab", "shard": 0, "folder": str(tmp_path / "data"), "recordings": [entry]}
    (tmp_path / "checked.json").write_text(json.dumps(given))
    parse(
        checked=tmp_path / "checked.json", part=tmp_path / "part-0.parquet",
        index=tmp_path / "index.json",
        cfg=ParseSlice(dataset="lab", simulated=False, signals=Signals(channels=["SPO2"]),
                       reading=Reading(channels={"SpO2": "SPO2"})),
    )  # fmt: skip
    packed = pack_shard(tmp_path, tmp_path / "index.json", scaling=scaling)
    read = PackedEpochs([packed], channels=["SPO2"]).read(np.arange(10))
    assert read.mean() == pytest.approx(90, abs=2)


def labelled(**seconds: list[float | None]) -> dict[str, list[int]]:
    names = ("obstructive_apnea", "central_apnea", "mixed_apnea", "hypopnea")
    length = len(next(iter(seconds.values())))
    table = pl.DataFrame(
        {f"{name}_s": seconds.get(name, [None] * length) for name in names},
        schema_overrides={f"{name}_s": pl.Float32 for name in names},
    )
    return table.select(label_epochs(Pack())).to_dict(as_series=False)


def test_an_epoch_is_labelled_from_five_seconds_on() -> None:
    found = labelled(
        obstructive_apnea=[0, 4.9, 3, 30, 0],
        central_apnea=[0, 0, 2, 0, 0],
        mixed_apnea=[0, 0, 0, 0, 0],
        hypopnea=[0, 0, 0, 0, 5],
    )
    assert found == {
        "apnea": [0, 0, 1, 1, 0], "hypopnea": [0, 0, 0, 0, 1], "respiratory": [0, 0, 1, 1, 1]
    }  # fmt: skip


def test_nobody_looked_is_no_label() -> None:
    assert labelled(hypopnea=[None]) == {"apnea": [-1], "hypopnea": [-1], "respiratory": [-1]}
    assert labelled(hypopnea=[0, 9]) == {
        "apnea": [-1, -1], "hypopnea": [0, 1], "respiratory": [-1, 1]
    }  # fmt: skip
    assert labelled(central_apnea=[0, 9]) == {
        "apnea": [0, 1], "hypopnea": [-1, -1], "respiratory": [-1, 1]
    }  # fmt: skip


@pytest.mark.parametrize(("onset", "wanted"), [(25.0, [1, 1, 0]), (25.3, [0, 1, 0]),
                                               (35.0, [0, 1, 0]), (24.7, [1, 0, 0])])  # fmt: skip
def test_the_shortest_event_labels_an_epoch(onset: float, wanted: list[int]) -> None:
    seconds = event_seconds([(onset, 10.0, "hypopnea")], epochs=3)
    assert labelled(hypopnea=seconds["hypopnea"].tolist())["hypopnea"] == wanted


def test_packed_epochs_hold_the_labels(tmp_path: Path) -> None:
    packed = pack_shard(tmp_path, parse_shard(tmp_path, ["S1"]))
    names = ["apnea", "hypopnea", "respiratory"]
    for table in (
        pl.read_parquet(packed.with_name("epochs.parquet")),
        PackedEpochs([packed], channels=["EEG_C4"]).table,
    ):
        assert table.select(names).dtypes == [pl.Int8] * 3
        assert table.select(names).unique().rows() == [(-1, -1, -1)]


def test_a_missing_channel_is_never_usable(tmp_path: Path) -> None:
    packed = pack_shard(tmp_path, parse_shard(tmp_path, ["S1", "S2"], eog=["S2"]))
    epochs = PackedEpochs([packed], channels=["EOG_L"])
    rows = epochs.rows(scored=False)
    assert set(epochs.table["subject"].to_numpy()[rows]) == {"lab/S2"}
    assert not epochs.read(np.arange(10)).any()
    assert epochs.read(rows).any()


def test_any_of_the_channels_is_enough_where_that_is_asked_for(tmp_path: Path) -> None:
    """S1 has no EOG; its first epoch lacks EEG too, the second epoch of both is a zero line."""
    packed = pack_shard(tmp_path, parse_shard(tmp_path, ["S1", "S2"], eog=["S2"]))
    flags = [1, 8, *[0] * 8, 1, 8, *[0] * 8]
    rewrite_table(packed, pl.Series("EEG_C4_quality", flags, pl.UInt8))
    every, some = (
        PackedEpochs([packed], channels=["EOG_L", "EEG_C4"], require=require)
        for require in ("all", "any")
    )
    np.testing.assert_array_equal(every.present, some.present)
    assert some.present.shape == (20, 2)
    np.testing.assert_array_equal(every.rows(scored=False), np.flatnonzero(some.present.all(1)))
    np.testing.assert_array_equal(some.rows(scored=False), np.flatnonzero(some.present.any(1)))
    assert set(every.table["subject"].to_numpy()[every.rows(scored=False)]) == {"lab/S2"}
    assert some.rows(scored=False)[:8].tolist() == [*range(2, 10)]
    assert some.table["quality"].dtype == pl.UInt16
    assert some.table["quality"].to_list()[:12] == [1, 9, *[1] * 8, 1, 8]
    part = some.only(["lab/S2"])
    np.testing.assert_array_equal(part.present, some.present[10:])
    np.testing.assert_array_equal(part.read(np.arange(10)), some.read(np.arange(10, 20)))


def test_what_is_not_present_reads_as_zeros(tmp_path: Path) -> None:
    """Also where its scale is null, and where an epoch that is flagged has samples."""
    packed = pack_shard(tmp_path, parse_shard(tmp_path, ["S1", "S2"], eog=["S2"]))
    absent = pl.col("subject") == "lab/S1"
    lost = [
        pl.when(~absent).then(pl.col(f"EOG_L_{name}")).alias(f"EOG_L_{name}")
        for name in ("quality", "center", "gain")
    ]
    flagged = pl.when(pl.col("epoch") == 4).then(4).otherwise("EEG_C4_quality")
    rewrite_table(packed, *lost, flagged.cast(pl.UInt8).alias("EEG_C4_quality"))
    epochs = PackedEpochs([packed], channels=["EEG_C4", "EOG_L"], require="any")
    signals = epochs.read(np.arange(20))
    assert np.isfinite(signals).all()
    assert not signals[~epochs.present].any()
    assert signals[epochs.present].any(axis=1).all()
    assert epochs.present[:, 0].tolist() == ([True, False] + [True] * 2 + [False] + [True] * 5) * 2
    assert not epochs.present[:10, 1].any()
    assert (epochs.table["quality"].to_numpy()[:10] & Flag.MISSING).all()
    assert len(read_usable([packed], subjects=["lab/S1"])) == 8


def test_an_empty_shard_is_parsed_packed_and_read(tmp_path: Path) -> None:
    empty = pack_shard(tmp_path, parse_shard(tmp_path, []))
    full = pack_shard(tmp_path, parse_shard(tmp_path, ["S1"], shard=1), shard=1)
    assert json.loads(empty.read_text())["epochs"] == 0
    both = PackedEpochs([empty, full], channels=["EEG_C4"])
    alone = PackedEpochs([full], channels=["EEG_C4"])
    assert both.table.equals(alone.table)
    np.testing.assert_array_equal(both.read(np.arange(10)), alone.read(np.arange(10)))
    assert len(PackedEpochs([empty], channels=["EEG_C4"])) == 0


def test_a_changed_part_is_not_packed(tmp_path: Path) -> None:
    index = parse_shard(tmp_path, ["S1"])
    part = index.with_name("part-0.parquet")
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(DigestError, match="--forcerun parse"):
        pack_shard(tmp_path, index)


def test_changed_packed_files_are_not_read(tmp_path: Path) -> None:
    packed = pack_shard(tmp_path, parse_shard(tmp_path, ["S1"]))
    signals, table = packed.with_name("signals.npy"), packed.with_name("epochs.parquet")
    np.save(signals, np.load(signals)[:-1])
    with pytest.raises(DigestError, match=r"shape \(9, 2, 3000\) in \d+ bytes, wanted int16 of"):
        PackedEpochs([packed], channels=["EEG_C4"])
    pl.read_parquet(table).with_columns(stage=pl.lit(0, pl.Int8)).write_parquet(table)
    with pytest.raises(DigestError, match="--forcerun pack"):
        PackedEpochs([packed], channels=["EEG_C4"])


def test_unknown_channels_and_different_lengths_are_refused(tmp_path: Path) -> None:
    packed = pack_shard(tmp_path, parse_shard(tmp_path, ["S1"]))
    other = parse_shard(
        tmp_path, ["S2"], shard=1, signals=Signals(channels=["EEG_C4"], sampling_rate=128)
    )
    with pytest.raises(ValueError, match="holds the channels EEG_C4, EOG_L, wanted ECG"):
        PackedEpochs([packed], channels=["ECG"])
    with pytest.raises(ValueError, match="shards differ in sampling rate"):
        PackedEpochs([packed, pack_shard(tmp_path, other, shard=1)], channels=["EEG_C4"])
    with pytest.raises(ValueError, match="no packed shard was given"):
        PackedEpochs([], channels=["EEG_C4"])


def test_a_slow_wave_survives_filter_resampling_and_packing(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    wave = sine(hertz=1.5, rate=128, seconds=300, amplitude=75)
    write_recording(tmp_path / "data/S1.edf", [make_signal(wave, rate=128)])
    entry = {"recording": "n", "subject": "S1", "night": 1, "signal": "S1.edf", "stages": None,
             "events": None}  # fmt: skip
    checked = tmp_path / "checked.json"
    checked.write_text(
        json.dumps({"dataset": "lab", "shard": 0, "folder": str(tmp_path / "data"),
                    "recordings": [entry]})
    )  # fmt: skip
    parse(
        checked=checked, part=tmp_path / "part-0.parquet", index=tmp_path / "index.json",
        cfg=ParseSlice(dataset="lab", simulated=False, reading=READING,
                       signals=Signals(channels=["EEG_C4"])),
    )  # fmt: skip
    found = pl.read_parquet(tmp_path / "part-0.parquet")["EEG_C4"].to_numpy() * 0.05
    wanted = sine(hertz=1.5, rate=100, seconds=300, amplitude=75).reshape(10, 3000)
    np.testing.assert_allclose(found[1:-1], wanted[1:-1], atol=1)
