"""Who is trained on, chosen by and tested on: read from the split file, never drawn here."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path


@dataclass(frozen=True)
class Roles:
    """Subject keys (`dataset/subject`) of one fold.

    Attributes
    ----------
    pretrain
        Whose epochs pre-training sees, without their stages.
    train
        Whose scored epochs heads are trained on.
    val
        By whom every choice is made.
    test
        Who is read once, to report.
    """

    pretrain: tuple[str, ...]
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


def read_roles(split: Path, *, fold: int) -> Roles:
    """Read the roles of a fold and check that nobody who chooses or tests is trained on."""
    folds = {entry["fold"]: entry for entry in json.loads(split.read_text("utf-8"))["folds"]}
    if fold not in folds:
        raise ValueError(f"{split} has the folds {sorted(folds)}, wanted fold {fold}")
    entry = folds[fold]
    roles = Roles(
        **{name: tuple(sorted(entry[name])) for name in ("pretrain", "train", "val", "test")}
    )
    apart = [*combinations(("train", "val", "test"), 2), ("pretrain", "val"), ("pretrain", "test")]
    for one, other in apart:
        shared = sorted(set(getattr(roles, one)) & set(getattr(roles, other)))
        if shared:
            raise ValueError(
                f"fold {fold} of {split} has {len(shared)} subjects both in {one} and in {other}: "
                f"{', '.join(shared[:5])}"
            )
    return roles


def require_subjects(wanted: Collection[str], found: Collection[str], *, where: str) -> None:
    """Raise `ValueError` unless every wanted subject was found."""
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(set(wanted))} subjects of the split are not in {where}: "
            f"{', '.join(missing[:5])}. Make the split again with: snakemake --forcerun split"
        )
