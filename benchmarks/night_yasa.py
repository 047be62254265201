"""Stages a recording by YASA twice; prints the time and the CPU seconds after each.

A program of its own, run by `night_scoring.py`, so that the first time is a cold one.

Usage: ``python benchmarks/night_yasa.py NIGHT.edf EEG [EOG EMG]``
"""

import json
import sys
import time
import warnings
from pathlib import Path

import mne
from yasa import SleepStaging


def main() -> None:
    warnings.filterwarnings("ignore")
    path, labels = Path(sys.argv[1]), sys.argv[2:]
    names = dict(zip(("eeg_name", "eog_name", "emg_name"), labels, strict=False))
    for number in range(2):
        raw = mne.io.read_raw_edf(path, include=labels, preload=True, verbose="error")
        staging = SleepStaging(raw, **names)
        staging.predict().hypno.to_csv(path.with_name(f"yasa{number}.csv"))
        print(json.dumps([time.monotonic(), time.process_time()]))


if __name__ == "__main__":
    main()
