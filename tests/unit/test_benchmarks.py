"""The benchmarks measure what the rules run."""

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
_OPTION = re.compile(r"^ +--([a-z-]+) \{", re.MULTILINE)


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def test_commands_get_the_options_of_their_rules(benchmark_module, tmp_path: Path) -> None:
    memory = benchmark_module("memory")
    plan = memory.make_plan(tmp_path, recordings=8, hours=1.0)
    for rule, options in memory.arguments_of(plan).items():
        text = (ROOT / "workflow" / "rules" / f"{rule}.smk").read_text(encoding="utf-8")
        assert {*options, "log"} == set(_OPTION.findall(text)), rule


def test_cost_of_a_program(benchmark_module, tmp_path: Path) -> None:
    measuring = benchmark_module("measuring")
    code = "held = bytearray(b'x' * 100 * 2**20); import time; time.sleep(0.1); print('done')"
    cost, text = measuring.run([sys.executable, "-c", code], folder=tmp_path)
    assert text == "done\n"
    assert cost.peak_mib > 100
    assert cost.own_mib > 100 or sys.platform != "linux"
    assert cost.wall_s > 0.1
    with pytest.raises(SystemExit, match="failed:\nwrong"):
        measuring.run([sys.executable, "-c", "raise SystemExit('wrong')"], folder=tmp_path)


def test_damaged_files_are_read_rightly_or_rejected(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "fuzz_readers.py"
    keep = tmp_path / "failures"
    options = ["--inputs", "1400", "--processes", "1", "--seed", "7", "--keep", str(keep)]
    ran = subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not keep.exists()
    assert ran.stdout.count("| 200 |") == 7
