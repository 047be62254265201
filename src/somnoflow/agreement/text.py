"""What `somnoflow agree` prints: plain tables."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from somnoflow.evaluate.agreement import STATISTICS
from somnoflow.io.printable import printable
from somnoflow.report.tables import NOTHING, decimal, plural, score
from somnoflow.stages import STAGE_NAMES

WIDTH = 96
MOST_PAIRS = 3
MOST_SAID = 12
_TITLES = {
    "tst_min": "TST (min)",
    "se_percent": "SE (%)",
    "sol_min": "SOL (min)",
    "waso_min": "WASO (min)",
    "rem_latency_min": "REM latency (min)",
    **{f"{name.lower()}_min": f"{name} (min)" for name in STAGE_NAMES},
}
_SHOWN = ("accuracy", "kappa", "macro_f1", *(f"f1_{name}" for name in STAGE_NAMES))
_HEAD = ["accuracy", "kappa", "macro F1", *(f"F1 {name}" for name in STAGE_NAMES)]


def describe(content: Mapping[str, Any]) -> str:
    """Give the whole text."""
    parts = [_describe_cohort(name, block, content) for name, block in content["cohorts"].items()]
    parts += [
        "\n".join([title, *_said(content[key])])
        for title, key in (("Remarks", "notes"), ("Left out", "left_out"))
        if content[key]
    ]
    text = "\n\n".join(parts) + "\n"
    # Names are others' text: a terminal must not obey it.
    return printable(text, keep="\n")


def _describe_cohort(name: str, block: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    scorers = plural(len(content["scorers"]), "scorer")
    title = f"{name}: {plural(block['nights'], 'night')}, {scorers}, {block['epochs']:,} epochs"
    lines = [title, "=" * len(title)]
    lines += _compared_table("Pairs", _pairs(block), mean=_mean_of_pairs(block))
    if block["against_others"]:
        lines += _consensus(block, content)
        judged = [
            (one["scorer"] + ("" if one["votes"] else " (no vote)"), one)
            for one in block["against_others"]
        ]
        title = "Each scorer against the consensus of the others"
        lines += _compared_table(title, judged, mean=("mean of voters", block["voter_mean"]))
        met = "; ".join(f"{one['scorer']}: {one['tied']:,}" for one in block["against_others"])
        lines += textwrap.wrap(f"Epochs in which the others are tied: {met}.", WIDTH)
    elif len(content["scorers"]) > 2:
        lines += ["", "No consensus of others: fewer than three scorers have a vote."]
    lines += _statistics(block)
    if len(block["pairs"]) == 1:
        lines += _confusion(block["pairs"][0])
    return "\n".join(lines)


def _pairs(block: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(f"{pair['a']} | {pair['b']}", pair) for pair in block["pairs"]]


def _mean_of_pairs(block: Mapping[str, Any]) -> tuple[str, Any] | None:
    return ("mean of pairs", block["pairwise"]) if len(block["pairs"]) > 1 else None


def _compared_table(
    title: str,
    compared: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    mean: tuple[str, Mapping[str, Any] | None] | None,
) -> list[str]:
    rows = [["", "", "epochs", *_HEAD]]
    for name, one in compared:
        nightly = [one["per_night"][measure]["mean"] for measure in _SHOWN]
        pooled = [one["pooled"][measure] for measure in _SHOWN]
        if one["nights"] > 1:
            rows.append([name, "per night", f"{one['epochs']:,}", *map(score, nightly)])
            rows.append(["", "pooled", "", *map(score, pooled)])
        else:
            rows.append([name, "", f"{one['epochs']:,}", *map(score, pooled)])
    if mean and mean[1]:
        several = any(one["nights"] > 1 for _, one in compared)
        for kind, label in (("per_night", "per night"), ("pooled", "pooled")):
            if several or kind == "pooled":
                first = mean[0] if kind == "per_night" or not several else ""
                values = [mean[1][kind][measure] for measure in _SHOWN]
                rows.append([first, label if several else "", "", *map(score, values)])
    left_out = [f"{pair}: {one['one_only']:,}" for pair, one in compared if one.get("one_only")]
    lines = ["", title, *align(rows)]
    if left_out:
        text = f"Epochs that one of the two gave no stage, not compared: {'; '.join(left_out)}."
        lines += textwrap.wrap(text, WIDTH)
    return lines


def _consensus(block: Mapping[str, Any], content: Mapping[str, Any]) -> list[str]:
    shares = block["consensus"]
    rule = {
        "drop": "Tied epochs have no consensus and are left out.",
        "soft": "A tied epoch has the stage of the tied scorer with the highest soft agreement of "
        "the night.",
    }[content["ties"]]
    text = (
        f"Of {shares['epochs']:,} epochs with two votes or more, "
        f"{_percent(shares['unanimous_share'])} are unanimous and "
        f"{_percent(shares['tied_share'])} tied. {rule}"
    )
    return ["", "Consensus", *textwrap.wrap(text, WIDTH)]


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.1f} %"


def _statistics(block: Mapping[str, Any]) -> list[str]:
    found = block["statistics"]
    few = len(block["pairs"]) <= MOST_PAIRS
    if not few:
        rows = [["", "lowest mean", "highest mean", "widest limits", "ICC"]]
        for name in STATISTICS:
            means = [one["mean"] for one in found["scorers"] if one["statistic"] == name]
            known = [mean for mean in means if mean is not None]
            pairs = [one for one in found["pairs"] if one["statistic"] == name]
            limited = [one for one in pairs if one["low"] is not None]
            widest = max(limited, key=lambda one: one["high"] - one["low"], default=None)
            rows.append(
                [_TITLES[name], decimal(min(known, default=None), places=1),
                 decimal(max(known, default=None), places=1), _limits(widest),
                 score(found["icc"][name])]
            )  # fmt: skip
        return ["", "Sleep statistics: scorers' means, and limits of agreement of the pair that "
                "differs most", *align(rows)]  # fmt: skip
    rows = [["", "pair", "nights", "difference", "limits of agreement", "ICC"]]
    for name in STATISTICS:
        for pair in [one for one in found["pairs"] if one["statistic"] == name]:
            rows.append(
                [_TITLES[name], f"{pair['b']} - {pair['a']}", str(pair["n"]),
                 decimal(pair["difference"], places=1), _limits(pair), score(found["icc"][name])]
            )  # fmt: skip
    return ["", "Sleep statistics: mean difference and 95 % limits of agreement", *align(rows)]


def _limits(pair: Mapping[str, Any] | None) -> str:
    if pair is None or pair["low"] is None:
        return NOTHING
    return f"{pair['low']:.1f} to {pair['high']:.1f}"


def _confusion(pair: Mapping[str, Any]) -> list[str]:
    rows = [["", *STAGE_NAMES]]
    rows += [
        [stage, *(f"{count:,}" for count in row)]
        for stage, row in zip(STAGE_NAMES, pair["confusion_matrix"], strict=True)
    ]
    return ["", f"Epochs: rows {pair['a']}, columns {pair['b']}", *align(rows)]


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Give the lines of a table: the first two columns to the left where they are text."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    texts = {0, 1} if any(row[1][:1].isalpha() for row in rows[1:]) else {0}
    return [
        "  ".join(
            cell.ljust(width) if n in texts else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _said(texts: Sequence[str]) -> list[str]:
    lines = []
    for text in texts[:MOST_SAID]:
        first, *rest = textwrap.wrap(text, WIDTH - 2, break_on_hyphens=False) or [""]
        lines += [f"- {first}", *(f"  {line}" for line in rest)]
    more = len(texts) - MOST_SAID
    return [*lines, *([f"- and {more} more: agreement.json of --out has all"] if more > 0 else [])]
