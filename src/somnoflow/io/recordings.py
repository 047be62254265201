"""Open a recording, whatever its format: the one door to signals.

The suffix says which reader looks at the file, and the reader what the file is: one that is not
what it is called is refused. EDF, EDF+, BDF and BDF+ are read by `edf`, in all the suffixes that
recorders give them; FIF and BrainVision by `mne_recordings`.
"""

from pathlib import Path

from somnoflow.io import edf
from somnoflow.io.mne_recordings import open_brainvision, open_fif
from somnoflow.io.source import SourceRecording

RECORDING_SUFFIXES: tuple[str, ...] = (".edf", ".rec", ".bdf", ".fif", ".fif.gz", ".vhdr")


def open_recording(path: Path) -> SourceRecording:
    """Open a recording: headers are read and checked now, samples when they are asked for.

    Raises
    ------
    Rejection
        When the file cannot be read, is damaged, contradicts itself, or is no recording.
    """
    name = path.name.lower()
    if name.endswith((".fif", ".fif.gz")):
        return open_fif(path)
    if name.endswith(".vhdr"):
        return open_brainvision(path)
    return edf.open_recording(path)
