"""`somnoflow score`: nights become tables of stages, the same as the workflow's."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tests.models.packed_shards import write_json
from tests.recordings import make_signal, noise, patch, write_recording

from somnoflow.cli import main
from somnoflow.commands.pack import pack
from somnoflow.commands.parse import parse
from somnoflow.commands.score_tuned import score_tuned
from somnoflow.config.dataset import Reading
from somnoflow.config.pack import Pack
from somnoflow.config.parse import ParseSlice
from somnoflow.config.score import ScoreSlice
from somnoflow.config.signals import Signals
from somnoflow.models.context import ContextHead
from somnoflow.models.fused_stager import FusedHead, FusedStager, describe_fused_stager
from somnoflow.models.heads import LinearProbe, write_context, write_linear
from somnoflow.models.neuronet import neuronet
from somnoflow.models.stager import Stager, describe_stager
from somnoflow.models.supervised import MODELS, describe_supervised
from somnoflow.models.synthsleepnet import synthsleepnet
from somnoflow.models.weights import write_weights

SECONDS = 30 * 13 + 10
UNUSABLE = 4
CHANNELS = ("EEG_C4", "ECG")
# What takes long to import and no score needs.
HEAVY = (
    "lightning", "sklearn", "matplotlib", "pandas", "peft", "snakemake", "mne", "scipy.signal",
    "torch._inductor", "torch._dynamo",
)  # fmt: skip


def write_night(
    path: Path, *, seed: int = 0, label: str = "C4-M1", seconds: float = SECONDS
) -> Path:
    """Write a night of EEG and ECG whose EEG is a zero line in its fifth epoch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    eeg = noise(rate=100, seconds=seconds, seed=seed)
    eeg[3000 * UNUSABLE : 3000 * (UNUSABLE + 1)] = 0
    beats = noise(rate=100, seconds=seconds, seed=seed + 50) / 20
    return write_recording(
        path,
        [make_signal(eeg, label=label), make_signal(beats, label="EKG", unit="mV", reach=10)],
    )


def stir(model: torch.nn.Module) -> torch.nn.Module:
    """Draw weights that tell epochs apart, and batch norms that moved."""
    with torch.no_grad():
        for name, values in model.named_buffers():
            if name.endswith("running_mean"):
                values.normal_(0, 0.1)
    return model.eval()


def write_model(folder: Path, kind: str, *, task: str = "staging") -> Path:
    """Write a small model with random weights."""
    torch.manual_seed(1)
    path = folder / f"{kind}-{task}.safetensors"
    about = {"channel": "EEG_C4", "sampling_rate": 100}
    if kind in MODELS:
        build: Any = MODELS[kind]
        model = build(
            sampling_rate=100, samples=3000, preset="tiny", window=5, task=task,
            seen=np.array([0, 1] if task != "staging" else [0, 2, 3, 4]),
        )  # fmt: skip
        about = describe_supervised(model, about)
    elif kind == "stager":
        encoder = neuronet("tiny")
        head = ContextHead(encoder.dimension, context="lstm", width=16, window=5, task=task)
        model = Stager(encoder, head, tuning="full")
        about = describe_stager(model, about)
    else:
        fused = synthsleepnet("tiny", {name: neuronet("synth-tiny") for name in CHANNELS})
        head = FusedHead(fused.dimension, context="mamba2", width=16, window=5, task=task)
        model = FusedStager(fused, head)
        about = describe_fused_stager(model, {**about, "channel": "all"})
    write_weights(path, stir(model).state_dict(), about)
    return path


def score(*arguments: object) -> int:
    """Run the command, in this process and for a CSV alone where nothing else is said."""
    words = ["score", *map(str, arguments)]
    for option, value in (("--formats", "csv"), ("--jobs", "1")):
        words += [] if option in words else [option, value]
    with pytest.raises(SystemExit) as caught:
        main(words)
    return int(caught.value.code or 0)


def rejected(folder: Path) -> list[dict[str, str]]:
    with (folder / "rejected.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_night(tmp_path_factory.mktemp("night") / "n1.edf")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nights, `n1.edf` and `n2.edf`, and what the workflow packs of them."""
    folder = tmp_path_factory.mktemp("cohort")
    entries = []
    for number in (1, 2):
        write_night(folder / f"n{number}.edf", seed=number)
        entries.append(
            {"recording": f"n{number}", "subject": f"S{number}", "night": 1,
             "signal": f"n{number}.edf", "stages": None, "events": None}
        )  # fmt: skip
    checked = write_json(
        folder / "recordings.json",
        {"dataset": "lab", "shard": 0, "folder": str(folder), "recordings": entries},
    )
    cfg = ParseSlice(
        dataset="lab", simulated=False, reading=Reading(guess_channels=True),
        signals=Signals(channels=sorted(CHANNELS)),
    )  # fmt: skip
    parse(checked=checked, part=folder / "part-0.parquet", index=folder / "part.json", cfg=cfg)
    pack(
        part_index=folder / "part.json", signals=folder / "signals.npy",
        epochs=folder / "epochs.parquet", index=folder / "index.json", cfg=Pack(),
    )  # fmt: skip
    subjects = pl.read_parquet(folder / "epochs.parquet")["subject"].unique().sort().to_list()
    roles = {"fold": 0, "pretrain": [], "train": [], "val": subjects[:1], "test": subjects[1:]}
    write_json(folder / "split.json", {"folds": [roles]})
    return folder


@pytest.mark.parametrize("kind", [*MODELS, "stager", "fused"])
def test_the_numbers_are_those_of_the_workflow(cohort: Path, tmp_path: Path, kind: str) -> None:
    model = write_model(tmp_path, kind)
    score_tuned(
        packed=[cohort / "index.json"], model=model, split=cohort / "split.json",
        predictions=tmp_path / "predictions.parquet", fold=0, gpus=0, threads=1,
        cfg=ScoreSlice(task="staging", stride=3),
    )  # fmt: skip
    whole = pl.read_parquet(tmp_path / "predictions.parquet")
    out = tmp_path / "out"
    assert score(cohort, "--model", model, "--out", out, "--stride", 3) == 0
    names = np.array(["W", "N1", "N2", "N3", "REM"])
    for name in ("n1", "n2"):
        wanted = whole.filter(pl.col("recording") == name)
        found = pl.read_csv(out / f"{name}.csv")
        columns = ["epoch", "onset_s", "stage", "confidence", *(f"p_{stage}" for stage in names)]
        assert found.columns == columns
        assert found["epoch"].to_list() == list(range(13))
        assert found["onset_s"].to_list() == [30.0 * epoch for epoch in range(13)]
        usable = np.arange(13) != UNUSABLE if kind != "fused" else np.ones(13, bool)
        assert (wanted["usable"].to_numpy() == usable).all()
        assert (found["stage"].is_not_null().to_numpy() == usable).all()
        assert (
            found["stage"].to_numpy()[usable] == names[wanted["predicted"].to_numpy()[usable]]
        ).all()
        for column in columns[4:]:
            np.testing.assert_allclose(
                found[column].to_numpy()[usable], wanted[column].to_numpy()[usable], atol=1e-6
            )
        assert (
            found.select(columns[4:])[UNUSABLE].null_count().row(0) == (int(kind != "fused"),) * 5
        )
        best = found.select(pl.max_horizontal(columns[4:])).to_series()
        assert best.to_list() == found["confidence"].to_list()
    # Not the same answer everywhere, or the comparison would say little.
    assert found["confidence"].n_unique() > 5


def test_what_was_done_is_told(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert score(night, "--model", write_model(tmp_path, "tinysleepnet"), "--out", out) == 0
    said = capsys.readouterr().out
    assert "tinysleepnet-staging.safetensors: staging from EEG_C4 at 100 Hz" in said
    assert "n1.edf: 13 epochs, 12 usable; EEG_C4 from C4-M1" in said
    assert rejected(out) == []
    about = json.loads((out / "n1.json").read_text(encoding="utf-8"))
    assert about["night"]["staging"]["usable"] == 12
    assert about["night"]["staging"]["channels"] == {"EEG_C4": "C4-M1"}
    assert [one["task"] for one in about["made_by"]] == ["staging"]
    assert (about["whole"], about["files"]) == (True, ["n1.csv"])
    assert about["statistics"]["tib"] == 6.5
    assert {path.name for path in out.iterdir()} == {"n1.csv", "n1.json", "rejected.tsv"}


@pytest.mark.parametrize("head", ["linear", "lstm"])
def test_a_head_is_scored_with_its_encoder(night: Path, tmp_path: Path, head: str) -> None:
    torch.manual_seed(0)
    encoder = neuronet("tiny")
    path, model = tmp_path / "encoder.safetensors", tmp_path / "head.safetensors"
    about = {"kind": "neuronet", "architecture": encoder.architecture, "channel": "EEG_C4",
             "sampling_rate": 100}  # fmt: skip
    write_weights(path, encoder.state_dict(), about)
    if head == "linear":
        write_linear(model, LinearProbe(encoder.dimension, dropout=0.5), {})
    else:
        write_context(model, ContextHead(encoder.dimension, context=head, width=16), {})
    given = (night, "--model", model, "--out", tmp_path / "out")
    assert score(*given, "--encoder", path) == 0
    found = pl.read_csv(tmp_path / "out" / "n1.csv")
    assert found["stage"].is_null().to_list() == [epoch == UNUSABLE for epoch in range(13)]
    total = found.select(pl.sum_horizontal(pl.col("^p_.*$"))).to_series().to_numpy()
    np.testing.assert_allclose(np.delete(total, UNUSABLE), 1, atol=1e-5)


def test_an_event_is_told_from_a_threshold_on(night: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path, "seresnet_bilstm", task="apnea")
    assert score(night, "--model", model, "--out", tmp_path / "half") == 0
    half = pl.read_csv(tmp_path / "half" / "n1.csv")
    assert half.columns == ["epoch", "onset_s", "apnea", "confidence", "p_none", "p_apnea"]
    scored = half.filter(pl.col("epoch") != UNUSABLE)
    assert (scored["p_apnea"] >= 0.5).to_list() == (scored["apnea"] == "apnea").to_list()
    low = scored["p_apnea"].min()
    given = ("--threshold", round(low - 1e-3, 6))
    assert score(night, "--model", model, "--out", tmp_path / "low", *given) == 0
    every = pl.read_csv(tmp_path / "low" / "n1.csv").filter(pl.col("epoch") != UNUSABLE)
    assert set(every["apnea"]) == {"apnea"}
    assert every["confidence"].to_list() == every["p_apnea"].to_list()


def test_bad_files_are_listed_and_the_others_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nights, out = tmp_path / "nights", tmp_path / "out"
    good = write_night(nights / "a.edf")
    patch(write_night(nights / "corrupt.edf"), 236, b"many", width=8)
    write_night(nights / "legs.edf", label="Leg")
    (nights / "cut.edf").write_bytes(good.read_bytes()[:-700])
    assert score(nights, "--model", write_model(tmp_path, "tinysleepnet"), "--out", out) == 1
    assert {path.name for path in out.glob("*.csv")} == {"a.csv"}
    problems = {Path(row["file"]).name: row for row in rejected(out)}
    assert set(problems) == {"corrupt.edf", "cut.edf", "legs.edf"}
    assert problems["legs.edf"]["problem"] == "no usable channel"
    assert problems["legs.edf"]["wanted"].startswith("EEG_C4")
    printed = capsys.readouterr().err
    assert "cut.edf: rejected, truncated file" in printed
    assert "Traceback" not in printed


def test_a_night_without_a_signal_has_no_stage(tmp_path: Path) -> None:
    samples = np.zeros(39000)
    samples[::10] = 100.0
    path = write_recording(tmp_path / "n1.edf", [make_signal(samples, label="C4-M1")])
    settings = tmp_path / "mine.yaml"
    settings.write_text("signals: {filters: {}}\n")
    model = write_model(tmp_path, "deepsleepnet")
    given = (path, "--model", model, "--out", tmp_path / "out", "--configfile", settings)
    assert score(*given) == 0
    found = pl.read_csv(tmp_path / "out" / "n1.csv")
    assert len(found) == 13
    assert found["stage"].null_count() == 13


def test_what_is_there_is_not_made_again(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    one, other = write_model(tmp_path, "tinysleepnet"), write_model(tmp_path, "seresnet_bilstm")
    assert score(night, "--model", one, "--out", out) == 0
    before = (out / "n1.csv").stat()
    assert score(night, "--model", one, "--out", out) == 0
    assert "n1.json is there already (--force makes it again)" in capsys.readouterr().out
    assert (out / "n1.csv").stat().st_mtime_ns == before.st_mtime_ns
    assert score(night, "--model", other, "--out", out) == 2
    assert "n1.csv is there already, and another model or other settings" in capsys.readouterr().err
    assert score(night, "--model", other, "--out", out, "--force") == 0
    assert (out / "n1.csv").stat().st_mtime_ns != before.st_mtime_ns
    assert score(night, "--model", one, "--out", out) == 2
    for damaged in ("{", "[]", "{}"):
        (out / "n1.json").write_text(damaged)
        assert score(night, "--model", other, "--out", out) == 2
    (out / "n1.json").unlink()
    assert score(night, "--model", other, "--out", out) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("nothing.edf", "--model", "{model}"), "nothing.edf is not there"),
     (("{night}", "--model", "nothing.safetensors"), "nothing.safetensors"),
     (("{night}", "--model", "{night}"), "is damaged"),
     (("{night}", "--model", "{encoder}"), "is an encoder alone and gives no classes"),
     (("{night}", "--model", "{head}"), "is a head alone. Wanted: the encoder"),
     (("{night}", "--model", "{head}", "--encoder", "{encoder}"), "found 64"),
     (("{night}", "--model", "{model}", "--encoder", "{encoder}"), "is a whole model"),
     (("{night}", "--model", "{model}", "--stride", "6"), "--stride is 6, wanted at most the 5"),
     (("{night}", "--model", "{model}", "--threshold", ".2"), "--threshold is for events"),
     (("{night}", "--model", "{model}", "--threshold", "2"), "wanted a number between 0 and 1"),
     (("{night}", "--model", "{model}", "--dataset", "lap"), "no dataset 'lap'"),
     (("{night}", "--model", "sleepy"), "no bundle of this name is shipped"),
     (("{night}", "--model", "{model}", "--model", "{model}"), "both answer staging"),
     (("{night}", "--model", "{model}", "--formats", "csv,pdf"), "no format 'pdf'. Wanted some of"),
     (("{night}", "--model", "{model}", "--map", "EEG"), "found EEG, wanted LABEL=CHANNEL"),
     (("{night}", "--model", "{model}", "--map", "A=EEG_X"), "'EEG_X' is no channel that"),
     (("{night}", "--model", "{model}", "--channels", "C4"), "'C4' is no channel that"),
     (("{night}", "--model", "{model}", "--out", "{night}"), "n1.edf is a file. Wanted: a folder")],
)  # fmt: skip
def test_a_mistake_ends_in_one_message_before_anything_is_done(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...], said: str,
) -> None:  # fmt: skip
    encoder = neuronet("tiny")
    named = {
        "night": night,
        "model": write_model(tmp_path, "tinysleepnet"),
        "encoder": tmp_path / "encoder.safetensors",
        "head": tmp_path / "head.safetensors",
    }
    about = {"kind": "neuronet", "architecture": encoder.architecture, "channel": "EEG_C4"}
    write_weights(named["encoder"], encoder.state_dict(), about)
    write_linear(named["head"], LinearProbe(32, dropout=0.5), {})
    words = [word.format(**named) for word in arguments]
    assert score("--out", tmp_path / "out", *words) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert not (tmp_path / "out").exists()


def test_a_process_of_its_own_imports_only_what_it_needs(night: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path, "tinysleepnet")
    program = (
        "import sys\nfrom somnoflow.cli import main\n"
        "try:\n    main(sys.argv[2:])\nexcept SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "print(*[name for name in sys.argv[1].split() if name in sys.modules])\n"
    )
    arguments = ("score", night, "--model", model, "--out", tmp_path / "out", "--formats",
                 "csv,edf,xml,bids,yasa")  # fmt: skip
    found = subprocess.run(
        [sys.executable, "-c", program, " ".join(HEAVY), *map(str, arguments)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert found.stdout.splitlines()[-1] == ""
