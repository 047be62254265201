"""The table of common channel names: what it takes, and what it must never take."""

from pathlib import Path
from typing import get_args

import pytest
import yaml

from somnoflow.config.signals import Channel, Electrode
from somnoflow.signals.names import common_names, known_name

ROOT = Path(__file__).parents[2]
DATASETS = sorted(ROOT.glob("workflow/datasets/*/dataset.yaml"))


@pytest.mark.parametrize(
    ("labels", "meaning"),
    [("C4-A1|C4:M1|c4/a1|C4_M1|EEG C4-M1|EEG(C4-A1)| EEG  C4 - A1 |EEG C4-LER|C4-CLE", "EEG_C4"),
     ("C4-(M1+M2)/2|EEG C4-A1A2|C4-(A1+A2)/2", "EEG_C4"),
     ("EEG Fpz-Cz|FPZ-CZ|Fpz-M2", "EEG_Fpz"),
     ("EEG C3-M2|C3_M2", "EEG_C3"),
     ("C4|EEG C4|EEG C4-Ref|c4", "C4"),
     ("A1|M1|EEG A1-REF", "M1"),
     ("EOG(L)|EOG LOC-A2|EOG E1-M2|EOG horizontal|EOG-L|LOC:A2|EOG1:A2|EOG Left Horiz", "EOG_L"),
     ("EOG(R)|ROC-A1|E2-M2|EOG Right|EOGr:M1", "EOG_R"),
     ("LOC|E1|EOG E1", "E1"),
     ("EMG|EMG chin|CHIN1-CHIN2|EMG submental|Chin|EMG Chin1-Chin2|Lower.Left-Uppe", "EMG_CHIN"),
     ("Chin 1|CHIN1|L Chin|EMG Chin1", "CHIN1"),
     ("ECG|EKG|EKG II|ECG ECGI|ECG1-ECG2", "ECG"),
     ("ECG L|EKG1", "ECG1"),
     ("Airflow|Nasal Pressure|FLOW|NEW AIR|NEW A/F|Resp oro-nasal|Resp FLOW-Ref", "AIRFLOW"),
     ("THOR RES|Thorax|RIP Thora|RIP.Thrx|Effort THO|Tórax|CHEST", "THORAX"),
     ("ABDO RES|Abdomen|RIP Abdom|Effort ABD", "ABDOMEN"),
     ("SaO2|SpO2|SPO2 B-B", "SPO2")],
)  # fmt: skip
def test_common_names_are_known(labels: str, meaning: str) -> None:
    for label in labels.split("|"):
        assert known_name(label) == meaning, label


@pytest.mark.parametrize(
    "label",
    ["", "-", "EEG", "EEG(sec)", "EEG 2", "EEG2", "EEG1", "C4-A2", "EEG C3-M1", "C4-Cz", "C4-O2",
     "C4-AVG", "EEG E1", "E3", "E12", "EMG C4", "EOG", "EOG vertical", "EOG L-Ref", "EMG Chin-Ref",
     "LAT", "RAT", "Leg", "Leg L", "EMG LAT", "EMG Leg", "EMG tibialis", "EMG1", "EMG2", "PLMl",
     "Leg 1", "tib dx", "Left Leg", "EMG ant tib", "LLEG", "RLEG-", "Arm L",
     "OX STAT", "OxStatus", "EKG_Off", "EOG-L_Off", "STAT", "Stage", "EDF Annotations", "Status",
     "PR", "Pulse", "H.R.", "HR", "DHR", "Pleth", "LIGHT", "POSITION", "Pos", "Snore", "SOUND",
     "CPAP Flow", "Mask pressure", "Sum RIP", "Event marker", "Temp rectal", "Battery", "Ref",
     "CO2", "EtCO2", "TcCO2", "A1-A2", "M1-M2", "LOC-ROC", "E1-E2"],
)  # fmt: skip
def test_what_is_ambiguous_or_no_channel_is_not_known(label: str) -> None:
    assert known_name(label) is None


def test_every_row_means_a_channel_or_an_electrode() -> None:
    assert {row.channel for row in common_names()} == {*get_args(Channel), *get_args(Electrode)}


def test_every_name_of_the_table_is_found_under_one_meaning_only() -> None:
    for row in common_names():
        for name in row.names:
            assert known_name(name) == row.channel, name


@pytest.mark.parametrize("path", DATASETS, ids=lambda path: path.parent.name)
def test_no_dataset_means_another_channel_by_a_common_name(path: Path) -> None:
    """Of a label that a dataset knows, the table knows the same or nothing."""
    channels = yaml.safe_load(path.read_text("utf-8"))["reading"].get("channels", {})
    differing = {
        label: (known_name(label), channel)
        for label, channel in channels.items()
        if known_name(label) not in (None, channel)
    }
    assert differing == {}
