"""Fit the statistics tables of ``somnoflow.simulate`` to real nights.

Reads the open material in the folder named by ``SOMNOFLOW_REAL_DATA`` and writes the small ``.tsv``
tables beside the simulation's modules: counts, quantiles and spectra only, no samples.

The spectra of W and N3 are measured in the partial nights of ucddb. No night that may be used here
holds central EEG of N1, N2 or REM, so their spectra are derived: in log10 power they lie between
the spectra of N3 and W, with a weight that is a line in the logarithm of frequency. Its height and
its slope are solved for two features of Sleep-EDF-78, Hjorth mobility (second by zeroth spectral
moment) and mobility times complexity (fourth by second): each must lie as far between its values
in N3 and W, in logarithms, as the median epoch does, on the mean of Fpz-Cz and Pz-Oz, between which
a central electrode lies. Only such positions are taken, because Sleep-EDF has other electrodes and
relatively more fast power than ucddb. The alpha peak of W and the sigma peak of N3 are bridged
first. That the shapes are such mixtures, and how they vary between subjects, is assumed.

Usage: ``SOMNOFLOW_REAL_DATA=... python benchmarks/fit_simulation.py``
"""

import os
from collections.abc import Iterable
from pathlib import Path

import edfio
import numpy as np
import polars as pl
from scipy.optimize import fsolve
from scipy.signal import welch

TABLES = Path(__file__).parents[1] / "src" / "somnoflow" / "simulate"
STAGES = ("W", "N1", "N2", "N3", "R")
CLOCKS = (
    *(("sleep onset", minutes) for minutes in (0.0, 20.0, 45.0, 70.0)),
    *(("REM", minutes) for minutes in (0.0, 4.0, 20.0, 45.0, 70.0)),
)
HELD_OUT = "ucddb018"
"""The only complete real night: models trained on simulated nights are judged on it as a night of
a laboratory they have not seen, so nothing of it may enter the simulation."""
FEATURE_RATE = 100.0
ALPHA_HZ, SIGMA_HZ = (6.5, 12.5), (9.0, 16.0)
QUANTILES = np.linspace(0.0, 1.0, 21)
WAKE_KEPT_EPOCHS = 60
SLEEP_EDF = {"W": 0, "1": 1, "2": 2, "3": 3, "4": 3, "R": 4}
UCDDB = np.array([0, 4, 1, 2, 3, 3, -1, -1, -1, -1])
RESPIRATORY = {
    "APNEA-O": "Obstructive apnea",
    "APNEA-C": "Central apnea",
    "APNEA-M": "Mixed apnea",
    "HYP-O": "Hypopnea",
    "HYP-C": "Hypopnea",
    "HYP-M": "Hypopnea",
}


def read_sleep_edf_hypnogram(path: Path) -> np.ndarray:
    """Stages of a Sleep-EDF night, wake kept 30 min around sleep; movement continues its stage."""
    stages: list[int] = []
    for annotation in edfio.read_edf(path).annotations:
        name = annotation.text.removeprefix("Sleep stage ").strip()
        if name == "?" or annotation.duration is None:
            continue
        code = SLEEP_EDF.get(name, stages[-1] if stages else 0)
        stages += [code] * round(annotation.duration / 30)
    hypnogram = np.array(stages)
    asleep = np.flatnonzero(hypnogram > 0)
    return hypnogram[max(0, asleep[0] - WAKE_KEPT_EPOCHS) : asleep[-1] + 1 + WAKE_KEPT_EPOCHS]


def cut_into_runs(stages: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stage, first epoch and length of each run of equal epochs."""
    starts = np.flatnonzero(np.r_[True, np.diff(stages) != 0])
    return stages[starts], starts, np.diff(np.r_[starts, len(stages)])


def fit_hypnogram(nights: list[np.ndarray]) -> None:
    """Count transitions by third of the night and time since sleep onset or REM; run lengths."""
    counts = np.zeros((3, len(CLOCKS), 5, 5), dtype=int)
    first_cycle = np.array([minutes for start, minutes in CLOCKS if start == "sleep onset"])
    later_cycles = np.array([minutes for start, minutes in CLOCKS if start == "REM"])
    lengths: dict[tuple[int, int], list[int]] = {(t, s): [] for t in range(3) for s in range(5)}
    for night in nights:
        asleep = np.flatnonzero(night > 0)
        sleep = night[asleep[0] : asleep[-1] + 1]
        codes, starts, runs = cut_into_runs(sleep)
        last_rem_end = None
        for i in range(len(codes)):
            end = starts[i] + runs[i]
            if codes[i] == 4:
                last_rem_end = end
            lengths[min(2, 3 * starts[i] // len(sleep)), codes[i]].append(int(runs[i]))
            if i + 1 < len(codes):
                third = min(2, 3 * end // len(sleep))
                if last_rem_end is None:
                    clock = np.searchsorted(first_cycle, end / 2, "right") - 1
                else:
                    clock = np.searchsorted(later_cycles, (end - last_rem_end) / 2, "right") - 1
                    clock += len(first_cycle)
                counts[third, clock, codes[i], codes[i + 1]] += 1
    rows = [
        {"third": t, "since": CLOCKS[c][0], "from_min": CLOCKS[c][1], "stage": STAGES[s]}
        | {f"to_{name}": int(counts[t, c, s, k]) for k, name in enumerate(STAGES)}
        for t, c, s in np.ndindex(counts.shape[:3])
    ]
    write_table("hypnogram_transitions.tsv", rows)
    rows = []
    for (third, stage), values in sorted(lengths.items()):
        pooled = values if len(values) >= 20 else lengths[1, stage]
        quantiles = np.quantile(pooled, QUANTILES)
        columns = {
            f"q{100 * q:03.0f}": round(float(v), 1)
            for q, v in zip(QUANTILES, quantiles, strict=True)
        }
        rows.append({"third": third, "stage": STAGES[stage], "runs": len(values)} | columns)
    write_table("hypnogram_durations.tsv", rows)


def read_ucddb(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Epochs in uV, shape (n, samples), stages (-1 unscored or flat) and the sampling rate."""
    signal = edfio.read_edf(folder / f"{name}.edf").signals[0]
    stages = UCDDB[np.loadtxt(folder / f"{name}_stage.txt", dtype=int)]
    length = int(30 * signal.sampling_frequency)
    n = min(len(stages), len(signal.data) // length)
    epochs = signal.data[: n * length].reshape(n, length)
    return epochs, np.where(epochs.std(axis=1) > 1.0, stages[:n], -1), signal.sampling_frequency


def select_recordings(names: Iterable[str]) -> list[str]:
    """Recordings of ucddb, by name or file name, that may be used: all but the held-out night."""
    return [name for name in names if not Path(name).name.startswith(HELD_OUT)]


def measure_spectra(folder: Path, recordings: list[str]) -> tuple[np.ndarray, dict[int, list]]:
    """Frequencies (Hz) and the median log10 PSD (uV^2/Hz) of W and N3 of each recording."""
    # The recordings carry a line at 22 Hz and a notch at 50 Hz that are not EEG.
    high = np.r_[16, 18, 20, np.arange(24, 45, 2)]
    targets = np.r_[np.arange(0.4, 2.0, 0.2), np.arange(2, 16, 0.5), high]
    spectra: dict[int, list] = {0: [], 3: []}
    for name in recordings:
        epochs, stages, rate = read_ucddb(folder, name)
        for stage, found in spectra.items():
            chosen = epochs[stages == stage]
            if len(chosen) < 15:
                continue
            frequency, psd = welch(chosen, rate, nperseg=int(5 * rate), average="median", axis=1)
            median = np.log10(np.median(psd, axis=0))
            found.append(np.interp(targets, frequency, median))
    return targets, spectra


def read_shapes(table: Path) -> np.ndarray:
    """Position of each stage between N3 (0) and W (1) in two spectral widths, shape (5, 2).

    The widths are the logarithms of Hjorth mobility and of mobility times complexity; medians over
    the epochs of Sleep-EDF-78, positions averaged over Fpz-Cz and Pz-Oz.
    """
    features = read_features(table)
    positions = []
    for channel in ("Fpz-Cz", "Pz-Oz"):
        mobility = pl.col(f"{channel}__hjorth_mobility")
        complexity = pl.col(f"{channel}__hjorth_complexity")
        widths = (
            features.group_by("stage")
            .agg(mobility.median().log().alias("m"), (mobility * complexity).median().log())
            .sort("stage")
            .drop("stage")
            .to_numpy()
        )
        positions.append((widths - widths[3]) / (widths[0] - widths[3]))
    return np.mean(positions, axis=0)


def compute_widths(frequencies: np.ndarray, log_psd: np.ndarray) -> np.ndarray:
    """Logarithms of Hjorth mobility and of mobility times complexity at 100 Hz, shape (2,)."""
    grid = np.arange(0.25, FEATURE_RATE / 2, 0.25)
    psd = 10.0 ** np.interp(np.log(grid), np.log(frequencies), log_psd)
    difference = 2 * np.sin(np.pi * grid / FEATURE_RATE)
    moments = np.array([np.sum(psd * difference**order) for order in (0, 2, 4)])
    return 0.5 * np.diff(np.log(moments))


def bridge(frequencies: np.ndarray, log_psd: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    """Replace a peak by a straight line in log-log."""
    inside = (frequencies > band[0]) & (frequencies < band[1])
    axis = np.log(frequencies)
    bridged = log_psd.copy()
    bridged[inside] = np.interp(axis[inside], axis[~inside], log_psd[~inside])
    return bridged


def derive_spectrum(
    frequencies: np.ndarray, wake: np.ndarray, deep: np.ndarray, position: np.ndarray
) -> np.ndarray:
    """Spectrum between those of N3 and W whose two widths have the given positions."""
    low, high = compute_widths(frequencies, deep), compute_widths(frequencies, wake)
    base = bridge(frequencies, deep, SIGMA_HZ)
    step = bridge(frequencies, wake, ALPHA_HZ) - base
    axis = np.log10(frequencies / 8.0)

    def miss(line: np.ndarray) -> np.ndarray:
        widths = compute_widths(frequencies, base + (line[0] + line[1] * axis) * step)
        return (widths - low) / (high - low) - position

    line, _, solved, message = fsolve(miss, [position.mean(), 0.0], full_output=True)
    if solved != 1:
        raise RuntimeError(f"No spectrum has the widths {position}: {message}")
    print(f"positions {position.round(3)}: weight of W {line[0]:.3f} + {line[1]:.3f} log10(f / 8)")
    return base + (line[0] + line[1] * axis) * step


def fit_spectra(folder: Path, recordings: list[str], table: Path) -> None:
    """Median log10 PSD (uV^2/Hz) of W and N3, its spread between subjects; derive N1, N2, REM."""
    frequencies, measured = measure_spectra(folder, recordings)
    stacks = {stage: np.array(found) for stage, found in measured.items()}
    medians = {stage: np.median(stack, axis=0) for stage, stack in stacks.items()}
    positions = read_shapes(table)
    rows = []
    for stage in range(5):
        spread = np.full(len(frequencies), np.nan)
        if stage in stacks:
            spread = np.subtract(*np.quantile(stacks[stage], [0.75, 0.25], axis=0)) / 1.349
            median = medians[stage]
        else:
            median = derive_spectrum(frequencies, medians[0], medians[3], positions[stage])
        rows += [
            {"stage": STAGES[stage], "frequency_hz": round(float(f), 1)}
            | {"recordings": len(stacks.get(stage, []))}
            | {"log10_psd": round(float(m), 3), "sd": None if np.isnan(s) else round(float(s), 3)}
            for f, m, s in zip(frequencies, median, spread, strict=True)
        ]
    write_table("eeg_spectrum.tsv", rows)


def read_features(table: Path) -> pl.DataFrame:
    """Feature table of Sleep-EDF-78 without unscored epochs, with a column of AASM stages."""
    features = pl.read_parquet(table).filter(pl.col("stage_rk") < 6)
    return features.with_columns(
        stage=pl.col("stage_rk").replace_strict({0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 5: 4})
    )


def fit_features(table: Path) -> None:
    """Median and log spread between and within subjects of features per stage (Sleep-EDF-78)."""
    features = read_features(table)
    rows = []
    for channel in ("Fpz-Cz", "EOG"):
        for name in ("std", "zero_crossings", "hjorth_mobility"):
            column = f"{channel}__{name}"
            logs = features.filter(pl.col(column) > 0).with_columns(v=pl.col(column).log())
            for stage in range(5):
                one = logs.filter(pl.col("stage") == stage)
                subjects = one.group_by("subject").agg(
                    m=pl.col("v").median(), s=pl.col("v").std(), n=pl.len()
                )
                subjects = subjects.filter(pl.col("n") >= 20)
                rows.append(
                    {"channel": channel, "feature": name, "stage": STAGES[stage]}
                    | {"median": round(float(np.exp(one["v"].median())), 4)}
                    | {"sd_log_between": round(float(subjects["m"].std()), 3)}
                    | {"sd_log_within": round(float(subjects["s"].median()), 3)}
                )
    write_table("eeg_features.tsv", rows)


def fit_respiratory(folder: Path, recordings: list[str]) -> None:
    """Share and durations per label, rate per stage relative to N2, events per hour of sleep."""
    durations: dict[str, list[float]] = {label: [] for label in dict.fromkeys(RESPIRATORY.values())}
    by_stage, hours, indices = np.zeros(5), np.zeros(5), []
    for name in recordings:
        stages = UCDDB[np.loadtxt(folder / f"{name}_stage.txt", dtype=int)]
        events = pl.read_csv(folder / f"{name}_events.tsv", separator="\t")
        for onset, duration, kind in events.iter_rows():
            label = RESPIRATORY.get(kind.strip())
            epoch = int(onset // 30)
            if label is None or epoch >= len(stages):
                continue
            durations[label].append(float(duration))
            by_stage[stages[epoch]] += stages[epoch] >= 0
        hours += np.array([(stages == s).sum() / 120 for s in range(5)])
        indices.append(events.height / max((stages > 0).sum() / 120, 0.1))
    rate = by_stage / hours
    rate[0] = 0.0
    total = sum(map(len, durations.values()))
    grid = np.quantile
    rows = [
        {"quantity": f"duration_s {label}", "weight": round(len(values) / total, 3)}
        | {
            f"q{100 * q:03.0f}": round(float(v), 1)
            for q, v in zip(QUANTILES, grid(values, QUANTILES), strict=True)
        }
        for label, values in durations.items()
    ]
    rows.append(
        {"quantity": "index_per_hour", "weight": 1.0}
        | {
            f"q{100 * q:03.0f}": round(float(v), 1)
            for q, v in zip(QUANTILES, grid(indices, QUANTILES), strict=True)
        }
    )
    write_table("respiratory_events.tsv", rows)
    rows = [
        {"stage": s, "relative_rate": round(float(r / rate[2]), 3)}
        for s, r in zip(STAGES, rate, strict=True)
    ]
    write_table("respiratory_stages.tsv", rows)


def write_table(name: str, rows: list[dict]) -> None:
    """Write one table; its sources are stated in the docstring of the module that reads it."""
    pl.DataFrame(rows, infer_schema_length=None).write_csv(
        TABLES / name, separator="\t", null_value=""
    )


def main() -> None:
    """Write every table."""
    if "SOMNOFLOW_REAL_DATA" not in os.environ:
        raise SystemExit("SOMNOFLOW_REAL_DATA is not set: name the folder with the real data.")
    data = Path(os.environ["SOMNOFLOW_REAL_DATA"])
    hypnograms = sorted((data / "sleep-edfx" / "hypnograms").glob("*.edf"))
    fit_hypnogram([read_sleep_edf_hypnogram(path) for path in hypnograms])
    table = data / "sleep-edfx-features" / "features.parquet"
    names = select_recordings(
        pl.read_csv(data / "ucddb" / "recordings.tsv", separator="\t")["recording"]
    )
    fit_spectra(data / "ucddb", names, table)
    fit_respiratory(data / "ucddb", names)
    fit_features(table)


if __name__ == "__main__":
    main()
