"""Score simulated nights with YASA's stager, which knows nothing of the simulation.

Prints Markdown tables: Cohen's kappa and accuracy per night with their means; F1 per stage.

Usage: ``python benchmarks/simulated_yasa.py [--subjects S0001 S0002 ...] [--seed 1] [--hours 7.5]``
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import mne
import numpy as np
import yasa
from sklearn.metrics import accuracy_score, cohen_kappa_score, confusion_matrix, f1_score

from somnoflow.simulate.edf import write_night
from somnoflow.simulate.night import simulate_night

STAGES = ("W", "N1", "N2", "N3", "R")
TUNED = [f"S{k:04d}" for k in range(1, 9)]


def score_night(subject: str, *, seed: int, hours: float) -> tuple[np.ndarray, np.ndarray]:
    """True and scored stage of each epoch of one night, read back from its EDF by MNE."""
    night = simulate_night(subject, seed=seed, hours=hours)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{subject}.edf"
        write_night(night, recording=path, annotations=path.with_suffix(".annotations.edf"))
        channels = ["EEG C4-M1", "EOG E1-M2", "EMG Chin"]
        raw = mne.io.read_raw_edf(path, include=channels, preload=True, verbose="error")
    staging = yasa.SleepStaging(
        raw, eeg_name="EEG C4-M1", eog_name="EOG E1-M2", emg_name="EMG Chin"
    )
    scored = staging.predict().hypno.to_numpy().astype(str)
    names = {"WAKE": 0, "W": 0, "N1": 1, "N2": 2, "N3": 3, "REM": 4, "R": 4}
    return night.stages.astype(int), np.array([names[name] for name in scored])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", nargs="+", default=TUNED)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hours", type=float, default=7.5)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn|lightgbm|yasa")
    nights = [
        score_night(name, seed=arguments.seed, hours=arguments.hours) for name in arguments.subjects
    ]
    print("| subject | W | N1 | N2 | N3 | REM | accuracy | kappa |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (true, scored) in zip(arguments.subjects, nights, strict=True):
        counts = " | ".join(str(n) for n in np.bincount(true, minlength=5))
        kappa = cohen_kappa_score(true, scored)
        print(f"| {name} | {counts} | {accuracy_score(true, scored):.3f} | {kappa:.3f} |")
    kappas = [cohen_kappa_score(true, scored) for true, scored in nights]
    accuracies = [accuracy_score(true, scored) for true, scored in nights]
    print(f"| mean | | | | | | {np.mean(accuracies):.3f} | {np.mean(kappas):.3f} |")
    true, scored = (np.concatenate(parts) for parts in zip(*nights, strict=True))
    f1 = f1_score(true, scored, labels=range(5), average=None)
    print("\n| stage | F1 | scored W | N1 | N2 | N3 | REM |\n|---|---|---|---|---|---|---|")
    rows = confusion_matrix(true, scored, labels=range(5), normalize="true")
    for stage, value, row in zip(STAGES, f1, rows, strict=True):
        print(f"| {stage} | {value:.3f} | " + " | ".join(f"{share:.2f}" for share in row) + " |")


if __name__ == "__main__":
    main()
