"""`somnoflow embed`: nights become tables of embeddings; what cannot be used is listed."""

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from tests.laboratory import LAB
from tests.recordings import make_signal, noise, patch, write_recording, write_scoring

from somnoflow.cli import main
from somnoflow.models.encoders import load_encoder
from somnoflow.models.neuronet import neuronet
from somnoflow.models.synthsleepnet import save_synthsleepnet, synthsleepnet
from somnoflow.models.weights import write_weights
from somnoflow.night import read_night
from somnoflow.signals.quality import Flag
from somnoflow.training.embedding import embedding_schema

CHANNELS = ("EEG_C4", "ECG")
SECONDS = 330


@pytest.fixture(scope="session")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    encoders = {name: neuronet("synth-tiny") for name in CHANNELS}
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_synthsleepnet(path, synthsleepnet("tiny", encoders), {"channel": "all"})
    return path


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of one channel at another rate, as older files describe it."""
    torch.manual_seed(0)
    model = neuronet("tiny", sampling_rate=64)
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    about = {"kind": "neuronet", "preset": "tiny", "architecture": model.architecture,
             "channel": "EEG_C4", "sampling_rate": 64}  # fmt: skip
    write_weights(path, model.state_dict(), about)
    return path


def write_night(path: Path, *, ecg: bool = True, seconds: float = SECONDS, seed: int = 0) -> Path:
    """Write a night whose EEG is a zero line in its third epoch."""
    path.parent.mkdir(exist_ok=True)
    eeg = noise(rate=100, seconds=seconds, seed=seed)
    eeg[6000:9000] = 0
    signals = [make_signal(eeg, label="C4-M1")]
    if ecg:
        beats = noise(rate=100, seconds=seconds, seed=seed + 1)
        signals.append(make_signal(beats / 20, label="EKG", unit="mV", reach=10))
    return write_recording(path, signals)


def embed(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["embed", *map(str, arguments)])
    return int(caught.value.code or 0)


def rejected(folder: Path) -> list[dict[str, str]]:
    with (folder / "rejected.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_a_night_becomes_a_row_for_each_epoch(
    fused: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_night(tmp_path / "n1.edf")
    assert embed(path, "--encoder", fused, "--out", tmp_path / "out", "--batch-size", 4) == 0
    out = capsys.readouterr().out
    assert "encoder.safetensors: EEG_C4, ECG at 100 Hz, 64 values for an epoch" in out
    assert "quality and scaling: the defaults, no --configfile was given" in out
    assert "n1.edf: 11 epochs, 11 usable; EEG_C4 from C4-M1, ECG from EKG" in out
    to = tmp_path / "out" / "n1.parquet"
    assert pq.read_schema(to).equals(embedding_schema(64))
    table = pl.read_parquet(to)
    assert table.select("dataset", "subject", "recording").unique().row(0) == ("", "", "n1")
    assert table["epoch"].to_list() == list(range(11))
    assert table["onset_s"].to_list() == [30.0 * epoch for epoch in range(11)]
    assert set(table.select("stage", "apnea", "hypopnea", "respiratory").row(0)) == {-1}
    assert table["usable"].all()
    assert table["modalities"].to_list() == ["EEG+ECG"] * 2 + ["ECG"] + ["EEG+ECG"] * 8
    assert table["quality"][2] & Flag.ZERO
    assert rejected(tmp_path / "out") == []
    night = read_night(path, channels=CHANNELS, sampling_rate=100)
    encoder, _ = load_encoder(fused)
    with torch.inference_mode():
        wanted = encoder.forward_features(
            torch.from_numpy(night.signals), torch.from_numpy(night.present)
        )
    found = torch.tensor(table["embedding"].to_numpy())
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_recording_without_a_modality_is_embedded_from_the_others(
    fused: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The epoch without EEG has nothing then: it is there, and has no embedding."""
    path = write_night(tmp_path / "n1.edf", ecg=False)
    assert embed(path, "--encoder", fused, "--out", tmp_path / "out") == 0
    assert "11 epochs, 10 usable; EEG_C4 from C4-M1\n  without ECG: " in capsys.readouterr().out
    table = pl.read_parquet(tmp_path / "out" / "n1.parquet")
    assert table.filter(~pl.col("usable"))["epoch"].to_list() == [2]
    assert table["embedding"].is_null().to_list() == (~table["usable"]).to_list()
    assert table["modalities"].to_list() == ["EEG"] * 2 + [""] + ["EEG"] * 8


def test_bad_files_are_listed_and_the_others_done(
    fused: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nights, out = tmp_path / "nights", tmp_path / "out"
    good = write_night(nights / "a.edf")
    (nights / "sub").mkdir()
    shutil.copy(good, nights / "sub" / "b.edf")
    patch(Path(shutil.copy(good, nights / "corrupt.edf")), 236, b"many", width=8)
    (nights / "cut.edf").write_bytes(good.read_bytes()[:-700])
    write_night(nights / "short.edf", seconds=120)
    write_recording(nights / "legs.edf", [make_signal(noise(rate=100, seconds=330), label="Leg")])
    write_scoring(nights / "a-Hypnogram.edf", [(0, 30, "Sleep stage W")])
    (nights / "notes.txt").write_text("not a recording")
    assert embed(nights, "--encoder", fused, "--out", out) == 1
    printed = capsys.readouterr()
    assert {path.name for path in out.glob("*.parquet")} == {"a.parquet", "b.parquet"}
    problems = {Path(row["file"]).name: row for row in rejected(out)}
    assert set(problems) == {"corrupt.edf", "cut.edf", "legs.edf", "short.edf"}
    assert problems["cut.edf"]["problem"] == "truncated file"
    assert problems["short.edf"]["problem"] == "recording too short"
    assert problems["legs.edf"]["found"].startswith("Leg")
    assert problems["legs.edf"]["wanted"].startswith("EEG_C4 or ECG")
    for name, row in problems.items():
        assert all(row.values()), name
        assert f"{name}: rejected, {row['problem']}" in printed.err
    assert "Traceback" not in printed.err


def test_what_is_there_is_not_made_again(
    fused: Path, single: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    one, two = write_night(tmp_path / "n1.edf"), write_night(tmp_path / "n2.edf", seed=5)
    assert embed(one, "--encoder", fused, "--out", out) == 0
    before = (out / "n1.parquet").stat()
    assert embed(one, two, "--encoder", fused, "--out", out) == 0
    assert "n1.parquet is there already (--force makes it again)" in capsys.readouterr().out
    assert (out / "n1.parquet").stat().st_mtime_ns == before.st_mtime_ns
    assert (out / "n2.parquet").exists()
    assert embed(one, "--encoder", fused, "--out", out, "--force") == 0
    assert (out / "n1.parquet").stat().st_mtime_ns != before.st_mtime_ns
    settings = tmp_path / "mine.yaml"
    settings.write_text("signals: {filters: {EEG: [0.5, 20]}}\n")
    for others in (("--encoder", single, "--configfile", settings),
                   ("--encoder", fused, "--configfile", settings)):  # fmt: skip
        assert embed(one, *others, "--out", out) == 2
        said = capsys.readouterr().err
        assert "n1.parquet is there already, and another encoder or other settings made it" in said
    (out / "n1.parquet").write_bytes(b"")
    assert embed(one, "--encoder", fused, "--out", out) == 2


def test_settings_and_labels_can_be_named(
    single: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """An encoder at 64 Hz, whose project filters below 32 Hz; the label `EEG` is of a dataset."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow/datasets/lab").mkdir(parents=True)
    (tmp_path / "workflow/datasets/lab/dataset.yaml").write_text(
        LAB + "files:\n  signal: (?P<subject>S\\d+)\\.edf\nreading:\n  channels: {EEG: EEG_C4}\n"
    )
    path = write_recording(tmp_path / "n1.edf", seconds=SECONDS)
    given = (path, "--encoder", single, "--out", tmp_path / "out", "--dataset", "lab")
    assert embed(*given) == 2
    assert "reads 64 Hz, and the section signals does not go with it" in capsys.readouterr().err
    (tmp_path / "mine.yaml").write_text("signals: {filters: {EEG: [0.5, 20]}}\n")
    (tmp_path / "more.yaml").write_text("pack: {scaling: median}\n")
    assert embed(*given, "--configfile", "mine.yaml", "more.yaml") == 0
    out = capsys.readouterr().out
    assert "quality and scaling: mine.yaml and more.yaml" in out
    assert "EEG_C4 from EEG" in out
    table = pl.read_parquet(tmp_path / "out" / "n1.parquet")
    assert np.isfinite(table["embedding"].to_numpy()).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("{night}", "{same}"), "n1.edf would both become"),
     (("nothing.edf",), "nothing.edf is not there"),
     (("{empty}",), "holds 0 files, and no recording"),
     (("{night}", "--encoder", "nothing.safetensors"), "nothing.safetensors"),
     (("{night}", "--encoder", "{night}"), "is damaged"),
     (("{night}", "--encoder", "{head}"), "holds 'head'"),
     (("{night}", "--encoder", "{torch}"), "is a torch file. Make it an encoder first, with: "),
     (("{night}", "--dataset", "lap"), "no dataset 'lap'"),
     (("{night}", "--configfile", "nothing.yaml"), "nothing.yaml does not exist"),
     (("{night}", "--batch-size", "0"), "found 0, wanted a number, at least 1"),
     ((), "required: recordings")],
)  # fmt: skip
def test_a_mistake_ends_in_one_message_before_anything_is_done(
    fused: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...], said: str,
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    named: dict[str, Any] = {
        "night": write_night(tmp_path / "n1.edf"),
        "same": write_night(tmp_path / "b" / "n1.edf"),
        "empty": tmp_path / "empty",
        "head": tmp_path / "h.safetensors",
        "torch": tmp_path / "t.pth",
    }
    write_weights(named["head"], {"x": torch.ones(1)}, {"kind": "head"})
    torch.save({}, named["torch"])
    words = [word.format(**named) for word in arguments]
    options = ["--encoder", fused, "--out", tmp_path / "out"]
    assert embed(*options, *words) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert not (tmp_path / "out").exists()
