"""The files of one scored night: made once, and whole or not at all.

What is decided here:

- `<name>.json` says what made the files of a night, and whether they are whole. It is written
  before the first of them, so that what a killed run leaves is neither taken for finished nor for
  somebody else's, and anew when the last one is there.
- A night whose files were made by the same models and settings is not made again. Files that
  something else made are not touched without --force.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from somnoflow.config.base import ConfigError
from somnoflow.evaluate.sleep_statistics import SleepStatistics
from somnoflow.export.files import FORMATS as EXPORTS
from somnoflow.export.files import export_night, name_files
from somnoflow.inspect.naming import split_suffix
from somnoflow.io.atomic import atomic, write_json
from somnoflow.io.recordings import open_recording
from somnoflow.io.rejection import Rejection
from somnoflow.nights import Outcome, writing
from somnoflow.scoring.hypnogram import Hypnogram
from somnoflow.scoring.scorer import Given, Scorer

PAGE = "html"
FORMATS = (*EXPORTS, PAGE)


def require_formats(formats: Sequence[str]) -> None:
    """Raise `ConfigError` where a format is not known, or there is none."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ConfigError(
            f"no format {', '.join(map(repr, unknown)) or 'was named'}. Wanted some of: "
            f"{', '.join(FORMATS)}"
        )


class NightMaker:
    """Makes the files of one night after the other.

    Parameters
    ----------
    scorers
        Each of another task, stages first.
    formats
        Some of `FORMATS`.
    """

    def __init__(self, scorers: Sequence[Scorer], *, formats: Sequence[str]) -> None:
        self._scorers = scorers
        self._formats = formats

    def make(self, to: Path, path: Path) -> Outcome:
        """Score a recording and write its files; `to` is the JSON file that says what made them.

        Raises
        ------
        ConfigError
            When a file cannot be written.
        """
        recording = split_suffix(path.name)[0]
        rejected: list[Mapping[str, str]] = []
        scored: list[tuple[Scorer, Given, Hypnogram]] = []
        try:
            source = open_recording(path)
        except Rejection as rejection:
            return Outcome.of_rejection(path, rejection)
        for scorer in self._scorers:
            try:
                given = scorer.read(source, recording=recording)
            except Rejection as rejection:
                row = Outcome.of_rejection(path, rejection).rejected[0]
                several = f"{scorer.task.name}: " if len(self._scorers) > 1 else ""
                rejected.append({**row, "problem": several + row["problem"]})
            else:
                scored.append((scorer, given, scorer.score(given)))
        if not scored:
            return Outcome(path, rejected=tuple(rejected))
        with writing(to.parent):
            self._write(to, scored)
        return Outcome(path, describe(scored, to=to), tuple(rejected))

    def _write(self, to: Path, scored: Sequence[tuple[Scorer, Given, Hypnogram]]) -> None:
        content: dict[str, Any] = {
            "made_by": made_by(self._scorers),
            "night": {one.task.name: dict(one.night) for _, _, one in scored},
            "statistics": None,
            "whole": False,
        }
        exports = [one for one in self._formats if one in EXPORTS]
        plans = [
            (hypnogram, name_of(to, hypnogram, several=len(self._scorers) > 1))
            for _, _, hypnogram in scored
        ]
        names = [
            path.name
            for hypnogram, name in plans
            for path in name_files(hypnogram.task, to=to.parent, name=name, formats=exports)
        ]
        if PAGE in self._formats:
            names.append(f"{to.stem}.{PAGE}")
        content["files"] = names
        for old in _listed(_read(to)) - {to.name}:
            (to.parent / old).unlink(missing_ok=True)
        with atomic(to) as partial:
            write_json(partial, content)
        for hypnogram, name in plans:
            export_night(hypnogram, to=to.parent, name=name, formats=exports)
        first = scored[0][2]
        statistics = None if first.task.rare else first.statistics()
        if PAGE in self._formats:
            _write_page(to.with_suffix(f".{PAGE}"), scored, statistics=statistics, files=names)
        if statistics is not None:
            content["statistics"] = asdict(statistics)
        with atomic(to) as partial:
            write_json(partial, {**content, "whole": True})


def made_by(scorers: Sequence[Scorer]) -> list[dict[str, Any]]:
    """Give what makes the files of a night, as JSON."""
    return [dict(scorer.made_by) for scorer in scorers]


def name_of(to: Path, hypnogram: Hypnogram, *, several: bool) -> str:
    """Give what the names of the files of a hypnogram begin with."""
    event = hypnogram.task.rare and several
    return f"{to.stem}-{hypnogram.task.name}" if event else to.stem


def describe(scored: Sequence[tuple[Scorer, Given, Hypnogram]], *, to: Path) -> str:
    """Say what was scored, from which channels, what is doubtful, and what came out."""
    lines: list[str] = []
    for _, _, hypnogram in scored:
        night = hypnogram.night
        taken = ", ".join(f"{name} from {labels}" for name, labels in night["channels"].items())
        task = f"  {hypnogram.task.name}: " if lines else ""
        lines.append(f"{task}{night['epochs']} epochs, {night['usable']} usable; {taken}")
        lines += [f"  without {name}: {why}" for name, why in night["absent"].items()]
        lines += [f"  {remark}" for remark in night["remarks"]]
        lines.append(f"  {_in_short(hypnogram)}")
    return "\n".join([*lines, f"  written: {to.with_suffix('')}.*"])


def _in_short(hypnogram: Hypnogram) -> str:
    task = hypnogram.task
    if task.rare:
        found = sum(name == task.classes[1] for name in hypnogram.classes)
        return f"{task.classes[1]} in {found} epochs (from {hypnogram.threshold:.3g} on)"
    night = hypnogram.statistics()
    efficiency = "" if night.se is None else f" ({night.se:.0f} %)"
    stages = ", ".join(f"{name} {minutes:g}" for name, minutes in night.minutes.items())
    return f"asleep {night.tst:g} of {night.tib:g} min{efficiency}; minutes: {stages}"


def _write_page(
    path: Path,
    scored: Sequence[tuple[Scorer, Given, Hypnogram]],
    *,
    statistics: SleepStatistics | None,
    files: Sequence[str],
) -> None:
    # Drawing takes a second to import, and those who want no page need not wait for it.
    from somnoflow.report.night_page import night_page  # noqa: PLC0415

    page = night_page(
        [hypnogram for _, _, hypnogram in scored],
        night=scored[0][1].physical,
        statistics=statistics,
        models=[scorer.about for scorer, _, _ in scored],
        files=[name for name in files if name != path.name],
    )
    with atomic(path) as partial:
        partial.write_text(page, encoding="utf-8")


def find_done(
    files: Mapping[Path, Path], *, formats: Sequence[str], scorers: Sequence[Scorer]
) -> set[Path]:
    """Give the nights whose files are whole; raise where a file was made otherwise."""
    wanted = made_by(scorers)
    done = set()
    for to in sorted(files):
        found = _read(to)
        names = _wanted_names(to, formats=formats, scorers=scorers)
        there = [name for name in (to.name, *names) if (to.parent / name).exists()]
        if found.get("made_by") == wanted:
            if found.get("whole") is True and names <= _listed(found) and len(there) > len(names):
                done.add(to)
        elif there:
            raise ConfigError(
                f"{to.with_name(there[-1])} is there already, and another model or other settings "
                "made it. Wanted: another folder after --out, or --force to make it again"
            )
    return done


def _wanted_names(to: Path, *, formats: Sequence[str], scorers: Sequence[Scorer]) -> set[str]:
    several = len(scorers) > 1
    exports = [one for one in formats if one in EXPORTS]
    names = {f"{to.stem}.{PAGE}"} if PAGE in formats else set()
    for scorer in scorers:
        own = f"{to.stem}-{scorer.task.name}" if several and scorer.task.rare else to.stem
        names |= {
            path.name for path in name_files(scorer.task, to=to.parent, name=own, formats=exports)
        }
    return names


def _read(path: Path) -> dict[str, Any]:
    """Give what a JSON file says; nothing where it is not there or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _listed(found: Mapping[str, Any]) -> set[str]:
    """Give the names of the files of a night; what is no plain name is none of ours."""
    files = found.get("files")
    names = files if isinstance(files, list) else []
    return {name for name in names if isinstance(name, str) and Path(name).name == name}
