"""The whole configuration: config.yaml as typed values, and clear errors where it is wrong."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from reprlib import Repr
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from somnoflow.config.base import ConfigError, Section
from somnoflow.config.baselines import YASA_ABOVE_HZ, Baselines
from somnoflow.config.evaluate import Evaluate
from somnoflow.config.explain import Explain
from somnoflow.config.features import Features
from somnoflow.config.finetune import Finetune
from somnoflow.config.folder import expand
from somnoflow.config.heads import Heads
from somnoflow.config.label_efficiency import LabelEfficiency
from somnoflow.config.pack import Pack
from somnoflow.config.pretrain import Pretrain
from somnoflow.config.projection import Projection
from somnoflow.config.report import Report
from somnoflow.config.signals import Signals
from somnoflow.config.simulate import Simulate
from somnoflow.config.split import Split
from somnoflow.config.supervised import Supervised
from somnoflow.config.synthsleepnet import ALL, SynthSleepNet
from somnoflow.config.unimodal import Unimodal, modality_of

M = TypeVar("M", bound=BaseModel)

# A few lines of aliases can stand for more values than a message, or a memory, can hold.
_SHOWN = Repr()
_SHOWN.maxlevel = 3
_SHOWN.maxstring = _SHOWN.maxother = 500


class Config(Section):
    """Science only: threads, memory, GPUs and clusters belong into a profile."""

    results: str = Field(
        "results", pattern=r"^[^{}\s]+$", description="Folder that everything is written to."
    )
    datasets: list[str] = Field(
        default=["simulated"],
        min_length=1,
        description="Folders of `workflow/datasets` to work on; their subjects are pooled.",
    )
    folders: dict[str, str] = Field(
        default={},
        description="Where the recordings of a dataset are on this machine; `$NAME` stands for an "
        "environment variable.",
    )
    subsets: dict[str, str] = Field(
        default={},
        description="Named part of a dataset to work on, such as `sleep-edfx: sleep-edf-20`; all "
        "of it where none is named.",
    )
    scorings: dict[str, str] = Field(
        default={},
        description="Which scoring of a dataset to use where its dataset.yaml offers several; the "
        "first where none is named.",
    )
    strict: bool = Field(
        False, description="Stop when a recording is rejected, instead of going on without it."
    )
    shards: int = Field(
        4,
        ge=1,
        le=10_000,
        description="Parts that a dataset's subjects are dealt into; one job of a stage works on "
        "one part. About 30 nights a part is a good size.",
    )
    simulate: Simulate = Simulate()
    signals: Signals = Signals()
    pack: Pack = Pack()
    split: Split = Split()
    pretrain: Pretrain = Pretrain()
    features: dict[str, Features] = Field(
        default={},
        description="Tables of precomputed features, by a name of yours; the frozen heads are "
        "trained on each as on an encoder's embeddings. See docs/models.md.",
    )
    heads: Heads = Heads()
    finetune: Finetune = Finetune()
    unimodal: Unimodal = Unimodal()
    synthsleepnet: SynthSleepNet = SynthSleepNet()
    supervised: Supervised = Supervised()
    baselines: Baselines = Baselines()
    label_efficiency: LabelEfficiency = LabelEfficiency()
    evaluate: Evaluate = Evaluate()
    projection: Projection = Projection()
    explain: Explain = Explain()
    report: Report = Report()

    @field_validator("datasets")
    @classmethod
    def _once(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise ValueError(f"a dataset is named twice: {', '.join(value)}")
        return value

    @field_validator("features")
    @classmethod
    def _plain_names(cls, value: dict[str, Features]) -> dict[str, Features]:
        for name in value:
            if not re.fullmatch(r"[a-z0-9_]+", name):
                raise ValueError(f"table '{name}': wanted lower-case letters, digits and _")
        return value

    @model_validator(mode="after")
    def _check(self) -> "Config":
        self._require_kept("pretrain.channels", self.pretrain.channels)
        self._require_channels()
        absent = [name for name in self.split.external if name not in self.datasets]
        if absent:
            raise ValueError(
                f"split.external names {', '.join(absent)}, wanted some of datasets: "
                f"{', '.join(self.datasets)}"
            )
        self._require_once()
        self._require_unseen_labels()
        return self

    def _require_unseen_labels(self) -> None:
        """Raise where curves over few labels would begin with an encoder that saw all."""
        curves = self.label_efficiency
        for section, name, encoders in (
            (self.pretrain, "pretrain", {"neuronet"}),
            (self.unimodal, "unimodal", {"unimodal", "synthsleepnet"}),
        ):
            begun = encoders & set(curves.encoders)
            if section.choose_by == "knn" and curves.needs_encoder and begun:
                raise ValueError(
                    f"{name}.choose_by is 'knn', by which the stages of all training subjects "
                    "choose the encoder; label_efficiency would call models on it trained on a "
                    f"share of them. Set {name}.choose_by to 'loss', take "
                    f"{', '.join(sorted(begun))} out of label_efficiency.encoders, or set "
                    "label_efficiency.methods to [] or to scratch-... alone"
                )

    def _require_channels(self) -> None:
        """Raise where a model would read what is not there, or YASA what is too slow."""
        off = "or switch SynthSleepNet off with `synthsleepnet: {channels: []}`"
        modalities = self.unimodal.modalities
        for name, channels in self.synthsleepnet.fusions.items():
            key = "channels" if name == ALL else f"others.{name}"
            for channel in channels:
                if channel not in self.signals.channels:
                    raise ValueError(
                        f"synthsleepnet.{key} names {channel}, wanted channels of "
                        f"signals.channels: {', '.join(self.signals.channels)}. Add it there, {off}"
                    )
                if modality_of(channel) not in modalities:
                    raise ValueError(
                        f"synthsleepnet.{key} names {channel}, but unimodal.channels has "
                        f"no channel of {modality_of(channel)} to train its encoder on. Add one, "
                        f"{off}"
                    )
        if self.synthsleepnet.fusions or self.unimodal.tasks:
            self._require_kept("unimodal.channels", self.unimodal.channels)
        if self.supervised.names:
            off = "Add it there, or train no such model with `supervised: {names: []}`"
            self._require_kept("supervised.channels", self.supervised.channels, advice=off)
        self._require_kept("baselines.yasa", self.baselines.yasa)
        if self.baselines.yasa and self.signals.sampling_rate <= YASA_ABOVE_HZ:
            raise ValueError(
                f"signals.sampling_rate is {self.signals.sampling_rate} Hz, and YASA wants more "
                f"than {YASA_ABOVE_HZ} Hz. Raise it, or set baselines.yasa to []"
            )

    def _require_kept(self, key: str, channels: Iterable[str], *, advice: str = "") -> None:
        """Raise where the channels of an option are not among those that are kept."""
        if missing := [name for name in channels if name not in self.signals.channels]:
            raise ValueError(
                f"{key} names {', '.join(missing)}, wanted channels of signals.channels: "
                f"{', '.join(self.signals.channels)}" + (f". {advice}" if advice else "")
            )

    def _require_once(self) -> None:
        curves = self.label_efficiency
        for key, names in (
            ("pretrain.channels", self.pretrain.channels),
            ("heads.names", self.heads.names),
            ("finetune.names", self.finetune.names),
            ("heads.tasks", self.heads.tasks),
            ("unimodal.channels", self.unimodal.channels),
            ("unimodal.heads", self.unimodal.heads),
            ("unimodal.tasks", self.unimodal.tasks),
            ("synthsleepnet.methods", self.synthsleepnet.methods),
            ("synthsleepnet.tasks", self.synthsleepnet.tasks),
            ("supervised.names", self.supervised.names),
            ("supervised.channels", self.supervised.channels),
            ("supervised.tasks", self.supervised.tasks),
            ("supervised.balance", self.supervised.balance),
            ("baselines.yasa", self.baselines.yasa),
            ("baselines.yasa_heads", self.baselines.yasa_heads),
            ("label_efficiency.encoders", curves.encoders),
            ("label_efficiency.methods", curves.methods),
            ("label_efficiency.by and percents", curves.subsets),
        ):
            if twice := sorted(name for name, times in Counter(names).items() if times > 1):
                raise ValueError(f"{key}: named twice: {', '.join(twice)}")


def read_config(values: Mapping[str, Any]) -> Config:
    """Check plain values (as read from YAML) and give the typed configuration.

    Raises
    ------
    ConfigError
        Key, value found, what is allowed; for an unknown key the nearest known one.
    """
    return validate(Config, values, what="the configuration")


def validate(model: type[M], values: Any, *, what: str) -> M:
    """Validate `values` as `model`; `what` names the source in the error.

    Raises
    ------
    ConfigError
        One line for each mistake.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(dict(mistake), model) for mistake in error.errors()]
        raise ConfigError("\n".join([f"{what} has mistakes:", *lines])) from error


def resolve_folder(config: Config, dataset: str) -> Path | None:
    """Give the folder of a dataset's recordings with its variables filled in, None where unnamed.

    Raises
    ------
    ConfigError
        When a variable is not set or the folder does not exist.
    """
    named = config.folders.get(dataset)
    if named is None:
        return None
    folder = expand(named)
    if not folder.is_dir():
        raise ConfigError(
            f"folders.{dataset} is '{named}', which is {folder}: no such folder. Wanted: the "
            f"folder with the recordings of {dataset} on this machine"
        )
    return folder


def _explain(mistake: dict[str, Any], model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in mistake["loc"]) or "(whole)"
    if mistake["type"] == "extra_forbidden":
        known = _fields_at(model, mistake["loc"][:-1])
        near = difflib.get_close_matches(str(mistake["loc"][-1]), known, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        return f"  {key}: no such key.{hint} Known here: {', '.join(known)}"
    whole = mistake["type"] in ("missing", "value_error") and isinstance(mistake["input"], dict)
    found = "" if whole else f"found {_SHOWN.repr(mistake['input'])}; "
    return f"  {key}: {found}{mistake['msg']}"


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    named = False  # the last key was a mapping's: the next one is a name of the user's
    for part in location:
        if named:
            named = False
            continue
        field = model.model_fields.get(str(part))
        kinds = (field.annotation, *get_args(field.annotation)) if field is not None else ()
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not models:
            return []
        model = models[0]
        named = field is not None and get_origin(field.annotation) is dict
    return sorted(model.model_fields)
