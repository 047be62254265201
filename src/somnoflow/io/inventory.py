"""Make a manifest from a folder: every file that a dataset's patterns recognise, hashed."""

from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from somnoflow.config.dataset import Dataset
from somnoflow.io.digest import sha256_file
from somnoflow.io.manifest import ManifestError, Row, files_below, identify


@dataclass(frozen=True)
class Inventory:
    """The rows of a manifest, and the files that no pattern fits."""

    rows: list[Row]
    left_out: list[str]


def make_manifest(folder: Path, dataset: Dataset) -> Inventory:
    """Hash the recordings and annotations below `folder`.

    Raises
    ------
    ManifestError
        When there is no such folder, no recording in it fits the pattern, or a file that fits
        cannot be named in a manifest.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder} is not a folder. Wanted: the folder with the recordings")
    patterns = dataset.patterns()
    rows: list[Row] = []
    left_out: list[str] = []
    for name in tqdm(list(files_below(folder)), desc="manifest", unit="file", disable=None):
        known = identify(name, patterns)
        if known is None:
            left_out.append(name)
            continue
        role, subject, night = known
        path = folder / name
        rows.append(
            Row(
                file=name,
                bytes=path.stat().st_size,
                sha256=sha256_file(path),
                subject=subject,
                night=night,
                role=role,
            )
        )
    if not any(row.role == "signal" for row in rows):
        raise ManifestError(
            f"no recording in {folder} fits the pattern '{dataset.files.signal}' of dataset.yaml. "
            f"Found: {', '.join(left_out[:5]) or 'no file'}"
        )
    return Inventory(rows=rows, left_out=left_out)
