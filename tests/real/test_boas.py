"""The real BOAS scorings, read as a plain reading of their tables does."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from somnoflow.config.dataset_file import read_dataset
from somnoflow.io.annotations import read_scoring
from somnoflow.io.manifest import identify
from somnoflow.stages import Stage

pytestmark = pytest.mark.real

BOAS = read_dataset(Path(__file__).parents[2] / "workflow" / "datasets" / "boas")
CODES = {"0": "W", "1": "N1", "2": "N2", "3": "N3", "4": "REM", "8": "UNSCORED", "-2": "UNSCORED"}


@pytest.mark.parametrize("column", ["stage_hum", "stage_ai"])
def test_the_eight_nights_give_each_stage_where_the_table_has_it(
    real_data: Path, column: str
) -> None:
    reading = (BOAS if column == "stage_hum" else BOAS.scored_by(column)).reading.stages
    assert reading is not None
    files = sorted((real_data / "boas").glob("sub-*/eeg/*_events.tsv"))
    assert len(files) == 8
    counts: Counter[str] = Counter()
    for file in files:
        with file.open(newline="") as table:
            rows = list(csv.DictReader(table, delimiter="\t"))
        scoring = read_scoring(file, reading)
        wanted = [(float(row["onset"]), 30.0, Stage[CODES[row[column]]]) for row in rows]
        assert scoring.stages == wanted, file.name
        assert not scoring.unused
        counts.update(stage.name for *_, stage in scoring.stages)
    human = {"W": 1031, "N1": 278, "N2": 4610, "N3": 480, "REM": 1064, "UNSCORED": 9}
    assert column == "stage_ai" or counts == human


def test_the_files_are_found_and_their_persons_are_in_the_table(real_data: Path) -> None:
    files = sorted((real_data / "boas").glob("sub-*/eeg/*_events.tsv"))
    table = BOAS.files.subjects
    assert table is not None
    with (real_data / "boas" / table.file).open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="	"))
    persons = {row[table.key]: row[table.subject] for row in rows}
    assert (len(persons), len(set(persons.values()))) == (128, 100)
    for path in files:
        name = path.relative_to(real_data / "boas").as_posix()
        known = identify(name, BOAS.patterns())
        assert known == ("stages", path.parts[-3], 1)
        assert known[1] in persons
        signal = identify(name.replace("_events.tsv", "_eeg.edf"), BOAS.patterns())
        assert signal == ("signal", known[1], 1)


def test_every_psg_signal_of_the_nights_but_the_pulse_has_a_channel(real_data: Path) -> None:
    labels: set[str] = set()
    for file in (real_data / "boas").glob("sub-*/eeg/*acq-psg_channels.tsv"):
        with file.open(newline="") as table:
            labels |= {row["name"] for row in csv.DictReader(table, delimiter="\t")}
    assert labels - BOAS.reading.channels.keys() == {"PSG_PULSE", "PSG_BEAT"}
