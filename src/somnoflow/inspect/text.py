"""What `somnoflow inspect` prints: for a terminal of 96 columns, the answer first."""

import json
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from statistics import median
from typing import Any

from somnoflow.inspect.findings import Findings
from somnoflow.inspect.labels import add_up
from somnoflow.inspect.tables import (
    UNKNOWN,
    derived_rows,
    label_rows,
    meaning_of,
    signal_rows,
)
from somnoflow.io.manifest import shown
from somnoflow.io.printable import printable

WIDTH = 96
_EXAMPLES = 3
_LONGEST_EXAMPLES = 50
_LONGEST_CELL = 34


def describe(findings: Findings, *, steps: Sequence[str]) -> str:
    """Give the whole text; `steps` are what to do next."""
    parts = [_answer(findings), _found(findings)]
    if not findings.below and (findings.survey.files("recording") or findings.labels):
        parts += [_nights(findings), _signals(findings), _annotations(findings), _inside(findings)]
    parts.append(_unreadable(findings))
    if not findings.known and findings.draft:
        parts.append(_section("Before you use the draft", _bullets(findings.draft.doubts)))
    parts.append(_section("Next", [line for step in steps for line in step.splitlines()]))
    text = "\n".join(part for part in parts if part) + "\n"
    # Names and labels are others' text: a terminal must not obey it.
    return printable(text, keep="\n")


def as_json(findings: Findings, *, steps: Sequence[str]) -> str:
    """Give the same for machines."""
    survey, fit = findings.survey, findings.fit
    files: dict[str, Any] = {
        name: {
            "kind": kind.title,
            "role": kind.role,
            **(asdict(fit.parts[name]) if fit and name in fit.parts else {}),
        }
        for name, kind in survey.kinds.items()
    }
    content = {
        "folder": str(survey.folder),
        "dataset": fit.dataset.name if fit and findings.known else None,
        "bytes": survey.size,
        "files": files,
        "headers_read": len(survey.recordings),
        "annotations_read": len(findings.labels),
        "recordings": {
            name: {
                "start": seen.start.isoformat() if seen.start else None,
                "seconds": seen.seconds,
                "gaps": seen.gaps,
                "notes": list(seen.notes),
            }
            for name, seen in survey.recordings.items()
        },
        "signals": [asdict(row) for row in signal_rows(findings)],
        "derived": [asdict(row) for row in derived_rows(findings)],
        "labels": [asdict(row) for row in label_rows(findings)],
        "inside_recordings": {
            name: {label: asdict(total) for label, total in labels.items()}
            for name, labels in findings.inside.items()
        },
        "unreadable": {name: why.row() for name, why in findings.unreadable.items()},
        "next": list(steps),
    }
    return json.dumps(content, indent=1, allow_nan=False, default=str) + "\n"


def _answer(findings: Findings) -> str:
    fit = findings.fit
    if not findings.survey.kinds:
        return "There is no file here. Hidden files and folders are not counted."
    if findings.below:
        folders = _table([[f"  {folder}", name] for folder, name in findings.below.items()])
        return "\n".join(["Several datasets are here; inspect each folder by itself:", *folders])
    if fit is None:
        return "There is no recording here (EDF, BDF, FIF or BrainVision)."
    if not findings.known:
        return "No known dataset is like this. What follows is guessed from names and labels."
    taken, side = fit.files("signal"), fit.files("stages", "events")
    counts = [
        f"{len(own)} of {_count(len(found), what)}"
        for own, found, what in (
            (taken, findings.survey.files("recording"), "recording"),
            (side, findings.annotations, "annotation file"),
        )
        if found
    ]
    text = f"This looks like {fit.dataset.name}: {' and '.join(counts)} have its names"
    read = sum(name in findings.survey.recordings for name in taken)
    text += f", and {fit.known_labels} of {read} read have its signal labels." if read else "."
    if not taken:
        text += " Its recordings are missing."
    return "\n".join([*_fill(text), *_fill(f"({fit.dataset.title}; {fit.dataset.licence})")])


def _found(findings: Findings) -> str:
    survey = findings.survey
    rows = []
    for role, title in (("recording", "recordings"), ("annotation", "annotations"),
                        ("companion", "companions"), ("other", "other files")):  # fmt: skip
        groups = defaultdict(list)
        for name in survey.files(role):
            key = survey.kinds[name].title if role != "other" else _ending(name)
            groups[key].append(name)
        ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
        for number, (key, names) in enumerate(ordered[:8]):
            rows.append([title if not number else "", str(len(names)), key, _examples(names)])
        if len(ordered) > 8:
            rest = [name for _, names in ordered[8:] for name in names]
            rows.append(["", str(len(rest)), "others", _examples(rest)])
    lines = _table(rows, right=(1,))
    lines += _fill(
        f"{_count(len(survey.kinds), 'file')}, {_bytes(survey.size)}. {_sample(findings)}"
    )
    return _section("Found", lines) if survey.kinds else ""


def _sample(findings: Findings) -> str:
    read, recordings = len(findings.survey.recordings), len(findings.survey.files("recording"))
    tried = read + sum(n in findings.unreadable for n in findings.survey.files("recording"))
    annotations = len(findings.annotations)
    counted = sum(f in findings.labels or f in findings.unreadable for f in findings.annotations)
    if tried == recordings and counted == annotations:
        return "All headers and annotations were read."
    return (
        f"Read were the headers of {tried} of {recordings} recordings and {counted} of "
        f"{annotations} annotation files, evenly chosen; --all reads all."
    )


def _nights(findings: Findings) -> str:
    fit = findings.fit
    if fit is None:
        return ""
    taken = fit.nights("signal")
    scored = fit.scored_nights()
    subjects = {subject for subject, _ in taken or scored}
    rows = [
        ["subjects", ": ".join([str(len(subjects)), *filter(None, [_examples(sorted(subjects))])])],
        [
            "nights",
            f"{_count(len(taken), 'recording')}, {_count(len(scored), 'scoring')}, "
            f"{len(taken & scored)} with both",
        ],
    ]
    table = fit.dataset.files.subjects
    if table is not None:
        rows.append(
            ["persons", f"{table.file} tells whose they are; `somnoflow manifest` reads it"]
        )
    lone, orphaned = sorted(taken - scored), sorted(scored - taken)
    if lone and scored:
        rows.append(["no scoring", f"{len(lone)}: {_examples(map(_night, lone))}"])
    if orphaned:
        rows.append(["no recording", f"{len(orphaned)}: {_examples(map(_night, orphaned))}"])
    twice = [
        night
        for night, count in Counter(
            (part.subject, part.night) for part in fit.parts.values() if part.role == "signal"
        ).items()
        if count > 1
    ]
    if twice:
        rows.append(["twice", f"{len(twice)} nights have several recordings, which are rejected: "
                     f"{_examples(map(_night, sorted(twice)))}"])  # fmt: skip
    unnamed = [name for name in findings.survey.files("recording") if name not in fit.parts]
    if unnamed:
        alike = sum(
            any(meaning_of(signal.label, fit.dataset.reading) for signal in seen.signals)
            for name, seen in findings.survey.recordings.items()
            if name in unnamed
        )
        rows.append(["not taken", f"{_count(len(unnamed), 'recording')} of another name ({alike} "
                     f"with its labels): {_examples(unnamed)}"])  # fmt: skip
    seen = list(findings.survey.recordings.values())
    if seen:
        hours = sorted(one.seconds / 3600 for one in seen)
        rows.append(["length", f"{_hours(hours[0])} shortest, {_hours(median(hours))} median, "
                     f"{_hours(hours[-1])} longest"])  # fmt: skip
        starts = sorted(one.start for one in seen if one.start is not None)
        if starts:
            rows.append(["start", f"{starts[0]:%Y-%m-%d %H:%M} earliest, "
                         f"{starts[-1]:%Y-%m-%d %H:%M} latest"])  # fmt: skip
        if len(starts) < len(seen):
            rows.append(["no start", f"{len(seen) - len(starts)} recordings do not tell it"])
        notes = Counter(note for one in seen for note in one.notes)
        rows += [["note", f"{count} x {note}"] for note, count in notes.most_common(5)]
    return _section("Nights", _table(rows))


def _signals(findings: Findings) -> str:
    rows = signal_rows(findings)
    if not rows:
        return ""
    guessed = any(row.guessed for row in rows)
    cells = [["label", "in", "Hz", "unit", "range", "taken as"]]
    for row in rows:
        taken = row.meaning + (" (guessed)" if row.guessed and findings.known else "")
        cells.append([
            row.label or "(no label)", str(row.recordings),
            _some(f"{rate:g}" for rate in row.sampling_rates),
            _some(unit or "-" for unit in row.units), _reach(row.ranges),
            taken,
        ])  # fmt: skip
    lines = _table(cells, right=(1,), head=True)
    lines += [line for row in rows if row.remark for line in _fill(f"{row.label}: {row.remark}")]
    for one in derived_rows(findings):
        lines += _fill(f"{one.channel} is made of {one.active} - {one.reference} in "
                       f"{_count(one.recordings, 'recording')}")  # fmt: skip
    if guessed or not findings.known:
        lines += _fill("Guessed by the table of common names (docs/datasets.md); a label that is "
                       "not in it is not used.")  # fmt: skip
    return _section(f"Signals of {_count(len(findings.survey.recordings), 'recording')}", lines)


def _annotations(findings: Findings) -> str:
    rows = label_rows(findings)
    if not rows:
        return ""
    cells = [["in", "label", "files", "count", "hours", "means"]]
    role = ""
    for row in rows:
        cells.append([
            row.role if row.role != role else "", row.label or "(no label)", str(row.files),
            str(row.count), f"{row.hours:.2f}", row.meaning,
        ])  # fmt: skip
        role = row.role
    lines = _table(cells, right=(2, 3, 4), head=True)
    if any(row.meaning == UNKNOWN for row in rows):
        lines += _fill("?: nobody has said what this stage means, and a recording that has it is "
                       "rejected; it needs a line under `stages` in dataset.yaml.")  # fmt: skip
    read = sum(file in findings.labels for file in findings.annotations)
    where = [
        _count(number, what)
        for number, what in (
            (read, "annotation file"),
            (len(findings.labels) - read, "recording"),
        )
        if number
    ]
    return _section(f"Labels of {' and '.join(where)}", lines)


def _inside(findings: Findings) -> str:
    if not findings.inside:
        return ""
    totals = add_up(findings.inside.values())
    labels = ", ".join(f"{label} ({total.count})" for label, total in list(totals.items())[:8])
    return _section(
        f"Annotations inside {_count(len(findings.inside), 'recording')}",
        _fill(f"{labels}{', ...' if len(totals) > 8 else ''}. If these are the scoring, say so in "
              "dataset.yaml: `stages_inside: true` and `stages` under `reading`."),
    )  # fmt: skip


def _unreadable(findings: Findings) -> str:
    lines = []
    for number, (name, why) in enumerate(sorted(findings.unreadable.items())):
        if number == 10:
            lines.append(f"... and {len(findings.unreadable) - 10} more (--json has all)")
            break
        lines += _fill(f"{shown(name)}: {why}")
    return (
        _section(f"Cannot be read: {_count(len(findings.unreadable), 'file')}", lines)
        if lines
        else ""
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _section(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return "\n".join(["", title, *(f"  {line}".rstrip() for line in lines)])


def _table(
    rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), head: bool = False
) -> list[str]:
    """Align columns; the last one is wrapped where the line gets too long."""
    if not rows:
        return []
    rows = [[*(_cut(cell) for cell in row[:-1]), row[-1]] for row in rows]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]) - 1)]
    before = sum(widths) + 2 * len(widths)
    lines = []
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if n in right else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        wrapped = textwrap.wrap(row[-1], max(24, WIDTH - before - 2)) or [""]
        lines.append("  ".join([*cells, wrapped[0]]))
        lines += [" " * before + rest for rest in wrapped[1:]]
        if head and not number:
            lines.append("  ".join("-" * width for width in [*widths, len(row[-1])]))
    return lines


def _fill(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH - 2, break_on_hyphens=False, break_long_words=False)


def _bullets(texts: Iterable[str]) -> list[str]:
    lines = []
    for text in texts:
        first, *rest = _fill(text)
        lines += [f"- {first}", *(f"  {line}" for line in rest)]
    return lines


def _examples(names: Iterable[str]) -> str:
    """Give the first names, as many as fit on part of a line, and dots for the rest."""
    found = [shown(name).rpartition("/")[2] for name in names]
    some = found[:1]
    for name in found[1:_EXAMPLES]:
        if len(", ".join([*some, name])) <= _LONGEST_EXAMPLES:
            some.append(name)
    return ", ".join(some) + (", ..." if len(found) > len(some) else "")


def _some(texts: Iterable[str]) -> str:
    found = list(texts)
    return " ".join(found[:2]) + (f" +{len(found) - 2}" if len(found) > 2 else "")


def _reach(ranges: Sequence[tuple[float, float]]) -> str:
    text = f"{min(low for low, _ in ranges):g}..{max(high for _, high in ranges):g}"
    return text if len(ranges) == 1 else f"{text} (varies)"


def _cut(cell: str) -> str:
    return cell if len(cell) <= _LONGEST_CELL else cell[: _LONGEST_CELL - 3] + "..."


def _night(night: tuple[str, int]) -> str:
    return f"{night[0]} night {night[1]}"


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min"


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower() or "no suffix"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
