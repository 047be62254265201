"""Kill the processes of a workflow at random moments, let it go on, and compare what comes out.

Usage: ``python -m tests.faults.kills --folder FOLDER [--kills 220] [--seed 1]
[--config config/tiny.yaml] --out docs/reliability [--page docs/reliability.md]``

FOLDER gets two copies of the project. `undisturbed` runs in peace, once: a finished one is used
again. In `killed` each job is killed (SIGKILL) about twice at moments drawn with the seed: so many
seconds into its life, or as soon as it has a file open under a temporary name. Some of these
moments strike Snakemake instead, whose jobs go on without it, or Snakemake with all its jobs; then
it is unlocked and started again. Where fewer kills have landed than asked for, or a stage has had
none, results of some jobs are removed and made again, under kills.

A process is stopped before it is killed, so that it was alive for sure and what it had written can
be noted: one row for each kill in OUT/kills.tsv, one for each stage in OUT/stages.tsv. The exit
code is 1 when a file differs from the undisturbed run, `somnoflow check` finds anything that is not
fresh, or a temporary file is left.

A call that was stopped goes on: FOLDER and kills.tsv are taken as they are. The seed decides what
is drawn, and not what a process does at that second: no two runs kill alike.
"""

import argparse
import itertools
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from somnoflow.config.files import load_values
from somnoflow.io.atomic import TEMPORARY
from somnoflow.io.table import read_table, write_table
from somnoflow.one_workflow import LOCK
from somnoflow.plan import Plan
from tests.workflow.project import Project

POLL_S = 0.005
LOOK_EVERY = 4  # polls: the list of all processes is long
JOB, SNAKEMAKE, ALL = "job", "snakemake", "all"
VICTIMS = {JOB: 88, SNAKEMAKE: 6, ALL: 6}
LIFE, WRITING = "life", "writing"
# What of the results holds times, hosts, attempts or names from a memory address (clip paths in
# figures), and so differs from run to run.
VOLATILE_FOLDERS = {"logs", "benchmarks", "tensorboard", "report"}
VOLATILE_FILES = {"run.json", "state.json", LOCK}
MARKS = ("<!-- kills: made by tests/faults/kills.py -->\n", "<!-- end of kills -->\n")
# Sessions of Snakemake that fail although nothing was killed: a job of the one before went on.
FAILURES_IN_A_ROW = 3


@dataclass(frozen=True)
class Job:
    """A process of a command of ours; its log's path is its name."""

    pid: int
    name: str
    arguments: tuple[str, ...]
    seen: float

    @property
    def stage(self) -> str:
        """The rule."""
        return self.name.split("/")[0]

    @property
    def age(self) -> float:
        """Seconds since it was first seen."""
        return time.monotonic() - self.seen


@dataclass(frozen=True)
class Aim:
    """Whom to kill and when: `delay` seconds into a job's life, or after it began to write."""

    victim: str
    moment: str
    delay: float


@dataclass(frozen=True)
class Kill:
    """A row of kills.tsv: a process that was alive and is dead.

    Attributes
    ----------
    victim
        `job`: this process with its children; `snakemake`: Snakemake alone; `all`: Snakemake and
        all its jobs, a row for each.
    stage, job
        What ran; of Snakemake, the job whose moment was drawn.
    second
        Age of the job.
    state
        Of the process before it was stopped, as in ps: R runs, S sleeps, D waits for the disk.
    phase
        `working`; `writing`: it has a file under a temporary name; `written`: an output has its
        name already.
    partial, partial_bytes
        Its files under temporary names and their size.
    """

    number: int
    victim: str
    stage: str
    job: str
    second: float
    state: str
    phase: str
    partial: int
    partial_bytes: int


class Assassin(threading.Thread):
    """Finds the jobs of one project among all processes, and kills them when their time has come.

    Parameters
    ----------
    project
        Where the jobs run; no process elsewhere is touched.
    results
        Its results folder.
    outputs
        The first declared output of each job, as it stands on its command line, by stage.
    lifetime
        Gives the seconds that a job lives when it is left alone, None where nobody knows.
    times
        How often each job is to be killed.
    seed
        Of all that is drawn.
    tell
        Is called at each kill with all so far.
    kills
        Those of an earlier call.
    """

    def __init__(
        self,
        project: Project,
        *,
        results: Path,
        outputs: Mapping[str, Collection[str]],
        lifetime: Callable[[str], float | None],
        times: int,
        seed: int,
        tell: Callable[[list[Kill]], object],
        kills: Sequence[Kill] = (),
    ) -> None:
        super().__init__(name="assassin")
        self._project = project
        self._results = results
        self._outputs = outputs
        self._lifetime = lifetime
        self._tell = tell
        self._random = random.Random(seed + len(kills))  # noqa: S311 - no secret
        self._settled: set[int] = set()
        self._first_seen: dict[int, float] = {}
        self._alive: dict[int, Job] = {}
        self._aims: dict[Job, Aim] = {}
        self._due: dict[Job, float] = {}
        self._landed = Counter(kill.job for kill in kills)
        self._end = threading.Event()
        self.times = times
        self.snakemake: subprocess.Popen[bytes] | None = None
        self.kills = list(kills)
        self.escaped = 0

    def run(self) -> None:
        """Watch until `stop`."""
        for turn in itertools.count():
            if self._end.wait(POLL_S):
                break
            if turn % LOOK_EVERY == 0:
                self._look()
            for job, aim in list(self._aims.items()):
                if job in self._aims and self._is_time(job, aim):
                    del self._aims[job]
                    self._strike(job, aim)

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        self.join()

    def wait_for_orphans(self) -> None:
        """Wait until no job of the project is alive."""
        while self._alive:
            time.sleep(0.1)

    def _look(self) -> None:
        """Take in new jobs, and forget those that have ended."""
        now = time.monotonic()
        pids = {int(name) for name in os.listdir("/proc") if name.isdecimal()}
        self._settled &= pids
        for pid in pids - self._settled:
            job = self._job(pid, now=now)
            # What is being started still has the command line of its parent.
            if job is None and now - self._first_seen.setdefault(pid, now) < 0.5:
                continue
            self._first_seen.pop(pid, None)
            self._settled.add(pid)
            if job is not None:
                self._alive[pid] = job
                if self._landed[job.name] < self.times:
                    self._aims[job] = self._draw(job)
        for pid in self._alive.keys() - pids:
            job = self._alive.pop(pid)
            aim = self._aims.get(job)
            # Snakemake can still be struck, and more so while it notes what the job has made.
            if aim is not None and not (aim.victim == SNAKEMAKE and aim.moment == LIFE):
                del self._aims[job]
                self.escaped += 1

    def _job(self, pid: int, *, now: float) -> Job | None:
        arguments = command_line(pid)
        if not is_job(arguments) or not runs_in(pid, self._project.folder):
            return None
        log = Path(arguments[arguments.index("--log") + 1])
        name = (self._project.folder / log).relative_to(self._results / "logs").with_suffix("")
        return Job(pid, name.as_posix(), arguments, seen=now)

    def _draw(self, job: Job) -> Aim:
        victim = self._random.choices(list(VICTIMS), weights=list(VICTIMS.values()))[0]
        lifetime = self._lifetime(job.name)
        if lifetime is not None and self._random.random() < 0.5:
            return Aim(victim, LIFE, self._random.uniform(0, lifetime))
        return Aim(victim, WRITING, self._random.choice([0, self._random.expovariate(1 / 0.03)]))

    def _is_time(self, job: Job, aim: Aim) -> bool:
        if aim.moment == LIFE:
            return job.age >= aim.delay
        if job not in self._due and (has_partial_open(job.pid) or self._has_output(job)):
            self._due[job] = job.age + aim.delay
        return job in self._due and job.age >= self._due[job]

    def _has_output(self, job: Job) -> bool:
        own = self._outputs.get(job.stage, ())
        (output,) = (argument for argument in job.arguments if argument in own)
        return (self._project.folder / output).exists()

    def _strike(self, job: Job, aim: Aim) -> None:
        snakemake = self.snakemake
        if aim.victim == JOB:
            killed = self._kill([job])
        elif snakemake is None or snakemake.poll() is not None:
            killed = 0
        elif aim.victim == SNAKEMAKE:
            killed = self._kill_snakemake(snakemake, job)
        else:
            jobs = [one for one in self._alive.values() if group_of(one.pid) == snakemake.pid]
            killed = self._kill_snakemake(snakemake, job, victim=ALL) + self._kill(jobs, victim=ALL)
            with suppress(ProcessLookupError):
                os.killpg(snakemake.pid, signal.SIGKILL)
        self.escaped += not killed

    def _kill_snakemake(
        self, snakemake: subprocess.Popen[bytes], job: Job, *, victim: str = SNAKEMAKE
    ) -> int:
        state = freeze(snakemake.pid)
        if state is None:
            return 0
        self._note(Kill(
            len(self.kills) + 1, victim, SNAKEMAKE, job.name, round(job.age, 3), state,
            phase="", partial=0, partial_bytes=0,
        ))  # fmt: skip
        os.kill(snakemake.pid, signal.SIGKILL)
        return 1

    def _kill(self, jobs: Sequence[Job], *, victim: str = JOB) -> int:
        """Kill processes with their children; give how many of `jobs` were alive."""
        count = 0
        for job in jobs:
            if command_line(job.pid) != job.arguments:
                continue
            state = freeze(job.pid)
            if state is None:
                continue
            children = descendants(job.pid)
            for child in children:
                freeze(child)
            partial = self._partials([job.pid, *children])
            phase = "writing" if partial else "written" if self._has_output(job) else "working"
            self._landed[job.name] += 1
            self._aims.pop(job, None)
            self._note(Kill(
                len(self.kills) + 1, victim, job.stage, job.name, round(job.age, 3), state,
                phase, partial=len(partial), partial_bytes=sum(partial),
            ))  # fmt: skip
            for pid in (job.pid, *children):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            count += 1
        return count

    def _partials(self, pids: Iterable[int]) -> list[int]:
        """Give the sizes of the files that these processes are writing."""
        own = re.compile(f"{re.escape(TEMPORARY)}({'|'.join(map(str, pids))})[0-9a-f]{{8}}-.*")
        return [
            path.stat().st_size for path in temporary_files(self._results)
            if own.fullmatch(path.name)
        ]  # fmt: skip

    def _note(self, kill: Kill) -> None:
        self.kills.append(kill)
        self._tell(self.kills)


def command_line(pid: int) -> tuple[str, ...]:
    """Give a process's arguments; nothing where it has ended."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ()
    return tuple(text.split("\0")[:-1])


def is_job(arguments: Sequence[str]) -> bool:
    """Tell whether a command line is that of a command of ours, and not of the shell around it."""
    module = "".join(arguments[2:3])
    return "-m" in arguments[1:2] and module.startswith("somnoflow.commands.")


def jobs_in(folder: Path) -> list[int]:
    """Give the processes of our commands that run in a project's folder."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return [pid for pid in pids if is_job(command_line(pid)) and runs_in(pid, folder)]


def runs_in(pid: int, folder: Path) -> bool:
    """Tell whether a process has this working directory."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder.resolve()
    except (FileNotFoundError, ProcessLookupError):
        return False


def stat_fields(pid: int) -> list[str]:
    """Give /proc/PID/stat from the state on: state, parent, group; nothing where it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def group_of(pid: int) -> int | None:
    """Give a process's group."""
    found = stat_fields(pid)
    return int(found[2]) if found else None


def freeze(pid: int) -> str | None:
    """Stop a process; give the state it was in, None where it had ended or ends meanwhile."""
    before = stat_fields(pid)
    if not before or before[0] in "ZX":
        return None
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        return None
    while (now := stat_fields(pid)) and now[0] not in "TtZX":
        time.sleep(0.0005)
    return before[0] if now and now[0] in "Tt" else None


def descendants(pid: int) -> list[int]:
    """Give the children of a process, their children, and so on."""
    children = defaultdict(list)
    for name in os.listdir("/proc"):
        if name.isdecimal() and (found := stat_fields(int(name))):
            children[int(found[1])].append(int(name))
    below, queue = [], [pid]
    while queue:
        queue = [child for parent in queue for child in children[parent]]
        below += queue
    return below


def has_partial_open(pid: int) -> bool:
    """Tell whether a process has a file open under a temporary name."""
    folder = f"/proc/{pid}/fd"
    try:
        return any(TEMPORARY in os.readlink(f"{folder}/{name}") for name in os.listdir(folder))
    except (FileNotFoundError, ProcessLookupError):
        return False


def temporary_files(results: Path) -> list[Path]:
    """Give all files below a folder that have not got their name yet."""
    found = []
    for folder, _, names in os.walk(results):
        found += [Path(folder, name) for name in names if TEMPORARY in name]
    return sorted(path for path in found if path.exists())


def configuration(project: Project) -> dict[str, Any]:
    """Give the values of a project's configuration files."""
    return load_values(
        [project.folder / project.configfile], default=project.folder / "config.yaml"
    )


def planned_outputs(project: Project) -> dict[str, set[str]]:
    """Give the first output of each job of a project, by stage."""
    plan = Plan(configuration(project), datasets=project.folder / "workflow/datasets")
    outputs = defaultdict(set)
    for artefact in plan.artefacts():
        outputs[artefact.rule].add(artefact.path)
    return dict(outputs)


def results_of(project: Project) -> Path:
    """Give the results folder of a project's configuration."""
    return project.folder / configuration(project)["results"]


def deterministic(results: Path) -> dict[str, Path]:
    """Give the files that two runs must agree on, by path: artefacts and kept trainings."""
    named = {
        path.relative_to(results).as_posix(): path for path in results.rglob("*") if path.is_file()
    }
    return {
        name: path for name, path in named.items()
        if name.split("/")[0] not in VOLATILE_FOLDERS
        and path.name not in VOLATILE_FILES
    }  # fmt: skip


def differences(one: Path, other: Path) -> list[str]:
    """Give the deterministic files of two results folders that only one has, or that differ."""
    first, second = deterministic(one), deterministic(other)
    return sorted(
        name
        for name in first.keys() | second.keys()
        if name not in first
        or name not in second
        or first[name].read_bytes() != second[name].read_bytes()
    )


def lifetimes(results: Path) -> Callable[[str], float | None]:
    """Give what tells how long a job of an undisturbed run took, or one of its stage, or None.

    The run may still be going on.
    """

    def seconds(job: str) -> float | None:
        stage = results / "benchmarks" / job.split("/", maxsplit=1)[0]
        own = results / "benchmarks" / f"{job}.tsv"
        found = [float(row["s"]) for path in ([own] if own.exists() else stage.rglob("*.tsv"))
                 for row in read_table(path)]  # fmt: skip
        return sum(found) / len(found) if found else None

    return seconds


def outputs_by_stage(results: Path) -> dict[str, list[list[str]]]:
    """Give the declared outputs of each job, relative to the project, as `run.json` names them."""
    outputs = defaultdict(list)
    for path in sorted(results.rglob("run.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        outputs[run["module"].rpartition(".")[2]].append(list(run["outputs"]))
    return dict(outputs)


def storm(project: Project, targets: Sequence[str], *, assassin: Assassin) -> None:
    """Ask for `targets` until they are there, whatever is killed meanwhile.

    Raises
    ------
    RuntimeError
        When Snakemake fails again and again though nothing is killed.
    """
    quiet_failures = 0
    while True:
        before = len(assassin.kills)
        with (project.folder / "storm.log").open("wb") as log:
            snakemake = subprocess.Popen(
                project.command("--retries", "2", *targets),
                cwd=project.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            assassin.snakemake = snakemake
            code = snakemake.wait()
        if not assassin.is_alive():
            raise RuntimeError("nothing kills any more: see the traceback above")
        if code == 0:
            break
        quiet_failures = 0 if len(assassin.kills) > before else quiet_failures + 1
        if quiet_failures == FAILURES_IN_A_ROW:
            text = (project.folder / "storm.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"Snakemake fails though nothing is killed:\n{text}")
        if code == -signal.SIGKILL:
            # What the documentation tells a user to do.
            project.snakemake("--unlock")
    assassin.wait_for_orphans()


def top_up(
    project: Project,
    *,
    outputs: Mapping[str, Sequence[Sequence[str]]],
    assassin: Assassin,
    kills: int,
    seed: int,
    options: Sequence[str] = (),
) -> None:
    """Remove results and let them be made again, until enough kills have landed, on each stage.

    Parameters
    ----------
    project
        With all results.
    outputs
        Declared outputs of the jobs to choose from, by stage.
    assassin
        Is at work.
    kills
        How many must have landed in all.
    seed
        Of the choice.
    options
        For Snakemake.
    """
    while len(assassin.kills) < kills or outputs.keys() - {kill.stage for kill in assassin.kills}:
        chosen = choose(outputs, kills=assassin.kills, seed=seed + len(assassin.kills))
        remove(project, chosen)
        assassin.times += 1
        storm(project, [*chosen, *options], assassin=assassin)


def remove(project: Project, outputs: Iterable[str]) -> None:
    """Remove results, and the finished trainings that they would be copied from."""
    for output in outputs:
        path = project.folder / output
        path.unlink()
        results = results_of(project)
        stage, *name = path.relative_to(results).parent.parts
        for training in results.glob(f"resume/*/{'/'.join(name)}"):
            if stage in {"pretrain", "heads"}:
                shutil.rmtree(training)


def choose(
    outputs: Mapping[str, Sequence[Sequence[str]]],
    *,
    kills: Sequence[Kill],
    seed: int,
) -> list[str]:
    """Give the outputs of a job of each of the six stages that were killed least."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    landed = Counter(kill.stage for kill in kills)
    stages = sorted(outputs, key=lambda stage: (landed[stage], draw.random()))
    return [path for stage in stages[:6] for path in draw.choice(outputs[stage])]


def start_undisturbed(folder: Path, *, configfile: str) -> Project:
    """Give a project that runs in peace; one that is there is used as it is."""
    if folder.exists():
        return Project(folder, configfile)
    project = Project.copy(folder, configfile=configfile)
    with (folder / "run.log").open("wb") as log:
        subprocess.Popen(project.command("all"), cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    return project


def wait_for_undisturbed(project: Project) -> None:
    """Wait until another process's run has ended; make what is missing."""
    while any((project.folder / ".snakemake/locks").glob("*")):
        time.sleep(5)
    project.snakemake("all")


def copy_without_results(project: Project, folder: Path) -> None:
    """Copy a project as it was before its run."""
    ignored = shutil.ignore_patterns("results", ".snakemake", "__pycache__", "*.log")
    shutil.copytree(project.folder, folder, ignore=ignored)


def by_stage(
    outputs: Mapping[str, Sequence[Sequence[str]]],
    *,
    kills: Sequence[Kill],
    results: Path,
    different: Set[str],
) -> list[dict[str, object]]:
    """Give the rows of stages.tsv: jobs, kills by what the process was at, outputs compared."""
    compared = deterministic(results)
    rows = []
    for stage, jobs in sorted(outputs.items()):
        phases = Counter(kill.phase for kill in kills if kill.stage == stage)
        declared = {path.partition(f"{results.name}/")[2] for job in jobs for path in job}
        rows.append({
            "stage": stage, "jobs": len(jobs), "kills": phases.total(),
            "working": phases["working"], "writing": phases["writing"],
            "written": phases["written"],
            "outputs": len(declared & compared.keys()), "unequal": len(declared & different),
        })  # fmt: skip
    return rows


def read_kills(table: Path) -> list[Kill]:
    """Read kills.tsv."""
    numbers = {"number": int, "second": float, "partial": int, "partial_bytes": int}
    return [
        Kill(**{name: numbers.get(name, str)(cell) for name, cell in row.items()})
        for row in read_table(table)
    ]


def shown(folder: Path) -> str:
    """Give the tables of a folder as a sentence and a table in Markdown."""
    kills, stages = read_kills(folder / "kills.tsv"), read_table(folder / "stages.tsv")
    victims = Counter(kill.victim for kill in kills)
    snakemake = sum(kill.stage == SNAKEMAKE for kill in kills)
    rows = [list(stages[0]), ["---"] * len(stages[0]), *(list(row.values()) for row in stages)]
    total = [str(sum(int(row[name]) for row in stages)) for name in list(stages[0])[1:]]
    rows.append(["all", *total])
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return (
        f"{len(kills)} kills landed: {len(kills) - snakemake} of jobs, {snakemake} of Snakemake "
        f"({victims[SNAKEMAKE]} of them alone, while its jobs went on; "
        f"{snakemake - victims[SNAKEMAKE]} with all its jobs).\n\n{table}"
    )


def write_page(page: Path, folder: Path) -> None:
    """Put the counts between the two marks of a page."""
    before, middle, after = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, rest = after.partition(MARKS[1])
    if not (middle and end):
        raise ValueError(f"{page} lacks the marks {' and '.join(MARKS)}")
    text = f"{before}{MARKS[0]}\n{shown(folder)}\n{MARKS[1]}{rest}"
    page.write_text(text, encoding="utf-8")


def not_fresh(project: Project) -> list[str]:
    """Give the lines of `somnoflow check` about results that are not fresh."""
    done = project.somnoflow("check", "--configfile", project.configfile)
    lines = done.stdout.splitlines()[:-1]
    return [line for line in lines if not line.startswith("fresh")] + done.stderr.splitlines()


def main() -> int:
    """Run from the command line; give the exit code."""
    first = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kills", description=first)
    parser.add_argument("--folder", type=Path, required=True, help="for the two copies")
    parser.add_argument("--kills", type=int, default=220, help="how many must land")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--config", default="config/tiny.yaml")
    parser.add_argument("--page", type=Path, help="Markdown file that shows the counts")
    parser.add_argument("--out", type=Path, required=True, help="for the tables")
    options = parser.parse_args()
    folder = options.folder.resolve()
    options.out.mkdir(parents=True, exist_ok=True)

    undisturbed = start_undisturbed(folder / "undisturbed", configfile=options.config)
    killed = Project(folder / "killed", options.config)
    if killed.folder.exists():
        killed.snakemake("--unlock")
    else:
        copy_without_results(undisturbed, killed.folder)
    wanted, got = results_of(undisturbed), results_of(killed)
    planned = planned_outputs(killed)
    jobs = sum(map(len, planned.values()))
    cores = ["--cores", str(options.cores)]
    table = options.out / "kills.tsv"
    before = read_kills(table) if table.exists() else []
    with tqdm(desc="kills", total=options.kills, initial=len(before), unit="kill") as bar:

        def tell(kills: Sequence[Kill]) -> None:
            bar.update()
            columns = [field.name for field in fields(Kill)]
            write_table(table, map(asdict, kills), columns=columns)

        assassin = Assassin(
            killed, results=got, outputs=planned, lifetime=lifetimes(wanted),
            times=math.ceil(options.kills / jobs), seed=options.seed, tell=tell, kills=before,
        )  # fmt: skip
        assassin.start()
        try:
            # Each by its name: what an earlier call removed is not asked for by `all`.
            everything = sorted(path for paths in planned.values() for path in paths)
            storm(killed, [*everything, *cores], assassin=assassin)
            outputs = outputs_by_stage(got)
            top_up(
                killed, outputs=outputs, assassin=assassin, kills=options.kills,
                seed=options.seed, options=cores,
            )  # fmt: skip
        finally:
            assassin.stop()

    wait_for_undisturbed(undisturbed)
    different = differences(wanted, got)
    left = [str(path.relative_to(got)) for path in temporary_files(got)]
    stale = not_fresh(killed)
    again = killed.planned()
    rows = by_stage(outputs, kills=assassin.kills, results=got, different=set(different))
    write_table(options.out / "stages.tsv", rows, columns=list(rows[0]))
    print(
        f"{len(assassin.kills)} kills landed, {assassin.escaped} processes had ended before; "
        f"{len(deterministic(got))} files compared"
    )
    for title, lines in (
        ("differ", different), ("temporary files left", left), ("not fresh", stale),
        ("a next run would start", [f"{rule} {count}" for rule, count in again.items()]),
    ):  # fmt: skip
        print(f"{title}: {len(lines)}")
        for line in lines:
            print(f"  {line}")
    if options.page:
        write_page(options.page, options.out)
    return int(bool(different or left or stale or again))


if __name__ == "__main__":
    sys.exit(main())
