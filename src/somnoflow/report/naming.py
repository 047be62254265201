"""What models are called on the page: words for the pieces of their paths.

A path names a model as `<encoder>/<channel>/<method>/task=<task>`; the page says the same in words
and keeps the path as the anchor and the title of a name. Pieces without words here are shown as
they are.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from somnoflow.config.signals import Channel
from somnoflow.methods import head_of, tuning_of
from somnoflow.tasks import TASKS

ENCODERS = {
    "neuronet": "NeuroNet",
    "neuronet-masked": "NeuroNet with masked prediction only",
    "neuronet-contrastive": "NeuroNet with contrast only",
    "unimodal": "SynthSleepNet's encoder of one modality",
    "synthsleepnet": "SynthSleepNet",
    "seresnet_bilstm": "SE-ResNet-BiLSTM",
    "deepsleepnet": "DeepSleepNet",
    "tinysleepnet": "TinySleepNet",
    "features": "Table of features",
    "yasa": "YASA's features",
    "majority": "Majority class",
}
TUNINGS = {
    "": "frozen",
    "partial": "fine-tuned (partial)",
    "full": "fine-tuned (full)",
    "lora": "fine-tuned (LoRA)",
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
    "boosting": "gradient boosting",
}
METHODS = {
    "published": "classes as published",
    "plain": "classes as they are",
    "weights": "classes weighted",
    "oversampling": "classes oversampled",
    "stager": "its own stager, trained elsewhere",
    "constant": "constant answer",
}
TASK_WORDS = {
    "staging": "staging",
    "apnea": "apnea",
    "hypopnea": "hypopnea",
    "respiratory": "apnea or hypopnea",
}
BASE = "neuronet"
FEATURES = "features"
YASA = "yasa"
STAGER = "stager"
MAJORITY = "majority"
NO_CHANNEL = "none"
UNIMODAL = "unimodal"
SYNTHSLEEPNET = "synthsleepnet"
SCRATCH = "scratch"
TASK = "task="
STAGING = "staging"


@dataclass(frozen=True)
class Source:
    """An encoder and what it reads: a channel, a modality, a fusion, or a table of features."""

    encoder: str
    channel: str

    @property
    def path(self) -> str:
        """The folders that name it."""
        return f"{self.encoder}/{self.channel}"

    @property
    def title(self) -> str:
        """Its name in words, such as "NeuroNet, EEG_C4"."""
        reads = "" if self.channel == NO_CHANNEL else f", {self.channel}"
        return f"{encoder_words(self.encoder)}{reads}"

    @property
    def order(self) -> tuple[object, ...]:
        """Key that sorts encoders as here, then channels as in a montage, then by name."""
        return (
            not self.encoder.startswith(BASE),
            _place(self.encoder, ENCODERS),
            self.encoder,
            _in_montage(self.channel),
            self.channel,
        )


@dataclass(frozen=True)
class ModelName:
    """One model: what it reads from, the method on it, and what it is asked for."""

    source: Source
    method: str
    task: str = STAGING

    @property
    def path(self) -> str:
        """The folders that name it, such as "neuronet/EEG_C4/partial-mamba/task=staging"."""
        return f"{self.source.path}/{self.method}/{TASK}{self.task}"

    @property
    def anchor(self) -> str:
        """Its id on the page."""
        return "model-" + anchored(self.path)

    @property
    def tuning(self) -> str:
        """How the encoder is tuned; empty where it is frozen."""
        return tuning_of(self.method)

    @property
    def head(self) -> str:
        """The probe or context module."""
        return head_of(self.method)

    @property
    def words(self) -> str:
        """The method in words, such as "fine-tuned (partial), Mamba context"."""
        if self.tuning not in TUNINGS or self.head not in HEADS:
            return METHODS.get(self.method, self.method)
        if self.source.encoder in (FEATURES, YASA) and not self.tuning:
            return HEADS[self.head]
        return f"{TUNINGS[self.tuning]}, {HEADS[self.head]}"

    @property
    def title(self) -> str:
        """The whole name in words; a task other than staging is named."""
        asked = "" if self.task == STAGING else f", {TASK_WORDS.get(self.task, self.task)}"
        return f"{self.source.title}: {self.words}{asked}"

    @property
    def order(self) -> tuple[object, ...]:
        """Key that sorts by task, source, frozen before tuned before from scratch, and head."""
        return (
            _place(self.task, TASKS),
            self.task,
            *self.source.order,
            _place(self.tuning, TUNINGS),
            _place(self.head, (*HEADS, *METHODS)),
            self.method,
        )


def encoder_words(encoder: str) -> str:
    """Give an encoder's name in words; a variant without words is named."""
    variant = encoder.removeprefix(f"{BASE}-")
    unknown = encoder if variant == encoder else f"NeuroNet, variant {variant}"
    return ENCODERS.get(encoder, unknown)


def anchored(path: str) -> str:
    """Make an id of a path."""
    return "".join(c if c.isalnum() else "-" for c in path)


def _in_montage(name: str) -> int:
    """Give the place of a channel, or that of a modality's first channel; others come last."""
    channels = get_args(Channel)
    own = (k for k, channel in enumerate(channels) if f"{channel}_".startswith(f"{name}_"))
    return next(own, len(channels))


def _place(name: str, known: Iterable[str]) -> int:
    """Give the place of a name in an order; unknown ones come last."""
    names = list(known)
    return names.index(name) if name in names else len(names)
