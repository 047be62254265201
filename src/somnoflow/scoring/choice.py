"""What a person may choose when nights are scored, beside the model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from somnoflow.config.base import ConfigError
from somnoflow.config.dataset import Reading
from somnoflow.config.pack import Pack
from somnoflow.config.signals import Channel, Electrode, Signals
from somnoflow.night import COMMON_NAMES, PACK, SIGNALS


@dataclass(frozen=True, eq=False)
class Settings:
    """How signals become what a model reads, where no bundle says it.

    Attributes
    ----------
    signals, pack
        As for `night.read_night`.
    source
        Where they come from, to be said; None where nobody named any.
    """

    signals: Signals = SIGNALS
    pack: Pack = PACK
    source: str | None = None


@dataclass(frozen=True)
class Choice:
    """What a person may choose beside the model.

    Attributes
    ----------
    reading
        What the labels and units of recordings mean.
    channels
        As `allowed` of `montage.choose_montage`.
    vote
        As there.
    stride
        Step between windows in epochs; the bundle's, or a window, where None.
    threshold
        Probability from which on an epoch has the event; the bundle's, or 0.5, where None.
    """

    reading: Reading = COMMON_NAMES
    channels: tuple[str, ...] | None = None
    vote: bool = True
    stride: int | None = None
    threshold: float | None = None


def make_choice(
    *,
    reading: Reading | None = None,
    names: Mapping[str, str] | None = None,
    channels: Sequence[str] | None = None,
    vote: bool = True,
    stride: int | None = None,
    threshold: float | None = None,
) -> Choice:
    """Make a choice of what a person wrote.

    Parameters
    ----------
    reading
        What labels and units mean; common names are looked up where None.
    names
        Canonical channel or electrode of further labels; they come before those of `reading`.
    channels, vote, stride, threshold
        As in `Choice`.

    Raises
    ------
    ConfigError
        When a channel is not known.
    """
    known = reading or COMMON_NAMES
    meanings = dict(names or {})
    _require_known(meanings.values(), known=(*get_args(Channel), *get_args(Electrode)))
    _require_known(channels or (), known=get_args(Channel))
    others = {label: name for label, name in known.channels.items() if label not in meanings}
    return Choice(
        reading=Reading.model_validate({**known.model_dump(), "channels": {**meanings, **others}}),
        channels=None if channels is None else tuple(channels),
        vote=vote,
        stride=stride,
        threshold=threshold,
    )


def _require_known(names: Iterable[str], *, known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"{', '.join(map(repr, unknown))} is no channel that Somnoflow knows, wanted some of: "
            f"{', '.join(known)}"
        )
