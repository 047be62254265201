"""Write constraints.txt from the packages installed here, and the conda environments from it.

Usage, in an environment that works: python envs/pin.py
"""

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ENVS = Path(__file__).parent
PYTHON = "3.11"
# What reads the Snakefile and sends jobs to a cluster; the jobs have somnoflow.yaml.
CONTROLLER = ("snakemake", "snakemake-executor-plugin-slurm", "pydantic", "pyyaml")
RUNTIME, DEVELOPMENT = "# What the package needs", "# What its developers need besides"
OPENING = """\
# Exact versions that work together; made by: python envs/pin.py
# Install with: pip install -c envs/constraints.txt -e .
"""


def closure(requirements: Iterable[str], *, extra: str = "") -> set[str]:
    """Give the names of all installed packages that `requirements` lead to."""
    seen: set[tuple[str, str]] = set()
    waiting = [(Requirement(text), extra) for text in requirements]
    while waiting:
        requirement, wanted = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": wanted}):
            continue
        name = canonicalize_name(requirement.name)
        for own in requirement.extras or {""}:
            if (name, own) not in seen and _is_installed(name):
                seen.add((name, own))
                waiting += [(Requirement(need), own) for need in distribution(name).requires or []]
    return {name for name, _ in seen}


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def pins() -> str:
    """Give the text of constraints.txt for the packages installed here."""
    own = distribution("somnoflow").requires or []
    runtime = closure(own)
    development = set.union(
        *(closure(own, extra=extra) for extra in ("dev", "benchmarks", "docs", "slurm"))
    )
    sections = [OPENING]
    for title, names in (
        (RUNTIME, runtime),
        (DEVELOPMENT, development - runtime - {"somnoflow", "pip"}),
    ):
        lines = [f"{name}=={distribution(name).version.split('+')[0]}" for name in sorted(names)]
        sections.append("\n".join([title, *lines]) + "\n")
    return "\n".join(sections)


def environment(packages: Iterable[str]) -> str:
    """Give the text of a conda environment of these pins, through pip."""
    lines = [
        "# Made from constraints.txt by: python envs/pin.py",
        "channels:",
        "  - conda-forge",
        "  - nodefaults",
        "dependencies:",
        f"  - python={PYTHON}",
        "  - pip",
        "  - pip:",
        *(f"      - {package}" for package in packages),
    ]
    return "\n".join(lines) + "\n"


def environments(constraints: str) -> dict[str, str]:
    """Give the texts of the conda environments by file: of the rules, and of their controller."""
    runtime, development = (
        re.findall(r"^[\w.-]+==\S+$", part, re.MULTILINE) for part in constraints.split(DEVELOPMENT)
    )
    needed = closure(CONTROLLER)
    controller = sorted(pin for pin in runtime + development if pin.split("==")[0] in needed)
    return {
        "somnoflow.yaml": environment(runtime),
        "controller.yaml": environment(controller),
    }


if __name__ == "__main__":
    (ENVS / "constraints.txt").write_text(pins(), encoding="utf-8")
    for file, text in environments(pins()).items():
        (ENVS / file).write_text(text, encoding="utf-8")
