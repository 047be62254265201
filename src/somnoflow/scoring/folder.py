"""Many nights: scored one after the other or side by side, each once, and each whole or not at all.

What is decided here:

- `<name>.json` says what made the files of a night, and its last words are that they are whole. It
  is written before the first of them, so that a killed run leaves nothing that is taken for
  finished, or for somebody else's; it is written anew when the last one is there.
- A night whose files were made by the same models and settings is not made again. Files that
  something else made are not touched without --force.
- Workers are fresh processes that load the models once and share the CPU threads. They hear no
  Ctrl-C: the nights that they are at become whole, and no further ones are begun.
- A recording that cannot be used is listed, and the others are done; a disk that is full, or a
  folder that may not be written to, ends the run.
"""

import json
import math
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from tqdm import tqdm

from somnoflow.config.base import ConfigError
from somnoflow.export.files import FORMATS as EXPORTS
from somnoflow.export.files import export_night, name_files
from somnoflow.inspect.naming import split_suffix
from somnoflow.io.atomic import atomic, write_json
from somnoflow.io.recordings import open_recording
from somnoflow.io.rejection import Rejection
from somnoflow.nights import (
    Outcome,
    find_recordings,
    name_outputs,
    report_nights,
    require_writable,
    said_done,
    writing,
)
from somnoflow.scoring.hypnogram import Hypnogram
from somnoflow.scoring.scorer import Choice, Given, Scorer, Settings, load_scorers

PAGE = "html"
FORMATS = (*EXPORTS, PAGE)


@dataclass(frozen=True)
class Order:
    """What is to be done with each night; the arguments of `load_scorers`, and the formats."""

    models: tuple[str, ...]
    encoder: Path | None
    settings: Settings
    choice: Choice
    formats: tuple[str, ...]

    def load(self, *, threads: int | None) -> list[Scorer]:
        """Load the models."""
        return load_scorers(
            self.models,
            encoder=self.encoder,
            settings=self.settings,
            choice=self.choice,
            threads=threads,
        )


def score_nights(
    given: Sequence[Path],
    *,
    models: Sequence[str] = (),
    encoder: Path | None = None,
    settings: Settings | None = None,
    choice: Choice | None = None,
    out: Path,
    formats: Sequence[str] = FORMATS,
    jobs: int | None = None,
    force: bool = False,
) -> int:
    """Score every epoch of some recordings, and say of each what was done.

    Parameters
    ----------
    given
        Recordings, and folders with recordings. Any length from one epoch on.
    models, encoder, settings, choice
        As for `load_scorers`.
    out
        Folder of the files to write: those of `formats`, `<name>.json`, and `rejected.tsv`. The
        names of a night begin with that of the recording; where several models score it, those of
        an event with `<name>-<event>`.
    formats
        Some of `FORMATS`.
    jobs
        Processes; the number of CPUs, and at most one for each night, where None.
    force
        Whether files that are there are made again.

    Returns
    -------
    Number of rejected recordings, or of models that could not be given what they read of one.

    Raises
    ------
    ConfigError
        When a recording is not there, two would become one file, a file is there that was made
        otherwise, or an option does not go with the model: nothing was done then. When the folder
        cannot be written to: nights that are whole stay.
    WeightsError
        When a model cannot be used.
    """
    files = name_outputs(find_recordings(given), out=out, suffix=".json")
    _require_formats(formats)
    require_writable(out)
    order = Order(
        models=tuple(map(str, models)),
        encoder=encoder,
        settings=settings or Settings(),
        choice=choice or Choice(),
        formats=tuple(dict.fromkeys(formats)),
    )
    scorers = order.load(threads=None)
    done = set() if force else _done(files, order=order, scorers=scorers)
    for scorer in scorers:
        tqdm.write(
            f"{scorer.name}: {scorer.task.name} from {', '.join(scorer.channels)} at "
            f"{scorer.signals.sampling_rate} Hz; filters, quality and scaling: "
            f"{scorer.settings_from}"
        )
    waiting = {to: path for to, path in files.items() if to not in done}
    jobs = min(jobs or _cores(), max(1, len(waiting)))

    def outcomes() -> Iterator[Outcome]:
        yield from (Outcome(files[to], said_done(to)) for to in sorted(done))
        if jobs > 1:
            yield from _side_by_side(waiting, order=order, jobs=jobs)
        else:
            maker = NightMaker(scorers, formats=order.formats)
            yield from (maker.make(to, path) for to, path in waiting.items())

    return report_nights(outcomes(), nights=len(files), out=out)


class NightMaker:
    """Makes the files of one night after the other.

    Parameters
    ----------
    scorers
        Each of another task, stages first.
    formats
        Some of `FORMATS`.
    """

    def __init__(self, scorers: Sequence[Scorer], *, formats: Sequence[str]) -> None:
        self._scorers = scorers
        self._formats = formats

    def make(self, to: Path, path: Path) -> Outcome:
        """Score a recording and write its files; `to` is the JSON file that says what made them.

        Raises
        ------
        ConfigError
            When a file cannot be written.
        """
        recording = split_suffix(path.name)[0]
        rejected: list[Mapping[str, str]] = []
        scored: list[tuple[Scorer, Given, Hypnogram]] = []
        try:
            source = open_recording(path)
        except Rejection as rejection:
            return Outcome.of_rejection(path, rejection)
        for scorer in self._scorers:
            try:
                given = scorer.read(source, recording=recording)
            except Rejection as rejection:
                row = Outcome.of_rejection(path, rejection).rejected[0]
                several = f"{scorer.task.name}: " if len(self._scorers) > 1 else ""
                rejected.append({**row, "problem": several + row["problem"]})
            else:
                scored.append((scorer, given, scorer.score(given)))
        if not scored:
            return Outcome(path, rejected=tuple(rejected))
        with writing(to.parent):
            self._write(to, scored)
        return Outcome(path, describe(scored, to=to), tuple(rejected))

    def _write(self, to: Path, scored: Sequence[tuple[Scorer, Given, Hypnogram]]) -> None:
        content: dict[str, Any] = {
            "made_by": made_by(self._scorers),
            "night": {one.task.name: dict(one.night) for _, _, one in scored},
            "statistics": None,
            "whole": False,
        }
        exports = [one for one in self._formats if one in EXPORTS]
        plans = [
            (hypnogram, name_of(to, hypnogram, several=len(self._scorers) > 1))
            for _, _, hypnogram in scored
        ]
        names = [
            path.name
            for hypnogram, name in plans
            for path in name_files(hypnogram.task, to=to.parent, name=name, formats=exports)
        ]
        if PAGE in self._formats:
            names.append(f"{to.stem}.{PAGE}")
        content["files"] = names
        for old in _listed(_read(to)) - {to.name}:
            (to.parent / old).unlink(missing_ok=True)
        with atomic(to) as partial:
            write_json(partial, content)
        for hypnogram, name in plans:
            export_night(hypnogram, to=to.parent, name=name, formats=exports)
        first = scored[0][2]
        statistics = None if first.task.rare else first.statistics()
        if PAGE in self._formats:
            _write_page(to.with_suffix(f".{PAGE}"), scored, statistics=statistics, files=names)
        if statistics is not None:
            content["statistics"] = asdict(statistics)
        with atomic(to) as partial:
            write_json(partial, {**content, "whole": True})


def made_by(scorers: Sequence[Scorer]) -> list[dict[str, Any]]:
    """Give what makes the files of a night, as JSON."""
    return [dict(scorer.made_by) for scorer in scorers]


def name_of(to: Path, hypnogram: Hypnogram, *, several: bool) -> str:
    """Give what the names of the files of a hypnogram begin with."""
    event = hypnogram.task.rare and several
    return f"{to.stem}-{hypnogram.task.name}" if event else to.stem


def describe(scored: Sequence[tuple[Scorer, Given, Hypnogram]], *, to: Path) -> str:
    """Say what was scored, from which channels, what is doubtful, and what came out."""
    lines: list[str] = []
    for _, _, hypnogram in scored:
        night = hypnogram.night
        taken = ", ".join(f"{name} from {labels}" for name, labels in night["channels"].items())
        task = f"  {hypnogram.task.name}: " if lines else ""
        lines.append(f"{task}{night['epochs']} epochs, {night['usable']} usable; {taken}")
        lines += [f"  without {name}: {why}" for name, why in night["absent"].items()]
        lines += [f"  {remark}" for remark in night["remarks"]]
        lines.append(f"  {_in_short(hypnogram)}")
    return "\n".join([*lines, f"  written: {to.with_suffix('')}.*"])


def _in_short(hypnogram: Hypnogram) -> str:
    task = hypnogram.task
    if task.rare:
        found = sum(name == task.classes[1] for name in hypnogram.classes)
        return f"{task.classes[1]} in {found} epochs (from {hypnogram.threshold:.3g} on)"
    night = hypnogram.statistics()
    efficiency = "" if night.se is None else f" ({night.se:.0f} %)"
    stages = ", ".join(f"{name} {minutes:g}" for name, minutes in night.minutes.items())
    return f"asleep {night.tst:g} of {night.tib:g} min{efficiency}; minutes: {stages}"


def _write_page(
    path: Path,
    scored: Sequence[tuple[Scorer, Given, Hypnogram]],
    *,
    statistics: Any,
    files: Sequence[str],
) -> None:
    # Drawing takes a second to import, and those who want no page need not wait for it.
    from somnoflow.report.night_page import night_page  # noqa: PLC0415

    page = night_page(
        [hypnogram for _, _, hypnogram in scored],
        night=scored[0][1].physical,
        statistics=statistics,
        models=[scorer.about for scorer, _, _ in scored],
        files=[name for name in files if name != path.name],
    )
    with atomic(path) as partial:
        partial.write_text(page, encoding="utf-8")


def _require_formats(formats: Sequence[str]) -> None:
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ConfigError(
            f"no format {', '.join(map(repr, unknown)) or 'was named'}. Wanted some of: "
            f"{', '.join(FORMATS)}"
        )


def _done(files: Mapping[Path, Path], *, order: Order, scorers: Sequence[Scorer]) -> set[Path]:
    """Give the nights whose files are whole; raise where a file was made otherwise."""
    wanted = made_by(scorers)
    done = set()
    for to in sorted(files):
        found = _read(to)
        names = _wanted_names(to, order=order, scorers=scorers)
        there = [name for name in (to.name, *names) if (to.parent / name).exists()]
        if found.get("made_by") == wanted:
            if found.get("whole") is True and names <= _listed(found) and len(there) > len(names):
                done.add(to)
        elif there:
            raise ConfigError(
                f"{to.with_name(there[-1])} is there already, and another model or other settings "
                "made it. Wanted: another folder after --out, or --force to make it again"
            )
    return done


def _wanted_names(to: Path, *, order: Order, scorers: Sequence[Scorer]) -> set[str]:
    several = len(scorers) > 1
    exports = [one for one in order.formats if one in EXPORTS]
    names = {f"{to.stem}.{PAGE}"} if PAGE in order.formats else set()
    for scorer in scorers:
        own = f"{to.stem}-{scorer.task.name}" if several and scorer.task.rare else to.stem
        names |= {
            path.name for path in name_files(scorer.task, to=to.parent, name=own, formats=exports)
        }
    return names


def _read(path: Path) -> dict[str, Any]:
    """Give what a JSON file says; nothing where it is not there or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _listed(found: Mapping[str, Any]) -> set[str]:
    """Give the names of the files of a night; what is no plain name is none of ours."""
    files = found.get("files")
    names = files if isinstance(files, list) else []
    return {name for name in names if isinstance(name, str) and Path(name).name == name}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _side_by_side(files: Mapping[Path, Path], *, order: Order, jobs: int) -> Iterator[Outcome]:
    """Score nights in several processes; give what becomes of each as it is done."""
    threads = math.ceil(_cores() / jobs)
    context = get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_start_worker, initargs=(order, threads, stop)
    )
    try:
        with _ctrl_c_ignored():
            futures = [pool.submit(_work, to, path) for to, path in files.items()]
        yield from _as_they_come(futures)
    except BrokenProcessPool as error:
        raise ConfigError(
            "a process that scored nights was killed, which systems do where memory is short. "
            f"Wanted: fewer of them, with --jobs {max(1, jobs // 2)}; nights that are whole stay"
        ) from error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _as_they_come(futures: Sequence["Future[Outcome | None]"]) -> Iterator[Outcome]:
    waiting = set(futures)
    while waiting:
        ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for future in ended:
            outcome = future.result()
            if outcome is not None:
                yield outcome


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Start processes that hear no Ctrl-C, while they import too: they inherit it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Worker:
    """What a process that scores nights keeps between them."""

    maker: NightMaker
    stop: Any


def _start_worker(order: Order, threads: int, stop: Any) -> None:
    # A worker whose parent was killed would wait for nights for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Worker.maker = NightMaker(order.load(threads=threads), formats=order.formats)
    _Worker.stop = stop


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(to: Path, path: Path) -> Outcome | None:
    """Score a night in a worker; None where the run was stopped meanwhile."""
    return None if _Worker.stop.is_set() else _Worker.maker.make(to, path)
