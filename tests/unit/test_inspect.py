"""`somnoflow inspect`: what a folder is said to hold, and the dataset that is drafted from it."""

import json
import re
from pathlib import Path

import edfio
import pytest
import yaml
from tests.recordings import make_signal, noise, patch, write_recording, write_scoring
from tests.scorings import write_nsrr_xml, write_profusion_xml

from somnoflow.cli import main
from somnoflow.config.dataset import Dataset
from somnoflow.config.root import read_config, validate
from somnoflow.config.signals import Signals
from somnoflow.config.vocabularies import VOCABULARIES
from somnoflow.data.parsing import parse_recording
from somnoflow.inspect.draft import VOCABULARY_ORDER
from somnoflow.inspect.findings import Findings, inspect_folder
from somnoflow.inspect.kinds import recognise
from somnoflow.inspect.known import read_datasets
from somnoflow.inspect.labels import Total, count_labels
from somnoflow.inspect.survey import spread
from somnoflow.inspect.tables import derived_rows, label_rows, signal_rows
from somnoflow.inspect.text import describe
from somnoflow.io.annotations import read_scoring
from somnoflow.io.checking import check_files
from somnoflow.io.inventory import make_manifest
from somnoflow.io.manifest import ManifestError

DATASETS = Path(__file__).parents[2] / "workflow/datasets"
NSRR = """<PSGAnnotation><SoftwareVersion>x</SoftwareVersion><EpochLength>30</EpochLength>
<ScoredEvents>
<ScoredEvent><EventType/><EventConcept>Recording Start Time</EventConcept><Start>0</Start>
<Duration>300</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Wake|0</EventConcept>
<Start>0</Start><Duration>60</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Stage 7|7</EventConcept>
<Start>60</Start><Duration>30</Duration></ScoredEvent>
<ScoredEvent><EventType>Respiratory|Respiratory</EventType>
<EventConcept>Hypopnea|Hypopnea</EventConcept><Start>70</Start><Duration>12.5</Duration>
</ScoredEvent></ScoredEvents></PSGAnnotation>"""
PROFUSION = """<?xml version="1.0"?><CMPStudyConfig><EpochLength>30</EpochLength>
<ScoredEvents><ScoredEvent><Name>Hypopnea</Name><Start>1</Start><Duration>11</Duration>
</ScoredEvent></ScoredEvents>
<SleepStages><SleepStage>0</SleepStage><SleepStage>5</SleepStage><SleepStage>5</SleepStage>
</SleepStages></CMPStudyConfig>"""
CODES = "\n".join("0012345210" * 2) + "\n"
BIDS = "onset\tduration\ttrial_type\n0\t30\tW\n30\t60\tN2\n90\t10\tcough\n"
CSV = "Start;Duration;Stage\n0;30;W\n30;30;N1\n"
NOXTURNAL = "Event\tStart Time\tEnd Time\nApnea\t01.02.2021 22:00:00\t01.02.2021 22:00:12\n"


def write_night(path: Path, *labels: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    signals = [
        make_signal(noise(rate=10, seconds=60), label=label, rate=10)
        for label in labels or ("EEG",)
    ]
    return write_recording(path, signals, seconds=60)


def look(folder: Path, **how: object) -> Findings:
    return inspect_folder(folder, datasets=read_datasets(DATASETS), **how)  # type: ignore[arg-type]


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A folder of three people with two nights each; one night is not scored."""
    folder = tmp_path / "lab"
    for person in (1, 2, 3):
        for night in (1, 2):
            name = folder / f"P{person}_n{night}"
            write_night(name.with_suffix(".edf"), "C4", "A1", "EOG(L)", "Chin", "PLMl")
            if (person, night) != (3, 2):
                scored = [(0, 30, "Sleep stage W"), (30, 30, "Sleep stage N2"),
                          (35, 12, "Hypopnea"), (40, 3, "PLM")]  # fmt: skip
                write_scoring(folder / f"{name.name}_scoring.edf", scored)
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a project without datasets."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return project


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["inspect", *arguments])
    captured = capsys.readouterr()
    assert caught.value.code == code, captured.err
    return captured.out if code == 0 else captured.err


@pytest.mark.parametrize(
    ("content", "title", "format"),
    [(NSRR, "NSRR XML", "nsrr-xml"),
     ('<?xml version="1.0"?>\n<!-- x -->\n' + NSRR, "NSRR XML", "nsrr-xml"),
     (PROFUSION, "Profusion XML", "profusion-xml"),
     (CODES, "one code per line", "codes"),
     (BIDS, "BIDS events (trial_type)", "bids-tsv"),
     (BIDS.replace("trial_type", "stage_hum"), "BIDS events (stage_hum)", "bids-tsv"),
     (CSV, "table (';' between columns)", "csv"),
     (NOXTURNAL, "Noxturnal CSV", "noxturnal-csv"),
     ("<html/>", "other", None),
     ("name\tunits\nC4\tuV\n", "other", None),
     ("\n".join(f"record{n}" for n in range(40)), "other", None),
     ("W\nN1\n", "other", None),
     ("", "other", None)],
)  # fmt: skip
def test_text_is_recognised_by_its_content(
    tmp_path: Path, content: str, title: str, format: str | None
) -> None:
    path = tmp_path / "night.dat"
    path.write_text(content, "utf-8")
    kind = recognise(path)
    assert (kind.title, kind.reading and kind.reading.format) == (title, format)


def test_recordings_and_scorings_of_one_suffix_are_told_apart(tmp_path: Path) -> None:
    recording = recognise(write_night(tmp_path / "a.edf"))
    scoring = recognise(write_scoring(tmp_path / "b.edf", [(0, 30, "Sleep stage W")]))
    assert (recording.role, recording.title) == ("recording", "EDF")
    assert (scoring.role, scoring.title) == ("annotation", "EDF+ annotations")


@pytest.mark.parametrize(
    ("content", "labels"),
    [(NSRR, {"Wake|0": (1, 60), "Stage 7|7": (1, 30), "Hypopnea|Hypopnea": (1, 12.5)}),
     (PROFUSION, {"0": (1, 30), "5": (2, 60), "Hypopnea": (1, 11)}),
     (BIDS, {"W": (1, 30), "N2": (1, 60), "cough": (1, 10)}),
     (CSV, {"W": (1, 30), "N1": (1, 30)}),
     (CODES, {"0": (6, 180), "1": (4, 120), "2": (4, 120), "3": (2, 60), "4": (2, 60),
              "5": (2, 60)})],
)  # fmt: skip
def test_labels_are_counted_whatever_they_mean(
    tmp_path: Path, content: str, labels: dict[str, tuple[int, float]]
) -> None:
    path = tmp_path / "night.dat"
    path.write_text(content, "utf-8")
    reading = recognise(path).reading
    assert reading is not None
    found = count_labels(path, reading)
    assert found == {label: Total(*total) for label, total in labels.items()}


def test_a_sample_goes_from_the_first_to_the_last() -> None:
    names = [f"{number}" for number in range(101)]
    assert spread(names, 5) == ["0", "25", "50", "75", "100"]
    assert spread(names, 101) == spread(names, None) == names


def test_a_folder_that_nobody_described_is_drafted(lab: Path) -> None:
    found = look(lab)
    assert not found.known
    assert found.fit is not None
    assert found.fit.nights("signal") == {(f"P{p}", n) for p in (1, 2, 3) for n in (1, 2)}
    assert found.fit.nights("signal") - found.fit.nights("stages") == {("P3", 2)}
    assert {row.label: row.meaning for row in signal_rows(found)} == {
        "EOG(L)": "EOG_L", "Chin": "EMG_CHIN", "C4": "C4", "A1": "M1", "PLMl": "not used",
    }  # fmt: skip
    (derived,) = derived_rows(found)
    assert (derived.channel, derived.active, derived.reference) == ("EEG_C4", "C4", "M1")
    assert {(row.label, row.count, row.meaning) for row in label_rows(found)} == {
        ("Sleep stage W", 5, "W"), ("Sleep stage N2", 5, "N2"), ("Hypopnea", 5, "hypopnea"),
        ("PLM", 5, "not used"),
    }  # fmt: skip


def test_the_written_dataset_reads_the_folder(
    project: Path, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(capsys, str(lab), "--write", "mine")
    written = project / "workflow/datasets/mine/dataset.yaml"
    dataset = validate(Dataset, yaml.safe_load(written.read_text("utf-8")), what="mine")
    made = make_manifest(lab, dataset)
    assert made.left_out == []
    assert [row.role for row in made.rows].count("signal") == 6
    assert dataset.reading.stages is not None
    scoring = read_scoring(lab / "P1_n1_scoring.edf", dataset.reading.stages)
    assert [stage.name for _, _, stage in scoring.stages] == ["W", "N2"]
    assert [name for _, _, name in scoring.events] == ["hypopnea"]
    assert f"somnoflow manifest {lab} --dataset mine" in out
    lines = [line[4:] for line in out.splitlines() if line.startswith("    ")][-3:]
    assert read_config(yaml.safe_load("\n".join(lines))).folders == {"mine": str(lab)}


def test_a_dataset_is_never_overwritten(
    project: Path, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, str(lab), "--write", "mine")
    written = project / "workflow/datasets/mine/dataset.yaml"
    before = written.read_bytes()
    assert "is there already" in run(capsys, str(lab), "--write", "mine", code=2)
    assert written.read_bytes() == before


@pytest.mark.parametrize("name", ["../out", "a b", ""])
@pytest.mark.usefixtures("project")
def test_a_name_that_is_none_writes_nothing(
    tmp_path: Path, lab: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    before = sorted(tmp_path.rglob("*.yaml"))
    assert "name" in run(capsys, str(lab), f"--write={name}", code=2)
    assert sorted(tmp_path.rglob("*.yaml")) == before


@pytest.mark.parametrize("label", ["?", "-", "{a", "no", "# x", "a: b", "'", "", "1", "[", "~"])
def test_any_label_can_be_in_a_draft(tmp_path: Path, label: str) -> None:
    write_night(tmp_path / "a.edf", "C4-A1", label)
    (tmp_path / "a_events.tsv").write_text(BIDS.replace("cough", label or "x"), "utf-8")
    draft = look(tmp_path).draft
    assert draft is not None
    assert draft.dataset.reading.channels == {"C4-A1": "EEG_C4"}
    assert draft.dataset.reading.stages is not None
    (line,) = (
        line
        for line in draft.text.splitlines()
        if line.endswith(": '?'  # 1") or line.endswith(': "?"  # 1')
    )
    assert yaml.safe_load(line.strip().removeprefix("# ")) == {label: "?"}


def test_stages_of_bids_that_nobody_has_explained_are_asked_for(tmp_path: Path) -> None:
    for session in (1, 2):
        begin = tmp_path / f"sub-01/ses-{session}/eeg/sub-01_ses-{session}_task-sleep"
        write_night(Path(f"{begin}_eeg.edf"), "E101")
        Path(f"{begin}_channels.tsv").write_text("name\ttype\nE101\tEEG\n")
        Path(f"{begin}_events.tsv").write_text(
            "onset\tduration\ttrial_type\n0\t30\tstage/W\n30\t30\tstage/1\n40\t3\tcough\n"
        )
    found = look(tmp_path)
    assert not found.known
    assert found.fit is not None
    assert found.fit.nights("signal") == {("sub-01", 1), ("sub-01", 2)}
    assert found.draft is not None
    asked = re.search(r"# stages:\n(.*\n)*  #     stage/W: ", found.draft.text)
    assert asked
    assert "  # events:" not in found.draft.text
    assert "say under `stages` what the labels of *_events.tsv mean" in found.draft.doubts[-1]


def test_scorings_of_no_known_form_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        write_night(tmp_path / f"Patient {number}/n{number}.edf", "C4-A1")
        (tmp_path / f"Patient {number}/n{number}_Stadien.csv").write_text("Zeit;Stadium\n0;Wach\n")
    printed = " ".join(run(capsys, str(tmp_path)).split())
    assert "2 files *_Stadien.csv lie beside recordings in no form that is known" in printed
    draft = look(tmp_path).draft
    assert draft is not None
    assert re.search(r"  # stages: .*_Stadien\\.csv", draft.text)


def test_a_subject_that_cannot_be_one_can_be_put_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("Patient 1", "Patient 2"):
        write_night(tmp_path / f"{name}.edf", "C4-A1")
    printed = run(capsys, str(tmp_path))
    assert re.search(r"subjects +0$", printed, re.MULTILINE)
    assert "such as Patient 1.edf: rename them" in " ".join(printed.split())


def test_numbers_are_for_the_user_to_explain(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_night(tmp_path / f"{name}.edf", "EEG C4-M1")
        (tmp_path / f"{name}_stage.txt").write_text(CODES)
        (tmp_path / f"{name}_events.tsv").write_text("onset\tduration\tevent\n1\t10\tHYP-O\n")
    draft = look(tmp_path).draft
    assert draft is not None
    assert draft.dataset.files.stages is draft.dataset.files.events is None
    assert any("numbers" in doubt for doubt in draft.doubts)
    # Filled in as the comments ask, it is whole.
    text = draft.text
    for begin in ("  # stages: '(", "  # events: '(", "  # stages:\n", "  # events:\n", "  #   "):
        text = text.replace(begin, begin.replace("# ", "", 1))
    for label, meaning in {"0": "W", "1": "N1", "2": "N2", "3": "N3", "4": "N3", "5": "REM",
                           "HYP-O": "hypopnea"}.items():  # fmt: skip
        quoted = f"'{label}'" if label.isdigit() else label
        lines = [line if f" {quoted}:" not in line else f"      {quoted}: {meaning}"
                 for line in text.splitlines()]  # fmt: skip
        text = "\n".join(lines)
    dataset = validate(Dataset, yaml.safe_load(text), what="filled in")
    assert dataset.reading.stages is not None
    assert len(read_scoring(tmp_path / "a_stage.txt", dataset.reading.stages).stages) == 20
    assert {row.role for row in make_manifest(tmp_path, dataset).rows} == {
        "signal", "stages", "events",
    }  # fmt: skip


def test_scorings_beside_recordings_of_one_suffix_and_a_common_tail(tmp_path: Path) -> None:
    for name in ("s1", "s10"):
        write_night(tmp_path / "psg" / f"{name}-PSG.edf", "C4-A1")
        (tmp_path / "scored").mkdir(exist_ok=True)
        write_scoring(tmp_path / "scored" / f"{name}_hyp.edf", [(0, 30, "N2")])
    fit = look(tmp_path).fit
    assert fit is not None
    assert fit.nights("signal") == fit.nights("stages") == {("s1", 1), ("s10", 1)}
    assert fit.files("signal") == ["psg/s1-PSG.edf", "psg/s10-PSG.edf"]


def test_where_names_are_the_same_the_folder_is_the_subject(tmp_path: Path) -> None:
    for person in ("P1", "P2"):
        for night in ("night1", "night2"):
            write_night(tmp_path / person / f"{night}.edf", "C4-A1")
            write_scoring(tmp_path / person / f"{night}_hyp.edf", [(0, 30, "N2")])
    fit = look(tmp_path).fit
    assert fit is not None
    four = {(person, night) for person in ("P1", "P2") for night in (1, 2)}
    assert fit.nights("signal") == fit.nights("stages") == four
    assert len(fit.files("signal")) == 4


def test_parts_of_a_recording_are_drafted_as_companions(tmp_path: Path) -> None:
    for suffix in (".vhdr", ".vmrk", ".eeg"):
        (tmp_path / f"s1{suffix}").write_text("Brain Vision")
    write_night(tmp_path / "s2.edf")
    draft = look(tmp_path).draft
    assert draft is not None
    rows = {row.file: row.role for row in make_manifest(tmp_path, draft.dataset).rows}
    assert rows == {"s1.eeg": "companion", "s1.vmrk": "companion", "s1.vhdr": "signal",
                    "s2.edf": "signal"}  # fmt: skip


@pytest.mark.usefixtures("project")
def test_annotations_inside_recordings_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signal = make_signal(noise(rate=10, seconds=60), label="C4-A1", rate=10)
    stage = edfio.EdfAnnotation(0, 30, "Sleep stage W")
    (tmp_path / "nights").mkdir()
    edfio.Edf([signal], annotations=[stage]).write(tmp_path / "nights/n1.edf")
    assert list(look(tmp_path / "nights").inside["n1.edf"]) == ["Sleep stage W"]
    out = run(capsys, str(tmp_path / "nights"))
    assert "Annotations inside 1 recording" in out
    assert "stages_inside: true" in out


def test_annotations_inside_recordings_are_read_as_the_dataset_says(tmp_path: Path) -> None:
    signal = make_signal(noise(rate=100, seconds=60), label="C4-A1")
    scored = [edfio.EdfAnnotation(0, 30, "Sleep stage W"), edfio.EdfAnnotation(30, 30, "Stadium 9")]
    edfio.Edf([signal], annotations=scored).write(tmp_path / "P01.edf")
    draft = look(tmp_path).draft
    assert draft is not None
    text = f"{draft.text}  stages_inside: true\n  stages: {{format: edf+, vocabulary: [edf+]}}\n"
    dataset = validate(Dataset, yaml.safe_load(text), what="the draft")
    found = inspect_folder(tmp_path, datasets=[dataset])
    assert {row.label: row.meaning for row in label_rows(found)} == {
        "Sleep stage W": "W", "Stadium 9": "not used",
    }  # fmt: skip
    told = describe(found, steps=[])
    assert "1 recording, 1 scoring, 1 with both" in told
    assert "Labels of 1 recording" in told
    assert "stages_inside" not in told
    assert "annotation file" not in told


def test_labels_of_another_scoring_mean_what_it_says(tmp_path: Path) -> None:
    (dataset,) = (one for one in read_datasets(DATASETS) if one.name == "shhs")
    write_night(tmp_path / "shhs1-200001.edf", "EEG")
    write_nsrr_xml(tmp_path / "shhs1-200001-nsrr.xml", [(0, 30, "Stage 2 sleep|2")])
    write_profusion_xml(tmp_path / "shhs1-200001-profusion.xml", "5")
    found = inspect_folder(tmp_path, datasets=[dataset])
    assert {row.label: row.meaning for row in label_rows(found)} == {
        "Stage 2 sleep|2": "N2", "5": "REM"
    }  # fmt: skip


def test_a_night_that_only_another_scorer_scored_has_no_scoring(tmp_path: Path) -> None:
    (dataset,) = (one for one in read_datasets(DATASETS) if one.name == "isruc")
    for number, scorers in ((1, "12"), (2, "2")):
        folder = tmp_path / f"subgroupI/{number}"
        write_night(folder / f"{number}.rec", "C4-A1")
        for scorer in scorers:
            (folder / f"{number}_{scorer}.txt").write_text("0\n" * 10)
    told = describe(inspect_folder(tmp_path, datasets=[dataset]), steps=[])
    assert "2 recordings, 1 scoring, 1 with both" in told
    assert "1: subgroupI-2 night 1" in told


@pytest.mark.usefixtures("project")
def test_a_terminal_does_not_obey_names_and_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_night(tmp_path / "nights/\x1b[31mred.edf", "C4-A1")
    assert "\x1b" not in run(capsys, str(tmp_path / "nights"))


@pytest.mark.parametrize(
    ("name", "labels"),
    [("simulated", ("EEG C4-M1", "SpO2")), ("ucddb", ("EEG",))],
)
def test_a_known_dataset_is_known_by_names_and_labels(
    tmp_path: Path, name: str, labels: tuple[str, ...]
) -> None:
    stem = {"simulated": "S0001", "ucddb": "ucddb002"}[name]
    write_night(tmp_path / f"{stem}.edf", *labels)
    found = look(tmp_path)
    assert found.known
    assert found.fit is not None
    assert found.fit.dataset.name == name


def test_names_without_the_labels_are_no_known_dataset(tmp_path: Path) -> None:
    write_night(tmp_path / "ucddb002.edf", "C3", "C4")
    assert not look(tmp_path).known


def test_folders_of_several_datasets_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_night(tmp_path / "one/ucddb002.edf", "EEG")
    write_night(tmp_path / "two/S0001.edf", "EEG C4-M1")
    found = look(tmp_path)
    assert found.below == {"one": "ucddb", "two": "simulated"}


def test_files_that_cannot_be_read_are_named_with_the_reason(
    tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_night(tmp_path / "nights/good.edf", "EEG C4-M1")
    (tmp_path / "nights/short.edf").write_bytes(good.read_bytes()[:1000])
    (tmp_path / "nights/no.edf").write_text("hello")
    (tmp_path / "nights/.hidden.edf").write_text("hello")
    bomb = '<!DOCTYPE a [<!ENTITY x "y">]><PSGAnnotation>&x;</PSGAnnotation>'
    (tmp_path / "nights/good-nsrr.xml").write_text(bomb)
    found = look(tmp_path / "nights")
    assert sorted(found.unreadable) == ["good-nsrr.xml", "no.edf", "short.edf"]
    out = run(capsys, str(tmp_path / "nights"))
    assert "short.edf: truncated file" in out
    assert "hidden" not in out


def test_damage_inside_a_recording_is_found_by_its_reader(tmp_path: Path) -> None:
    patch(write_night(tmp_path / "night.edf"), 236, b"99999999")
    assert list(look(tmp_path).unreadable) == ["night.edf"]


def test_an_empty_and_a_missing_folder(
    tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "There is no file here" in run(capsys, str(project))
    assert "is not a folder" in run(capsys, str(tmp_path / "none"), code=2)
    with pytest.raises(ManifestError, match="is not a folder"):
        look(tmp_path / "none")
    assert "no recordings" in run(capsys, str(project), "--write", "mine", code=2)


def test_of_many_recordings_a_sample_is_read_and_said_so(tmp_path: Path) -> None:
    for number in range(6):
        write_night(tmp_path / f"n{number}.edf")
    assert list(look(tmp_path, most=3).survey.recordings) == ["n0.edf", "n2.edf", "n5.edf"]
    assert len(look(tmp_path, most=None).survey.recordings) == 6


@pytest.mark.usefixtures("project")
def test_json_says_the_same(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = json.loads(run(capsys, str(lab), "--json"))
    assert said["dataset"] is None
    assert said["files"]["P1_n1.edf"]["subject"] == "P1"
    assert said["recordings"]["P1_n1.edf"]["seconds"] == 60
    assert {row["label"]: row["meaning"] for row in said["signals"]}["Chin"] == "EMG_CHIN"


@pytest.mark.usefixtures("project")
def test_no_line_is_too_long_for_a_terminal(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_night(lab / ("x" * 70 + ".edf"), "a" * 16)
    out = run(capsys, str(lab))
    assert [line for line in out.splitlines() if len(line) > 100 and str(lab) not in line] == []


def test_the_dataset_folder_takes_any_recording_and_no_scoring(tmp_path: Path) -> None:
    (dataset,) = (one for one in read_datasets(DATASETS) if one.name == "folder")
    write_night(tmp_path / "a/n1.edf", "EEG C4-M1")
    write_night(tmp_path / "n2.REC", "EEG C4-M1")
    for name in ("a/n1-annotations.edf", "n2_Hypnogram.edf", "n2_scoring.edf", "n2_stages.txt",
                 "n1-nsrr.xml", "n2.xml", "n1.tsv"):  # fmt: skip
        (tmp_path / name).write_text("x")
    for name in ("n3.vhdr", "n3.vmrk", "n3.eeg", "n4.fif"):
        (tmp_path / name).write_text("x")
    rows = {row.file: (row.role, row.subject) for row in make_manifest(tmp_path, dataset).rows}
    assert rows == {
        "a/n1.edf": ("signal", "n1"), "n2.REC": ("signal", "n2"), "n3.vhdr": ("signal", "n3"),
        "n3.vmrk": ("companion", "n3"), "n3.eeg": ("companion", "n3"), "n4.fif": ("signal", "n4"),
    }  # fmt: skip


def test_the_dataset_bids_takes_subjects_sessions_and_events(tmp_path: Path) -> None:
    begin = tmp_path / "sub-01/ses-2/eeg/sub-01_ses-2_task-sleep"
    write_night(Path(f"{begin}_eeg.edf"), "C4", "M1", "EOG(L)")
    Path(f"{begin}_events.tsv").write_text(BIDS)
    Path(f"{begin}_channels.tsv").write_text("name\ttype\nC4\tEEG\n")
    other = tmp_path / "sub-xY/eeg/sub-xY_task-sleep_run-1"
    other.parent.mkdir(parents=True)
    for ending in ("eeg.vhdr", "eeg.vmrk", "eeg.eeg"):
        Path(f"{other}_{ending}").write_text("x")
    copy = tmp_path / "derivatives/clean/sub-01/ses-2/eeg/sub-01_ses-2_task-sleep_eeg.edf"
    write_night(copy)
    found = look(tmp_path)
    assert found.fit is not None
    assert (found.known, found.fit.dataset.name) == (True, "bids")
    assert found.fit.nights("signal") == {("sub-01", 2), ("sub-xY", 1)}
    assert found.fit.nights("stages") == {("sub-01", 2)}
    assert len(found.fit.files("companion")) == 2
    assert {row.label: row.meaning for row in label_rows(found)} == {
        "W": "W", "N2": "N2", "cough": "not used",
    }  # fmt: skip
    assert derived_rows(found)[0].channel == "EEG_C4"


def test_a_night_of_the_dataset_bids_is_parsed(tmp_path: Path) -> None:
    (dataset,) = (one for one in read_datasets(DATASETS) if one.name == "bids")
    begin = tmp_path / "sub-01/eeg/sub-01_task-sleep"
    begin.parent.mkdir(parents=True)
    signals = [
        make_signal(noise(rate=100, seconds=300, seed=seed), label=label)
        for seed, label in enumerate(("C4", "M1"))
    ]
    write_recording(Path(f"{begin}_eeg.edf"), signals, seconds=300)
    events = "onset\tduration\ttrial_type\n0\t120\tW\n120\t180\tSleep stage N2\n"
    Path(f"{begin}_events.tsv").write_text(events)
    checked = check_files(
        make_manifest(tmp_path, dataset).rows, folder=tmp_path, stages_wanted=True, threads=1
    )
    parsed = parse_recording(
        checked.recordings[0], folder=tmp_path, reading=dataset.reading, signals=Signals()
    )
    assert (parsed.row["W"], parsed.row["N2"], parsed.row["flat"]) == (4, 6, 0)
    assert {row["channel"]: row["source"] for row in parsed.channels}["EEG_C4"] == "C4-M1"


def test_every_vocabulary_is_tried_in_drafts() -> None:
    assert {*VOCABULARY_ORDER, "profusion"} == set(VOCABULARIES)
