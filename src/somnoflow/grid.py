"""Which models a configuration trains: one row of the report each.

A row has the encoder (`neuronet`, `neuronet-<variant>`, or `features`), the channel or table that
it reads, the method on it (a head on frozen embeddings, or `<tuning>-<context module>`) and the
labels it may see (`all`, or the name of a subset).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from somnoflow.config.pretrain import BASE
from somnoflow.config.root import Config
from somnoflow.config.subset import ALL

FEATURES = "features"


@dataclass(frozen=True)
class ModelRow:
    """One model; its fields are wildcards of the paths."""

    encoder: str
    channel: str
    method: str
    labels: str

    @property
    def tuning(self) -> str:
        """How the encoder is tuned; empty where it is frozen."""
        return self.method.rpartition("-")[0]

    @property
    def head(self) -> str:
        """The probe or context module."""
        return self.method.rpartition("-")[2]

    @property
    def wildcards(self) -> dict[str, str]:
        """What fills a path pattern, but for the fold."""
        return {
            "encoder": self.encoder,
            "channel": self.channel,
            "method": self.method,
            "labels": self.labels,
            "tuning": self.tuning,
            "head": self.head,
        }


def whole_rows(config: Config) -> Iterator[ModelRow]:
    """Give the models that see all labels; variants and tables get frozen heads only."""
    for channel in config.pretrain.channels:
        for encoder in config.pretrain.encoders:
            tuned = config.finetune.names if encoder == BASE else []
            for method in (*config.heads.names, *tuned):
                yield ModelRow(encoder, channel, method, ALL)
    for table in config.features:
        for head in config.heads.names:
            yield ModelRow(FEATURES, table, head, ALL)


def subset_rows(config: Config) -> Iterator[ModelRow]:
    """Give the models of the label efficiency curves."""
    for channel in config.pretrain.channels:
        for method in config.label_efficiency.methods:
            for labels in config.label_efficiency.subsets:
                yield ModelRow(BASE, channel, method, labels)


def rows(config: Config) -> list[ModelRow]:
    """Give all models."""
    return [*whole_rows(config), *subset_rows(config)]
