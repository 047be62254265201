"""Which signals of a recording a canonical channel is made of.

What is decided here:

- A label that the dataset names comes before one that is guessed, and a signal that is a channel
  before a derivation from electrodes (signals/montage.py).
- Of signals with one name, and of labels that are guessed to be one channel, the first in the file
  is taken, with a remark.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from somnoflow.config.dataset import Reading
from somnoflow.io.source import SourceSignal
from somnoflow.signals.montage import choose_pair, doubt_pair, lacking_electrodes
from somnoflow.signals.names import known_name


@dataclass(frozen=True)
class Lead:
    """What a channel is made of: a signal, or two, of which the second is subtracted."""

    signals: tuple[SourceSignal, ...]
    remarks: tuple[str, ...] = ()
    guessed: bool = False


@dataclass(frozen=True)
class Offer:
    """The signals of a recording by channel or electrode, which are guessed, and remarks."""

    signals: Mapping[str, SourceSignal]
    guessed: frozenset[str]
    remarks: Mapping[str, str]


def find_names(signals: Sequence[SourceSignal], reading: Reading) -> Offer:
    """Say which signals of a recording are which channels and electrodes."""
    labels = [signal.label for signal in signals]
    by_label = {signal.label: signal for signal in reversed(signals)}
    found: dict[str, list[str]] = {}
    for label, named in reading.channels.items():
        if label in by_label:
            found.setdefault(named, [label])
    guesses: dict[str, list[str]] = {}
    if reading.guess_channels:
        for label in dict.fromkeys(labels):
            guess = None if label in reading.channels else known_name(label)
            if guess is not None and guess not in found:
                guesses.setdefault(guess, []).append(label)
    remarks = {}
    for name, names in (found | guesses).items():
        namesakes = labels.count(names[0])
        if namesakes > 1:
            remarks[name] = f"{namesakes} signals are called '{names[0]}'; the first is taken"
        elif len(names) > 1:
            told = ", ".join(f"'{label}'" for label in names)
            remarks[name] = f"{told} look like {name}; the first is taken"
    return Offer(
        signals={name: by_label[names[0]] for name, names in (found | guesses).items()},
        guessed=frozenset(guesses),
        remarks=remarks,
    )


def choose_lead(channel: str, *, offer: Offer, reading: Reading) -> Lead | str:
    """Give the signal of a channel, or its electrodes, or the reason why there is none."""
    if channel in offer.signals:
        return _make_lead((channel,), offer=offer)
    pair = choose_pair(channel, offer.signals)
    if pair is not None:
        return _make_lead(pair, offer=offer, remark=doubt_pair(channel, pair))
    lacking = lacking_electrodes(channel, offer.signals)
    if lacking:
        return f"the recording has {lacking}"
    wanted = [label for label, name in reading.channels.items() if name == channel]
    if wanted:
        return f"the recording has none of: {', '.join(wanted)}"
    if reading.guess_channels:
        return "no label of the recording is a common name of this channel"
    return "the dataset has no label for this channel"


def _make_lead(names: tuple[str, ...], *, offer: Offer, remark: str = "") -> Lead:
    remarks = [remark, *(offer.remarks.get(name, "") for name in names)]
    return Lead(
        tuple(offer.signals[name] for name in names),
        remarks=tuple(filter(None, remarks)),
        guessed=not offer.guessed.isdisjoint(names),
    )
