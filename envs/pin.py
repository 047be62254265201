"""Write constraints.txt from the packages installed here, and somnoflow.yaml from constraints.txt.

Usage, in an environment that works: python envs/pin.py
"""

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ENVS = Path(__file__).parent
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
    for title, names in ((RUNTIME, runtime), (DEVELOPMENT, development - runtime - {"somnoflow", "pip"})):
        lines = [f"{name}=={distribution(name).version.split('+')[0]}" for name in sorted(names)]
        sections.append("\n".join([title, *lines]) + "\n")
    return "\n".join(sections)


def environment(constraints: str) -> str:
    """Give the text of the conda environment of the rules: the runtime's pins, through pip."""
    runtime = constraints.split(RUNTIME)[1].split(DEVELOPMENT, maxsplit=1)[0]
    packages = re.findall(r"^[\w.-]+==\S+$", runtime, re.MULTILINE)
    lines = [
        "# Made from constraints.txt by: python envs/pin.py",
        "channels:",
        "  - conda-forge",
        "  - nodefaults",
        "dependencies:",
        "  - python=3.11",
        "  - pip",
        "  - pip:",
        *(f"      - {package}" for package in packages),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ENVS / "constraints.txt").write_text(pins(), encoding="utf-8")
    text = (ENVS / "constraints.txt").read_text(encoding="utf-8")
    (ENVS / "somnoflow.yaml").write_text(environment(text), encoding="utf-8")
