"""How far five experts agree on the 80 nights of the Dreem open datasets: the table of the docs.

Writes `src/somnoflow/report/human_agreement.tsv`, which stands beside models in the report, and
prints the Markdown of `docs/agreement.md`. The values are those of `somnoflow agree` on the same
table.

Usage: ``SOMNOFLOW_REAL_DATA=FOLDER python benchmarks/human_agreement.py``
"""

import os
from pathlib import Path

from measuring import ROOT
from somnoflow.agree import compare
from somnoflow.agreement.nights import read_scorings
from somnoflow.io.atomic import atomic
from somnoflow.io.table import write_table
from somnoflow.stages import STAGE_NAMES

OUT = ROOT / "src" / "somnoflow" / "report" / "human_agreement.tsv"
COHORTS = {"dodh": "DOD-H", "dodo": "DOD-O"}
MEANS = {"voter_mean": "consensus of the others", "pairwise": "pairs"}
VALUES = ("kappa", "accuracy", *(f"f1_{name}" for name in STAGE_NAMES))
COLUMNS = ("cohort", "nights", "scorers", "measure", *VALUES, "source")
SOURCE = (
    "Dreem open datasets (Guillot et al. 2020), scorings of "
    "github.com/Dreem-Organization/dreem-learning-evaluation; somnoflow agree, ties dropped"
)


def main() -> None:
    folder = Path(os.environ["SOMNOFLOW_REAL_DATA"])
    found = read_scorings([folder / "dod-scorers" / "scorers.parquet"], [None])
    content = compare(found, voters=found.scorers, ties="drop")
    rows = [
        {
            "cohort": title,
            "nights": content["cohorts"][cohort]["nights"],
            "scorers": len(found.scorers),
            "measure": f"{subject}, {kind.replace('_', ' ')}",
            **{name: f"{content['cohorts'][cohort][mean][kind][name]:.3f}" for name in VALUES},
            "source": SOURCE,
        }
        for cohort, title in COHORTS.items()
        for mean, subject in MEANS.items()
        for kind in ("per_night", "pooled")
    ]
    with atomic(OUT) as path:
        write_table(path, rows, columns=COLUMNS)
    shown = COLUMNS[:-1]
    print(f"| {' | '.join(shown)} |\n|{'---|' * len(shown)}")
    for row in rows:
        print(f"| {' | '.join(str(row[name]) for name in shown)} |")


if __name__ == "__main__":
    main()
