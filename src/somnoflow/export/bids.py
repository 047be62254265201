"""A night as BIDS events: a table of its epochs, and a sidecar that says what the columns mean.

Source: Gorgolewski et al. 2016, Sci Data 3:160044; the section on task events of
https://bids-specification.readthedocs.io.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from somnoflow.export.csv import round_floats
from somnoflow.io.atomic import write_json
from somnoflow.scoring.hypnogram import Hypnogram
from somnoflow.stages import EPOCH_SECONDS

NOT_TOLD = "n/a"
_LEVELS = {
    "W": "Wakefulness",
    "N1": "NREM sleep, stage N1",
    "N2": "NREM sleep, stage N2",
    "N3": "NREM sleep, stage N3",
    "REM": "REM sleep, stage R",
    "none": "No event in this epoch",
    "apnea": "An apnea in this epoch",
    "hypopnea": "A hypopnea in this epoch",
    "respiratory": "An apnea or a hypopnea in this epoch",
}


def write_events(path: Path, hypnogram: Hypnogram) -> None:
    """Write a row for each epoch: `onset`, `duration`, `trial_type` and the probabilities.

    A cell is `n/a` where the epoch has no usable signal.
    """
    task = hypnogram.task
    table = hypnogram.table.select(
        pl.col("onset_s").alias("onset"),
        pl.lit(float(EPOCH_SECONDS)).alias("duration"),
        pl.col(task.column).alias("trial_type"),
        "confidence",
        *task.probabilities,
    )
    text = round_floats(table).write_csv(separator="\t", null_value=NOT_TOLD, quote_style="never")
    path.write_text(text, encoding="utf-8", newline="\n")


def write_sidecar(path: Path, hypnogram: Hypnogram) -> None:
    """Write what each column means, and which model the epochs were scored by."""
    task = hypnogram.task
    described: dict[str, Any] = {
        "onset": {
            "Description": "Begin of the epoch, from the start of the recording",
            "Units": "s",
        },
        "duration": {"Description": "Length of the epoch", "Units": "s"},
        "trial_type": {
            "LongName": "Sleep stage" if not task.rare else "Respiratory event in the epoch",
            "Description": _describe_choice(hypnogram.threshold),
            "Levels": {name: _LEVELS[name] for name in task.classes},
        },
        "confidence": {"Description": "The model's probability of trial_type"},
        "GeneratedBy": [
            {
                "Name": "Somnoflow",
                "Version": version("somnoflow"),
                "Description": "Scored by a model; no expert has looked at it",
                "Parameters": dict(hypnogram.made_by),
            }
        ],
    }
    for name, column in zip(task.classes, task.probabilities, strict=True):
        described[column] = {"Description": f"The model's probability of {name}"}
    write_json(path, described)


def _describe_choice(threshold: float | None) -> str:
    chosen = "the likeliest class" if threshold is None else f"an event from p = {threshold:g} on"
    return f"What the model says of the epoch: {chosen}; {NOT_TOLD} without a usable signal"
