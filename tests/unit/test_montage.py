"""Derivations: which electrodes make which channel."""

from typing import get_args

import pytest

from somnoflow.config.signals import Channel, Electrode
from somnoflow.signals.montage import DERIVATIONS, choose_pair, doubt_pair, lacking_electrodes

ALL = get_args(Electrode)


def test_the_table_names_channels_and_electrodes_that_there_are() -> None:
    assert set(DERIVATIONS) <= set(get_args(Channel))
    named = {name for pairs in DERIVATIONS.values() for pair in pairs for name in pair}
    assert named == set(ALL)
    assert all(first != second for pairs in DERIVATIONS.values() for first, second in pairs)


@pytest.mark.parametrize(
    ("channel", "wanted"),
    [("EEG_C4", "C4-M1"), ("EEG_F4", "F4-M1"), ("EEG_O2", "O2-M1"), ("EEG_C3", "C3-M2"),
     ("EEG_F3", "F3-M2"), ("EEG_O1", "O1-M2"), ("EOG_L", "E1-M2"), ("EOG_R", "E2-M2"),
     ("EEG_Fpz", "Fpz-Cz"), ("EEG_Pz", "Pz-Oz"), ("EMG_CHIN", "CHIN1-CHIN2"), ("ECG", "ECG1-ECG2")],
)  # fmt: skip
def test_the_derivation_of_the_aasm_comes_first(channel: str, wanted: str) -> None:
    pair = choose_pair(channel, ALL)
    assert pair is not None
    assert "-".join(pair) == wanted
    assert doubt_pair(channel, pair) == ""


@pytest.mark.parametrize(
    ("channel", "electrodes", "wanted"),
    [("EEG_C4", ["C4", "M2"], "C4-M2"), ("EOG_L", ["E1", "M1"], "E1-M1"),
     ("EEG_Fpz", ["Fpz", "M1", "M2"], "Fpz-M2"), ("EMG_CHIN", ["CHIN2", "CHIN3"], "CHIN2-CHIN3")],
)  # fmt: skip
def test_another_reference_is_taken_and_said(
    channel: str, electrodes: list[str], wanted: str
) -> None:
    pair = choose_pair(channel, electrodes)
    assert pair is not None
    assert "-".join(pair) == wanted
    first = "-".join(DERIVATIONS[channel][0])
    assert doubt_pair(channel, pair) == f"derived as {wanted}: {first} is not there"


@pytest.mark.parametrize(
    ("channel", "electrodes", "reason"),
    [("EEG_C4", ["C4", "C3"], "C4 without a reference, wanted M1 or M2"),
     ("EEG_C4", ["M1", "M2"], ""), ("EEG_C4", [], ""), ("AIRFLOW", ["C4", "M1"], ""),
     ("EMG_CHIN", ["CHIN1"], "CHIN1 without a reference, wanted CHIN2 or CHIN3")],
)  # fmt: skip
def test_what_lacks_is_named(channel: str, electrodes: list[str], reason: str) -> None:
    assert choose_pair(channel, electrodes) is None
    assert lacking_electrodes(channel, electrodes) == reason
