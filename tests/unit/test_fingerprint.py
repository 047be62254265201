"""The fingerprint covers exactly the code that a command loads."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from somnoflow import fingerprint as module
from somnoflow.fingerprint import RESULT_NEUTRAL, ROOT, closure, data_files, fingerprint

COMMANDS = sorted(
    f"somnoflow.commands.{path.stem}"
    for path in (ROOT / "commands").glob("*.py")
    if path.stem != "__init__"
)


def test_package_files_are_empty() -> None:
    """An `__init__` that imports would make every command depend on every module.

    The package's own names what it offers, and imports it when it is asked for.
    """
    filled = [path for path in ROOT.rglob("__init__.py") if path.read_text().strip()]
    assert filled == [ROOT / "__init__.py"]


def test_importing_the_package_imports_nothing_of_it() -> None:
    code = (
        "import sys, somnoflow\nprint(*(name for name in sys.modules "
        "if name.startswith('somnoflow.') or name in ('numpy', 'polars', 'torch')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True)
    assert done.stdout.split() == []


# Imported by functions, since they take seconds and not every job needs them.
LATE = {"somnoflow.models.knn", "somnoflow.training.contexts", "somnoflow.training.resume"}


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Give the modules of the package that Python loads with each command and what it loads late.

    Each is imported by a process of its own, forked from one that has imported what takes seconds.
    """
    code = """if True:
        import os, sys
        import lightning.pytorch, matplotlib.figure, mne, sklearn.metrics, torch
        for line in sys.stdin:
            child = os.fork()
            if not child:
                for name in line.split():
                    __import__(name)
                print(line.split()[0], *(
                    name for name, module in sys.modules.items()
                    if name.startswith("somnoflow.") and not hasattr(module, "__path__")
                ), flush=True)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0, line
    """
    asked = [" ".join([name, *sorted(LATE & set(closure(name)))]) for name in COMMANDS]
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="\n".join(asked), check=True, text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    told = [line.split() for line in done.stdout.splitlines()]
    return {name: set(modules) for name, *modules in told}


@pytest.mark.parametrize("command", COMMANDS)
def test_closure_is_what_python_loads(loaded: dict[str, set[str]], command: str) -> None:
    hashed = set(closure(command))
    brought_by_entry = RESULT_NEUTRAL | {
        f"somnoflow.io.{name}" for name in ("atomic", "digest", "run_file")
    }
    assert hashed <= loaded[command]
    assert loaded[command] <= hashed | brought_by_entry


def test_light_commands_load_no_heavy_package() -> None:
    """Importing torch costs seconds for each of thousands of jobs."""
    code = (
        "import sys, somnoflow.plan, somnoflow.commands.check, somnoflow.commands.index\n"
        "print(*({'torch', 'mne', 'scipy', 'polars', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True)
    assert done.stdout.split() == []


def test_no_import_is_dynamic() -> None:
    """A module named at run time would be outside every fingerprint."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node, "id", getattr(node, "attr", ""))
            assert name not in {"import_module", "__import__"}, path


def test_templates_belong_to_the_report_only() -> None:
    with_template = [
        name
        for name in COMMANDS
        if any(file.name == "page.html" for part in closure(name) for file in data_files(part))
    ]
    assert with_template == ["somnoflow.commands.report"]


def test_statistics_belong_to_the_simulation() -> None:
    files = {
        file.suffix for part in closure("somnoflow.commands.simulate") for file in data_files(part)
    }
    assert ".tsv" in files


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of two modules in place of ours."""
    (tmp_path / "commands").mkdir()
    (tmp_path / "__init__.py").touch()
    (tmp_path / "commands/__init__.py").touch()
    (tmp_path / "commands/a.py").write_text(
        '"""Doc."""\nfrom somnoflow.b import f\n\nTABLE = "t.tsv"\n\n\n'
        'def g(x):\n    """Doc."""\n    return f(x)\n'
    )
    (tmp_path / "commands/t.tsv").write_text("1\n")
    (tmp_path / "commands/other.tsv").write_text("1\n")
    (tmp_path / "b.py").write_text("def f(x):\n    return x + 1\n")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    yield tmp_path
    forget()


def forget() -> None:
    for cached in (closure, data_files, module._read, module._data_hash):
        cached.cache_clear()


def current() -> str:
    forget()
    return fingerprint("somnoflow.commands.a")


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("commands/a.py", "return f(x)", "return f(x)  # remark", False),
        ("commands/a.py", '    """Doc."""\n', '    """Other\n    words."""\n', False),
        ("commands/a.py", "\n\n\ndef g", "\n\n\n\n\ndef g", False),
        ("commands/a.py", "return f(x)", "return f(x) + 0", True),
        ("b.py", "x + 1", "x + 2", True),
        ("b.py", "x + 1", "(x + 1)", False),
        ("commands/t.tsv", "1", "2", True),
        ("commands/other.tsv", "1", "2", False),
    ],
)
def test_what_changes_it(package: Path, file: str, old: str, new: str, changes: bool) -> None:
    before = current()
    path = package / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert (current() != before) is changes


def test_an_unknown_module_is_an_error(package: Path) -> None:
    (package / "b.py").unlink()
    with pytest.raises(module.FingerprintError, match=r"somnoflow\.b"):
        current()
