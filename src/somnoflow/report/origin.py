"""Where the numbers of the report come from: run.json of each file, and versions."""

from pathlib import Path

from somnoflow.report.sources import Run
from somnoflow.report.tables import NOTHING, Table, make_table, plural


def provenance_table(runs: list[Run]) -> Table:
    """Say what made each file, with which code, when and at what cost."""
    folder = _common_folder([run.file.parent for run in runs])
    rows = []
    for run in runs:
        made = run.content
        name = str(run.file.relative_to(folder))
        if made is None:
            rows.append([name, "no run.json beside the file", *[NOTHING] * 7])
            continue
        state = {None: "not in run.json", True: "CHANGED since", False: "as made"}[run.changed]
        rows.append(
            [
                name,
                str(made.get("module", NOTHING)),
                state,
                str(made.get("code", NOTHING))[:12],
                _short_commit(made.get("git_commit")),
                str(made.get("started", NOTHING)).replace("T", " ").removesuffix("+00:00"),
                _plain_number(made.get("seconds"), ".1f"),
                _plain_number(made.get("peak_memory_mib"), ",.0f"),
                str(made.get("device", NOTHING)),
            ]
        )
    numeric = ["Seconds", "Peak memory (MiB)"]
    return make_table(
        f"{plural(len(rows), 'file')} this page was made from, in {folder}.",
        columns=["File", "Made by", "Content", "Code", "Commit", "Started (UTC)", *numeric,
                 "Device"],
        numeric=numeric,
        rows=rows,
    )  # fmt: skip


def _common_folder(folders: list[Path]) -> Path:
    """Give the folder all others are in; the empty path where there is none."""
    candidates = [folders[0], *folders[0].parents]
    return next(
        (path for path in candidates if all(folder.is_relative_to(path) for folder in folders)),
        Path(),
    )


def _short_commit(commit: str | None) -> str:
    if not commit:
        return NOTHING
    return commit[:12] + ("+" if commit.endswith("+") else "")


def _plain_number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def versions_table(runs: list[Run]) -> Table | None:
    """Give the version of each package; several where steps ran with different ones."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for package, version in ((run.content or {}).get("versions") or {}).items():
            found.setdefault(package, set()).add(str(version))
    if not found:
        return None
    mixed = [name for name, versions in found.items() if len(versions) > 1]
    said = f" Steps ran with different versions of {', '.join(sorted(mixed))}." if mixed else ""
    return make_table(
        f"Packages, as noted by the steps.{said}",
        columns=["Package", "Version"],
        rows=[[name, ", ".join(sorted(found[name]))] for name in sorted(found)],
    )
