"""How far several scorers of the same nights agree: pairs, a consensus, each against the others.

What is decided here:

- Two scorers are compared in the epochs that both gave a stage; the others are counted.
- The consensus of an epoch is the stage that most scorers gave; at least two must have given
  one. A tie gives no consensus (`drop`), or goes to the tied stage of the scorer whose soft
  agreement over the night is the highest of those who gave a tied stage (`soft`, after Guillot et
  al. 2020).
- Each scorer is judged by the consensus of the others, never by one that holds its own vote. A
  scorer that has no vote (a model beside experts) is judged by the same consensuses, each of which
  lacks one expert, so that both face the same number of votes; its counts are added up over them,
  and its value in a night is the mean over them.
- The mean of a cohort is that over nights and then over scorers; pooled values weigh all epochs
  alike.
- Sleep statistics count from the first to the last epoch to which anybody gave a stage.

References
----------
Cohen J. A coefficient of agreement for nominal scales. Educ Psychol Meas 20:37-46, 1960.
Bland JM, Altman DG. Statistical methods for assessing agreement. Lancet 327:307-310, 1986.
Shrout PE, Fleiss JL. Intraclass correlations. Psychol Bull 86:420-428, 1979.
Guillot A et al. Dreem Open Datasets. IEEE TNSRE 28:1955-1965, 2020.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from somnoflow.evaluate.confusion import N_STAGES, agreement, ratio, rounded
from somnoflow.evaluate.sleep_statistics import sleep_statistics
from somnoflow.stages import STAGE_NAMES

Ties = Literal["drop", "soft"]
FEWEST_VOTES = 2
WITHIN = 1.96
Stages = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
MEASURES = (
    "accuracy",
    "kappa",
    "macro_f1",
    *(f"f1_{name}" for name in STAGE_NAMES),
    *(f"recall_{name}" for name in STAGE_NAMES),
)
STATISTICS = (
    "tst_min",
    "se_percent",
    "sol_min",
    "waso_min",
    "rem_latency_min",
    *(f"{name.lower()}_min" for name in STAGE_NAMES),
)


@dataclass(frozen=True, eq=False)
class ScoredNight:
    """The stages that S scorers gave to the T epochs of one night.

    `stages` is (S, T) int8, -1 where a scorer gave none; `onset_s` is where the first epoch begins,
    in seconds after the start of the recording.
    """

    recording: str
    cohort: str
    onset_s: float
    stages: Stages


@dataclass(frozen=True, eq=False)
class Consensus:
    """What most of some scorers say of T epochs.

    `stage` (T,) is -1 without a consensus; `votes` (T,) counts the scorers that gave any stage.
    `tied` and `unanimous` (T,) tell of epochs with enough votes that several stages have the most
    of them, or that all votes are for one stage.
    """

    stage: Stages
    votes: Counts
    tied: npt.NDArray[np.bool_]
    unanimous: npt.NDArray[np.bool_]


def count_pairs(true: Stages, other: Stages) -> Counts:
    """Count the epochs of two scorings that have both a stage, (5, 5): rows are of `true`."""
    both = (true >= 0) & (other >= 0)
    cells = true[both].astype(np.int64) * N_STAGES + other[both]
    return np.bincount(cells, minlength=N_STAGES**2).reshape(N_STAGES, N_STAGES)


def find_consensus(stages: Stages, *, ties: Ties = "drop") -> Consensus:
    """Give the stage of each epoch that most scorers gave.

    Parameters
    ----------
    stages
        (S, T), -1 where a scorer gave none.
    ties
        `drop` leaves tied epochs without a consensus, `soft` gives them to the scorer with the
        highest soft agreement.
    """
    given = stages[:, :, None] == np.arange(N_STAGES)  # (S, T, 5)
    counts = given.sum(axis=0)
    votes, most = counts.sum(axis=1), counts.max(axis=1)
    leading = (counts == most[:, None]) & (most > 0)[:, None]
    enough = votes >= FEWEST_VOTES
    tied = enough & (leading.sum(axis=1) > 1)
    stage = np.where(enough & ~tied, counts.argmax(axis=1), -1)
    if ties == "soft" and tied.any():
        # A scorer without any stage votes for nothing, whatever its rank.
        trust = np.nan_to_num(soft_agreement(stages))
        voted = (given & leading).any(axis=2)  # (S, T): gave one of the leading stages
        judge = np.where(voted, trust[:, None], -1.0).argmax(axis=0)
        stage = np.where(tied, stages[judge, np.arange(stages.shape[1])], stage)
    return Consensus(stage.astype(np.int8), votes, tied, enough & (most == votes))


def soft_agreement(stages: Stages) -> Floats:
    """Give each scorer's soft agreement with the others, (S,), from 0 to 1.

    It is the mean, over the epochs that the scorer and any other gave a stage, of the share that
    the scorer's stage has of the votes of the others' most frequent stage. NaN without such epochs.
    """
    given = (stages[:, :, None] == np.arange(N_STAGES)).astype(np.int64)
    others = given.sum(axis=0) - given  # (S, T, 5)
    most = others.max(axis=2)
    known = (stages >= 0) & (most > 0)
    share = ratio((others * given).sum(axis=2), most)
    return ratio(np.where(known, share, 0.0).sum(axis=1), known.sum(axis=1))


def summarise(
    nights: Sequence[ScoredNight],
    *,
    scorers: Sequence[str],
    voters: Sequence[str],
    ties: Ties,
) -> dict[str, Any]:
    """Compare S scorers on some nights.

    Parameters
    ----------
    nights
        At least one.
    scorers
        Their names, in the order of `ScoredNight.stages`.
    voters
        Those whose votes make the consensus.
    ties
        As for `find_consensus`.

    Returns
    -------
    dict
        `nights`, `epochs`; `pairs` and their mean `pairwise`; `consensus` (shares of unanimous and
        tied epochs); with three voters or more `against_others` (one entry per scorer) and the mean
        of the voters `voter_mean`, else empty and None; `statistics` (`scorers`: mean of each,
        `pairs`: Bland-Altman, `icc`). A value that is not defined is None.
    """
    number = {name: place for place, name in enumerate(scorers)}
    pairs = [_pair(nights, a=a, b=b, number=number) for a, b in combinations(scorers, 2)]
    voting = [pair for pair in pairs if {pair["a"], pair["b"]} <= set(voters)]
    rows = [number[name] for name in voters]
    judged = _judge(nights, scorers=scorers, rows=rows, ties=ties) if len(rows) > 2 else []
    return {
        "nights": len(nights),
        "epochs": sum(night.stages.shape[1] for night in nights),
        "pairs": pairs,
        "pairwise": _mean(voting) if voting else None,
        "consensus": _shares(nights, rows=rows),
        "against_others": judged,
        "voter_mean": _mean([one for one in judged if one["votes"]]) if judged else None,
        "statistics": _statistics(nights, scorers=scorers),
    }


def _pair(
    nights: Sequence[ScoredNight], *, a: str, b: str, number: Mapping[str, int]
) -> dict[str, Any]:
    found = [(night.stages[number[a]], night.stages[number[b]]) for night in nights]
    confusion = np.stack([count_pairs(*one) for one in found])
    one_only = sum(int(((first >= 0) != (second >= 0)).sum()) for first, second in found)
    return {"a": a, "b": b, "one_only": one_only, **_compared(confusion[:, None])}


def _judge(
    nights: Sequence[ScoredNight], *, scorers: Sequence[str], rows: Sequence[int], ties: Ties
) -> list[dict[str, Any]]:
    """Compare each scorer with the consensus of the voters but itself, or but each one in turn."""
    counts: dict[int, list[Counts]] = {place: [] for place in range(len(scorers))}
    tied = dict.fromkeys(counts, 0)
    for night in nights:
        without = {
            row: find_consensus(night.stages[[r for r in rows if r != row]], ties=ties)
            for row in rows
        }
        for place, own in enumerate(night.stages):
            judges = [without[place]] if place in without else list(without.values())
            counts[place].append(np.stack([count_pairs(judge.stage, own) for judge in judges]))
            ties_met = [int((judge.tied & (own >= 0)).sum()) for judge in judges]
            tied[place] += round(sum(ties_met) / len(judges))
    return [
        {
            "scorer": name,
            "votes": place in rows,
            "tied": tied[place],
            **_compared(np.stack(counts[place])),
        }
        for place, name in enumerate(scorers)
    ]


def _compared(confusion: Counts) -> dict[str, Any]:
    """Give the values of counts (nights, judges, 5, 5), pooled and as a mean over nights."""
    pooled = confusion.sum(axis=(0, 1))
    each = {name: _defined_mean(values) for name, values in _measure(confusion).items()}
    return {
        "nights": int(confusion.any(axis=(1, 2, 3)).sum()),
        "epochs": round(pooled.sum() / confusion.shape[1]),
        "pooled": {name: rounded(value) for name, value in _measure(pooled).items()},
        "per_night": {name: _spread(values) for name, values in each.items()},
        "kappa_of_nights": [rounded(value) for value in each["kappa"]],
        "confusion_matrix": pooled.tolist(),
    }


def _measure(confusion: Counts) -> dict[str, Floats]:
    found = agreement(confusion)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    recall = ratio(hits, confusion.sum(axis=-1))
    return {
        "accuracy": found.accuracy,
        "kappa": found.kappa,
        "macro_f1": found.macro_f1,
        **{f"f1_{name}": found.f1[..., n] for n, name in enumerate(STAGE_NAMES)},
        **{f"recall_{name}": recall[..., n] for n, name in enumerate(STAGE_NAMES)},
    }


def _defined_mean(values: Floats) -> Floats:
    """Give the mean of the defined values along the last axis; NaN where there is none."""
    return ratio(np.nansum(values, axis=-1), (~np.isnan(values)).sum(axis=-1))


def _mean(compared: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Give the plain mean over scorers, or over pairs, of what is defined."""
    pooled = {name: [one["pooled"][name] for one in compared] for name in MEASURES}
    nightly = {name: [one["per_night"][name]["mean"] for one in compared] for name in MEASURES}
    return {
        kind: {
            name: rounded(_defined_mean(np.asarray(values, np.float64)))
            for name, values in found.items()
        }
        for kind, found in (("per_night", nightly), ("pooled", pooled))
    }


def _shares(nights: Sequence[ScoredNight], *, rows: Sequence[int]) -> dict[str, Any]:
    found = [find_consensus(night.stages[rows]) for night in nights]
    voted = sum(int((one.votes >= FEWEST_VOTES).sum()) for one in found)
    unanimous = sum(int(one.unanimous.sum()) for one in found)
    tied = sum(int(one.tied.sum()) for one in found)
    return {
        "epochs": voted,
        "unanimous": unanimous,
        "tied": tied,
        "unanimous_share": rounded(ratio(np.asarray(unanimous), np.asarray(voted))),
        "tied_share": rounded(ratio(np.asarray(tied), np.asarray(voted))),
    }


def _statistics(nights: Sequence[ScoredNight], *, scorers: Sequence[str]) -> dict[str, Any]:
    cells = [[_report(own) for own in _staged(night)] for night in nights]
    summary: dict[str, Any] = {"scorers": [], "pairs": [], "icc": {}}
    for name in STATISTICS:
        values = np.asarray([[one.get(name) for one in row] for row in cells], np.float64)
        summary["icc"][name] = rounded(intraclass_correlation(values))
        for place, scorer in enumerate(scorers):
            found = {"scorer": scorer, "statistic": name, **_spread(values[:, place])}
            summary["scorers"].append(found)
        for a, b in combinations(range(len(scorers)), 2):
            between = limits_of_agreement(values[:, a], values[:, b])
            pair = {"a": scorers[a], "b": scorers[b], "statistic": name, **between}
            summary["pairs"].append(pair)
    return summary


def _report(stages: Stages) -> dict[str, float | None]:
    """Give the `STATISTICS` of one scorer's night; none where the scorer gave no stage at all."""
    if not (stages >= 0).any():
        return {}
    found = sleep_statistics([STAGE_NAMES[code] if code >= 0 else None for code in stages])
    values = (found.tst, found.se, found.sol, found.waso, found.rem_latency)
    return dict(zip(STATISTICS, (*values, *found.minutes.values()), strict=True))


def _staged(night: ScoredNight) -> Stages:
    """Give the stages from the first to the last epoch to which anybody gave one."""
    known = np.flatnonzero((night.stages >= 0).any(axis=0))
    return night.stages[:, known[0] : known[-1] + 1] if known.size else night.stages


def limits_of_agreement(first: Floats, second: Floats) -> dict[str, float | int | None]:
    """Compare two scorers' values of N nights by Bland and Altman (1986).

    Returns
    -------
    dict
        `n` nights in which both are defined; `difference`, the mean of second - first; its `sd`;
        `low` and `high`, the mean -+ 1.96 SD (None with fewer than two nights).
    """
    apart = second - first
    found = _spread(apart)
    middle, sd = found["mean"], found["sd"]
    limits = None if middle is None or sd is None else (middle - WITHIN * sd, middle + WITHIN * sd)
    return {
        "n": found["n"],
        "difference": middle,
        "sd": sd,
        "low": rounded(limits[0]) if limits else None,
        "high": rounded(limits[1]) if limits else None,
    }


def intraclass_correlation(values: Floats) -> float:
    """Give ICC(2,1) of Shrout and Fleiss (1979): two-way random, absolute agreement, one scorer.

    Parameters
    ----------
    values
        (N nights, S scorers); nights with an undefined value are left out.

    Returns
    -------
    At most 1; NaN with fewer than two nights or scorers, or where no value differs from another.
    """
    whole = values[~np.isnan(values).any(axis=1)]
    n, k = whole.shape
    if n < 2 or k < 2:
        return float("nan")
    total = whole.mean()
    nights = k * ((whole.mean(axis=1) - total) ** 2).sum() / (n - 1)
    scorers = n * ((whole.mean(axis=0) - total) ** 2).sum() / (k - 1)
    rest = whole - whole.mean(axis=1, keepdims=True) - whole.mean(axis=0) + total
    error = (rest**2).sum() / ((n - 1) * (k - 1))
    below = nights + (k - 1) * error + k * (scorers - error) / n
    return float((nights - error) / below) if below > 0 else float("nan")


def _spread(values: Floats) -> dict[str, Any]:
    defined = values[~np.isnan(values)]
    n = len(defined)
    return {
        "n": n,
        "mean": rounded(defined.mean()) if n else None,
        "sd": rounded(defined.std(ddof=1)) if n > 1 else None,
    }
