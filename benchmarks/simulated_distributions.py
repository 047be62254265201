"""Compare features of simulated epochs with those of real ones, stage by stage.

Prints Markdown tables of quantiles (5, 25, 50, 75, 95 %). Real: Sleep-EDF-78 (Fpz-Cz and the
horizontal EOG) from the feature table, and W and N3 of the partial ucddb nights (C3-A2 or C4-A1);
the held-out night of `fit_simulation` is left out, so that nobody adjusts the simulation to it.
Simulated: EEG C4-M1 and EOG E1-M2 at 100 Hz. The ucddb spectra and the Fpz-Cz amplitudes, and the
places of N1, N2 and REM between N3 and W in mobility and complexity, were used to fit the
simulation; EOG, zero crossings and kurtosis were not.

Usage: ``SOMNOFLOW_REAL_DATA=... python benchmarks/simulated_distributions.py [--figure PATH]``
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import edfio
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from scipy.signal import resample_poly
from scipy.stats import kurtosis

from fit_simulation import select_recordings
from somnoflow.simulate.night import simulate_night

STAGES = ("W", "N1", "N2", "N3", "REM")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FEATURES = {
    "std": "std, uV",
    "kurtosis": "kurtosis",
    "zero_crossings": "zero crossings per epoch",
    "hjorth_mobility": "Hjorth mobility",
    "hjorth_complexity": "Hjorth complexity",
}
SLEEP_EDF = {0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 5: 4}
UCDDB = np.array([0, 4, 1, 2, 3, 3, -1, -1, -1, -1])


def compute_features(epochs: np.ndarray) -> dict[str, np.ndarray]:
    """Features of epochs of 30 s at 100 Hz, shape (n, 3000), as the real table defines them."""
    first, second = np.diff(epochs, axis=1), np.diff(epochs, n=2, axis=1)
    mobility = np.sqrt(first.var(axis=1) / epochs.var(axis=1))
    return {
        "std": epochs.std(axis=1),
        "kurtosis": kurtosis(epochs, axis=1),
        "zero_crossings": np.count_nonzero(np.diff(np.signbit(epochs), axis=1), axis=1).astype(
            float
        ),
        "hjorth_mobility": mobility,
        "hjorth_complexity": np.sqrt(second.var(axis=1) / first.var(axis=1)) / mobility,
    }


def cut_epochs(samples: np.ndarray, n_epochs: int) -> np.ndarray:
    """Resample from 128 Hz to 100 Hz and cut, shape (n_epochs, 3000)."""
    return resample_poly(samples, 25, 32)[: n_epochs * 3000].reshape(n_epochs, 3000)


def group(
    features: dict[str, np.ndarray], stages: np.ndarray
) -> Iterator[tuple[str, int, np.ndarray]]:
    """Values of each feature in each stage."""
    for name, values in features.items():
        for stage in range(5):
            yield name, stage, values[stages == stage]


def simulate(label: str, *, subjects: int, hours: float) -> dict[tuple[str, int], np.ndarray]:
    """Features of one channel of a simulated cohort without flat epochs."""
    parts: dict[tuple[str, int], list[np.ndarray]] = {}
    for k in range(subjects):
        night = simulate_night(f"D{k:04d}", seed=1, hours=hours)
        samples = next(s.samples for s in night.signals if s.label == label)
        epochs = cut_epochs(samples, len(night.stages))
        alive = epochs.std(axis=1) > 0.5
        for name, stage, values in group(compute_features(epochs[alive]), night.stages[alive]):
            parts.setdefault((name, stage), []).append(values)
    return {key: np.concatenate(values) for key, values in parts.items()}


def read_sleep_edf(table: Path, channel: str) -> dict[tuple[str, int], np.ndarray]:
    """Features of one channel of Sleep-EDF-78."""
    features = pl.read_parquet(table).filter(pl.col("stage_rk") < 6)
    stages = features["stage_rk"].replace_strict(SLEEP_EDF).to_numpy()
    columns = {name: features[f"{channel}__{name}"].to_numpy() for name in FEATURES}
    return {(name, stage): values for name, stage, values in group(columns, stages)}


def read_ucddb(folder: Path) -> dict[tuple[str, int], np.ndarray]:
    """Features of the epochs of ucddb that hold signal, without the held-out night."""
    parts: dict[tuple[str, int], list[np.ndarray]] = {}
    names = [path.stem for path in sorted(folder.glob("*.edf"))]
    for recording in select_recordings(names):
        stages = UCDDB[np.loadtxt(folder / f"{recording}_stage.txt", dtype=int)]
        samples = edfio.read_edf(folder / f"{recording}.edf").signals[0].data
        n = min(len(stages), len(samples) // 3840)
        alive = samples[: n * 3840].reshape(n, 3840).std(axis=1) > 1.0
        epochs = cut_epochs(samples, n)[alive]
        for name, stage, values in group(compute_features(epochs), stages[:n][alive]):
            parts.setdefault((name, stage), []).append(values)
    return {key: np.concatenate(values) for key, values in parts.items()}


def print_table(title: str, sources: dict[str, dict[tuple[str, int], np.ndarray]]) -> None:
    """Print quantiles of each feature, stage and source."""
    for name, words in FEATURES.items():
        print(f"\n{title}, {words}\n")
        print(
            "| stage | source | epochs | 5 % | 25 % | 50 % | 75 % | 95 % |\n"
            "|---|---|---|---|---|---|---|---|"
        )
        for stage, label in enumerate(STAGES):
            for source, values in sources.items():
                chosen = values[name, stage]
                if not len(chosen):
                    continue
                numbers = " | ".join(f"{v:.3g}" for v in np.quantile(chosen, QUANTILES))
                print(f"| {label} | {source} | {len(chosen)} | {numbers} |")


def draw_figure(path: Path, sources: dict[str, dict[tuple[str, int], np.ndarray]]) -> None:
    """Draw the 5-95 % range, the quartiles and the median of each feature, stage and source."""
    figure = Figure(figsize=(10, 2.6 * len(FEATURES)), layout="constrained")
    axes = figure.subplots(len(FEATURES), 1)
    for axis, (name, words) in zip(axes, FEATURES.items(), strict=True):
        for k, (source, values) in enumerate(sources.items()):
            x = np.arange(5) + 0.22 * (k - (len(sources) - 1) / 2)
            chosen = (values[name, stage] for stage in range(5))
            q = np.array([np.quantile(v, QUANTILES) if len(v) else [np.nan] * 5 for v in chosen])
            axis.vlines(x, q[:, 0], q[:, 4], color=f"C{k}", linewidth=1)
            axis.vlines(x, q[:, 1], q[:, 3], color=f"C{k}", linewidth=6, alpha=0.6)
            axis.plot(x, q[:, 2], "o", color=f"C{k}", markersize=5, label=source)
        axis.set_xticks(range(5), STAGES)
        axis.set_ylabel(words)
    axes[0].legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=24)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    if "SOMNOFLOW_REAL_DATA" not in os.environ:
        raise SystemExit("SOMNOFLOW_REAL_DATA is not set: name the folder with the real data.")
    data = Path(os.environ["SOMNOFLOW_REAL_DATA"])
    table = data / "sleep-edfx-features" / "features.parquet"
    cohort = {"subjects": arguments.subjects, "hours": arguments.hours}
    eeg = {
        "simulated C4-M1": simulate("EEG C4-M1", **cohort),
        "Sleep-EDF Fpz-Cz": read_sleep_edf(table, "Fpz-Cz"),
        "ucddb C3-A2/C4-A1": read_ucddb(data / "ucddb"),
    }
    print_table("EEG", eeg)
    eog = {
        "simulated E1-M2": simulate("EOG E1-M2", **cohort),
        "Sleep-EDF horizontal": read_sleep_edf(table, "EOG"),
    }
    print_table("EOG", eog)
    if arguments.figure:
        draw_figure(arguments.figure, eeg)


if __name__ == "__main__":
    main()
