"""The fingerprint of a command: a hash of all code of this package that it imports.

Snakemake does not look into an imported package. Each rule therefore carries the fingerprint of
its command among its params: a change of code that can change a result reruns the rule, and a
change of a comment, a docstring, an option's description or the layout does not.

The hash covers the module, every module of the package it imports (directly or not), and every
data file of the package that one of them names by a string literal beside it (a template, a
table).
"""

import ast
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "somnoflow"
ROOT = Path(__file__).parent

# How arguments are read and runs are recorded: neither changes what a command computes.
RESULT_NEUTRAL = frozenset({"somnoflow.entry", "somnoflow.provenance", "somnoflow.fingerprint"})


class FingerprintError(ValueError):
    """A module of the package cannot be found."""


def fingerprint(module: str) -> str:
    """Give the hash of the import closure of `module`, such as `somnoflow.commands.parse`."""
    parts = []
    for name in closure(module):
        parts.append(f"{name} {_read(name).code}")
        parts += [f"{name}/{path.name} {_data_hash(path)}" for path in data_files(name)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@functools.cache
def closure(module: str) -> tuple[str, ...]:
    """Give the sorted names of all modules of the package that `module` imports, and itself."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen and name not in RESULT_NEUTRAL:
            seen.add(name)
            waiting += _read(name).imports
    return tuple(sorted(seen))


@functools.cache
def data_files(module: str) -> tuple[Path, ...]:
    """Give the package's data files that `module` names by a literal and that stand beside it."""
    names = _read(module).literals
    return tuple(
        path
        for path in sorted(_path(module).parent.iterdir())
        if path.is_file() and path.suffix != ".py" and path.name in names
    )


def _path(module: str) -> Path:
    path = ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py")
    if not path.is_file():
        raise FingerprintError(f"no module {module} in the package")
    return path


def _is_package(module: str) -> bool:
    return ROOT.joinpath(*module.split(".")[1:], "__init__.py").is_file()


@dataclass(frozen=True)
class _Source:
    """What a module imports of the package, its texts, and the hash of what a machine reads."""

    imports: tuple[str, ...]
    literals: frozenset[str]
    code: str


@functools.cache
def _read(module: str) -> _Source:
    """Parse a module and look at each node once: every plan of every job waits for this."""
    tree = ast.parse(_path(module).read_text(encoding="utf-8"))
    imports: set[str] = set()
    literals: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        _drop_what_people_read(node)
        if isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if _belongs(node.module) and _is_package(node.module):
                imports.update(f"{node.module}.{alias.name}" for alias in node.names)
            else:
                imports.add(node.module)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            literals.add(node.value)
        for value in vars(node).values():
            below = value if isinstance(value, list) else (value,)
            waiting += [one for one in below if isinstance(one, ast.AST)]
    return _Source(
        imports=tuple(sorted(name for name in imports if _belongs(name))),
        literals=frozenset(literals),
        code=hashlib.sha256(ast.dump(tree).encode()).hexdigest(),
    )


def _drop_what_people_read(node: ast.AST) -> None:
    """Take away docstrings and descriptions of options; comments are not in the tree anyway."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Field":
        node.keywords = [word for word in node.keywords if word.arg != "description"]
    elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        first = node.body[0] if node.body else None
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            node.body = node.body[1:]


def _belongs(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] == PACKAGE


@functools.cache
def _data_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
