"""A night as the CSV file of a YASA hypnogram: what its `Hypnogram.hypno.to_csv` writes.

It is read with `yasa.Hypnogram(pandas.read_csv(path)["Stage"])`. YASA knows no other time than the
number of an epoch: epoch 0 is the first one of the night. It has no events of breathing.

Source: Vallat & Walker 2021, eLife 10:e70092; https://yasa-sleep.org.
"""

from pathlib import Path

import polars as pl

from somnoflow.scoring.hypnogram import Hypnogram

STAGE_NAMES = {"W": "WAKE", "N1": "N1", "N2": "N2", "N3": "N3", "REM": "REM", None: "UNS"}


def write_hypnogram(path: Path, hypnogram: Hypnogram) -> None:
    """Write a row for each epoch: its number and its stage, `UNS` without a usable signal."""
    stages = [STAGE_NAMES[stage] for stage in hypnogram.classes]
    text = pl.DataFrame({"Epoch": range(len(stages)), "Stage": stages}).write_csv()
    path.write_text(text, encoding="utf-8", newline="\n")
