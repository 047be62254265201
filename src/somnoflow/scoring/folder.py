"""Many nights: scored one after the other or side by side, each once, and each whole or not at all.

What is decided here:

- Workers are fresh processes that load the models once and share the CPU threads. They hear no
  Ctrl-C: the nights that they are at become whole, and no further ones are begun.
- A recording that cannot be used is listed, and the others are done; a disk that is full, or a
  folder that may not be written to, ends the run.
"""

import math
import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from tqdm import tqdm

from somnoflow.config.base import ConfigError
from somnoflow.nights import (
    Outcome,
    find_recordings,
    name_outputs,
    report_nights,
    require_writable,
    said_done,
)
from somnoflow.scoring.choice import Choice, Settings
from somnoflow.scoring.loading import load_scorers
from somnoflow.scoring.night_files import FORMATS, NightMaker, find_done, require_formats
from somnoflow.scoring.scorer import Scorer


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
    require_formats(formats)
    require_writable(out)
    order = Order(
        models=tuple(map(str, models)),
        encoder=encoder,
        settings=settings or Settings(),
        choice=choice or Choice(),
        formats=tuple(dict.fromkeys(formats)),
    )
    scorers = order.load(threads=None)
    done = set() if force else find_done(files, formats=order.formats, scorers=scorers)
    for scorer in scorers:
        tqdm.write(
            f"{scorer.name}: {scorer.task.name} from {', '.join(scorer.channels)} at "
            f"{scorer.signals.sampling_rate} Hz; filters, quality and scaling: "
            f"{scorer.settings_from}"
        )
    waiting = {to: path for to, path in files.items() if to not in done}
    jobs = min(jobs or _cores(), max(1, len(waiting)))

    def outcomes() -> Generator[Outcome, None, None]:
        yield from (Outcome(files[to], said_done(to)) for to in sorted(done))
        if jobs > 1:
            yield from _side_by_side(waiting, order=order, jobs=jobs)
        else:
            maker = NightMaker(scorers, formats=order.formats)
            yield from (maker.make(to, path) for to, path in waiting.items())

    # Closed at once also where what reports is interrupted: no further night is begun then.
    with closing(outcomes()) as found:
        return report_nights(found, nights=len(files), out=out)


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
    except (KeyboardInterrupt, GeneratorExit):
        tqdm.write("stopping when the nights that are being scored are done", file=sys.stderr)
        raise
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
