"""What overlapping windows bring when nights are scored: agreement and time at several strides.

A context head is trained on the real Sleep-EDF-78 feature table (13 features each of Fpz-Cz, Pz-Oz
and EOG, standardised within the night), one split by subject, and the pass is chosen by validation
subjects. It then scores the test subjects with windows of 20 epochs at each stride; the first one
is the baseline of the others. `moved back` is the first stride once more, but the last window of a
night keeps its 20 epochs and overlaps the one before. The interval of the difference is a bootstrap
over the test subjects. The table lacks the last epoch of each run of equal stages, so the scores
are not directly comparable with published ones.

Usage: ``SOMNOFLOW_REAL_DATA=FOLDER python benchmarks/overlap.py [--contexts mamba bimamba]
[--strides 20 10 5] [--subjects 40 6] [--passes 5] [--width 128] [--threads 1] [--repeats 2]``
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score

from measuring import line, table
from somnoflow.config.context import Context
from somnoflow.data.windows import average, cut_windows, run_starts
from somnoflow.models.context import ContextHead
from somnoflow.models.heads import load_head
from somnoflow.tasks import TASKS
from somnoflow.training.contexts import fit_context
from somnoflow.training.device import prepare

# Rechtschaffen and Kales to AASM: S3 and S4 are N3; 6 is unscored.
STAGES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: -1}
SEED = 1
DRAWS = 2000
Score = Callable[[], npt.NDArray[np.float32]]


@dataclass
class Features:
    """Feature rows with the table that windows are cut from."""

    table: pl.DataFrame
    values: npt.NDArray[np.float32]

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return self.values[rows]

    def of(self, subjects: Sequence[str]) -> "Features":
        keep = self.table["subject"].is_in(list(subjects))
        return Features(self.table.filter(keep), self.values[keep.to_numpy()])


def read_features(path: Path) -> Features:
    whole = pl.read_parquet(path).sort("subject", "recording", "order")
    column = pl.col("^.*__.*$")
    scaled = whole.select(((column - column.mean()) / column.std()).over("recording"))
    rows = whole.select(
        pl.lit("sleep-edfx").alias("dataset"), "subject", "recording",
        pl.col("order").alias("epoch"),
        pl.col("stage_rk").replace_strict(STAGES, return_dtype=pl.Int8).alias("stage"),
        pl.lit(value=True).alias("usable"),
    )  # fmt: skip
    return Features(rows, scaled.to_numpy().astype(np.float32))


def train(context: str, *, learning: Features, val: Features, cfg: Context) -> ContextHead:
    labels = learning.table.filter(pl.col("stage") >= 0)
    labels = labels.select("dataset", "subject", "recording", "epoch")
    dimension = learning.values.shape[1]
    with tempfile.TemporaryDirectory() as folder:
        best, _ = fit_context(
            learning,
            val,
            dimension=dimension,
            labels=labels,
            context=context,
            task=TASKS["staging"],
            cfg=cfg,
            folder=Path(folder),
            device=torch.device("cpu"),
        )
        loaded = load_head(best, dimension=dimension)
    assert isinstance(loaded, ContextHead)
    return loaded


@torch.inference_mode()
def score_moved_back(head: ContextHead, test: Features) -> npt.NDArray[np.float32]:
    """Score as at stride L, but with the windows of training: all of them full."""
    starts = run_starts(test.table)
    windows = cut_windows(starts, length=head.window, stride=head.window, whole=True)
    parts = head.score_windows(test.values, windows)
    return average(parts, epochs=len(starts), values=len(head.seen))


def interval(test: Features, gained: npt.NDArray[np.int64]) -> str:
    """Give the difference in accuracy in points, with its 95 % interval over subjects."""
    known = test.table["stage"].to_numpy() >= 0
    per_subject = (
        test.table.filter(known)
        .with_columns(gained=gained[known])
        .group_by("subject", maintain_order=True)
        .agg(pl.col("gained").sum(), n=pl.len())
    )
    sums, counts = per_subject["gained"].to_numpy(), per_subject["n"].to_numpy()
    drawn = np.random.default_rng(SEED).integers(len(sums), size=(DRAWS, len(sums)))
    low, high = np.quantile(100 * sums[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    return f"{100 * sums.sum() / counts.sum():+.2f} ({low:+.2f} to {high:+.2f})"


def run(score: Score, *, repeats: int) -> tuple[npt.NDArray[np.int64], float]:
    """Give the predicted stages and the least CPU seconds."""
    taken = []
    for _ in range(repeats):
        begin = time.process_time()
        predicted = score().argmax(axis=1)
        taken.append(time.process_time() - begin)
    return predicted, min(taken)


def measure(head: ContextHead, test: Features, *, strides: Sequence[int], repeats: int) -> None:
    starts, stages = run_starts(test.table), test.table["stage"].to_numpy()
    known = stages >= 0
    ways: dict[str, Score] = {
        str(stride): lambda stride=stride: head.predict_proba(test.values, starts, stride=stride)
        for stride in strides
    }
    ways[f"{head.window}, moved back"] = lambda: score_moved_back(head, test)
    first: tuple[npt.NDArray[np.int64], float] | None = None
    for name, score in ways.items():
        predicted, took = run(score, repeats=repeats)
        first = first or (predicted, took)
        right, before = predicted == stages, first[0] == stages
        scores = (
            accuracy_score(stages[known], predicted[known]),
            f1_score(stages[known], predicted[known], average="macro"),
            cohen_kappa_score(stages[known], predicted[known]),
        )
        cells = [head.architecture["context"], name, *(f"{score:.4f}" for score in scores)]
        gained = interval(test, right.astype(int) - before.astype(int))
        changed = f"{100 * (predicted != first[0]).mean():.1f}"
        print(line([*cells, gained, changed, f"{took:.2f}", f"{took / first[1]:.2f}"]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--contexts", nargs="+", default=["mamba", "bimamba"])
    parser.add_argument("--strides", nargs="+", type=int, default=[20, 10, 5])
    parser.add_argument("--subjects", nargs=2, type=int, default=[40, 6])
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    prepare(torch.device("cpu"), threads=options.threads)
    folder = Path(os.environ["SOMNOFLOW_REAL_DATA"])
    features = read_features(folder / "sleep-edfx-features" / "features.parquet")
    order = np.random.default_rng(SEED).permutation(features.table["subject"].unique().sort())
    learn, val = options.subjects
    learning, validating, test = (
        features.of(part) for part in np.split(order, [learn, learn + val])
    )
    cfg = Context(
        width=options.width, passes=options.passes, batch_size=32, learning_rate=1e-3, dropout=0.2
    )
    print(
        f"{learn} training, {val} validation and {len(order) - learn - val} test subjects, "
        f"{len(test.table)} test epochs, {run_starts(test.table).sum()} runs; W = {cfg.width}, "
        f"L = {cfg.window}, {cfg.passes} passes, {options.threads} threads\n"
    )
    header = ["module", "stride", "accuracy", "macro-F1", "kappa", "accuracy, points",
              "stages changed, %", "CPU s", "times"]  # fmt: skip
    print(table(header), flush=True)
    for context in options.contexts:
        head = train(context, learning=learning, val=validating, cfg=cfg)
        measure(head, test, strides=options.strides, repeats=options.repeats)


if __name__ == "__main__":
    main()
