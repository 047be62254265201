"""A copy of the project that a test may edit, and Snakemake to run in it."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "config.yaml", "config", "workflow", "profiles", "envs", "src")
_COUNT = re.compile(r"^(\w+)\s+(\d+)$")


@dataclass(frozen=True)
class Project:
    """A copy of the project in a folder of its own."""

    folder: Path
    configfile: str = "config/tiny.yaml"

    @classmethod
    def copy(cls, folder: Path, *, configfile: str = "config/tiny.yaml") -> "Project":
        """Copy everything that a run needs."""
        folder.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, folder / part, ignore=ignored)
            else:
                shutil.copy2(source, folder / part)
        return cls(folder, configfile)

    def command(self, *arguments: str) -> list[str]:
        """Give the command line that runs Snakemake."""
        return [
            sys.executable, "-m", "snakemake", "--cores", "2",
            "--configfile", self.configfile, "--nocolor", *arguments,
        ]  # fmt: skip

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        """Run Snakemake and give all that it printed."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"snakemake {' '.join(arguments)} failed:\n{done.stdout}")
        return done.stdout

    def planned(self, *arguments: str) -> dict[str, int]:
        """Give the jobs that a dry run would start, by rule, target rules left out."""
        printed = self.snakemake("--dry-run", *(arguments or ("all",)))
        if "Nothing to be done" in printed:
            return {}
        table = printed.rsplit("Job stats:", maxsplit=1)[1]
        counts = {m[1]: int(m[2]) for m in map(_COUNT.match, table.splitlines()) if m}
        return {
            rule: count for rule, count in counts.items() if rule not in {"all", "data", "total"}
        }

    def somnoflow(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `somnoflow` command on the copy's code."""
        return subprocess.run(
            [sys.executable, "-m", "somnoflow.cli", *arguments],
            cwd=self.folder,
            env={"PYTHONPATH": str(self.folder / "src"), "PATH": ""},
            text=True,
            capture_output=True,
            check=False,
        )

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text that stands in a file exactly once."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"'{old}' stands {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new), encoding="utf-8")
