"""The tables that `somnoflow inspect` shows: signal labels, derived channels, annotation labels."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from somnoflow.config.annotation import Annotation
from somnoflow.config.dataset import Reading
from somnoflow.config.signals import Channel, Electrode
from somnoflow.inspect.findings import Findings
from somnoflow.inspect.labels import add_up
from somnoflow.inspect.survey import RecordingSeen, SignalSeen
from somnoflow.io.rejection import Rejection
from somnoflow.io.scoring import ScoringBuilder
from somnoflow.signals.channels import known_unit
from somnoflow.signals.montage import DERIVATIONS, choose_pair
from somnoflow.signals.names import known_name
from somnoflow.stages import STAGE_NAMES

NOT_USED = "not used"
UNKNOWN = "?"
_PLACES = {
    name: place for place, name in enumerate([*get_args(Channel), *get_args(Electrode), NOT_USED])
}


@dataclass(frozen=True)
class SignalRow:
    """A signal label: how many recordings have it, what their headers say, and what it is."""

    label: str
    recordings: int
    sampling_rates: tuple[float, ...]
    units: tuple[str, ...]
    ranges: tuple[tuple[float, float], ...]
    meaning: str
    guessed: bool
    remark: str


@dataclass(frozen=True)
class DerivedRow:
    """A channel that is the difference of two electrodes."""

    channel: str
    active: str
    reference: str
    recordings: int


@dataclass(frozen=True)
class LabelRow:
    """An annotation label: its file's role, how often and how long it occurs, and what it means."""

    role: str
    label: str
    files: int
    count: int
    hours: float
    meaning: str


def signal_rows(findings: Findings) -> list[SignalRow]:
    """Give a row for each signal label, in the order of canonical channels."""
    reading = findings.fit.dataset.reading if findings.fit else Reading(guess_channels=True)
    seen: dict[str, list[SignalSeen]] = defaultdict(list)
    counts: Counter[str] = Counter()
    twice: Counter[str] = Counter()
    for recording in findings.survey.recordings.values():
        labels = Counter(signal.label for signal in recording.signals)
        counts.update(labels.keys())
        twice.update(label for label, count in labels.items() if count > 1)
        for signal in recording.signals:
            seen[signal.label].append(signal)
    rows = [
        SignalRow(
            label=label,
            recordings=counts[label],
            sampling_rates=tuple(sorted({signal.sampling_rate for signal in signals})),
            units=tuple(sorted({signal.unit for signal in signals})),
            ranges=tuple(sorted({signal.limits for signal in signals})),
            meaning=meaning_of(label, reading) or NOT_USED,
            guessed=label not in reading.channels and meaning_of(label, reading) is not None,
            remark=_remark(label, signals, reading=reading, twice=twice[label]),
        )
        for label, signals in seen.items()
    ]
    return sorted(rows, key=lambda row: (_PLACES[row.meaning], -row.recordings, row.label))


def meaning_of(label: str, reading: Reading) -> str | None:
    """Give the channel or electrode that a dataset takes a signal label as."""
    if label in reading.channels:
        return reading.channels[label]
    return known_name(label) if reading.guess_channels else None


def _remark(label: str, signals: Iterable[SignalSeen], *, reading: Reading, twice: int) -> str:
    remarks = []
    meaning = meaning_of(label, reading)
    breathing = meaning in ("AIRFLOW", "THORAX", "ABDOMEN")
    if meaning and not breathing and label not in reading.units:
        odd = {signal.unit for signal in signals if known_unit(signal.unit) in (None, "a.u.")}
        if odd and meaning != "SPO2":
            remarks.append("unit not told: found from the size, or say it under units")
    if twice:
        remarks.append(f"{twice} recordings have it more than once")
    return "; ".join(remarks)


def derived_rows(findings: Findings) -> list[DerivedRow]:
    """Give the channels that recordings have only as the difference of two electrodes."""
    reading = findings.fit.dataset.reading if findings.fit else Reading(guess_channels=True)
    counts: Counter[tuple[str, str, str]] = Counter()
    for recording in findings.survey.recordings.values():
        offered = _offered(recording, reading)
        for channel in DERIVATIONS:
            pair = choose_pair(channel, offered) if channel not in offered else None
            if pair is not None:
                counts[channel, *pair] += 1
    return [DerivedRow(*names, recordings=count) for names, count in sorted(counts.items())]


def _offered(recording: RecordingSeen, reading: Reading) -> set[str]:
    meanings = (meaning_of(signal.label, reading) for signal in recording.signals)
    return {meaning for meaning in meanings if meaning is not None}


def label_rows(findings: Findings) -> list[LabelRow]:
    """Give a row for each annotation label and role: stages, then events, then the rest."""
    fit = findings.fit
    # Another scoring of the same recordings may be read in another way.
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file in findings.labels:
        role = (fit.annotation_role(file) if fit else None) or NOT_USED
        reading = fit.reading_of(file) if fit else None
        groups[role, reading.model_dump_json() if reading else ""].append(file)
    rows = []
    for role, way in sorted(groups, reverse=True):
        files = groups[role, way]
        reading = fit.reading_of(files[0]) if fit else None
        totals = add_up(findings.labels[file] for file in files)
        found = [
            LabelRow(
                role=role,
                label=label,
                files=sum(label in findings.labels[file] for file in files),
                count=total.count,
                hours=total.seconds / 3600,
                meaning=_meaning_of_annotation(label, reading),
            )
            for label, total in totals.items()
        ]
        rows += sorted(found, key=_order)
    return rows


def _order(row: LabelRow) -> tuple[int, str, int, str]:
    """Sort stages as they are always written, then events, then what is not known."""
    names = [*STAGE_NAMES, "unscored"]
    place = names.index(row.meaning) if row.meaning in names else len(names)
    place += {NOT_USED: 1, UNKNOWN: 2}.get(row.meaning, 0)
    return place, row.meaning, -row.count, row.label


def _meaning_of_annotation(label: str, reading: Annotation | None) -> str:
    """Say what a reader makes of a label; `UNKNOWN` where it would refuse the file."""
    if reading is None:
        return NOT_USED
    builder = ScoringBuilder(reading, file="")
    try:
        if reading.format == "codes":
            builder.add_stage(0, 30, label)
        else:
            builder.add(0, 30, label)
    except Rejection:
        return UNKNOWN
    scoring = builder.scoring
    found = [
        *(stage.name if stage >= 0 else "unscored" for _, _, stage in scoring.stages),
        *(event for _, _, event in scoring.events),
        *(mark for _, mark in scoring.marks),
    ]
    return found[0] if found else NOT_USED
