"""The nights of docs/own-data.md: what a small laboratory hands over, with what is wrong in it."""

from pathlib import Path

from somnoflow.simulate.night import simulate_night
from tests.cohorts import cut_in_half
from tests.recordings import make_signal, write_recording

# Labels of a recorder that is set to German, and who was recorded in which nights.
LABELS = {
    "EEG C4-M1": "C4-A1", "EEG C3-M2": "C3-A2", "EOG E1-M2": "EOG li", "EMG Chin": "EMG Kinn",
    "ECG": "EKG", "SpO2": "SpO2",
}  # fmt: skip
NIGHTS = ("P01_n1", "P01_n2", "P02_n1", "P03_n1", "P04_n1", "P05_n1", "P06_n1", "P07_n1")
REACH = {"uV": 1000.0, "mV": 5.0, "%": 100.0}
CODES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 5, -1: 9}


def write_mylab(folder: Path, *, hours: float = 0.5) -> None:
    """Write eight nights of seven people with a file of stage codes beside each.

    P05's recording was cut off by a full disk, P06 has no scoring, and P07's has a code that
    nobody explained.
    """
    folder.mkdir(parents=True)
    for name in NIGHTS:
        night = simulate_night(name, seed=87, hours=hours)
        signals = []
        for found in night.signals:
            if found.label in LABELS:
                reach = REACH[found.unit]
                samples = found.samples.clip(-reach, reach).astype(float)
                signals.append(
                    make_signal(
                        samples,
                        label=LABELS[found.label],
                        rate=found.sampling_rate,
                        unit=found.unit,
                        reach=reach,
                    )
                )
        write_recording(folder / f"{name}.edf", signals)
        codes = [CODES[int(stage)] for stage in night.stages]
        if name == "P07_n1":
            codes[20] = 7
        if name != "P06_n1":
            text = "".join(f"{code}\n" for code in codes)
            (folder / f"{name}.txt").write_text(text, encoding="ascii")
    cut_in_half(folder / "P05_n1.edf")
