"""Which channels of a recording a model is given.

What is decided here:

- A model of one EEG channel is given each EEG channel of the recording by itself, and the mean of
  its probabilities is what it says: each sees the same sleep, and errs elsewhere. A model of one
  EOG channel likewise.
- Where a channel of a model is not there, and none of the same kind that it reads either, another
  one of that kind stands in for it: each channel is scaled by its own night. Where there is no EEG,
  an EOG does, which sees the same waves from the front of the head.
- A label such as `EEG` names no place on the head, and is no channel of a cohort. To score a night
  it is used where nothing else is there, as the channel that the model reads, and a remark says so.
- Nothing stands in for a muscle, a heart or a breath; models leave out what is absent.
- EEG and EOG that are sampled below 64 Hz are not used: spindles reach up to 16 Hz, and a recorder
  blurs what lies near half of its rate.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from somnoflow.config.dataset import Reading
from somnoflow.config.signals import Channel
from somnoflow.data.leads import Lead, choose_lead, find_names
from somnoflow.io.rejection import Rejection
from somnoflow.io.source import SourceRecording
from somnoflow.signals.channels import modality_of

LOWEST_RATE = 64
# Kinds of channels that others may stand in for, the best first.
STAND_INS = {"EEG": ("EEG", "EOG"), "EOG": ("EOG",)}


@dataclass(frozen=True)
class Montage:
    """What a model is given of a recording.

    Attributes
    ----------
    ways
        Each has a channel of the recording for each channel of the model, in its order; what the
        model says is the mean over the ways.
    remarks
        What is not as the model was trained.
    names
        Labels that are to be read as a channel, beside those that are known.
    """

    ways: tuple[tuple[str, ...], ...]
    remarks: tuple[str, ...]
    names: Mapping[str, Channel] = field(default_factory=dict)

    @property
    def channels(self) -> tuple[str, ...]:
        """All channels that are to be read."""
        return tuple(dict.fromkeys(name for way in self.ways for name in way))


def offer_channels(source: SourceRecording, reading: Reading) -> Mapping[str, str]:
    """Say of each canonical channel why a recording cannot give it; "" where it can."""
    offer = find_names(source.signals, reading)
    return {
        channel: _problem(choose_lead(channel, offer=offer, reading=reading), channel=channel)
        for channel in get_args(Channel)
    }


def _problem(lead: Lead | str, *, channel: str) -> str:
    if isinstance(lead, str):
        return lead
    lowest = min(signal.sampling_rate for signal in lead.signals)
    if modality_of(channel) in STAND_INS and lowest < LOWEST_RATE:
        labels = "-".join(signal.label for signal in lead.signals)
        return f"{labels} is sampled at {lowest:g} Hz, wanted at least {LOWEST_RATE} Hz"
    return ""


def choose_montage(
    wanted: Sequence[str],
    *,
    source: SourceRecording,
    reading: Reading,
    allowed: Collection[str] | None = None,
    vote: bool = True,
) -> Montage:
    """Choose the channels of a recording that a model is given.

    Parameters
    ----------
    wanted
        Channels that the model reads.
    source, reading
        The recording, and what its labels mean.
    allowed
        Channels that may be used in place of the model's own or beside it; any where None. A model
        of several channels is given its own ones in any case.
    vote
        Whether a model of one channel is given each of its kind by itself.

    Raises
    ------
    Rejection
        When the recording has nothing that the model could be given; the message has its labels.
    """
    problems = offer_channels(source, reading)
    there = [name for name, problem in problems.items() if not problem]
    if len(wanted) == 1:
        usable = [name for name in there if allowed is None or name in allowed]
        montage = _of_one(wanted[0], there=usable, vote=vote)
    else:
        montage = _of_several(wanted, there=there, allowed=allowed)
    if set(montage.channels) & set(there):
        return montage
    unplaced = _find_unplaced(wanted, source=source) if allowed is None else None
    if unplaced is None:
        raise _nothing(wanted, source=source, problems=problems, allowed=allowed)
    label, name = unplaced
    remark = (
        f"'{label}' names no place on the head; it is taken for {name}, which the model reads. Say "
        f"what it is with --map '{label}=CHANNEL'"
    )
    return Montage((tuple(wanted),), (remark,), {label: name})


def _find_unplaced(wanted: Sequence[str], *, source: SourceRecording) -> tuple[str, Channel] | None:
    """Find a label that tells its kind alone, and the channel of the model to take it for."""
    for channel in get_args(Channel):
        for kind in STAND_INS.get(modality_of(channel), ()) if channel in wanted else ():
            for signal in source.signals:
                plain = re.match(rf"{kind}(?![a-z])", signal.label, re.IGNORECASE)
                if plain and signal.sampling_rate >= LOWEST_RATE:
                    return signal.label, channel
    return None


def _of_one(wanted: str, *, there: Sequence[str], vote: bool) -> Montage:
    for kind in STAND_INS.get(modality_of(wanted), ()):
        own = [name for name in there if modality_of(name) == kind]
        own.sort(key=lambda name: name != wanted)
        if not own:
            continue
        chosen = own if vote else own[:1]
        remarks = []
        if wanted not in chosen:
            what = wanted if kind == modality_of(wanted) else f"{wanted} and any other EEG"
            remarks.append(_stand_in(wanted, absent=what, by=chosen))
        if len(chosen) > 1:
            remarks.append(f"the mean of what is said of {_listed(chosen)}, each by itself")
        return Montage(tuple((name,) for name in chosen), tuple(remarks))
    return Montage(((wanted,),), ())


def _of_several(
    wanted: Sequence[str], *, there: Sequence[str], allowed: Collection[str] | None
) -> Montage:
    way, remarks = list(wanted), []
    for place, name in enumerate(wanted):
        kind = modality_of(name)
        read = {other for other in way if modality_of(other) == kind}
        if kind not in STAND_INS or read & set(there):
            continue
        others = [
            one for one in there if modality_of(one) == kind and (allowed is None or one in allowed)
        ]
        if others:
            way[place] = others[0]
            remarks.append(_stand_in(name, absent=name, by=others[:1]))
    return Montage((tuple(way),), tuple(remarks))


def _nothing(
    wanted: Sequence[str],
    *,
    source: SourceRecording,
    problems: Mapping[str, str],
    allowed: Collection[str] | None,
) -> Rejection:
    labels = ", ".join(f"'{signal.label}'" for signal in source.signals) or "(no signals)"
    there = [name for name, problem in problems.items() if not problem]
    kinds = dict.fromkeys(modality_of(name) for name in wanted)
    others = dict.fromkeys(kind for name in kinds for kind in STAND_INS.get(name, (name,)))
    # What the labels came close to: a channel without its reference, or one that is too slow.
    near = [
        problem
        for name, problem in problems.items()
        if modality_of(name) in others and ("without a reference" in problem or "Hz" in problem)
    ]
    found = f"{labels}; of these are known: {', '.join(there) or 'none'}"
    limited = f" among {', '.join(allowed)}" if allowed is not None else ""
    stand_in = f", or another {' or '.join(others)} channel" if others.keys() & STAND_INS else ""
    return Rejection(
        problem="no usable channel",
        found="; ".join([found, *dict.fromkeys(near)]),
        wanted=f"{' or '.join(wanted)}{stand_in}{limited}",
        advice="Say what a label means with --map 'LABEL="
        f"{wanted[0]}'; see all labels with: somnoflow inspect FOLDER",
    )


def _stand_in(wanted: str, *, absent: str, by: Sequence[str]) -> str:
    verb = "stand" if len(by) > 1 else "stands"
    return f"the model was trained on {wanted}; without {absent}, {_listed(by)} {verb} in"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
