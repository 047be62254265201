"""Several nights, one after the other: what `somnoflow embed` and `somnoflow score` share.

What is decided here: a recording that cannot be used is listed with its reason in `rejected.tsv`,
and the others are done.
"""

import errno
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Outcome:
    """What became of a recording.

    Attributes
    ----------
    path
        The recording.
    said
        What was done; "" where nothing was.
    rejected
        Rows of `rejected.tsv`.
    """

    path: Path
    said: str = ""
    rejected: tuple[Mapping[str, str], ...] = ()

    @classmethod
    def of_rejection(cls, path: Path, rejection: Rejection) -> "Outcome":
        """Give the outcome of a recording that cannot be used."""
        return cls(path, rejected=({"file": str(path), **rejection.row()},))


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

    def outcomes() -> Iterator[Outcome]:
        for to, path in files.items():
            if to in done:
                yield Outcome(path, said_done(to))
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
                yield Outcome.of_rejection(path, rejection)
                continue
            yield Outcome(path, make(to, night))

    return report_nights(outcomes(), nights=len(files), out=out)


def said_done(to: Path) -> str:
    """Say that a file stays as it is."""
    return f"{to} is there already (--force makes it again)"


def report_nights(outcomes: Iterable[Outcome], *, nights: int, out: Path) -> int:
    """Say of each night what became of it, with a progress bar, and list what was rejected.

    Parameters
    ----------
    outcomes
        In any order.
    nights
        How many there will be.
    out
        Folder of `rejected.tsv`.

    Returns
    -------
    Number of rows of `rejected.tsv`.
    """
    rejected: list[Mapping[str, str]] = []
    with tqdm(outcomes, total=nights, unit="night", disable=None if nights > 1 else True) as bar:
        for outcome in bar:
            if outcome.said:
                tqdm.write(f"{outcome.path}: {outcome.said}")
            for row in outcome.rejected:
                tqdm.write(f"{row['file']}: rejected, {_as_text(row)}", file=sys.stderr)
            rejected += outcome.rejected
    rejected.sort(key=lambda row: row["file"])
    out.mkdir(parents=True, exist_ok=True)
    with writing(out), atomic(out / "rejected.tsv") as table:
        write_table(table, rejected, columns=REJECTED)
    return len(rejected)


def _as_text(row: Mapping[str, str]) -> str:
    return str(Rejection(**{name: row[name] for name in REJECTED if name != "file"}))


def require_writable(out: Path) -> None:
    """Raise `ConfigError` where no file could be written into a folder; nothing is left there."""
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ConfigError(f"{there} is a file. Wanted: a folder after --out")
    with writing(out), tempfile.TemporaryFile(dir=there):
        pass


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turn what the system says of a folder that it cannot write to into a mistake with advice.

    Raises
    ------
    ConfigError
        When the disk is full, or the folder may not be written to; what was begun is removed.
    """
    try:
        yield
    except OSError as error:
        # Polars tells the number in its words alone.
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "os error" in str(error)
        raise ConfigError(
            f"{error.filename or out} cannot be written: {error.strerror or error}. "
            f"{'Make room on this disk' if full else 'Make the folder writable'}, or name another "
            "one after --out; files that are whole stay, and the same command goes on with the rest"
        ) from error


def describe_night(night: Night) -> str:
    """Say how many epochs a night has, what its channels were made of, and what is doubtful."""
    usable = len(night.rows(scored=False))
    taken = ", ".join(f"{channel} from {labels}" for channel, labels in night.taken.items())
    absent = "".join(f"\n  without {name}: {why}" for name, why in night.absent.items())
    remarks = "".join(f"\n  {remark}" for remark in night.remarks)
    return f"{len(night)} epochs, {usable} usable; {taken}{absent}{remarks}"
