"""Deal subjects into folds and roles; the split file is the only place that roles come from.

All nights of a subject stay together. Folds have equally many subjects (or one more) and are
balanced by the stages that these bring: of many seeded random deals the most even one is taken.
Everything is sorted, so that the same cohort and seed give the same split on any machine.
(scikit-learn's StratifiedGroupKFold balances too, but by a greedy order that no seed changes.)
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from somnoflow.config.split import Split
from somnoflow.stages import STAGE_NAMES

DEALS = 300

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
    not), `train`, `val` and `test`; `unscored`: subjects without labels, pre-training only;
    `external`: subjects that are tested only.

    Raises
    ------
    ValueError
        When there are too few labelled subjects for the folds, or too few at all.
    """
    outside = [subject for subject in counts if subject.split("/")[0] in split.external]
    inside = sorted(set(counts) - set(outside))
    labelled = [subject for subject in inside if sum(counts[subject].values())]
    unscored = sorted(set(inside) - set(labelled))
    _require_labelled(labelled, folds=split.folds)
    judged = _deal_external(outside, counts, split)
    tests = _deal_evenly(labelled, counts, split) if split.folds > 1 else [[]]
    # Where nobody has labels, those without are all there is to choose by.
    known = labelled or unscored
    folds = []
    for number, test in enumerate(tests):
        rest = sorted(set(known) - set(test))
        val = _draw(rest, counts, share=split.validation, seed=split.seed)
        train = sorted(set(rest) & set(labelled) - set(val))
        hidden = (
            _draw(train, counts, share=split.unlabelled, seed=split.seed)
            if split.unlabelled
            else []
        )
        folds.append(
            {
                "fold": number,
                "pretrain": sorted({*train, *unscored} - set(val)),
                "train": sorted(set(train) - set(hidden)),
                "val": val,
                "test": sorted([*test, *judged[number]]),
            }
        )
    return {"folds": folds, "unscored": unscored, "external": sorted(outside)}


def _require_labelled(labelled: Sequence[str], *, folds: int) -> None:
    # Two folds take half of the subjects for the test, and two are needed beside them.
    least = {1: 0, 2: 4}.get(folds, folds)
    if len(labelled) < least:
        if not labelled:
            advice = (
                "To pre-train on recordings without labels set split.folds to 1 and ask for the "
                "target 'pretrained'"
            )
        elif len(labelled) > 2:
            advice = f"Set split.folds to {len(labelled)} or add subjects"
        else:
            advice = "Add subjects: no split with test subjects has fewer than 3"
        raise ValueError(
            f"{len(labelled)} subjects have scored, usable epochs; wanted at least "
            f"{least} for {folds} folds with train, val and test subjects. {advice}"
        )


def _deal_external(subjects: Sequence[str], counts: StageCounts, split: Split) -> list[list[str]]:
    """Deal the labelled subjects of external datasets over the folds, where they are tested."""
    labelled = sorted(subject for subject in subjects if sum(counts[subject].values()))
    return _deal_evenly(labelled, counts, split) if labelled else [[] for _ in range(split.folds)]


def _deal_evenly(subjects: Sequence[str], counts: StageCounts, split: Split) -> list[list[str]]:
    """Deal the subjects into folds of equal size, or one more; the last may stay empty."""
    filled = min(split.folds, len(subjects))
    sizes = [len(part) for part in np.array_split(subjects, filled)]
    empty: list[list[str]] = [[] for _ in range(split.folds - filled)]
    return _deal(subjects, counts, sizes=sizes, seed=split.seed) + empty


def _draw(subjects: Sequence[str], counts: StageCounts, *, share: float, seed: int) -> list[str]:
    """Draw about `share` of the subjects, at least one, and leave at least one."""
    if len(subjects) < 2:
        raise ValueError(
            f"{len(subjects)} subjects are left for training and validation, wanted at least 2. "
            "Raise split.folds or add subjects"
        )
    wanted = min(max(1, round(share * len(subjects))), len(subjects) - 1)
    return _deal(subjects, counts, sizes=[wanted, len(subjects) - wanted], seed=seed)[0]


def _deal(
    subjects: Sequence[str], counts: StageCounts, *, sizes: Sequence[int], seed: int
) -> list[list[str]]:
    """Deal the subjects into parts of these sizes whose shares of each stage are most alike."""
    table = np.array([[counts[subject][name] for name in STAGE_NAMES] for subject in subjects])
    total = np.maximum(table.sum(axis=0), 1)
    expected = np.outer(np.array(sizes) / len(subjects), table.sum(axis=0))
    starts = np.r_[0, np.cumsum(sizes)[:-1]]
    # The legacy generator: its numbers are the same in every version of NumPy.
    rng = np.random.RandomState(seed)
    deals = [rng.permutation(len(subjects)) for _ in range(DEALS)]
    unevenness = [
        np.square((np.add.reduceat(table[deal], starts) - expected) / total).sum() for deal in deals
    ]
    best = deals[int(np.round(unevenness, 9).argmin())]
    return [sorted(subjects[number] for number in part) for part in np.split(best, starts[1:])]
