"""Deal subjects into folds and roles; the split file is the only place that roles come from.

All nights of a subject stay together. Folds are balanced by the stages that subjects bring
(scikit-learn's StratifiedGroupKFold), and everything is sorted and seeded, so that the same
cohort gives the same split on any machine.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedGroupKFold

from somnoflow.config.split import Split
from somnoflow.stages import STAGE_NAMES

MOST_SAMPLES = 2_000_000

StageCounts = Mapping[str, Mapping[str, int]]


def count_stages(recordings: Sequence[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """Give the usable scored epochs of each stage for each subject, over all of its nights."""
    counts: dict[str, Counter[str]] = {}
    for recording in recordings:
        counts.setdefault(recording["subject"], Counter()).update(recording["usable_stages"])
    return dict(sorted(counts.items()))


def make_split(counts: StageCounts, split: Split) -> dict[str, Any]:
    """Give the roles of all subjects in each fold.

    Parameters
    ----------
    counts
        Usable scored epochs by stage for each subject.
    split
        Number of folds, shares and seed.

    Returns
    -------
    `folds`: for each the sorted subjects of `pretrain` (all that training may see, labelled or
    not), `train`, `val` and `test`; `unscored`: subjects without labels, pre-training only.

    Raises
    ------
    ValueError
        When there are too few labelled subjects for the folds.
    """
    labelled = sorted(subject for subject, stages in counts.items() if sum(stages.values()))
    unscored = sorted(set(counts) - set(labelled))
    if len(labelled) < max(3, split.folds):
        raise ValueError(
            f"{len(labelled)} subjects have scored, usable epochs; wanted at least "
            f"{max(3, split.folds)} for {split.folds} folds with train, val and test subjects. "
            "Lower split.folds or add subjects"
        )
    folds = []
    for number, test in enumerate(_deal(labelled, counts, parts=split.folds, seed=split.seed)):
        rest = sorted(set(labelled) - set(test))
        val = _draw(rest, counts, share=split.validation, seed=split.seed)
        train = sorted(set(rest) - set(val))
        hidden = (
            _draw(train, counts, share=split.unlabelled, seed=split.seed)
            if split.unlabelled
            else []
        )
        folds.append(
            {
                "fold": number,
                "pretrain": sorted([*train, *unscored]),
                "train": sorted(set(train) - set(hidden)),
                "val": val,
                "test": test,
            }
        )
    return {"folds": folds, "unscored": unscored}


def _draw(subjects: Sequence[str], counts: StageCounts, *, share: float, seed: int) -> list[str]:
    """Draw about `share` of the subjects, at least one, and leave at least one."""
    if len(subjects) < 2:
        raise ValueError(
            f"{len(subjects)} subjects are left for training and validation, wanted at least 2. "
            "Raise split.folds or add subjects"
        )
    wanted = min(max(1, round(share * len(subjects))), len(subjects) - 1)
    drawn: list[str] = []
    for part in _deal(subjects, counts, parts=max(2, round(1 / share)), seed=seed):
        drawn += part
        if len(drawn) >= wanted:
            break
    return sorted(drawn[:wanted])


def _deal(
    subjects: Sequence[str], counts: StageCounts, *, parts: int, seed: int
) -> list[list[str]]:
    parts = min(parts, len(subjects))
    groups, stages = _samples(subjects, counts)
    # scikit-learn cannot balance stages that all have fewer epochs than there are parts.
    if np.bincount(stages).max() >= parts:
        folds = StratifiedGroupKFold(n_splits=parts, shuffle=True, random_state=seed)
        dealt = [
            sorted({subjects[group] for group in groups[chosen]})
            for _, chosen in folds.split(groups, stages, groups)
        ]
        if all(dealt):
            return dealt
    # A few very unequal subjects can leave a balanced part empty: then deal by number alone.
    plain = KFold(n_splits=parts, shuffle=True, random_state=seed)
    return [[subjects[number] for number in chosen] for _, chosen in plain.split(subjects)]


def _samples(
    subjects: Sequence[str], counts: StageCounts
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]:
    """Spell the stage counts out as scikit-learn wants them, thinned for very large cohorts."""
    table = np.array([[counts[subject][name] for name in STAGE_NAMES] for subject in subjects])
    thinned = np.ceil(table / max(1, table.sum() / MOST_SAMPLES)).astype(np.int64)
    groups = np.repeat(np.arange(len(subjects)), thinned.sum(axis=1))
    stages = np.concatenate([np.repeat(np.arange(len(STAGE_NAMES)), row) for row in thinned])
    return groups, stages
