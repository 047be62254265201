"""What models are called on the page: words for the pieces of their paths.

A path names a model as `<encoder>/<channel>/<method>`; the page says the same in words and keeps
the path as the anchor and the title of a name. Pieces without words here are shown as they are.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from somnoflow.config.signals import Channel

ENCODERS = {
    "neuronet": "NeuroNet",
    "neuronet-masked": "NeuroNet with masked prediction only",
    "neuronet-contrastive": "NeuroNet with contrast only",
    "features": "Table of features",
}
TUNINGS = {
    "": "frozen",
    "partial": "fine-tuned (partial)",
    "full": "fine-tuned (full)",
    "scratch": "trained from scratch",
}
HEADS = {
    "linear": "linear probe",
    "knn": "nearest neighbours",
    "lstm": "LSTM context",
    "transformer": "transformer context",
    "lstm_transformer": "LSTM + transformer context",
    "mamba": "Mamba context",
    "mamba2": "Mamba-2 context",
    "bimamba": "bidirectional Mamba context",
}
BASE = "neuronet"
FEATURES = "features"
SCRATCH = "scratch"


@dataclass(frozen=True)
class Source:
    """An encoder and the channel it reads, or a table of features and its name."""

    encoder: str
    channel: str

    @property
    def path(self) -> str:
        """The folders that name it."""
        return f"{self.encoder}/{self.channel}"

    @property
    def title(self) -> str:
        """Its name in words, such as "NeuroNet, EEG_C4"."""
        return f"{encoder_words(self.encoder)}, {self.channel}"

    @property
    def order(self) -> tuple[object, ...]:
        """Key that sorts encoders as here, then channels as in a montage, then by name."""
        return (
            not self.encoder.startswith(BASE),
            _place(self.encoder, ENCODERS),
            self.encoder,
            _place(self.channel, get_args(Channel)),
            self.channel,
        )


@dataclass(frozen=True)
class ModelName:
    """One model: what it reads from, and the method that makes stages of it."""

    source: Source
    method: str

    @property
    def path(self) -> str:
        """The folders that name it, such as "neuronet/EEG_C4/partial-mamba"."""
        return f"{self.source.path}/{self.method}"

    @property
    def anchor(self) -> str:
        """Its id on the page."""
        return "model-" + anchored(self.path)

    @property
    def tuning(self) -> str:
        """How the encoder is tuned; empty where it is frozen."""
        return self.method.rpartition("-")[0]

    @property
    def head(self) -> str:
        """The probe or context module."""
        return self.method.rpartition("-")[2]

    @property
    def words(self) -> str:
        """The method in words, such as "fine-tuned (partial), Mamba context"."""
        if self.tuning not in TUNINGS or self.head not in HEADS:
            return self.method
        if self.source.encoder == FEATURES and not self.tuning:
            return HEADS[self.head]
        return f"{TUNINGS[self.tuning]}, {HEADS[self.head]}"

    @property
    def title(self) -> str:
        """The whole name in words."""
        return f"{self.source.title}: {self.words}"

    @property
    def order(self) -> tuple[object, ...]:
        """Key that sorts by source, then frozen before tuned before from scratch, then by head."""
        return (*self.source.order, _place(self.tuning, TUNINGS), _place(self.head, HEADS),
                self.method)  # fmt: skip


def encoder_words(encoder: str) -> str:
    """Give an encoder's name in words; a variant without words is named."""
    variant = encoder.removeprefix(f"{BASE}-")
    unknown = encoder if variant == encoder else f"NeuroNet, variant {variant}"
    return ENCODERS.get(encoder, unknown)


def anchored(path: str) -> str:
    """Make an id of a path."""
    return "".join(c if c.isalnum() else "-" for c in path)


def _place(name: str, known: Iterable[str]) -> int:
    """Give the place of a name in an order; unknown ones come last."""
    names = list(known)
    return names.index(name) if name in names else len(names)
