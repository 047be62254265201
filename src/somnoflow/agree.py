"""Compare several scorings of the same nights: on the screen, and as tables and JSON."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from somnoflow.agreement.nights import Labels, Scorings, read_scorings
from somnoflow.agreement.text import describe
from somnoflow.config.base import ConfigError
from somnoflow.config.dataset_file import read_dataset
from somnoflow.evaluate.agreement import ScoredNight, Ties, find_consensus, summarise
from somnoflow.io.atomic import atomic, write_json
from somnoflow.stages import EPOCH_SECONDS, STAGE_NAMES

ALL = "all"
RECOGNISED = "-"


def agree(
    paths: Sequence[Path],
    *,
    labels: Sequence[str],
    datasets: Path,
    names: Sequence[str],
    without_vote: Sequence[str],
    ties: Ties,
    out: Path | None,
) -> str:
    """Compare scorings, write the tables where `out` is given, and say the result.

    Parameters
    ----------
    paths
        As for `agreement.nights.read_scorings`.
    labels
        What explains the labels of each path, or of all paths where it is one: `-` (recognised),
        the name of a folder of `datasets`, or `dataset:scoring` for one of its other scorings.
    datasets
        Folder of the datasets.
    names
        Names of the scorers; after their files or folders where there is none.
    without_vote
        Scorers that are judged but whose votes make no consensus.
    ties
        As for `evaluate.agreement.find_consensus`.
    out
        Folder of the files to write.

    Raises
    ------
    ConfigError
        When the scorings cannot be read or compared; nothing was written then.
    """
    given = _labels(labels, paths=paths, datasets=datasets)
    found = read_scorings(paths, given, names=names)
    unknown = [name for name in without_vote if name not in found.scorers]
    if unknown:
        raise ConfigError(
            f"no scorer is called {', '.join(unknown)}. Scorers: {', '.join(found.scorers)}"
        )
    voters = [name for name in found.scorers if name not in without_vote]
    content = compare(found, voters=voters, ties=ties)
    if out is not None:
        _write(content, nights=found.nights, voters=voters, out=out)
    return describe(content)


def compare(found: Scorings, *, voters: Sequence[str], ties: Ties) -> dict[str, Any]:
    """Give everything in `agreement.json`: each cohort by itself, and all nights together."""
    groups: dict[str, list[ScoredNight]] = {}
    for night in found.nights:
        groups.setdefault(night.cohort or ALL, []).append(night)
    if len(groups) > 1:
        groups[ALL] = list(found.nights)
    return {
        "scorers": list(found.scorers),
        "voters": list(voters),
        "ties": ties,
        "stages": list(STAGE_NAMES),
        "left_out": list(found.left_out),
        "notes": list(found.notes),
        "cohorts": {
            name: {
                "recordings": [night.recording for night in nights],
                **summarise(nights, scorers=found.scorers, voters=voters, ties=ties),
            }
            for name, nights in groups.items()
        },
    }


def _labels(labels: Sequence[str], *, paths: Sequence[Path], datasets: Path) -> list[Labels | None]:
    if len(labels) not in (0, 1, len(paths)):
        raise ConfigError(
            f"--labels has {len(labels)} names for {len(paths)} scorings, wanted one for all, or "
            f"one for each ({RECOGNISED} where labels are recognised)"
        )
    given = [_explain(name, datasets=datasets) for name in labels] or [None]
    return given if len(given) == len(paths) else given * len(paths)


def _explain(name: str, *, datasets: Path) -> Labels | None:
    if name == RECOGNISED:
        return None
    folder, _, scoring = name.partition(":")
    dataset = read_dataset(datasets / folder)
    if scoring and scoring not in dataset.scorings:
        known = ", ".join(dataset.scorings) or "(none)"
        raise ConfigError(f"dataset '{folder}' has no scoring '{scoring}'. It has: {known}")
    chosen = dataset.scored_by(scoring) if scoring else dataset
    reading = chosen.reading.stages
    if reading is None:
        raise ConfigError(f"dataset '{folder}' says nothing of stages. Wanted: one that does")
    inside = chosen.reading.stages_inside
    return Labels(reading, chosen.files.signal if inside else chosen.files.stages)


def _write(
    content: Mapping[str, Any], *, nights: Sequence[ScoredNight], voters: Sequence[str], out: Path
) -> None:
    cohorts = content["cohorts"]
    tables = {
        "pairs.csv": [
            {"cohort": name, **_flat(pair, keys=("a", "b", "one_only"))}
            for name, block in cohorts.items()
            for pair in block["pairs"]
        ],
        "against_others.csv": [
            {"cohort": name, **_flat(one, keys=("scorer", "votes", "tied"))}
            for name, block in cohorts.items()
            for one in block["against_others"]
        ],
        "confusion.csv": [
            {"cohort": name, "a": pair["a"], "b": pair["b"], "stage_a": stage,
             **dict(zip((f"b_{other}" for other in STAGE_NAMES), row, strict=True))}
            for name, block in cohorts.items()
            for pair in block["pairs"]
            for stage, row in zip(STAGE_NAMES, pair["confusion_matrix"], strict=True)
        ],
        "statistics.csv": [
            {"cohort": name, **row}
            for name, block in cohorts.items()
            for row in block["statistics"]["pairs"]
        ],
        "nights.csv": [
            {"cohort": name, "recording": recording, "compared": compared, "kappa": kappa}
            for name, block in cohorts.items()
            if name != ALL or len(cohorts) == 1
            for compared, one in _compared(block)
            for recording, kappa in zip(block["recordings"], one["kappa_of_nights"], strict=True)
        ],
        "consensus.csv": list(_consensus(nights, content=content)),
    }  # fmt: skip
    for name, rows in tables.items():
        with atomic(out / name) as path:
            pl.DataFrame(rows, infer_schema_length=None).write_csv(path)
    with atomic(out / "agreement.json") as path:
        write_json(path, content)


def _flat(compared: Mapping[str, Any], *, keys: Sequence[str]) -> dict[str, Any]:
    return {
        **{key: compared[key] for key in keys},
        "nights": compared["nights"],
        "epochs": compared["epochs"],
        **{f"{name}_per_night": one["mean"] for name, one in compared["per_night"].items()},
        **{f"{name}_pooled": value for name, value in compared["pooled"].items()},
    }


def _compared(block: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for pair in block["pairs"]:
        yield f"{pair['a']} | {pair['b']}", pair
    for one in block["against_others"]:
        yield f"{one['scorer']} | others", one


def _consensus(
    nights: Sequence[ScoredNight], *, content: Mapping[str, Any]
) -> Iterable[dict[str, Any]]:
    """Give the consensus of all voters, epoch by epoch."""
    rows = [content["scorers"].index(name) for name in content["voters"]]
    for night in nights:
        found = find_consensus(night.stages[rows], ties=content["ties"])
        for epoch, stage in enumerate(found.stage):
            yield {
                "cohort": night.cohort,
                "recording": night.recording,
                "epoch": epoch,
                "onset_s": night.onset_s + epoch * EPOCH_SECONDS,
                "stage": STAGE_NAMES[stage] if stage >= 0 else None,
                "votes": int(found.votes[epoch]),
                "tied": bool(found.tied[epoch]),
            }
