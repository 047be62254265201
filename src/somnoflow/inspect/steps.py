"""What to do next: the exact commands, for each thing that a folder can be."""

import json
import shlex
import textwrap
from collections import Counter
from pathlib import Path

from somnoflow.inspect.findings import Findings
from somnoflow.inspect.known import ANY_FOLDER, Fit
from somnoflow.io.manifest import iterate_manifest

_DESCRIBE = "  docs/datasets.md explains every line of a dataset.yaml."
_TITLES = {"signal": "recordings", "stages": "scorings", "events": "files of events"}


def next_steps(findings: Findings, *, datasets: Path, written: Path | None) -> list[str]:
    """Give the steps, each a command or a sentence.

    Parameters
    ----------
    findings
        What is known of the folder.
    datasets
        Where the folders of datasets are.
    written
        The dataset.yaml that was written now, if one was.
    """
    folder, fit = findings.survey.folder, findings.fit
    if written is not None:
        return [f"Read and correct {written}", _DESCRIBE, *_run(written.parent.name, folder)]
    if findings.below:
        return [f"somnoflow inspect {shlex.quote(str(folder / name))}" for name in findings.below]
    if fit is None:
        return ["Name the folder that holds the recordings: somnoflow inspect FOLDER"]
    if not findings.known:
        return ["Write this as a dataset, under a name of your choice:", _write(folder)]
    if not fit.files("signal"):
        return _missing(fit, datasets / fit.dataset.name)
    return _use(fit, folder, datasets / fit.dataset.name)


def _use(fit: Fit, folder: Path, described: Path) -> list[str]:
    if fit.dataset.source == "simulate":
        return [
            "The workflow makes these nights itself: snakemake --cores 8 all",
            "To use this folder as one of yours:",
            _write(folder),
        ]
    steps = _run(fit.dataset.name, folder, has_manifest=(described / "manifest.tsv").is_file())
    if fit.dataset.name in ANY_FOLDER:
        steps += ["Where labels are not used or stages not found, describe it:", _write(folder)]
    return steps


def _write(folder: Path) -> str:
    return f"  somnoflow inspect {shlex.quote(str(folder))} --write mylab"


def _run(name: str, folder: Path, *, has_manifest: bool = False) -> list[str]:
    place = shlex.quote(str(folder))
    check = " --check" if has_manifest else ""
    why = "compare it with its manifest" if has_manifest else "list and hash the files"
    return [
        f"# {why}",
        f"somnoflow manifest {place} --dataset {name}{check}",
        f"# save these lines as {name}.yaml",
        f"  results: results/{name}",
        f"  datasets: [{name}]",
        f"  folders: {{{name}: {json.dumps(str(folder.resolve()), ensure_ascii=False)}}}",
        f"# parse, look at results/{name}/signals/*.tsv, and run the rest",
        f"snakemake --cores 8 data --configfile {name}.yaml",
        f"snakemake --cores 8 all --configfile {name}.yaml",
    ]


def _missing(fit: Fit, described: Path) -> list[str]:
    steps = ["The recordings are missing. How to get them:"]
    steps += textwrap.wrap(fit.dataset.how_to_get, 92, initial_indent="  ", subsequent_indent="  ")
    if fit.dataset.source == "url":
        steps.append(
            f"Put {fit.dataset.name} under `datasets` of a configuration and name no folder, and "
            "the workflow downloads it."
        )
    manifest = described / "manifest.tsv"
    if manifest.is_file():
        here = {Path(name).name for name in fit.parts}
        found: Counter[str] = Counter()
        total: Counter[str] = Counter()
        for row in iterate_manifest(manifest):
            total[row.role] += 1
            found[row.role] += Path(row.file).name in here
        steps += [
            f"Of {total[role]} {title} of its manifest, {found[role]} are here, by name."
            for role, title in _TITLES.items()
            if total[role]
        ]
    return steps
