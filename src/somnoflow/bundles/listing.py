"""`somnoflow models`: which bundles there are, and what each was trained on and reaches."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from somnoflow.bundles.about import BundleAbout
from somnoflow.bundles.bundle import ABOUT, SUFFIX, find_bundle, open_bundle, shipped
from somnoflow.io.printable import printable
from somnoflow.models.errors import WeightsError
from somnoflow.tasks import TASKS

BESIDE = "results/bundles"
HEADINGS = ("name", "task", "channels", "trained on", "on test", "size", "file")
NOTHING = "-"
WITH_PACKAGE = "(shipped)"


@dataclass(frozen=True)
class Listed:
    """One bundle, or what is in the way of reading it.

    Attributes
    ----------
    path
        Zip file or folder.
    shipped
        Whether it came with this package.
    size
        Bytes of its files.
    about
        Its model.json; None where it is damaged.
    problem
        Why it cannot be used; empty where it can.
    """

    path: Path
    shipped: bool
    size: int
    about: BundleAbout | None
    problem: str = ""


def list_bundles(folder: Path | None) -> list[Listed]:
    """Give the shipped bundles, and those in a folder and all folders below it.

    Parameters
    ----------
    folder
        Where to look; `results/bundles` where None, if it is there.

    Raises
    ------
    WeightsError
        When the folder is not there.
    """
    found = [_look(path, of_package=True) for path in shipped().values()]
    if folder is None and not Path(BESIDE).is_dir():
        return found
    where = folder or Path(BESIDE)
    if not where.exists():
        raise WeightsError(f"{where} is not there, wanted a folder with bundles, or a bundle")
    return found + [_look(path, of_package=False) for path in _paths(where)]


def find_card(name_or_path: str | Path) -> str:
    """Give a bundle's card for a terminal; a bundle is named by its path or its name in the list.

    Raises
    ------
    WeightsError
        When there is no such bundle, or it is damaged.
    """
    named = [
        one.path for one in list_bundles(None) if one.about and one.about.name == str(name_or_path)
    ]
    with open_bundle(named[0] if named else find_bundle(name_or_path)) as bundle:
        return printable(bundle.card, keep="\n\t")


def as_table(bundles: Sequence[Listed]) -> str:
    """Give a line for each bundle; under those that cannot be used, why."""
    if not bundles:
        return f"no bundle is shipped, and none is in {BESIDE}\n"
    rows = [HEADINGS, *map(_cells, bundles)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += [f"cannot be used: {one.problem}" for one in bundles if one.problem]
    return "\n".join(lines) + "\n"


def list_for_machines(bundles: Sequence[Listed]) -> str:
    """Give the same for machines: `path`, `shipped`, `size`, `problem`, and all of `about`."""
    content = [
        {
            "path": str(one.path),
            "shipped": one.shipped,
            "size": one.size,
            "problem": one.problem or None,
            "about": one.about and one.about.model_dump(mode="json"),
        }
        for one in bundles
    ]
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _paths(where: Path) -> list[Path]:
    """Give the bundles in a folder, itself among them: zip files, and folders with model.json."""
    if where.is_file():
        return [where]
    return sorted([*where.rglob(f"*{SUFFIX}"), *(path.parent for path in where.rglob(ABOUT))])


def _look(path: Path, *, of_package: bool) -> Listed:
    files = path.iterdir() if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files if file.is_file())
    try:
        with open_bundle(path) as bundle:
            return Listed(path, of_package, size, bundle.about)
    except WeightsError as error:
        return Listed(path, of_package, size, None, str(error))


def _cells(one: Listed) -> tuple[str, ...]:
    file = WITH_PACKAGE if one.shipped else str(one.path)
    size = f"{one.size / 1e6:.1f} MB"
    if one.about is None:
        return (one.path.stem, *[NOTHING] * 3, "cannot be used", size, file)
    about = one.about
    datasets = ", ".join(
        f"{dataset.name} (simulated)" if dataset.simulated and dataset.name != "simulated"
        else dataset.name
        for dataset in about.training.datasets
    )  # fmt: skip
    return (about.name, about.task, " ".join(about.channels), datasets, _reached(about), size, file)


def _reached(about: BundleAbout) -> str:
    """Give the one number that a task is judged by."""
    name, said = ("average_precision", "AP") if TASKS[about.task].rare else ("kappa", "kappa")
    measure = about.metrics.values.get(name)
    return f"{said} {measure.value:.2f}" if measure and measure.value is not None else NOTHING
