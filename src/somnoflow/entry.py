"""The one form of all entry points: typed arguments, whole outputs, a log and a run.json.

A command is a function whose keyword-only arguments say what they are::

    def pack(*, signals: Input, packed: Output, cfg: PackSlice) -> None: ...

    if __name__ == "__main__":
        command(pack)

`command` reads the arguments from the command line, hands the function temporary names for its
outputs, renames them when it returns, and writes `run.json` beside the first one. Nothing that
this module does changes a result, so it is left out of the code fingerprint (fingerprint.py).

Bad input (`ValueError`, `OSError`) and too little memory end in a message on stderr and exit code
1; the traceback goes to the log file alone. The traceback of anything else, a defect of ours, goes
to both.
"""

import argparse
import logging
import os
import resource
import sys
from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from somnoflow.io.atomic import FULL, flush, raise_if_full, remove_partials, temporary_for
from somnoflow.provenance import Run

Input = Annotated[Path, "input"]
Inputs = Annotated[list[Path], "input"]
Output = Annotated[Path, "output"]

OPEN_FILES = 8192


def command(
    function: Callable[..., None],
    arguments: Sequence[str] | None = None,
    *,
    together: bool = False,
) -> None:
    """Run `function` with arguments from the command line; exit with 1 and a message on bad input.

    Parameters
    ----------
    function
        Keyword-only arguments annotated `Input`, `Inputs`, `Output`, `Path`, `int`, `str` or a
        pydantic model (read from JSON). One with a default is an option that may be left out.
    arguments
        Command line without the program's name; `sys.argv` where None.
    together
        Whether it may be one of several processes that torchrun started. All but the first write
        nothing: neither does `function` in them.
    """
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return", None)
    values = vars(_parser(function, hints).parse_args(arguments))
    number, of = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    helps = of > 1 and number > 0
    module = _module_of(function)
    try:
        _start_log(values.pop("log"), helps=helps)
        _raise_limit_of_open_files()
        if of > 1 and not together:
            raise ValueError(
                f"started as process {number + 1} of {of} (RANK, WORLD_SIZE), but {module} works "
                "alone: start it without torchrun, or unset WORLD_SIZE"
            )
        for name, hint in hints.items():
            if isinstance(hint, type) and issubclass(hint, BaseModel):
                values[name] = hint.model_validate_json(values[name])
        if helps:
            function(**values)
        else:
            _run(function, hints=hints, values=values, module=module)
    except (ValueError, OSError) as error:
        logging.getLogger(module).error("%s", _message(error), exc_info=True)
        raise SystemExit(1) from error
    except MemoryError as error:
        logging.getLogger(module).error(
            "out of memory: %s. Grant it more (--set-resources RULE:mem_mb=...), or let Snakemake "
            "send it again with more (--retries 2)",
            error,
            exc_info=True,
        )
        raise SystemExit(1) from error
    except Exception as defect:
        logging.getLogger(module).critical("%s", _message(defect), exc_info=True)
        raise


def _run(
    function: Callable[..., None],
    *,
    hints: dict[str, Any],
    values: dict[str, Any],
    module: str,
) -> None:
    inputs = {name: values[name] for name, hint in hints.items() if _mark(hint) == "input"}
    outputs = {name: values[name] for name, hint in hints.items() if _mark(hint) == "output"}
    run = Run.start(module=module, arguments=values, inputs=inputs)
    partial = {name: _prepare(path) for name, path in outputs.items()}
    try:
        function(**{**values, **partial})
        # All are on the disk before the first gets its name: a full disk leaves no odd pair.
        for name, path in partial.items():
            if not path.exists():
                raise RuntimeError(f"{module} did not write its output '{name}'")
            flush(path)
        # Before the outputs have their names: with no room for it they do not get them.
        run.finish(outputs=outputs, written=partial)
        for name, path in outputs.items():
            partial[name].replace(path)
    except Exception as error:
        raise_if_full(error, path=outputs[_last_written(partial)])
        raise
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)


def _last_written(partial: dict[str, Path]) -> str:
    """Give the output that was being written when something went wrong."""
    times = {name: path.stat().st_mtime_ns for name, path in partial.items() if path.exists()}
    return max(times, key=times.__getitem__, default=next(iter(partial)))


def _prepare(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_partials(path)
    return temporary_for(path)


def _mark(hint: Any) -> str | None:
    return get_args(hint)[1] if get_origin(hint) is Annotated else None


def _parser(function: Callable[..., None], hints: dict[str, Any]) -> argparse.ArgumentParser:
    summary = (function.__doc__ or "").strip().splitlines()
    parser = argparse.ArgumentParser(
        prog=f"python -m {_module_of(function)}", description=summary[0] if summary else None
    )
    for name, hint in hints.items():
        option = f"--{name.replace('_', '-')}"
        bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if get_origin(bare) is list:
            parser.add_argument(option, dest=name, type=get_args(bare)[0], nargs="*", required=True)
        elif isinstance(bare, type) and issubclass(bare, BaseModel):
            parser.add_argument(option, dest=name, metavar="JSON", required=True)
        else:
            default = signature(function).parameters[name].default
            required = default is Parameter.empty
            parser.add_argument(option, dest=name, type=bare, default=default, required=required)
    parser.add_argument("--log", type=Path, help="also write messages to this file")
    return parser


def _module_of(function: Callable[..., None]) -> str:
    if function.__module__ != "__main__":
        return function.__module__
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else "__main__"


def _message(error: Exception) -> str:
    if isinstance(error, ValidationError):
        mistakes = (
            f"{'.'.join(str(part) for part in mistake['loc']) or '(whole)'}: {mistake['msg']}"
            for mistake in error.errors()
        )
        return f"{error.title}: {'; '.join(mistakes)}"
    return f"{type(error).__name__}: {error}"


class _WithoutTraceback(logging.Formatter):
    """The message alone: a traceback is for the log file."""

    def format(self, record: logging.LogRecord) -> str:
        plain = logging.makeLogRecord({**vars(record), "exc_info": None, "exc_text": None})
        return super().format(plain)


class _LogFile(logging.FileHandler):
    """A log on a full disk ends where it is; what is said later is on stderr alone."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        error = sys.exc_info()[1]
        if not (isinstance(error, OSError) and error.errno in FULL):
            super().handleError(record)


def _raise_limit_of_open_files() -> None:
    """Allow as many as the machine does: a training holds files of all shards open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _start_log(path: Path | None, *, helps: bool) -> None:
    form = "%(levelname)s %(name)s: %(message)s"
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(_WithoutTraceback(form))
    logging.basicConfig(level=logging.ERROR if helps else logging.INFO, handlers=[stderr])
    logging.captureWarnings(True)
    if path is None or helps:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _LogFile(path, mode="w", encoding="utf-8")
    file.setFormatter(logging.Formatter(form))
    logging.getLogger().addHandler(file)
