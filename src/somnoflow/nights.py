"""Several nights, one after the other: what `somnoflow embed` and `somnoflow score` share.

What is decided here: a recording that cannot be used is listed with its reason in `rejected.tsv`,
and the others are done.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError
from tqdm import tqdm

from somnoflow.config.base import ConfigError
from somnoflow.config.dataset import Reading
from somnoflow.config.pack import Pack
from somnoflow.config.signals import Signals
from somnoflow.inspect.kinds import recognise
from somnoflow.inspect.naming import split_suffix
from somnoflow.io.atomic import atomic
from somnoflow.io.manifest import files_below
from somnoflow.io.rejection import Rejection
from somnoflow.io.table import write_table
from somnoflow.night import Night, read_night, signals_for

REJECTED = ("file", "problem", "found", "wanted", "advice")


def find_recordings(given: Sequence[Path]) -> list[Path]:
    """Give the recordings among files and, sorted by name, below folders.

    Raises
    ------
    ConfigError
        When a file or folder is not there, or a folder holds no recording.
    """
    found: list[Path] = []
    for path in given:
        if path.is_file():
            found.append(path)
            continue
        if not path.is_dir():
            raise ConfigError(
                f"{path} is not there. Wanted: a recording, or a folder of recordings"
            )
        names = [name for name in files_below(path) if not name.endswith("/")]
        below = [path / name for name in names if recognise(path / name).role == "recording"]
        if not below:
            raise ConfigError(
                f"{path} holds {len(names)} files, and no recording is among them. Wanted: EDF, "
                f"BDF, FIF or BrainVision; see what it holds with: somnoflow inspect {path}"
            )
        found += below
    return found


def name_outputs(recordings: Sequence[Path], *, out: Path, suffix: str) -> dict[Path, Path]:
    """Give the recording of each file to write.

    Raises
    ------
    ConfigError
        When recordings of the same name would become one file.
    """
    named: defaultdict[str, list[Path]] = defaultdict(list)
    for path in recordings:
        named[split_suffix(path.name)[0]].append(path)
    for name, paths in named.items():
        if len(paths) > 1:
            raise ConfigError(
                f"{' and '.join(map(str, paths))} would both become {out / name}{suffix}. Wanted: "
                "recordings with different names; write the others into another folder"
            )
    return {out / f"{name}{suffix}": path for name, [path] in named.items()}


def fit_signals(signals: Signals, *, channels: Sequence[str], sampling_rate: int) -> Signals:
    """Give the section `signals` for what a model reads.

    Raises
    ------
    ConfigError
        When a filter does not go with the sampling rate.
    """
    try:
        return signals_for(channels, sampling_rate=sampling_rate, like=signals)
    except ValidationError as error:
        raise ConfigError(
            f"the model reads {sampling_rate} Hz, and the section signals does not go with "
            f"it: {error.errors()[0]['msg']}. Name the configuration that it was trained with "
            "after --configfile"
        ) from error


def do_nights(
    files: Mapping[Path, Path],
    *,
    done: Collection[Path],
    out: Path,
    reading: Reading,
    signals: Signals,
    pack: Pack,
    make: Callable[[Path, Night], str],
) -> int:
    """Read nights and make a file of each; list those that cannot be used.

    Parameters
    ----------
    files
        The recording of each file to write, from `name_outputs`.
    done
        Files that are there and stay as they are.
    out
        Folder of the files and of `rejected.tsv`.
    reading, signals, pack
        As for `night.read_night`; channels and sampling rate are those of `signals`.
    make
        Makes a file of a night, and gives what is to be said of it.

    Returns
    -------
    Number of rejected recordings.
    """
    out.mkdir(parents=True, exist_ok=True)
    rejected: list[dict[str, str]] = []
    with tqdm(files.items(), unit="night", disable=None if len(files) > 1 else True) as bar:
        for to, path in bar:
            if to in done:
                tqdm.write(f"{path}: {to} is there already (--force makes it again)")
                continue
            try:
                night = read_night(
                    path,
                    channels=signals.channels,
                    sampling_rate=signals.sampling_rate,
                    reading=reading,
                    signals=signals,
                    pack=pack,
                )
            except Rejection as rejection:
                tqdm.write(f"{path}: rejected, {rejection}", file=sys.stderr)
                rejected.append({"file": str(path), **rejection.row()})
                continue
            tqdm.write(f"{path}: {make(to, night)}")
    with atomic(out / "rejected.tsv") as table:
        write_table(table, rejected, columns=REJECTED)
    return len(rejected)


def describe_night(night: Night) -> str:
    """Say how many epochs a night has, what its channels were made of, and what is doubtful."""
    usable = len(night.rows(scored=False))
    taken = ", ".join(f"{channel} from {labels}" for channel, labels in night.taken.items())
    absent = "".join(f"\n  without {name}: {why}" for name, why in night.absent.items())
    remarks = "".join(f"\n  {remark}" for remark in night.remarks)
    return f"{len(night)} epochs, {usable} usable; {taken}{absent}{remarks}"
