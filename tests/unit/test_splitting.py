"""Splits: nobody is in two roles, everybody is tested once, and the same cohort splits alike."""

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from somnoflow.config.split import Split
from somnoflow.data.splitting import count_stages, make_split
from somnoflow.stages import STAGE_NAMES

ROLES = ("train", "val", "test")

counts = st.lists(
    st.lists(st.integers(0, 400), min_size=5, max_size=5), min_size=3, max_size=14
).map(
    lambda rows: {
        f"d/S{number:02}": Counter(dict(zip(STAGE_NAMES, row, strict=True)))
        for number, row in enumerate(rows)
    }
)
splits = st.builds(
    Split,
    folds=st.integers(2, 4),
    validation=st.floats(0.05, 0.9),
    unlabelled=st.just(0.0),
    seed=st.integers(0, 99),
)


def labelled(cohort: dict[str, Counter[str]]) -> set[str]:
    return {subject for subject, stages in cohort.items() if stages.total()}


@settings(max_examples=60, deadline=None)
@given(counts, splits)
def test_roles_never_overlap_and_everybody_is_tested_once(
    cohort: dict[str, Counter[str]], split: Split
) -> None:
    known = labelled(cohort)
    if len(known) < (4 if split.folds == 2 else split.folds):
        with pytest.raises(ValueError, match=f"{len(known)} subjects have scored, usable epochs"):
            make_split(cohort, split)
        return
    made = make_split(cohort, split)
    assert len(made["folds"]) == split.folds
    for fold in made["folds"]:
        roles = [set(fold[role]) for role in ROLES]
        assert all(roles)
        assert sum(map(len, roles)) == len(set.union(*roles))
        assert set.union(*roles) == known
        assert not set(fold["pretrain"]) & (set(fold["val"]) | set(fold["test"]))
        assert set(fold["pretrain"]) == set(fold["train"]) | set(made["unscored"])
        assert all(fold[role] == sorted(fold[role]) for role in (*ROLES, "pretrain"))
    assert sorted(name for fold in made["folds"] for name in fold["test"]) == sorted(known)
    sizes = [len(fold["test"]) for fold in made["folds"]]
    assert max(sizes) - min(sizes) <= 1
    assert set(made["unscored"]) == set(cohort) - known


@settings(max_examples=20, deadline=None)
@given(counts, splits, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(
    cohort: dict[str, Counter[str]], split: Split, shuffle: random.Random
) -> None:
    assume(len(labelled(cohort)) >= max(4, split.folds))
    items = list(cohort.items())
    shuffle.shuffle(items)
    assert make_split(dict(items), split) == make_split(cohort, split)


def cohort_of(number: int, *, seed: int = 0) -> dict[str, Counter[str]]:
    rng = np.random.default_rng(seed)
    return {
        f"d/S{n:03}": Counter({name: int(rng.integers(20, 200)) for name in STAGE_NAMES})
        for n in range(number)
    }


def test_another_seed_is_another_split() -> None:
    cohort = cohort_of(12)
    assert make_split(cohort, Split(seed=1)) != make_split(cohort, Split(seed=2))


def test_hidden_subjects_serve_pretraining_only() -> None:
    made = make_split(cohort_of(20), Split(folds=4, unlabelled=0.5, validation=0.2))
    for fold in made["folds"]:
        hidden = set(fold["pretrain"]) - set(fold["train"])
        assert len(hidden) == 6
        assert not hidden & (set(fold["val"]) | set(fold["test"]))
        assert len(fold["train"]) == 6
        assert len(fold["val"]) == 3


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75])
def test_validation_takes_its_share(share: float) -> None:
    for fold in make_split(cohort_of(40), Split(folds=4, validation=share))["folds"]:
        assert len(fold["val"]) == round(30 * share)


def test_nights_of_one_subject_are_counted_together() -> None:
    nights: list[dict[str, Any]] = [
        {"subject": "d/B", "usable_stages": {"W": 5, "N2": 1}},
        {"subject": "d/A", "usable_stages": {"W": 0}},
        {"subject": "d/B", "usable_stages": {"W": 2, "REM": 3}},
    ]
    found = count_stages(nights)
    assert list(found) == ["d/A", "d/B"]
    assert found["d/B"] == Counter({"W": 7, "REM": 3, "N2": 1})


def test_too_few_subjects_after_the_test_role() -> None:
    with pytest.raises(ValueError, match=r"Raise split\.folds or add subjects"):
        make_split(cohort_of(4), Split(folds=2, unlabelled=0.5))
    with pytest.raises(ValueError, match=r"wanted at least 4 for 2 folds.*Set split\.folds to 3 "):
        make_split(cohort_of(3), Split(folds=2))
    with pytest.raises(ValueError, match=r"wanted at least 5 for 5 folds.*Set split\.folds to 4 "):
        make_split(cohort_of(4), Split(folds=5))
    with pytest.raises(ValueError, match="Add subjects: no split with test"):
        make_split(cohort_of(2), Split(folds=2))


@pytest.mark.parametrize("subjects", [3, 4, 7])
def test_the_folds_that_are_advised_are_possible(subjects: int) -> None:
    assert len(make_split(cohort_of(subjects), Split(folds=subjects))["folds"]) == subjects


def test_single_epochs_of_different_stages_are_dealt_too() -> None:
    cohort = {f"d/{name}": Counter({name: 1}) for name in STAGE_NAMES}
    made = make_split(cohort, Split(folds=5))
    assert sorted(name for fold in made["folds"] for name in fold["test"]) == sorted(cohort)


def test_folds_are_more_alike_than_by_chance() -> None:
    rng = np.random.default_rng(3)
    cohort = {}
    for number in range(40):
        shares = rng.dirichlet([1] * 5)
        epochs = rng.integers(200, 1000)
        cohort[f"d/S{number:03}"] = Counter(
            {name: int(epochs * share) for name, share in zip(STAGE_NAMES, shares, strict=True)}
        )

    def spread(folds: list[list[str]]) -> float:
        tables = [[sum(cohort[s][name] for s in fold) for name in STAGE_NAMES] for fold in folds]
        return float(np.std(np.array(tables), axis=0).sum())

    made = [fold["test"] for fold in make_split(cohort, Split(folds=4))["folds"]]
    chance = []
    for _ in range(20):
        names = rng.permutation(sorted(cohort))
        chance.append(spread([list(part) for part in np.array_split(names, 4)]))
    assert spread(made) < min(chance)


def test_one_fold_tests_nobody_and_uses_everybody() -> None:
    made = make_split(cohort_of(8), Split(folds=1, validation=0.25))
    (fold,) = made["folds"]
    assert fold["test"] == []
    assert len(fold["val"]) == 2
    assert set(fold["train"]) == set(cohort_of(8)) - set(fold["val"])


def test_a_cohort_without_labels_is_pretrained_on_and_validated() -> None:
    cohort = {f"d/S{number:02}": Counter[str]() for number in range(8)}
    (fold,) = make_split(cohort, Split(folds=1, validation=0.25))["folds"]
    assert (fold["train"], fold["test"], len(fold["val"])) == ([], [], 2)
    assert set(fold["pretrain"]) == set(cohort) - set(fold["val"])
    with pytest.raises(ValueError, match=r"0 subjects have scored.*set split\.folds to 1"):
        make_split(cohort, Split(folds=4))
    with pytest.raises(ValueError, match="1 subjects are left for training and validation"):
        make_split({"d/S00": Counter[str]()}, Split(folds=1))


def two_datasets(here: int, elsewhere: int, *, unscored: int = 0) -> dict[str, Counter[str]]:
    external = {
        name.replace("d/", "ext/"): stages
        for name, stages in cohort_of(elsewhere + unscored, seed=1).items()
    }
    for name in sorted(external)[elsewhere:]:
        external[name] = Counter()
    return cohort_of(here) | external


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(0, 9), st.integers(0, 3), st.integers(0, 99))
def test_external_subjects_are_tested_once_and_nothing_else(
    folds: int, elsewhere: int, unscored: int, seed: int
) -> None:
    cohort = two_datasets(8, elsewhere, unscored=unscored)
    made = make_split(cohort, Split(folds=folds, seed=seed, external=["ext"]))
    external = {name for name in cohort if name.startswith("ext/")}
    scored = labelled(cohort) & external
    assert made["external"] == sorted(external)
    assert not external & set(made["unscored"])
    for fold in made["folds"]:
        assert not external & {name for role in ("pretrain", "train", "val") for name in fold[role]}
        assert fold["test"] == sorted(fold["test"])
    tested = [name for fold in made["folds"] for name in fold["test"] if name in external]
    assert sorted(tested) == sorted(scored)
    per_fold = [len(external & set(fold["test"])) for fold in made["folds"]]
    assert max(per_fold) - min(per_fold) <= 1


def test_external_subjects_change_nothing_of_the_others_roles() -> None:
    split = Split(folds=3, external=["ext"])
    alone, both = (make_split(two_datasets(9, n), split)["folds"] for n in (0, 5))
    for fold, mixed in zip(alone, both, strict=True):
        assert all(fold[role] == mixed[role] for role in ("pretrain", "train", "val"))
        assert fold["test"] == [name for name in mixed["test"] if name.startswith("d/")]


def test_fewer_external_subjects_than_folds() -> None:
    made = make_split(two_datasets(8, 2), Split(folds=4, external=["ext"]))
    tested = [[n for n in fold["test"] if n.startswith("ext/")] for fold in made["folds"]]
    assert sorted(map(len, tested)) == [0, 0, 1, 1]


def test_a_dataset_is_external_by_its_whole_name() -> None:
    cohort = cohort_of(6) | {"extra/S1": Counter(W=5, N2=9), "ext/S1": Counter(W=5, N2=9)}
    made = make_split(cohort, Split(folds=2, external=["ext"]))
    assert made["external"] == ["ext/S1"]
    assert "extra/S1" in {name for fold in made["folds"] for name in (*fold["train"], *fold["val"])}


def test_external_datasets_alone_are_no_cohort() -> None:
    with pytest.raises(ValueError, match="0 subjects have scored, usable epochs"):
        make_split(two_datasets(0, 6), Split(folds=2, external=["ext"]))
