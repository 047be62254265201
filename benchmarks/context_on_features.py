"""Context modules on the real Sleep-EDF-78 features, with gradient boosting as the baseline.

Measured: accuracy, macro-F1 and Cohen's kappa with 95 % bootstrap intervals over subjects, and the
F1 of each stage, over the test subjects of ten folds by subject. On three channels (Fpz-Cz, Pz-Oz,
EOG) and on Fpz-Cz alone, 13 time-domain features each. Against: histogram gradient boosting on one
epoch's features, and on those with the features of the neighbours at -2..2 and rolling means.
The best pass is chosen by the validation subjects of the fold. The recipe is the same in all
folds; it was found on folds 0 and 5, whose test subjects it has therefore seen: ``--table-only
--folds 1 2 3 4 6 7 8 9`` gives the numbers of the other eight.

The table lacks the last epoch of each run of equal stages, so that epochs which seem neighbours
are not always, and short runs are rare: its numbers are not directly comparable with published
ones. Methods in this benchmark see the same epochs and are comparable.

Each fold of each method is one JSON file in the folder `--out`; what is there is not computed
again, so a run that was stopped goes on, and several processes may share the work by `--methods`.

Usage: ``SOMNOFLOW_REAL_DATA=... python benchmarks/context_on_features.py --out FOLDER [--methods
bimamba ...] [--channels three Fpz-Cz] [--folds 0 1 ...] [--threads 1] [--table-only]``
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from measuring import table
from somnoflow.config.context import Context
from somnoflow.config.evaluate import Evaluate
from somnoflow.config.features import Features
from somnoflow.config.split import Split
from somnoflow.data.features import KEYS, FeatureEpochs, FeatureTable, read_features, standardise
from somnoflow.data.splitting import make_split
from somnoflow.data.windows import run_starts
from somnoflow.evaluate.bootstrap import intervals
from somnoflow.evaluate.confusion import agreement
from somnoflow.io.atomic import atomic, write_json
from somnoflow.models.context import CONTEXTS
from somnoflow.models.heads import load_head
from somnoflow.stages import STAGE_NAMES
from somnoflow.tasks import TASKS
from somnoflow.training.contexts import fit_context
from somnoflow.training.device import prepare

K = len(STAGE_NAMES)
CHANNELS = {"three": ["Fpz-Cz__*", "Pz-Oz__*", "EOG__*"], "Fpz-Cz": ["Fpz-Cz__*"]}
SPLIT = Split(folds=10, validation=0.12, seed=1)
STAGES = {"0": "W", "1": "N1", "2": "N2", "3": "N3", "4": "N3", "5": "REM", "6": "unscored"}
LOGARITHMS = ["*__std", "*__iqr", "*__hjorth_mobility", "*__hjorth_complexity"]
# Published: a width of 256 and windows of 20. Narrow and long takes a fraction of the time.
RECIPE = Context(
    window=100,
    stride=50,
    width=96,
    dropout=0.4,
    input_dropout=0.3,
    passes=4,
    batch_size=24,
    learning_rate=3e-3,
    weight_decay=0.05,
)
# Attention wants smaller steps, and its 2048 inner units make a pass dear.
ATTENDING = {"stride": 100, "learning_rate": 1e-3}
BINS = 12
SCORE_STRIDE = 50
TREES = 150
NEIGHBOURS = (-2, -1, 1, 2)
ROLLING = (5, 15)
BOOSTING = {"boosting": False, "boosting with neighbours": True}
METHODS = (*BOOSTING, *CONTEXTS)
NUMBERS = (("accuracy", 100, 1), ("macro_f1", 100, 1), ("kappa", 1, 3))
TITLES = {"three": "Fpz-Cz, Pz-Oz and EOG", "Fpz-Cz": "Fpz-Cz alone"}
CAVEAT = (
    "Not directly comparable with published numbers: the table lacks the last epoch of each run of "
    "equal stages.\nIn brackets 95 % bootstrap intervals over subjects."
)
SEED = 1
Floats = npt.NDArray[np.float32]


class Fold(NamedTuple):
    """Features standardised by the training subjects of a fold, and who has which role."""

    epochs: FeatureEpochs
    roles: dict[str, Any]

    def of(self, role: str) -> FeatureEpochs:
        """Give the epochs of the subjects of a role."""
        return self.epochs.only(self.roles[role])


def read_table(channels: str) -> FeatureTable:
    """Read the features of some channels."""
    path = Path(os.environ["SOMNOFLOW_REAL_DATA"]) / "sleep-edfx-features/features.parquet"
    cfg = Features(
        path=str(path),
        dataset="sleep-edfx",
        epoch="order",
        stage="stage_rk",
        stages=STAGES,
        columns=CHANNELS[channels],
        log=LOGARITHMS,
    )
    return read_features(path, cfg=cfg)


def deal(features: FeatureTable) -> list[dict[str, Any]]:
    """Give the folds: ten tenths of the subjects, and validation subjects in each."""
    scored = features.table.filter(features.table["stage"] >= 0)
    counts: dict[str, dict[str, int]] = {}
    for subject, stage, number in scored.group_by("subject", "stage").len().iter_rows():
        counts.setdefault(subject, dict.fromkeys(STAGE_NAMES, 0))[STAGE_NAMES[stage]] = number
    folds: list[dict[str, Any]] = make_split(counts, SPLIT)["folds"]
    return folds


def score_context(name: str, fold: Fold, *, recipe: Context) -> tuple[Floats, dict[str, Any]]:
    """Train a context module, its pass chosen by the validation subjects; score the test epochs."""
    train = fold.of("train")
    with tempfile.TemporaryDirectory() as folder:
        best, rows = fit_context(
            train,
            fold.of("val"),
            dimension=train.dimension,
            labels=train.table.select(KEYS),
            context=name,
            task=TASKS["staging"],
            cfg=recipe,
            folder=Path(folder),
            device=torch.device("cpu"),
        )
        trained = load_head(best, dimension=train.dimension)
    test = fold.of("test")
    starts = run_starts(test.table)
    found = trained.predict_proba(test.read(np.arange(len(starts))), starts, stride=SCORE_STRIDE)
    return found, max(rows, key=lambda row: row["val_macro_f1"])


def score_boosting(fold: Fold, *, neighbours: bool) -> tuple[Floats, dict[str, Any]]:
    """Train gradient boosting, of which nothing is chosen; score the test epochs."""
    model = HistGradientBoostingClassifier(
        max_iter=TREES, max_features=0.3, early_stopping=False, random_state=SEED
    )
    train, test = fold.of("train"), fold.of("test")
    stages = train.table["stage"].to_numpy()
    values = widen(train) if neighbours else read_all(train)
    model.fit(values[stages >= 0], stages[stages >= 0])
    return model.predict_proba(widen(test) if neighbours else read_all(test)), {}


def read_all(epochs: FeatureEpochs) -> Floats:
    """Give the features (N, D) of all epochs."""
    return epochs.read(np.arange(len(epochs.table)))


def widen(epochs: FeatureEpochs) -> Floats:
    """Put the features of neighbours and rolling means, within the run, beside those of epochs."""
    values = read_all(epochs)
    starts = np.flatnonzero(run_starts(epochs.table))
    nights = np.split(values, starts[1:])
    return np.concatenate([_widen_night(night) for night in nights])


def _widen_night(night: Floats) -> Floats:
    place = np.arange(len(night))
    last = len(night) - 1
    sums = np.concatenate([np.zeros((1, night.shape[1])), night.cumsum(axis=0, dtype=float)])
    parts = [night, *(night[np.clip(place + step, 0, last)] for step in NEIGHBOURS)]
    for half in ROLLING:
        low, high = np.maximum(place - half, 0), np.minimum(place + half, last) + 1
        parts.append((sums[high] - sums[low]) / (high - low)[:, None])
    return np.concatenate(parts, axis=1).astype(np.float32)


def run_fold(method: str, fold: Fold, *, recipe: Context) -> dict[str, Any]:
    """Train and test one method on one fold; give counts for each recording."""
    begin = time.process_time()
    if method in BOOSTING:
        found, chosen = score_boosting(fold, neighbours=BOOSTING[method])
    else:
        found, chosen = score_context(method, fold, recipe=recipe)
    table = fold.of("test").table.with_columns(predicted=found.argmax(axis=1))
    nights = []
    scored = table.filter(table["stage"] >= 0)
    for (subject, recording), rows in scored.group_by("subject", "recording", maintain_order=True):
        counts = np.zeros((K, K), int)
        np.add.at(counts, (rows["stage"].to_numpy(), rows["predicted"].to_numpy()), 1)
        nights.append({"subject": subject, "recording": recording, "confusion": counts.tolist()})
    return {"nights": nights, "chosen": chosen, "cpu_s": round(time.process_time() - begin, 1)}


def confusion_of(results: Sequence[dict[str, Any]]) -> npt.NDArray[np.int64]:
    """Add up the nights of each subject, (subjects, 5, 5)."""
    by_subject: dict[str, npt.NDArray[np.int64]] = {}
    for result in results:
        for night in result["nights"]:
            before = by_subject.get(night["subject"], np.zeros((K, K), np.int64))
            by_subject[night["subject"]] = before + np.array(night["confusion"])
    return np.array([by_subject[subject] for subject in sorted(by_subject)])


def path_of(out: Path, channels: str, method: str, fold: int) -> Path:
    """Give the file of a fold's result."""
    return out / f"{channels}-{method.replace(' ', '-')}-fold={fold}.json"


def rows_of(channels: str, out: Path, *, folds: Sequence[int]) -> list[list[str]]:
    """Give the rows of the table that the files in `out` fill."""
    rows = []
    for method in METHODS:
        paths = [path_of(out, channels, method, fold) for fold in folds]
        results = [json.loads(path.read_text("utf-8")) for path in paths if path.exists()]
        if not results:
            continue
        confusion = confusion_of(results)
        values, bounds = agreement(confusion.sum(axis=0)), intervals(confusion, cfg=Evaluate())
        rows.append(
            [
                method,
                *(
                    f"{getattr(values, name) * scale:.{digits}f} "
                    f"({bounds[name][0] * scale:.{digits}f}-{bounds[name][1] * scale:.{digits}f})"
                    for name, scale, digits in NUMBERS
                ),
                *(f"{value * 100:.1f}" for value in values.f1),
                f"{confusion.sum():,}",
                str(len(results)),
                f"{sum(result['cpu_s'] for result in results) / 60:.1f}",
            ]
        )
    return rows


def print_tables(out: Path, *, folds: Sequence[int]) -> None:
    """Print one table for each choice of channels, and what its numbers may be compared with."""
    header = ["method", "accuracy", "macro-F1", "kappa", *(f"F1 {name}" for name in STAGE_NAMES),
              "epochs", "folds", "CPU min"]  # fmt: skip
    for channels in CHANNELS:
        rows = rows_of(channels, out, folds=folds)
        print(f"\n{TITLES[channels]}\n\n{table(header, rows)}\n\n{CAVEAT}")


def main() -> None:
    """Compute what is missing in the folder, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--channels", nargs="+", choices=list(CHANNELS), default=list(CHANNELS))
    parser.add_argument("--folds", nargs="+", type=int, default=list(range(SPLIT.folds)))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--recipe", default="{}", help="JSON: what differs from the recipe")
    parser.add_argument("--table-only", action="store_true")
    options = parser.parse_args()
    if not options.table_only:
        prepare(torch.device("cpu"), threads=options.threads)
        for channels in options.channels:
            compute(channels, options)
    print_tables(options.out, folds=options.folds)


def compute(channels: str, options: argparse.Namespace) -> None:
    """Run the folds of the methods that have no file yet."""
    features = read_table(channels)
    for method in options.methods:
        recipe = Context(
            **RECIPE.model_dump()
            | (ATTENDING if "transformer" in method else {})
            | json.loads(options.recipe)
        )
        for entry in deal(features):
            path = path_of(options.out, channels, method, entry["fold"])
            if entry["fold"] not in options.folds or path.exists():
                continue
            # Trees find their own bins.
            bins = 0 if method in BOOSTING else BINS
            epochs = standardise(
                features, train=entry["train"], normalise=["cohort", "night"], bins=bins
            )
            with threadpool_limits(options.threads):
                result = run_fold(method, Fold(epochs, entry), recipe=recipe)
            with atomic(path) as partial:
                write_json(partial, result)
            values = agreement(confusion_of([result]).sum(axis=0))
            print(
                f"{channels} {method} fold {entry['fold']}: accuracy {values.accuracy:.3f}, "
                f"macro-F1 {values.macro_f1:.3f}, kappa {values.kappa:.3f}, "
                f"{result['cpu_s']:.0f} s CPU, chosen {result['chosen']}",
                flush=True,
            )


if __name__ == "__main__":
    main()
