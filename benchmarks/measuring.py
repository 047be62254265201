"""What the benchmarks share: run a program and give its seconds, CPU seconds and peak memory."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
EVERY_S = 0.005
_KIB = 1 if sys.platform != "darwin" else 1024  # what ru_maxrss counts in


@dataclass(frozen=True)
class Cost:
    """What a program took.

    Attributes
    ----------
    wall_s, cpu_s
        Seconds that passed; seconds of CPU (user and system) of the program and its children.
    peak_mib
        Largest resident memory as the kernel reports it at the end (ru_maxrss), in MiB: memory of
        its own and pages of mapped files.
    own_mib, mapped_mib
        Largest RssAnon, and largest RssFile + RssShmem, looked up every 5 ms in /proc; -1 where
        there is none. They need not be largest at the same time.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float
    own_mib: float
    mapped_mib: float


def run(command: Sequence[str], *, folder: Path) -> tuple[Cost, str]:
    """Run a program in a folder; give what it took and what it printed.

    The memory of this process would count too (a child begins as its copy): import little.
    """
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with tempfile.TemporaryFile("w+") as printed:
        begin = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PATH": tools},
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        own = mapped = -1.0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            memory = dict(_memory(process.pid))
            own = max(own, memory.get("RssAnon", -1.0))
            mapped = max(mapped, memory.get("RssFile", -1.0) + memory.get("RssShmem", 0.0))
            time.sleep(EVERY_S)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        text = printed.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{text}")
    peak = usage.ru_maxrss / _KIB / 1024
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak, own, mapped), text


def least(costs: Iterable[Cost]) -> Cost:
    """Give the smallest of each number: other users of the machine only add to it."""
    return Cost(*map(min, zip(*map(astuple, costs), strict=True)))


def line(cells: Iterable[object]) -> str:
    """Give a line of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def table(header: Sequence[str], rows: Iterable[Sequence[object]] = ()) -> str:
    """Give a Markdown table, or the head of one."""
    return "\n".join(map(line, [header, ["---"] * len(header), *rows]))


def _memory(pid: int) -> Iterator[tuple[str, float]]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for text in lines:
        name, _, value = text.partition(":")
        if name.startswith("Rss"):
            yield name, int(value.split()[0]) / 1024
