"""Which difference of two electrodes makes which canonical channel.

The AASM manual (version 3, sections II to IV) refers each electrode of one side of the head to the
mastoid of the other side (M1 is left, M2 is right; odd electrodes are left, even ones right), and
both eyes to M2; the chin EMG and the ECG are bipolar. Fpz-Cz and Pz-Oz are the derivations of
Sleep-EDF, which models for `EEG_Fpz` and `EEG_Pz` are trained on.

The first pair of a channel is the wanted one. The others are taken where it is not there, and said
so: the wave forms are the same, the amplitudes are not.
"""

from collections.abc import Collection, Mapping

DERIVATIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "EEG_C4": (("C4", "M1"), ("C4", "M2")),
    "EEG_C3": (("C3", "M2"), ("C3", "M1")),
    "EEG_F3": (("F3", "M2"), ("F3", "M1")),
    "EEG_F4": (("F4", "M1"), ("F4", "M2")),
    "EEG_O1": (("O1", "M2"), ("O1", "M1")),
    "EEG_O2": (("O2", "M1"), ("O2", "M2")),
    "EEG_Fpz": (("Fpz", "Cz"), ("Fpz", "M2"), ("Fpz", "M1")),
    "EEG_Pz": (("Pz", "Oz"), ("Pz", "M2"), ("Pz", "M1")),
    "EOG_L": (("E1", "M2"), ("E1", "M1")),
    "EOG_R": (("E2", "M2"), ("E2", "M1")),
    "EMG_CHIN": (("CHIN1", "CHIN2"), ("CHIN1", "CHIN3"), ("CHIN2", "CHIN3")),
    "ECG": (("ECG1", "ECG2"),),
}


def choose_pair(channel: str, electrodes: Collection[str]) -> tuple[str, str] | None:
    """Give the electrodes (active, reference) to derive a channel from; None where they lack."""
    for pair in DERIVATIONS.get(channel, ()):
        if set(pair) <= set(electrodes):
            return pair
    return None


def doubt_pair(channel: str, pair: tuple[str, str]) -> str:
    """Say that a pair is not the wanted one; "" where it is."""
    wanted = DERIVATIONS[channel][0]
    if pair == wanted:
        return ""
    return f"derived as {'-'.join(pair)}: {'-'.join(wanted)} is not there"


def lacking_electrodes(channel: str, electrodes: Collection[str]) -> str:
    """Say what a channel lacks to be derived from its electrodes; "" where it has none of them."""
    pairs = DERIVATIONS.get(channel, ())
    active = {first for first, _ in pairs} & set(electrodes)
    if not active:
        return ""
    wanted = dict.fromkeys(second for first, second in pairs if first in active)
    return f"{' and '.join(sorted(active))} without a reference, wanted {' or '.join(wanted)}"
