"""Five experts on the 80 real nights of the Dreem open datasets agree as they are known to."""

import csv
from pathlib import Path

import pytest

from somnoflow.agree import compare
from somnoflow.agreement.nights import read_scorings

pytestmark = pytest.mark.real

TABLE = Path(__file__).parents[2] / "src" / "somnoflow" / "report" / "human_agreement.tsv"


@pytest.fixture(scope="module")
def cohorts(real_data: Path) -> dict:
    found = read_scorings([real_data / "dod-scorers" / "scorers.parquet"], [None])
    return compare(found, voters=found.scorers, ties="drop")["cohorts"]


@pytest.mark.parametrize(
    ("cohort", "nights", "others", "pairs"), [("dodh", 25, 0.80, 0.70), ("dodo", 55, 0.77, 0.68)]
)
def test_kappa_of_the_experts(
    cohorts: dict, cohort: str, nights: int, others: float, pairs: float
) -> None:
    block = cohorts[cohort]
    assert block["nights"] == nights
    assert block["voter_mean"]["per_night"]["kappa"] == pytest.approx(others, abs=0.01)
    assert block["pairwise"]["per_night"]["kappa"] == pytest.approx(pairs, abs=0.01)


def test_the_table_beside_models_is_what_is_measured(cohorts: dict) -> None:
    with TABLE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 8
    for row in rows:
        block = cohorts[row["cohort"].replace("-", "").lower()]
        subject, _, kind = row["measure"].partition(", ")
        mean = block["pairwise" if subject == "pairs" else "voter_mean"][kind.replace(" ", "_")]
        for name in ("kappa", "accuracy", *(key for key in row if key.startswith("f1_"))):
            assert row[name] == f"{mean[name]:.3f}", (row["cohort"], row["measure"], name)
