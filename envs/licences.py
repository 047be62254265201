"""Write docs/licences.md: what licence each pinned package says it has.

Usage, in an environment with all pins of constraints.txt: python envs/licences.py
"""

import re
from importlib.metadata import Distribution, distribution

from pin import DEVELOPMENT, ENVS, RUNTIME

PAGE = ENVS.parent / "docs" / "licences.md"
LONGEST = 100  # characters of a licence's name; a longer text is the licence itself
COPYLEFT = re.compile(r"\b(GPL|AGPL|LGPL|MPL|EPL|EUPL|CDDL)\b|GNU|Mozilla")
OPENING = """\
# Licences

What each package of `envs/constraints.txt` says of its own licence, in its metadata or, where that
says nothing, in the first line of the licence file that it brings. Made by
`python envs/licences.py`; a test keeps it so. Somnoflow itself is under Apache-2.0 and copies no
code of these packages; installing it brings them from where you get Python packages.

{copyleft}
"""
COPYLEFT_RUNTIME = """\
Copyleft, among what the package needs: {names}.
The Mozilla Public License asks whoever passes on changed files of these packages to pass on their
source; it asks nothing of programs that import them. Of docutils, which Snakemake needs, single
files are under the GPL; Somnoflow imports none of it.
"""
COPYLEFT_DEVELOPMENT = """\
Copyleft, among what its developers need besides: {names}.
These are tools that run beside the code; nothing of them is part of Somnoflow.
"""
NOT_LISTED = """\
Not in the list: PyTorch for NVIDIA GPUs brings packages `nvidia-*` with libraries under NVIDIA's
own terms, and the extra `gpu` brings mamba-ssm; neither is among the pins. What is said here is
what the packages say, and no legal advice.
"""
SPELLINGS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD (3-clause)": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD License",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "PSFL": "PSF-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The MIT License (MIT)": "MIT",
}


class UnknownLicenceError(ValueError):
    """A package that does not say what licence it has, or is not the pinned one."""


def licence(package: Distribution) -> str:
    """Give the licence that a package says it has.

    Raises
    ------
    UnknownLicenceError
        When it says none.
    """
    meta = package.metadata
    classifiers = [
        one.rpartition(" :: ")[2]
        for one in meta.get_all("Classifier") or []
        if one.startswith("License ::") and one != "License :: OSI Approved"
    ]
    said = [
        meta.get("License-Expression") or "",
        meta.get("License") or "",
        " / ".join(SPELLINGS.get(name, name) for name in sorted(classifiers)),
        _first_line(package),
    ]
    for text in (" ".join(one.split()) for one in said):
        if text and text != "UNKNOWN" and len(text) <= LONGEST:
            return SPELLINGS.get(text, text)
    raise UnknownLicenceError(
        f"{meta['Name']} does not say its licence, wanted one in its metadata or a licence file. "
        "Look it up, and use another package where there is none"
    )


def _first_line(package: Distribution) -> str:
    """Give the first line of the licence file that a package brings, "" where there is none."""
    found = [file for file in package.files or [] if re.match(r"LICEN[CS]E", file.name)]
    lines = found[0].read_text().splitlines() if found else []
    return next((line.strip() for line in lines if line.strip()), "")


def licences(constraints: str) -> dict[str, dict[str, tuple[str, str]]]:
    """Give version and licence of each pinned package, by section and name.

    Raises
    ------
    UnknownLicenceError
        When a package says none, or another version than the pinned one is installed.
    """
    runtime, development = constraints.split(RUNTIME)[1].split(DEVELOPMENT)
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for title, text in ((RUNTIME, runtime), (DEVELOPMENT, development)):
        rows = found.setdefault(title.removeprefix("# "), {})
        for name, version in re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE):
            package = distribution(name)
            if package.version.split("+")[0] != version:
                raise UnknownLicenceError(
                    f"{name} {package.version} is installed, wanted {version} as in "
                    "constraints.txt. Run: pip install -c envs/constraints.txt -e '.[dev]'"
                )
            rows[name] = (version, licence(package))
    return found


def page(constraints: str) -> str:
    """Give the text of docs/licences.md."""
    sections = licences(constraints)
    sentences = []
    for rows, sentence in zip(
        sections.values(), (COPYLEFT_RUNTIME, COPYLEFT_DEVELOPMENT), strict=True
    ):
        names = [f"{name} ({said})" for name, (_, said) in rows.items() if COPYLEFT.search(said)]
        if names:
            sentences.append(sentence.format(names=", ".join(names)))
    parts = [OPENING.format(copyleft="\n".join([*sentences, NOT_LISTED]).rstrip())]
    for title, rows in sections.items():
        heading = [f"## {title}", "", "| package | version | licence |", "|---|---|---|"]
        lines = [f"| {name} | {version} | {said} |" for name, (version, said) in rows.items()]
        parts.append("\n".join([*heading, *lines]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page((ENVS / "constraints.txt").read_text(encoding="utf-8")), encoding="utf-8")
