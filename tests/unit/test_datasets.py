"""Each dataset on files of exactly its layout: found, paired, and read as its labels mean."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.recordings import make_signal, noise, write_recording, write_scoring
from tests.scorings import NSRR_STAGES, write_nsrr_xml, write_profusion_xml

from somnoflow.config.dataset import Dataset
from somnoflow.config.dataset_file import read_dataset
from somnoflow.config.signals import Signals
from somnoflow.data.parsing import Parsed, parse_recording
from somnoflow.io.checking import Checked, check_files
from somnoflow.io.manifest import Row, identify, select_rows

DATASETS = Path(__file__).parents[2] / "workflow" / "datasets"
W, N1, N2, N3, REM, NONE = 0, 1, 2, 3, 4, -1
CHANNELS = ("EEG", "EOG", "EMG", "ECG", "AIRFLOW", "THORAX", "ABDOMEN", "SPO2")
SIGNALS = Signals.model_validate({"channels": list(CHANNELS)})


def dataset(name: str) -> Dataset:
    return read_dataset(DATASETS / name)


def write_night(path: Path, labels: Sequence[str], *, seconds: float = 300, **how: object) -> Path:
    """Write a recording of the labels, its slow signals at slower rates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    units = {"SaO2": ("%", 10.0), "PSG_SPO2": ("%", 10.0), "SaO2 SaO2": ("%", 10.0)}
    signals = []
    for number, label in enumerate(labels):
        unit, rate = units.get(label, ("uV", 100.0))
        samples = noise(rate=rate, seconds=seconds, seed=number)
        signals.append(make_signal(samples, label=label, rate=rate, unit=unit))
    return write_recording(path, signals, seconds=seconds, **how)  # type: ignore[arg-type]


def rows_of(folder: Path, dataset: Dataset) -> list[Row]:
    """Give the manifest rows of all files that the dataset knows."""
    rows = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        known = identify(name, dataset.patterns()) if path.is_file() else None
        if known is not None:
            role, subject, night = known
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            subject = subject.replace("/", "-")
            rows.append(Row(name, path.stat().st_size, digest, subject, night, role))
    return rows


def check(folder: Path, dataset: Dataset, *, files: str | None = None) -> Checked:
    chosen = select_rows(rows_of(folder, dataset), files=files, stages=dataset.files.stages)
    return check_files(list(chosen), folder=folder, stages_wanted=True, threads=1)


def parse(folder: Path, dataset: Dataset, *, number: int = 0) -> Parsed:
    checked = check(folder, dataset)
    assert not checked.problems
    return parse_recording(
        checked.recordings[number], folder=folder, reading=dataset.reading, signals=SIGNALS
    )


def sources(parsed: Parsed) -> dict[str, str]:
    """Give the label of each channel that was taken."""
    return {row["channel"]: row["source"] for row in parsed.channels if not row["problem"]}


def subset(name: str, part: str, *files: str) -> list[str]:
    """Give the files that belong to a part of a dataset."""
    rows = [Row(file, 1, "0" * 64, "s", 1, "signal") for file in files]
    chosen = select_rows(rows, files=dataset(name).subsets[part].files, stages=None)
    return [row.file for row in chosen]


SHHS = "polysomnography"


@pytest.fixture
def shhs(tmp_path: Path) -> Path:
    for visit in (1, 2):
        for kind in ("edfs", "annotations-events-nsrr", "annotations-events-profusion"):
            (tmp_path / SHHS / kind / f"shhs{visit}").mkdir(parents=True)
        name = f"shhs{visit}/shhs{visit}-200001"
        labels = ("SaO2", "EEG(sec)", "ECG", "EMG", "EOG(L)", "EOG(R)", "EEG", "AIRFLOW",
                  "THOR RES", "ABDO RES", "NEW AIR")  # fmt: skip
        write_night(tmp_path / SHHS / "edfs" / f"{name}.edf", labels)
        write_nsrr_xml(
            tmp_path / SHHS / "annotations-events-nsrr" / f"{name}-nsrr.xml",
            [(0, 60, "Wake|0"), *((60 + 30 * n, 30, NSRR_STAGES[1 + n]) for n in range(5)),
             (210, 60, "Unscored|9"), (270, 30, "Movement|6")],
            [(65, 12.5, "Obstructive apnea|Obstructive Apnea"), (95, 10, "Hypopnea|Hypopnea"),
             (100, 20, "SpO2 desaturation|SpO2 desaturation"), (125, 3, "Arousal|Arousal ()"),
             (130, 3, "SpO2 artifact|SpO2 artifact")],
        )  # fmt: skip
        write_profusion_xml(
            tmp_path / SHHS / "annotations-events-profusion" / f"{name}-profusion.xml",
            "0012345996",
            [(65, 12.5, "Obstructive Apnea"), (95, 10, "Hypopnea"), (130, 3, "SpO2 artifact")],
        )
    return tmp_path


SHHS_STAGES = [W, W, N1, N2, N3, N3, REM, NONE, NONE, NONE]


def test_shhs_with_nsrr_xml(shhs: Path) -> None:
    parsed = parse(shhs, dataset("shhs"))
    assert parsed.epochs.stage.tolist() == SHHS_STAGES
    assert parsed.epochs.events["obstructive_apnea"].tolist() == [0, 0, 12.5] + [0] * 7
    assert parsed.epochs.events["hypopnea"].tolist() == [0, 0, 0, 10] + [0] * 6
    assert parsed.epochs.events["desaturation"].tolist() == [0, 0, 0, 20] + [0] * 6
    assert parsed.epochs.events["arousal"].tolist() == [0, 0, 0, 0, 3] + [0] * 5
    assert "annotation 'SpO2 artifact|SpO2 artifact' not used (1 times)" in parsed.row["notes"]
    taken = sources(parsed)
    assert (taken["EEG_C4"], taken["EEG_C3"]) == ("EEG", "EEG(sec)")
    assert (taken["AIRFLOW"], taken["SPO2"], taken["THORAX"]) == ("NEW AIR", "SaO2", "THOR RES")
    assert (taken["EOG_L"], taken["EOG_R"]) == ("EOG(L)", "EOG(R)")


def test_shhs_the_profusion_files_say_the_same(shhs: Path) -> None:
    other = dataset("shhs").scored_by("profusion")
    parsed = parse(shhs, other)
    assert parsed.row["recording"].endswith("shhs1-200001")
    assert parsed.epochs.stage.tolist() == SHHS_STAGES
    assert parsed.epochs.events["obstructive_apnea"].tolist() == [0, 0, 12.5] + [0] * 7


def test_shhs_visits_are_nights_of_a_person_and_subsets(shhs: Path) -> None:
    known = dataset("shhs")
    found = check(shhs, known).recordings
    assert [(one["subject"], one["night"]) for one in found] == [("200001", 1), ("200001", 2)]
    assert [found[1][kind].rpartition("/")[2] for kind in ("signal", "stages")] == [
        "shhs2-200001.edf", "shhs2-200001-nsrr.xml"
    ]  # fmt: skip
    second = check(shhs, known, files=known.subsets["shhs2"].files).recordings
    assert [one["night"] for one in second] == [2]


@pytest.mark.parametrize("label", ["EEG(sec)", "EEG(SEC)", "EEG sec", "EEG2", "EEG 2"])
def test_shhs_each_name_of_the_second_eeg_is_c3(label: str) -> None:
    assert dataset("shhs").reading.channels[label] == "EEG_C3"


def test_shhs_the_token_comes_from_the_environment_alone() -> None:
    known = dataset("shhs")
    assert known.source == "folder"
    assert known.token_variable == "NSRR_TOKEN"  # noqa: S105
    assert "{token}" in (known.url or "")


ISRUC_LABELS = ("LOC-A2", "ROC-A1", "F3-A2", "C3-A2", "O1-A2", "F4-A1", "C4-A1", "O2-A1", "X1",
                "X2", "SaO2")  # fmt: skip


def write_isruc(folder: Path, name: str, *, labels: Sequence[str] = ISRUC_LABELS) -> None:
    write_night(folder / f"{name}.rec", labels)
    first = (0, 0, 1, 2, 3, 5, 5, 2, 2, 0)
    second = (0, 1, 1, 2, 3, 5, 5, 2, 2, 0)
    for scorer, codes in ((1, first), (2, second)):
        text = "\r\n".join(map(str, codes)) + "\r\n\r\n"
        (folder / f"{name}_{scorer}.txt").write_bytes(text.encode())


def test_isruc_two_scorers_and_three_subgroups(tmp_path: Path) -> None:
    labels = [one.replace("A1", "M1").replace("A2", "M2") for one in ISRUC_LABELS]
    write_isruc(tmp_path / "subgroupI/1", "1")
    write_isruc(tmp_path / "subgroupII/1/1", "1")
    write_isruc(tmp_path / "subgroupII/1/2", "2", labels=[*labels[2:], "E1-M2", "E2-M1"])
    write_isruc(tmp_path / "subgroupIII/1", "1")
    known = dataset("isruc")
    found = check(tmp_path, known)
    assert not found.problems
    assert [(one["subject"], one["night"]) for one in found.recordings] == [
        ("subgroupI-1", 1), ("subgroupII-1", 1), ("subgroupII-1", 2), ("subgroupIII-1", 1)
    ]  # fmt: skip
    parsed = parse(tmp_path, known)
    assert parsed.epochs.stage.tolist() == [W, W, N1, N2, N3, REM, REM, N2, N2, W]
    taken = sources(parsed)
    assert (taken["EEG_C4"], taken["EOG_L"], taken["EOG_R"]) == ("C4-A1", "LOC-A2", "ROC-A1")
    assert (taken["EMG_CHIN"], taken["ECG"], taken["SPO2"]) == ("X1", "X2", "SaO2")
    other = parse(tmp_path, known.scored_by("scorer2"), number=2)
    assert other.epochs.stage.tolist() == [W, N1, N1, N2, N3, REM, REM, N2, N2, W]
    assert sources(other)["EEG_C4"] == "C4-M1"
    assert sources(other)["EOG_L"] == "E1-M2"


@pytest.mark.parametrize(
    ("file", "part"),
    [("subgroupI/7/7.rec", "subgroup1"), ("Subgroup_2/7/1/1.rec", "subgroup2"),
     ("subgroupIII/7/7_1.txt", "subgroup3"), ("x/Subgroup_1/10/10.rec", "subgroup1")],
)  # fmt: skip
def test_isruc_subsets(file: str, part: str) -> None:
    parts = [one for one in dataset("isruc").subsets if subset("isruc", one, file)]
    assert parts == [part]


def test_hmc_with_lights(tmp_path: Path) -> None:
    labels = ("EEG F4-M1", "EEG C4-M1", "EEG O2-M1", "EEG C3-M2", "EMG chin", "EOG E1-M2",
              "EOG E2-M2", "ECG")  # fmt: skip
    write_night(tmp_path / "recordings/SN001.edf", labels)
    names = ("W", "W", "N1", "N2", "N3", "N3", "R", "R", "W")
    stages = [(30 * n, 30, f"Sleep stage {name}") for n, name in enumerate(names)]
    write_scoring(
        tmp_path / "recordings/SN001_sleepscoring.edf",
        [*stages, (45.5, None, "Lights off@@EEG F4-A1"), (241, None, "Lights on@@EEG F4-A1")],
    )
    parsed = parse(tmp_path, dataset("hmc"))
    assert parsed.epochs.stage.tolist() == [W, W, N1, N2, N3, N3, REM, REM, W, NONE]
    assert (parsed.row["lights_off_s"], parsed.row["lights_on_s"]) == (45.5, 241)
    assert parsed.row["ahi"] == ""
    assert "not used" not in parsed.row["notes"]
    taken = sources(parsed)
    assert (taken["EEG_C4"], taken["EEG_C3"], taken["EOG_R"]) == (
        "EEG C4-M1", "EEG C3-M2", "EOG E2-M2"
    )  # fmt: skip


def test_mass_pages_of_20_and_of_30_seconds(tmp_path: Path) -> None:
    labels = ("EEG C4-CLE", "EEG C3-CLE", "EOG Left Horiz", "EOG Right Horiz", "EMG Chin",
              "ECG ECGI")  # fmt: skip
    write_night(tmp_path / "SS2/01-02-0001 PSG.edf", labels)
    names = ("W", "W", "W", "1", "2", "2", "3", "4", "4", "R", "R", "R", "?", "?", "?")
    write_scoring(
        tmp_path / "SS2/01-02-0001 Base.edf",
        [(20 * n, 20, f"Sleep stage {name}") for n, name in enumerate(names)],
    )
    chins = ("EMG Chin1", "EMG Chin2", "EMG Chin3")
    write_night(tmp_path / "SS3/01-03-0001 PSG.edf", ("EEG C4-LER", *chins, "ECG ECGI"))
    write_scoring(
        tmp_path / "SS3/01-03-0001 Base.edf",
        [(30 * n, 30, f"Sleep stage {name}") for n, name in enumerate("WW1233RRWW")],
    )
    known = dataset("mass")
    assert [one["subject"] for one in check(tmp_path, known).recordings] == [
        "01-02-0001", "01-03-0001"
    ]  # fmt: skip
    twenty = parse(tmp_path, known)
    # Pages 3 and 4 (stage 1, then 2) share epoch 2: 60 to 80 s and 80 to 90 s.
    assert twenty.epochs.stage.tolist() == [W, W, N1, N2, N3, N3, REM, REM, NONE, NONE]
    assert sources(twenty)["EEG_C4"] == "EEG C4-CLE"
    assert sources(twenty)["EMG_CHIN"] == "EMG Chin"
    thirty = parse(tmp_path, known, number=1)
    assert thirty.epochs.stage.tolist() == [W, W, N1, N2, N3, N3, REM, REM, W, W]
    assert sources(thirty)["EEG_C4"] == "EEG C4-LER"
    assert [known.reading.channels[one] for one in chins] == ["CHIN1", "CHIN2", "CHIN3"]


def test_mass_each_subset_has_its_files() -> None:
    files = [f"any/01-0{n}-0001 {kind}.edf" for n in range(1, 6) for kind in ("Base", "PSG")]
    for n in range(1, 6):
        assert subset("mass", f"ss{n}", *files) == files[2 * n - 2 : 2 * n]


def test_boas_people_and_automatic_scoring(tmp_path: Path) -> None:
    labels = ("PSG_F3", "PSG_F4", "PSG_C3", "PSG_C4", "PSG_O1", "PSG_O2", "PSG_EOGL", "PSG_EOGR",
              "PSG_EMG", "PSG_THER", "PSG_THOR", "PSG_ABD", "PSG_PULSE", "PSG_SPO2")  # fmt: skip
    base = tmp_path / "sub-1/eeg/sub-1_task-Sleep_acq-psg"
    write_night(base.with_name(base.name + "_eeg.edf"), labels)
    human, automatic = "0012344800", ("0", "1", "1", "2", "3", "4", "4", "-2", "0", "0")
    lines = [
        f"{30 * n}\t30\t{7680 * n + 1}\t{7680 * n + 7680}\t0\t{one}\t{other}"
        for n, (one, other) in enumerate(zip(human, automatic, strict=True))
    ]
    head = "onset\tduration\tbegsample\tendsample\toffset\tstage_hum\tstage_ai"
    text = "\r\n".join([head, *lines]) + "\r\n"
    base.with_name(base.name + "_events.tsv").write_bytes(text.encode())
    (tmp_path / "participants.tsv").write_text("participant_id\tpid\nsub-1\t89\n")
    known = dataset("boas")
    parsed = parse(tmp_path, known)
    assert parsed.row["subject"] == "sub-1"
    assert parsed.epochs.stage.tolist() == [W, W, N1, N2, N3, REM, REM, NONE, W, W]
    taken = sources(parsed)
    assert (taken["EEG_C4"], taken["EOG_L"], taken["AIRFLOW"]) == ("PSG_C4", "PSG_EOGL", "PSG_THER")
    other = parse(tmp_path, known.scored_by("stage_ai"))
    assert other.epochs.stage.tolist() == [W, N1, N1, N2, N3, REM, REM, NONE, W, W]
    assert known.files.subjects is not None
    assert (known.files.subjects.key, known.files.subjects.subject) == ("participant_id", "pid")


def test_sleep_edfx_both_studies(tmp_path: Path) -> None:
    labels = ("EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal", "EMG submental")
    scored = [(0, 60, "Sleep stage W"), (60, 30, "Sleep stage 1"), (90, 30, "Sleep stage 2"),
              (120, 30, "Sleep stage 3"), (150, 30, "Sleep stage 4"), (180, 30, "Sleep stage R"),
              (210, 30, "Movement time"), (240, 600, "Sleep stage ?")]  # fmt: skip
    for psg, hypnogram in (
        ("sleep-cassette/SC4001E0-PSG.edf", "sleep-cassette/SC4001EC-Hypnogram.edf"),
        ("sleep-telemetry/ST7011J0-PSG.edf", "sleep-telemetry/ST7011JP-Hypnogram.edf"),
    ):
        write_night(tmp_path / psg, labels)
        write_scoring(tmp_path / hypnogram, scored)
    known = dataset("sleep-edfx")
    found = check(tmp_path, known).recordings
    assert [(one["subject"], one["night"]) for one in found] == [("SC400", 1), ("ST701", 1)]
    for number in (0, 1):
        parsed = parse(tmp_path, known, number=number)
        assert parsed.epochs.stage.tolist() == [W, W, N1, N2, N3, N3, REM, NONE, NONE, NONE]
        assert all(events is None for events in parsed.epochs.events.values())
        assert sources(parsed)["EMG_CHIN"] == "EMG submental"


def test_sleep_edfx_subsets() -> None:
    files = ("sleep-cassette/SC4001E0-PSG.edf", "sleep-cassette/SC4192E0-PSG.edf",
             "sleep-cassette/SC4201E0-PSG.edf", "sleep-telemetry/ST7011J0-PSG.edf")  # fmt: skip
    assert subset("sleep-edfx", "sleep-edf-20", *files) == list(files[:2])
    assert subset("sleep-edfx", "sleep-edf-78", *files) == list(files[:3])
    assert subset("sleep-edfx", "telemetry", *files) == [files[3]]


@pytest.mark.parametrize("name", ["boas", "hmc", "isruc", "mass", "shhs", "sleep-edfx", "ucddb"])
def test_every_dataset_says_where_it_is_from(name: str) -> None:
    known = dataset(name)
    for text in (known.title, known.licence, known.citation, known.how_to_get):
        assert len(text) > 2
    if known.source == "folder":
        assert f"--dataset {name}" in known.how_to_get or known.name == "ucddb"
