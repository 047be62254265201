"""Which models a configuration trains: one row of the report each.

A row has the encoder (`neuronet`, `neuronet-<variant>`, `unimodal`, `synthsleepnet`, `features`, a
supervised model, or a baseline), what it reads (a channel, a modality, a fusion, or a table), the
method on it (a head on frozen embeddings, `<tuning>-<context module>`, or how a supervised model
treats rare classes), the task, and the labels it may see (`all`, or the name of a subset).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from somnoflow.config.pretrain import BASE
from somnoflow.config.root import Config
from somnoflow.config.subset import ALL
from somnoflow.config.supervised import SUPERVISED
from somnoflow.config.synthsleepnet import LORA, SYNTHSLEEPNET
from somnoflow.config.unimodal import UNIMODAL
from somnoflow.methods import head_of, tuning_of

FEATURES = "features"
YASA = "yasa"
STAGER = "stager"
MAJORITY = "majority"


@dataclass(frozen=True)
class ModelRow:
    """One model; its fields are wildcards of the paths."""

    encoder: str
    channel: str
    method: str
    task: str
    labels: str

    @property
    def tuning(self) -> str:
        """How the encoder is tuned; empty where it is frozen."""
        return tuning_of(self.method)

    @property
    def head(self) -> str:
        """The probe or context module."""
        return head_of(self.method)

    @property
    def supervised(self) -> bool:
        """Whether it is trained on labelled signals from the beginning."""
        return self.encoder in SUPERVISED

    @property
    def learned(self) -> bool:
        """Whether it is trained at all: the majority class and YASA's own stager are not."""
        return self.encoder != MAJORITY and (self.encoder, self.method) != (YASA, STAGER)

    @property
    def frozen(self) -> bool:
        """Whether it is a head on embeddings, or on features in their place."""
        return self.learned and not self.tuning and not self.supervised

    @property
    def wildcards(self) -> dict[str, str]:
        """What fills a path pattern, but for the fold."""
        return {
            "encoder": self.encoder,
            "channel": self.channel,
            "method": self.method,
            "task": self.task,
            "labels": self.labels,
            "tuning": self.tuning,
            "head": self.head,
        }


@dataclass(frozen=True)
class Encoder:
    """One pre-trained encoder and what it reads; its fields are wildcards of the paths."""

    encoder: str
    channel: str

    @property
    def wildcards(self) -> dict[str, str]:
        """What fills a path pattern, but for the fold."""
        return {"encoder": self.encoder, "channel": self.channel}


def encoders(config: Config) -> list[Encoder]:
    """Give all encoders that are pre-trained; those of single modalities before their fusions."""
    needed = config.synthsleepnet.fusions or config.unimodal.tasks
    single = config.unimodal.modalities if needed else {}
    return [
        *(
            Encoder(name, channel)
            for channel in config.pretrain.channels
            for name in config.pretrain.encoders
        ),
        *(Encoder(UNIMODAL, modality) for modality in single),
        *(Encoder(SYNTHSLEEPNET, fusion) for fusion in config.synthsleepnet.fusions),
    ]


def whole_rows(config: Config) -> Iterator[ModelRow]:
    """Give the models that see all labels; variants and tables get frozen heads only."""
    yield from _neuronet_rows(config)
    for task in config.unimodal.tasks:
        for modality in config.unimodal.modalities:
            for head in config.unimodal.heads:
                yield ModelRow(UNIMODAL, modality, head, task, ALL)
    for task in config.synthsleepnet.tasks:
        for fusion in config.synthsleepnet.fusions:
            for method in config.synthsleepnet.methods:
                yield ModelRow(SYNTHSLEEPNET, fusion, method, task, ALL)
    yield from _supervised_rows(config)
    yield from _baseline_rows(config)


def _neuronet_rows(config: Config) -> Iterator[ModelRow]:
    for task in config.heads.tasks:
        for channel in config.pretrain.channels:
            for encoder in config.pretrain.encoders:
                tuned = config.finetune.names if encoder == BASE else []
                for method in (*config.heads.names, *tuned):
                    yield ModelRow(encoder, channel, method, task, ALL)
        for table in config.features if task == "staging" else ():
            for head in config.heads.names:
                yield ModelRow(FEATURES, table, head, task, ALL)


def _supervised_rows(config: Config) -> Iterator[ModelRow]:
    supervised = config.supervised
    for task in supervised.tasks:
        for channel in supervised.channels:
            for name in supervised.names:
                for balance in supervised.balance:
                    yield ModelRow(name, channel, balance, task, ALL)


def _baseline_rows(config: Config) -> Iterator[ModelRow]:
    baselines = config.baselines
    for channel in baselines.yasa:
        for head in baselines.yasa_heads:
            yield ModelRow(YASA, channel, head, "staging", ALL)
        if baselines.yasa_stager:
            yield ModelRow(YASA, channel, STAGER, "staging", ALL)
    if baselines.majority:
        yield ModelRow(MAJORITY, "none", "constant", "staging", ALL)


def subset_rows(config: Config) -> Iterator[ModelRow]:
    """Give the models of the label efficiency curves."""
    curves = config.label_efficiency
    for encoder, channels, tasks in (
        (BASE, config.pretrain.channels, config.heads.tasks),
        (UNIMODAL, config.unimodal.modalities, config.unimodal.tasks),
        (SYNTHSLEEPNET, config.synthsleepnet.fusions, config.synthsleepnet.tasks),
    ):
        for task in tasks if encoder in curves.encoders else ():
            for channel in channels:
                for method in curves.methods:
                    if _has(encoder, method):
                        for labels in curves.subsets:
                            yield ModelRow(encoder, channel, method, task, labels)


def _has(encoder: str, method: str) -> bool:
    """Tell whether an encoder is tuned as a method asks; every encoder has frozen heads."""
    tuning = tuning_of(method)
    if not tuning:
        return True
    return encoder == (SYNTHSLEEPNET if tuning == LORA else BASE)


def rows(config: Config) -> list[ModelRow]:
    """Give all models."""
    return [*whole_rows(config), *subset_rows(config)]


def bundled_rows(config: Config) -> list[ModelRow]:
    """Give the models that become bundles: all that see all labels and read signals themselves."""
    return [
        row for row in whole_rows(config) if row.learned and row.encoder not in (FEATURES, YASA)
    ]


def explained_rows(config: Config) -> list[ModelRow]:
    """Give the models whose answers are explained: of each encoder and channel the first one.

    These are supervised models, fine-tunings, and linear probes on SynthSleepNet, for staging.
    """
    first: dict[tuple[str, str], ModelRow] = {}
    for row in whole_rows(config) if config.explain.epochs else ():
        probe = row.encoder == SYNTHSLEEPNET and row.method == "linear"
        if row.task == "staging" and (row.supervised or row.tuning or probe):
            first.setdefault((row.encoder, row.channel), row)
    return list(first.values())
