"""Run a few lines of Python that may ask for little memory and little time, and no more."""

import os
import subprocess
import sys
from pathlib import Path

# The limit is on what is asked for, beyond what the imports took.
_LIMIT = """
import resource
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + {mib} * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
"""


def run_in_little_memory(
    *, imports: str, code: str, arguments: tuple[Path, ...] = (), mib: int = 512, seconds: int = 120
) -> str:
    """Give what `code` prints; `arguments` are its `sys.argv[1:]`.

    A child that asks for more than `mib` beyond its imports ends in a MemoryError, and one that
    takes longer than `seconds` is hanging: both fail the test.
    """
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{imports}\n{_LIMIT.format(mib=mib)}\n{code}",
         *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
