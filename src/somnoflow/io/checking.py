"""Compare a shard's files with its manifest, and pair signals with their annotations.

Companions are files that a recording is read from besides its signal file, such as the data of a
BrainVision header: any number of them, all as the manifest says, or the recording is not used.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from somnoflow.io.manifest import Row, shown
from somnoflow.io.rawstate import MISSING, UNREADABLE, observe
from somnoflow.io.rejection import Rejection


@dataclass(frozen=True)
class Checked:
    """Recordings that may be parsed, problems with a reason, and each file's digest."""

    recordings: list[dict[str, Any]]
    problems: list[dict[str, str]]
    observed: dict[str, str]


def check_files(rows: Sequence[Row], *, folder: Path, stages_wanted: bool, threads: int) -> Checked:
    """Verify size and SHA-256 of each file and pair the good ones.

    Parameters
    ----------
    rows
        The shard's manifest rows.
    folder
        Folder that `file` is relative to.
    stages_wanted
        Whether a recording without a stages file is a problem.
    threads
        Files hashed at a time.
    """
    observed = _observe_all(rows, folder=folder, threads=threads)
    problems: list[dict[str, str]] = []
    good: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        try:
            _require(row, found=observed[row.file], folder=folder)
        except Rejection as rejection:
            problems.append(_problem(row, rejection))
        else:
            good[row.subject, row.night].append(row)
    named = defaultdict(list)
    for row in rows:
        named[row.subject, row.night].append(row)
    recordings = []
    for night, files in sorted(named.items()):
        try:
            recording = _pair(files, good[night], stages_wanted=stages_wanted)
        except Rejection as rejection:
            signal = next((row for row in files if row.role == "signal"), files[0])
            problems.append(_problem(signal, rejection))
        else:
            recordings += recording
    return Checked(recordings=recordings, problems=problems, observed=observed)


def extra_files(files: Iterable[str], *, known: Collection[str]) -> list[dict[str, str]]:
    """Give a problem row for each file that no manifest row names."""
    rejection = Rejection(
        problem="not in the manifest",
        found="a file that no row of manifest.tsv names",
        wanted="nothing, or a row for it",
        advice="Where the run should read it, correct `files` in the dataset's dataset.yaml until "
        "it fits, and write the manifest again; else ignore this line",
    )
    return [
        {"stage": "extra", "file": shown(file), "recording": "", **rejection.row()}
        for file in files
        if file not in known
    ]


def _observe_all(rows: Sequence[Row], *, folder: Path, threads: int) -> dict[str, str]:
    with ThreadPoolExecutor(max_workers=threads) as pool:
        digests = pool.map(observe, (folder / row.file for row in rows))
        counted = tqdm(digests, desc="check", unit="file", total=len(rows), disable=None)
        return dict(zip((row.file for row in rows), counted, strict=True))


def _require(row: Row, *, found: str, folder: Path) -> None:
    if found == MISSING:
        raise Rejection(
            problem="missing file",
            found="no such file",
            wanted=f"{row.file} below {folder}",
            advice="Copy it there or fetch it again (--forcerun fetch), or take its row out of the "
            "manifest",
        )
    if found == UNREADABLE:
        raise Rejection(
            problem="unreadable file",
            found="a file that you may not read",
            wanted="a readable file",
            advice="Ask for the right to read it (chmod, or the owner)",
        )
    size = (folder / row.file).stat().st_size
    if row.bytes is not None and size != row.bytes:
        raise Rejection(
            problem="wrong size",
            found=f"{size} bytes",
            wanted=f"{row.bytes} bytes",
            advice="Download or copy the file again",
        )
    if found != row.sha256:
        raise Rejection(
            problem="wrong checksum",
            found=f"sha256 {found}",
            wanted=f"sha256 {row.sha256}",
            advice="Copy it again; if the new content is right, write the manifest anew",
        )


def _pair(
    files: Sequence[Row], good: Sequence[Row], *, stages_wanted: bool
) -> list[dict[str, Any]]:
    by_role = {role: [row for row in good if row.role == role] for role in ("stages", "events")}
    claimed = [row for row in files if row.role == "signal"]
    usable = [row for row in good if row.role == "signal"]
    if len(claimed) > 1:
        raise Rejection(
            problem="two recordings of the same subject and night",
            found=", ".join(row.file for row in claimed),
            wanted="one recording",
            advice="Give them different subjects or nights in the manifest",
        )
    if not claimed:
        raise Rejection(
            problem="files without a recording",
            found=", ".join(row.file for row in files),
            wanted="a signal file of the same subject and night",
            advice="Add the recording to the manifest",
        )
    for role, rows in by_role.items():
        if len(rows) > 1:
            raise Rejection(
                problem=f"two {role} files of the same subject and night",
                found=", ".join(row.file for row in rows),
                wanted="one",
                advice="Keep the one that counts in the manifest",
            )
    if not usable:
        return []
    if stages_wanted and not by_role["stages"]:
        raise Rejection(
            problem="annotation missing",
            found=f"{usable[0].file} without a usable stages file",
            wanted="a stages file of the same subject and night",
            advice="Add it and write the manifest again; or leave the recording out of the "
            "manifest; or, where no night is scored, take `stages` out of the dataset's "
            "dataset.yaml",
        )
    for role in ("events", "companion"):
        spoilt = [row.file for row in files if row.role == role and row not in good]
        if not spoilt:
            continue
        raise Rejection(
            problem=f"{role} file not usable",
            found=", ".join(spoilt),
            wanted="the file that the manifest names",
            advice="See its own line in this table",
        )
    signal = usable[0]
    return [
        {
            "recording": _name_of(signal.file),
            "subject": signal.subject,
            "night": signal.night,
            "signal": signal.file,
            "stages": by_role["stages"][0].file if by_role["stages"] else None,
            "events": by_role["events"][0].file if by_role["events"] else None,
        }
    ]


def _name_of(file: str) -> str:
    """Give a recording's name: its path without suffix, as folders often hold files of one name."""
    return "_".join(PurePosixPath(file).with_suffix("").parts)


def _problem(row: Row, rejection: Rejection) -> dict[str, str]:
    recording = _name_of(row.file) if row.role == "signal" else ""
    return {"stage": "check", "file": row.file, "recording": recording, **rejection.row()}
