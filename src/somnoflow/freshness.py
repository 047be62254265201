"""Judge results without Snakemake's memory: compare each run.json with the plan.

A result is fresh when its run.json names the code and the configuration of today, when its inputs
and outputs are on disk with the content it names, and when what it was made from is fresh too.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from somnoflow.io.digest import DigestError, sha256_file
from somnoflow.io.run_file import RUN_FILE, read_run
from somnoflow.plan import Artefact, Plan


class Verdict(Enum):
    """What an artefact is."""

    FRESH = "fresh"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True)
class Judgement:
    """An artefact, whether it is fresh, and why not."""

    artefact: Artefact
    verdict: Verdict
    reason: str


def judge(plan: Plan) -> list[Judgement]:
    """Judge every artefact of the plan, in the order of the data's way."""
    judged: list[Judgement] = []
    digests: dict[str, str] = {}
    spoilt: set[str] = set()
    for artefact in plan.artefacts():
        run, lacking = _read(Path(artefact.path))
        verdict, reason = Verdict.FRESH, ""
        if not Path(artefact.path).exists():
            verdict = Verdict.MISSING
        elif run is None:
            verdict, reason = Verdict.STALE, lacking
        elif reason := next(_reasons(plan, artefact, run, digests=digests, spoilt=spoilt), ""):
            verdict = Verdict.STALE
        if verdict is not Verdict.FRESH:
            spoilt.update([artefact.path, *(run["outputs"] if run else ())])
        judged.append(Judgement(artefact, verdict, reason))
    return judged


def _read(artefact: Path) -> tuple[dict[str, Any] | None, str]:
    """Give the run.json of an artefact, or None and why there is none to go by."""
    try:
        return read_run(artefact), f"no {RUN_FILE} beside it"
    except DigestError as error:
        return None, str(error)


def _reasons(
    plan: Plan,
    artefact: Artefact,
    run: dict[str, Any],
    *,
    digests: dict[str, str],
    spoilt: set[str],
) -> Iterator[str]:
    if run["code"] != plan.code(artefact.rule)(artefact.wildcards):
        yield f"the code of {run['module']} changed"
    if "cfg" in run["arguments"]:
        then = run["arguments"]["cfg"]
        now = json.loads(plan.cfg(artefact.rule)(artefact.wildcards))
        if then != now:
            yield "the configuration changed: " + ", ".join(_changed(then, now))
    if artefact.rule == "check":
        for file in plan.raw_unchecked(artefact.wildcards):
            yield f"the raw file {file} has changed"
    for kind in ("inputs", "outputs"):
        for file, sha256 in run[kind].items():
            if kind == "inputs" and file in spoilt:
                yield f"{file} is not fresh"
            elif not Path(file).exists():
                yield f"{file} is missing"
            elif _digest(file, digests) != sha256:
                yield f"{file} has changed"


def _digest(file: str, digests: dict[str, str]) -> str:
    if file not in digests:
        digests[file] = sha256_file(Path(file))
    return digests[file]


def _changed(then: Any, now: Any, key: str = "") -> list[str]:
    if isinstance(then, dict) and isinstance(now, dict):
        names = sorted(set(then) | set(now))
        return [
            found
            for name in names
            for found in _changed(then.get(name), now.get(name), f"{key}.{name}".lstrip("."))
        ]
    return [] if then == now else [f"{key} was {json.dumps(then)}, is {json.dumps(now)}"]
