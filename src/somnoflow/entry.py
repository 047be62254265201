"""The one form of all entry points: typed arguments, whole outputs, a log and a run.json.

A command is a function whose keyword-only arguments say what they are::

    def pack(*, signals: Input, packed: Output, cfg: PackSlice) -> None: ...

    if __name__ == "__main__":
        command(pack)

`command` reads the arguments from the command line, hands the function temporary names for its
outputs, renames them when it returns, and writes `run.json` beside the first one. Nothing that
this module does changes a result, so it is left out of the code fingerprint (fingerprint.py).
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from somnoflow.io.atomic import TEMPORARY, commit, remove_partials
from somnoflow.provenance import Run

Input = Annotated[Path, "input"]
Inputs = Annotated[list[Path], "input"]
Output = Annotated[Path, "output"]


def command(function: Callable[..., None], arguments: Sequence[str] | None = None) -> None:
    """Run `function` with arguments from the command line; exit with 1 and one line on bad input.

    Parameters
    ----------
    function
        Keyword-only arguments annotated `Input`, `Inputs`, `Output`, `Path`, `int`, `str` or a
        pydantic model (read from JSON).
    arguments
        Command line without the program's name; `sys.argv` where None.
    """
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return", None)
    values = vars(_parser(function, hints).parse_args(arguments))
    _start_log(values.pop("log"))
    module = _module_of(function)
    try:
        for name, hint in hints.items():
            if isinstance(hint, type) and issubclass(hint, BaseModel):
                values[name] = hint.model_validate_json(values[name])
        _run(function, hints=hints, values=values, module=module)
    except (ValueError, OSError, ValidationError) as error:
        # Bad input and full disks are for the reader of the log; everything else is a defect
        # of ours and shows its traceback.
        logging.getLogger(module).error("%s: %s", type(error).__name__, error)
        raise SystemExit(1) from error


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
        for name, path in outputs.items():
            commit(partial[name], path)
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)
    run.finish(outputs=outputs)


def _prepare(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_partials(path)
    return path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")


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
            parser.add_argument(option, dest=name, type=bare, required=True)
    parser.add_argument("--log", type=Path, help="also write messages to this file")
    return parser


def _module_of(function: Callable[..., None]) -> str:
    if function.__module__ != "__main__":
        return function.__module__
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else "__main__"


def _start_log(path: Path | None) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, mode="w", encoding="utf-8"))
    logging.basicConfig(
        level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", handlers=handlers
    )
