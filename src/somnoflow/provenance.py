"""run.json: what made an artefact, from what, with which code, when and at what cost.

The file stands beside the artefact, is not declared to Snakemake and is read by no rule but the
report's provenance table: times and hosts differ from run to run.
"""

import functools
import importlib.metadata
import platform
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from somnoflow.fingerprint import fingerprint
from somnoflow.io.atomic import atomic, write_json
from somnoflow.io.digest import DigestError, sha256_file
from somnoflow.io.run_file import RUN_FILE, noted_digest, read_run

PACKAGES = (
    "somnoflow", "snakemake", "torch", "lightning", "mne", "edfio", "numpy", "scipy", "polars",
    "pyarrow", "scikit-learn", "safetensors", "pydantic",
)  # fmt: skip


@dataclass
class Run:
    """One execution of a command."""

    module: str
    code: str
    arguments: dict[str, Any]
    inputs: dict[str, str]
    started: datetime
    clock: float

    @classmethod
    def start(
        cls, *, module: str, arguments: dict[str, Any], inputs: dict[str, Path | list[Path]]
    ) -> "Run":
        """Note the code and the digests of the inputs before the work begins.

        Raises `DigestError` where an input is not what the run.json beside it says was written.
        """
        digests = _digests(inputs)
        for path, sha256 in digests.items():
            _require_unchanged(Path(path), sha256)
        return cls(
            module=module,
            code=fingerprint(module),
            arguments={name: _plain(value) for name, value in arguments.items()},
            inputs=digests,
            started=datetime.now(UTC),
            clock=time.perf_counter(),
        )

    def finish(self, *, outputs: dict[str, Path], written: dict[str, Path]) -> None:
        """Write `run.json` beside the first output.

        Parameters
        ----------
        outputs
            Names that the outputs are about to get.
        written
            Where they are now.
        """
        content = {
            "module": self.module,
            "code": self.code,
            "arguments": self.arguments,
            "inputs": self.inputs,
            "outputs": {str(path): sha256_file(written[name]) for name, path in outputs.items()},
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self.clock, 3),
            "peak_memory_mib": _peak_memory_mib(),
            "device": _device(),
            "versions": _versions(),
            "git_commit": _git_commit(),
            "platform": platform.platform(),
        }
        with atomic(next(iter(outputs.values())).with_name(RUN_FILE)) as path:
            write_json(path, content)


def _digests(named: dict[str, Any]) -> dict[str, str]:
    paths = [
        path for value in named.values() for path in (value if isinstance(value, list) else [value])
    ]
    return {str(path): sha256_file(path) for path in paths}


def _require_unchanged(path: Path, found: str) -> None:
    """Raise `DigestError` where a file is not the one that the run.json beside it names."""
    run = read_run(path)
    wanted = noted_digest(run, path) if run else None
    if run and wanted and found != wanted:
        raise DigestError(
            f"{path} has changed since {run['module']} wrote it: found sha256 {found}, wanted "
            f"{wanted}. Delete it, and the workflow makes it anew; keep a change that you made "
            f"yourself by deleting {path.with_name(RUN_FILE)}"
        )


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _peak_memory_mib() -> int:
    peak = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return round(peak / (1024**2 if sys.platform == "darwin" else 1024))


def _device() -> str:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return str(torch.cuda.get_device_name())
    return "cpu"


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        versions[package] = _version(package)
    return versions


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        # A job's conda environment has what this package needs; its own code is the checkout's.
        return "not installed"


@functools.cache
def _git_commit() -> str | None:
    """Give the commit of the package's checkout, with a `+` when files differ from it."""
    if shutil.which("git") is None:
        return None
    here = Path(__file__).parent
    found = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty=+"],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None
