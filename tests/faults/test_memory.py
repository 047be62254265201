"""A job that runs out of memory is sent again with more, as every rule grants it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SNAKEFILE = f"""\
import sys

sys.path.insert(0, {str(ROOT / "src")!r})
from somnoflow.plan import growing


rule hungry:
    output:
        "full",
    log:
        "logs/hungry.log",
    resources:
        mem_mb=growing(200),
    shell:
        "HOW"
"""
# Like a kernel or a cluster that ends a process with more than it was granted ...
LIMITED = (
    "ulimit -v $(({resources.mem_mb} * 1024)); python -c 'b = bytes(250 * 1024**2)' 2> {log}"
    " && echo {resources.mem_mb} > {output}"
)
# ... and one that gives it no time to say a word.
KILLED = (
    "if [ {resources.mem_mb} -lt 400 ]; then kill -9 $$; fi; echo {resources.mem_mb} > {output}"
)


@pytest.mark.workflow
@pytest.mark.parametrize("how", [LIMITED, KILLED], ids=["limited", "killed"])
def test_the_second_attempt_is_granted_more(tmp_path: Path, how: str) -> None:
    (tmp_path / "Snakefile").write_text(SNAKEFILE.replace("HOW", how), encoding="utf-8")

    def snakemake(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "1", "--nocolor",
             "--show-failed-logs", *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip

    once = snakemake()
    assert once.returncode == 1
    assert not (tmp_path / "full").exists()
    assert "Error in rule hungry" in once.stderr
    assert ("MemoryError" if how is LIMITED else "SIGKILL") in once.stdout + once.stderr
    again = snakemake("--retries", "1")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "full").read_text() == "400\n"
