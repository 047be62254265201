"""A finished job once more, with what it writes put elsewhere.

Processes are forked from one that has imported the large libraries, and nothing else: an import of
torch takes longer than most of the jobs.
"""

import json
import multiprocessing
import os
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from somnoflow.io.run_file import RUN_FILE

RESULTS = "results/tiny"
# Folders and files that a command writes to beside its declared outputs.
ALSO_WRITTEN = ("resume", "tensorboard", "folder", "state")
# All tests of a process share the one server of forks: the last list that it was given counts.
LIBRARIES = [
    "torch", "lightning.pytorch", "polars", "pyarrow.parquet", "scipy.signal", "sklearn.pipeline",
    "lightgbm", "mne.filter", "matplotlib.figure", "torch.utils.tensorboard",
]  # fmt: skip
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(LIBRARIES)


@dataclass(frozen=True)
class Done:
    """How a job ended and what it said."""

    code: int
    said: str


@dataclass(frozen=True)
class Job:
    """A finished job of a project.

    Attributes
    ----------
    project
        Folder of the project.
    module
        Command.
    arguments
        As in run.json.
    outputs
        Paths in the project.
    """

    project: Path
    module: str
    arguments: dict[str, Any]
    outputs: tuple[str, ...]

    def made(self, output: str) -> Path:
        """Give a file that it made."""
        return self.project / output

    def options(self, folder: Path) -> list[str]:
        """Give its command line with all that it writes below `folder`, for the results folder."""
        arguments = []
        for name, value in self.arguments.items():
            option = f"--{name.replace('_', '-')}"
            values = value if isinstance(value, list) else [value]
            if name == "cfg":
                values = [json.dumps(value)]
            elif name in ALSO_WRITTEN or value in self.outputs:
                values = [str(moved(value, folder))]
            arguments += [option, *map(str, values)]
        return [*arguments, "--log", str(moved(f"{RESULTS}/logs/again.log", folder))]

    def again(self, folder: Path, *, log: Path, umask: int = 0o022) -> Done:
        """Run it with all that it writes below `folder`; what it says goes to `log`."""
        log.write_text("")
        given = (self.module, self.options(folder), self.project, log, umask)
        process = _FORKS.Process(target=_run, args=given)
        process.start()
        process.join()
        assert process.exitcode is not None
        return Done(process.exitcode, log.read_text(encoding="utf-8"))


def moved(path: str, folder: Path) -> Path:
    """Give where a file of the results is below `folder`."""
    return folder / Path(path).relative_to(RESULTS)


def largest_job(project: Path, stage: str, *, reads: str | None = None) -> Job:
    """Give the finished job of a stage that wrote most, of those with an input `reads`."""
    module = f"somnoflow.commands.{stage}"
    runs = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((project / RESULTS).rglob(RUN_FILE))
    ]
    jobs = [
        Job(project, module, run["arguments"], tuple(run["outputs"]))
        for run in runs
        if run["module"] == module and (reads is None or reads in run["inputs"])
    ]
    return max(jobs, key=lambda job: sum(job.made(name).stat().st_size for name in job.outputs))


def _run(module: str, arguments: list[str], project: Path, log: Path, umask: int) -> None:
    os.chdir(project)
    os.umask(umask)
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
