"""Turn one checked recording into epochs: choose channels, convert, filter, resample, cut, label.

Everything that is skipped is returned with its reason: a recording as `Rejection`, a channel as a
row with a `problem`, a label or an epoch as a note.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from somnoflow.config.dataset import Reading
from somnoflow.config.signals import Signals
from somnoflow.data.channels import read_channels
from somnoflow.data.labels import read_labels
from somnoflow.io.parquet import RecordingEpochs
from somnoflow.io.recordings import open_recording
from somnoflow.io.rejection import Rejection
from somnoflow.io.source import SourceRecording
from somnoflow.signals.channels import modality_of
from somnoflow.signals.quality import UNUSABLE, Flag
from somnoflow.stages import SCORED_STAGES


@dataclass(frozen=True)
class Parsed:
    """A recording cut into epochs, the row it adds to the cohort table, and its channels' rows."""

    epochs: RecordingEpochs
    row: dict[str, Any]
    channels: list[dict[str, Any]]


def parse_recording(
    entry: Mapping[str, Any], *, folder: Path, reading: Reading, signals: Signals
) -> Parsed:
    """Parse one recording.

    Parameters
    ----------
    entry
        `recording`, `subject`, `night` and the relative paths `signal`, `stages`, `events`
        (None where there is none).
    folder
        Folder that the paths are relative to.
    reading
        What the dataset's labels mean.
    signals
        Channels, filters, sampling rate and quality thresholds.

    Raises
    ------
    Rejection
        When the recording cannot be used at all.
    """
    source = open_recording(folder / entry["signal"])
    require_length(source, signals=signals)
    labels = read_labels(
        entry,
        folder=folder,
        reading=reading,
        source=source,
        wake_margin_minutes=signals.wake_margin_minutes,
    )
    grid, stage = labels.grid, labels.stage
    channels = read_channels(source, reading=reading, signals=signals, grid=grid)
    counts = {name.name: int((stage == name).sum()) for name in SCORED_STAGES}
    taken = [name for name, channel in channels.epochs.items() if channel.samples is not None]
    first_eeg = next((name for name in taken if modality_of(name) == "EEG"), taken[0])
    quality = channels.epochs[first_eeg].quality
    row = {
        "subject": entry["subject"],
        "recording": entry["recording"],
        "night": entry["night"],
        "start": source.start.isoformat() if source.start else "",
        "hours": round(source.seconds / 3600, 4),
        "epochs": grid.epochs,
        "scored": int((stage >= 0).sum()),
        "unscored": int((stage < 0).sum()),
        **counts,
        "flat": int((quality & Flag.FLAT > 0).sum()),
        "usable_stages": {
            name.name: int(((stage == name) & (quality & UNUSABLE == 0)).sum())
            for name in SCORED_STAGES
        },
        **labels.summary,
        "notes": "; ".join(
            note.replace(";", ",") for note in (*source.notes, *labels.notes, *channels.remarks)
        ),
    }
    identity = {"recording": entry["recording"], "subject": entry["subject"]}
    return Parsed(
        epochs=RecordingEpochs(
            **identity,
            night=entry["night"],
            grid=grid,
            stage=stage,
            events=labels.events,
            channels=channels.epochs,
        ),
        row=row,
        channels=[{"recording": entry["recording"], **channel} for channel in channels.rows],
    )


def require_length(source: SourceRecording, *, signals: Signals) -> None:
    """Raise `Rejection` where a recording is shorter or longer than `signals` allows."""
    if source.seconds < signals.minimum_minutes * 60:
        raise Rejection(
            problem="recording too short",
            found=f"{source.seconds / 60:.1f} minutes",
            wanted=f"at least {signals.minimum_minutes:g} minutes",
            advice="Leave it out of the manifest, or lower signals.minimum_minutes",
        )
    if source.seconds > signals.maximum_hours * 3600:
        raise Rejection(
            problem="recording too long",
            found=f"{source.seconds / 3600:.1f} hours",
            wanted=f"at most {signals.maximum_hours:g} hours",
            advice="Check the file's header, cut the recording, or raise signals.maximum_hours",
        )
