"""The boosting head on the real Sleep-EDF-78 features: ten folds by subject.

Measured: accuracy, macro-F1 and Cohen's kappa with 95 % bootstrap intervals over subjects, and the
F1 of each stage, over the test subjects of all folds. Table, folds and standardisation are those of
`context_on_features.py`, trees and their number those of `heads.boosting`: the number is chosen by
the validation subjects, and everything else is as the configuration has it without a change. On
three channels (Fpz-Cz, Pz-Oz, EOG) and on Fpz-Cz alone, 13 time-domain features each, of the epoch
alone or beside those of its neighbours.

The table lacks the last epoch of each run of equal stages: its numbers are not directly comparable
with published ones.

Each fold is one JSON file in the folder `--out`; what is there is not computed again, so a run that
was stopped goes on.

Usage: ``SOMNOFLOW_REAL_DATA=... OMP_NUM_THREADS=1 python benchmarks/features_boosting.py --out
FOLDER [--inputs epoch neighbours] [--channels three Fpz-Cz] [--folds 0 1 ...] [--table-only]``
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from context_on_features import (
    CAVEAT,
    CHANNELS,
    NUMBERS,
    SPLIT,
    TITLES,
    Fold,
    confusion_of,
    deal,
    read_all,
    read_table,
    widen,
)
from measuring import table
from somnoflow.config.evaluate import Evaluate
from somnoflow.config.heads import Boosting
from somnoflow.data.features import standardise
from somnoflow.evaluate.bootstrap import intervals
from somnoflow.evaluate.confusion import agreement
from somnoflow.io.atomic import atomic, write_json
from somnoflow.stages import STAGE_NAMES
from somnoflow.tasks import TASKS
from somnoflow.training.embedded import Labelled
from somnoflow.training.probing import fit_boosting

INPUTS = {"epoch": read_all, "neighbours": widen}
K = len(STAGE_NAMES)


def take(fold: Fold, role: str, *, inputs: str) -> Labelled:
    """Give the scored epochs of the subjects of a role."""
    epochs = fold.of(role)
    stages = epochs.table["stage"].to_numpy().astype(np.int64)
    values = INPUTS[inputs](epochs)[stages >= 0]
    return Labelled(values, stages[stages >= 0], TASKS["staging"], int((stages >= 0).sum()))


def run_fold(fold: Fold, *, inputs: str) -> dict[str, Any]:
    """Train on one fold and score its test epochs; give the counts of each recording."""
    begin = time.process_time()
    val, test = take(fold, "val", inputs=inputs), take(fold, "test", inputs=inputs)
    probe, rows = fit_boosting(take(fold, "train", inputs=inputs), val, cfg=Boosting())
    predicted = probe.predict_proba(test.embeddings).argmax(axis=1)
    epochs = fold.of("test").table
    scored = epochs.filter(epochs["stage"] >= 0).with_columns(predicted=predicted)
    nights = []
    for (subject, recording), found in scored.group_by("subject", "recording", maintain_order=True):
        counts = np.zeros((K, K), int)
        np.add.at(counts, (found["stage"].to_numpy(), found["predicted"].to_numpy()), 1)
        nights.append({"subject": subject, "recording": recording, "confusion": counts.tolist()})
    (chosen,) = (row for row in rows if row["best"])
    return {"nights": nights, "chosen": chosen, "cpu_s": round(time.process_time() - begin, 1)}


def path_of(options: argparse.Namespace, channels: str, inputs: str, fold: int) -> Path:
    """Give the file of a fold's result."""
    return options.out / f"{channels}-{inputs}-fold={fold}.json"


def compute(channels: str, options: argparse.Namespace) -> None:
    """Run the folds that have no file yet."""
    features = read_table(channels)
    for entry in deal(features):
        todo = [
            inputs
            for inputs in options.inputs
            if not path_of(options, channels, inputs, entry["fold"]).exists()
        ]
        if entry["fold"] not in options.folds or not todo:
            continue
        epochs = standardise(features, train=entry["train"], normalise=["cohort", "night"])
        for inputs in todo:
            result = run_fold(Fold(epochs, entry), inputs=inputs)
            with atomic(path_of(options, channels, inputs, entry["fold"])) as partial:
                write_json(partial, result)
            values = agreement(confusion_of([result]).sum(axis=0))
            print(
                f"{channels} {inputs} fold {entry['fold']}: accuracy {values.accuracy:.3f}, "
                f"macro-F1 {values.macro_f1:.3f}, kappa {values.kappa:.3f}, "
                f"{result['cpu_s']:.0f} s CPU, {result['chosen']['pass']} trees of each stage",
                flush=True,
            )


def rows_of(options: argparse.Namespace) -> Iterator[list[str]]:
    """Give the rows of the table that the files in the folder fill."""
    for channels in options.channels:
        for inputs in options.inputs:
            paths = [path_of(options, channels, inputs, fold) for fold in options.folds]
            results = [json.loads(path.read_text("utf-8")) for path in paths if path.exists()]
            if not results:
                continue
            confusion = confusion_of(results)
            values, bounds = agreement(confusion.sum(axis=0)), intervals(confusion, cfg=Evaluate())
            yield [
                TITLES[channels],
                inputs,
                *(
                    f"{getattr(values, name) * scale:.{digits}f} "
                    f"({bounds[name][0] * scale:.{digits}f}-{bounds[name][1] * scale:.{digits}f})"
                    for name, scale, digits in NUMBERS
                ),
                *(f"{value * 100:.1f}" for value in values.f1),
                f"{confusion.sum():,}",
                str(len(confusion)),
                str(len(results)),
                f"{sum(result['cpu_s'] for result in results) / 60:.1f}",
            ]


def main() -> None:
    """Compute what is missing in the folder, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--inputs", nargs="+", choices=list(INPUTS), default=["epoch"])
    parser.add_argument("--channels", nargs="+", choices=list(CHANNELS), default=list(CHANNELS))
    parser.add_argument("--folds", nargs="+", type=int, default=list(range(SPLIT.folds)))
    parser.add_argument("--table-only", action="store_true")
    options = parser.parse_args()
    if not options.table_only:
        for channels in options.channels:
            compute(channels, options)
    header = ["channels", "features of", "accuracy", "macro-F1", "kappa",
              *(f"F1 {name}" for name in STAGE_NAMES), "epochs", "subjects", "folds",
              "CPU min"]  # fmt: skip
    print(f"\n{table(header, list(rows_of(options)))}\n\n{CAVEAT}")


if __name__ == "__main__":
    main()
