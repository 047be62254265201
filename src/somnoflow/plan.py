"""The plan of a run: which jobs a configuration needs and the slice of it that each one gets.

The Snakefile takes `code` and `cfg` of each rule from here, and `somnoflow check` compares every
run.json with it. Imports pydantic, yaml and the standard library only: every cluster job parses
the Snakefile again.
"""

import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from somnoflow.config.base import ConfigError, Section
from somnoflow.config.baselines import YasaSlice
from somnoflow.config.bundle import BundleDataset, BundleSlice
from somnoflow.config.compare import COMPARED, CompareSlice
from somnoflow.config.dataset import CheckSlice, Dataset, FetchSlice, Selection
from somnoflow.config.dataset_file import read_dataset
from somnoflow.config.embed import EmbedSlice
from somnoflow.config.explain import ExplainSlice
from somnoflow.config.features import FeaturesSlice
from somnoflow.config.finetune import SCRATCH, FinetuneSlice
from somnoflow.config.folder import expand
from somnoflow.config.heads import HeadSlice, Linear, ProbeName
from somnoflow.config.index import IndexSlice
from somnoflow.config.parse import ParseSlice
from somnoflow.config.pretrain import BASE, PretrainSlice, Recipe
from somnoflow.config.report import ReportSlice
from somnoflow.config.root import Config, read_config, resolve_folder
from somnoflow.config.score import ScoreSlice
from somnoflow.config.simulate import SimulateSlice
from somnoflow.config.subset import ALL, SubsetSlice, read_subset
from somnoflow.config.supervised import SUPERVISED, SupervisedName, TrainSlice
from somnoflow.config.synthsleepnet import (
    LORA,
    SYNTHSLEEPNET,
    AblateSlice,
    FusedFinetuneSlice,
    FuseSlice,
)
from somnoflow.config.tasks import TaskName
from somnoflow.config.unimodal import UNIMODAL, modality_of
from somnoflow.fingerprint import fingerprint
from somnoflow.grid import (
    FEATURES,
    YASA,
    ModelRow,
    bundled_rows,
    encoders,
    explained_rows,
    rows,
    subset_rows,
    whole_rows,
)
from somnoflow.io.digest import sha256_json
from somnoflow.io.manifest import iterate_manifest, select_rows, shard_digests, shard_of
from somnoflow.io.rawstate import changes, unchecked
from somnoflow.methods import tuning_of
from somnoflow.paths import Paths
from somnoflow.tasks import TASKS

Wildcards = Mapping[str, str]

# The fold whose models become bundles.
BUNDLED_FOLD = 0


@dataclass(frozen=True)
class Artefact:
    """What one job makes: its first output, the rule, and the job's wildcards."""

    rule: str
    path: str
    wildcards: dict[str, str]


class Plan:
    """Everything the Snakefile asks the package."""

    def __init__(self, values: Mapping[str, Any], *, datasets: Path) -> None:
        _let_jobs_run_this_code()
        self.config: Config = read_config(values)
        self.paths = Paths(self.config.results)
        self.datasets: dict[str, Dataset] = {
            name: self._scored(read_dataset(datasets / name)) for name in self.config.datasets
        }
        self._manifests = datasets
        self._require_known_datasets()
        self._require_tables()
        self._row_digests: dict[str, dict[int, str]] = {}
        self._simulated = self._deal_simulated()
        for name, dataset in self.datasets.items():
            self._require_source(dataset)
            if dataset.source != "simulate":
                self._row_digests[name] = self._deal(name)
        self._slices: dict[str, Callable[[Wildcards], Any]] = {
            "simulate": self._simulate,
            "fetch": self._fetch,
            "check": self._check,
            "parse": self._parse,
            "pack": lambda _: self.config.pack,
            "index": self._index,
            "split": lambda _: self.config.split,
            "subset": self._subset,
            "pretrain": self._pretrain,
            "fuse": self._fuse,
            "embed": self._embed,
            "features": self._features,
            "head": self._head,
            "finetune": self._finetune,
            "finetune_fused": self._finetune_fused,
            "score": self._score,
            "score_tuned": self._score_tuned,
            "train": self._train,
            "yasa": lambda wildcards: YasaSlice(channel=wildcards["channel"]),
            "embed_yasa": lambda wildcards: YasaSlice(channel=wildcards["channel"]),
            "score_yasa": lambda wildcards: YasaSlice(channel=wildcards["channel"]),
            "score_majority": lambda wildcards: ScoreSlice(task=_task(wildcards), stride=1),
            "explain": self._explain,
            "bundle": self._bundle,
            "compare": self._compare,
            "ablate": lambda _: AblateSlice(),
            "project": lambda _: self.config.projection,
            "evaluate": lambda _: self.config.evaluate,
            "evaluate_events": lambda _: self.config.evaluate,
            "evaluate_ablation": lambda _: self.config.evaluate,
            "report": self._report,
        }

    def code(self, rule: str) -> Callable[[Wildcards], str]:
        """Give a function from any wildcards to the fingerprint of a rule's command.

        It is asked for jobs that are planned alone: a job on a cluster, which reads the whole
        workflow, plans one.
        """

        def text(_: Wildcards) -> str:
            return fingerprint(f"somnoflow.commands.{rule}")

        return text

    def cfg(self, rule: str) -> Callable[[Wildcards], str]:
        """Give a function from wildcards to the rule's config slice as canonical JSON."""

        def text(wildcards: Wildcards) -> str:
            return canonical(self.slice(rule, wildcards))

        return text

    def slice(self, rule: str, wildcards: Wildcards) -> Any:
        """Give the part of the configuration that a job of `rule` depends on."""
        return self._slices[rule](wildcards)

    def raw_changes(self, wildcards: Wildcards) -> str:
        """Give a digest of a shard's raw files that changed since they were checked."""
        state = Path(self.paths.raw_state.format(**dict(wildcards)))
        return changes(state, folder=self.folder(wildcards["dataset"]))

    def raw_unchecked(self, wildcards: Wildcards) -> list[str]:
        """Give the shard's raw files that changed since `check` last ran."""
        state = Path(self.paths.raw_state.format(**dict(wildcards)))
        return unchecked(state, folder=self.folder(wildcards["dataset"]))

    def folder(self, dataset: str) -> Path:
        """Give the folder that a dataset's recordings are in."""
        named = resolve_folder(self.config, dataset)
        return named or Path(self.paths.raw_folder.format(dataset=dataset))

    def raw_folder(self, wildcards: Wildcards) -> str:
        """Give the folder that simulated or downloaded recordings are written to."""
        dataset = dict(wildcards).get("dataset", "simulated")
        return self.paths.raw_folder.format(dataset=dataset)

    def manifest(self, wildcards: Wildcards) -> str:
        """Give the path of a dataset's manifest."""
        return os.path.relpath(self._manifests / wildcards["dataset"] / "manifest.tsv")

    def shards(self, dataset: str) -> list[int]:
        """Give the shards of a dataset that have subjects."""
        if self.datasets[dataset].source == "simulate":
            return sorted(self._simulated)
        return sorted(self._row_digests[dataset])

    def all_shards(self, pattern: str) -> list[str]:
        """Fill in dataset and shard of a path pattern with all there are."""
        return [
            pattern.format(dataset=dataset, shard=shard)
            for dataset in self.config.datasets
            for shard in self.shards(dataset)
        ]

    def all_encoders(self, pattern: str) -> list[str]:
        """Fill in encoder, channel and fold of a path pattern with all that are pre-trained."""
        return [
            pattern.format(**encoder.wildcards, fold=fold)
            for encoder in encoders(self.config)
            for fold in range(self.config.split.folds)
        ]

    def fused(self, wildcards: Wildcards) -> list[str]:
        """Give the encoders of the modalities of a fusion's channels."""
        return [
            self.paths.encoder.format(encoder=UNIMODAL, channel=modality, fold=wildcards["fold"])
            for modality in self._modalities(wildcards["channel"])
        ]

    def _modalities(self, fusion: str) -> list[str]:
        return list(dict.fromkeys(map(modality_of, self.config.synthsleepnet.fusions[fusion])))

    def ablations(self) -> list[str]:
        """Give the metrics by subset of modalities of each fusion whose stages a probe scores."""
        return [self.paths.ablation.format(channel=name) for name in self._ablated()]

    def ablated(self, wildcards: Wildcards) -> list[str]:
        """Give the counts that the metrics of one fusion are made from, one file per fold."""
        return [
            self.paths.ablated.format(channel=wildcards["channel"], fold=fold)
            for fold in range(self.config.split.folds)
        ]

    def ablated_head(self, wildcards: Wildcards) -> str:
        """Give the probe that scores the stages of every subset of a fusion's modalities."""
        row = ModelRow(SYNTHSLEEPNET, wildcards["channel"], "linear", "staging", ALL)
        return self.paths.head.format(**row.wildcards, fold=wildcards["fold"])

    def _ablated(self) -> list[str]:
        fused = self.config.synthsleepnet
        if "linear" not in fused.methods or "staging" not in fused.tasks:
            return []
        return [name for name, channels in fused.fusions.items() if len(channels) > 1]

    def projections(self) -> list[str]:
        """Give the pictures of the fused embeddings, of the first fold."""
        return [
            self.paths.projection.format(encoder=SYNTHSLEEPNET, channel=name, fold=0)
            for name in self.config.synthsleepnet.fusions
        ]

    def whole_models(self, pattern: str) -> list[str]:
        """Fill in a path pattern for the models that see all labels, in every fold."""
        return self._fill(pattern, whole_rows(self.config))

    def subset_models(self, pattern: str) -> list[str]:
        """Fill in a path pattern for the models of the label efficiency curves, in every fold."""
        return self._fill(pattern, subset_rows(self.config))

    def subsets(self, pattern: str) -> list[str]:
        """Fill in task, labels and fold of a path pattern for all labels that are drawn."""
        drawn = dict.fromkeys((row.task, row.labels) for row in rows(self.config))
        folds = range(self.config.split.folds)
        return [
            pattern.format(task=task, labels=labels, fold=fold)
            for task, labels in drawn
            for fold in folds
        ]

    def trained(self) -> list[str]:
        """Give the training tables of the heads and fine-tunings that see all labels."""
        models = list(whole_rows(self.config))
        heads = self._fill(self.paths.head_training, [row for row in models if row.frozen])
        whole = [row for row in models if row.learned and not row.frozen]
        return heads + self._fill(self.paths.trained_training, whole)

    def yasa(self, wildcards: Wildcards) -> list[str]:
        """Give YASA's features of a channel, of all shards."""
        return self.all_shards(self.paths.yasa.replace("{channel}", wildcards["channel"]))

    def models_of_first_fold(self) -> list[str]:
        """Give the weights of all models of the first fold, whose parameters are counted."""
        found: list[str] = []
        for row in whole_rows(self.config):
            if row.learned and row.frozen and row.encoder not in (FEATURES, YASA):
                found.append(self.paths.encoder.format(**row.wildcards, fold=0))
            if row.learned:
                pattern = self.paths.head if row.frozen else self.paths.trained
                found.append(pattern.format(**row.wildcards, fold=0))
        return list(dict.fromkeys(found))

    def explained(self) -> list[str]:
        """Give the explanations, of the first fold."""
        return [
            self.paths.explanation.format(**row.wildcards, fold=0)
            for row in explained_rows(self.config)
        ]

    def explained_model(self, wildcards: Wildcards) -> list[str]:
        """Give the files of the model to explain: one, or frozen encoder and head."""
        return self._model_files(_row(wildcards), fold=wildcards["fold"])

    def bundles(self) -> list[str]:
        """Give the bundles, one of each model that all it needs is trained for."""
        return [self.paths.bundle.format(**row.wildcards) for row in bundled_rows(self.config)]

    def bundled_model(self, wildcards: Wildcards) -> list[str]:
        """Give the files of the model to bundle: one, or frozen encoder and head."""
        return self._model_files(_row(wildcards), fold=BUNDLED_FOLD)

    def bundled_predictions(self, wildcards: Wildcards) -> str:
        """Give the predictions of the model to bundle."""
        return self.paths.predictions.format(**_row(wildcards).wildcards, fold=BUNDLED_FOLD)

    def bundled_labels(self, wildcards: Wildcards) -> str:
        """Give the labels that the model to bundle was trained on."""
        return self.paths.labels.format(**_row(wildcards).wildcards, fold=BUNDLED_FOLD)

    def _trainings(self, row: ModelRow) -> list[tuple[str, Wildcards]]:
        """Give the trainings that make a model, each as a rule and its wildcards."""
        found: list[tuple[str, Wildcards]] = [(_last_training(row), row.wildcards)]
        if row.encoder == SYNTHSLEEPNET:
            found.append(("fuse", row.wildcards))
            found += [
                ("pretrain", {"encoder": UNIMODAL, "channel": modality})
                for modality in self._modalities(row.channel)
            ]
        elif not row.supervised and row.tuning != SCRATCH:
            found.append(("pretrain", row.wildcards))
        return found

    def _model_files(self, row: ModelRow, *, fold: int | str) -> list[str]:
        patterns = [self.paths.encoder, self.paths.head] if row.frozen else [self.paths.trained]
        return [pattern.format(**row.wildcards, fold=fold) for pattern in patterns]

    def predictions_of(self, method: str) -> str:
        """Give the path pattern of the predictions of a method that has wildcards of its own."""
        return self.paths.predictions.replace("{method}", method)

    def table(self, wildcards: Wildcards) -> str:
        """Give the file of a table of precomputed features."""
        return str(expand(self.config.features[wildcards["table"]].path))

    def start(self, wildcards: Wildcards) -> list[str]:
        """Give the encoder that a fine-tuning starts from; from scratch there is none."""
        if wildcards["tuning"] == SCRATCH:
            return []
        return [self.paths.encoder.format(**dict(wildcards))]

    def _fill(self, pattern: str, models: Iterable[ModelRow]) -> list[str]:
        paths = [
            pattern.format(**model.wildcards, fold=fold)
            for model in models
            for fold in range(self.config.split.folds)
        ]
        return list(dict.fromkeys(paths))

    def judged(self, wildcards: Wildcards) -> list[str]:
        """Give the predictions that a model is judged by, one file per fold.

        Raises
        ------
        ConfigError
            When the split has no test subjects.
        """
        if self.config.split.folds == 1 and not self.config.split.external:
            raise ConfigError(
                "split.folds is 1 and split.external names no dataset: nobody is tested, so no "
                "model can be judged. Set split.folds to 2 or more, or name a dataset in "
                "split.external; to pre-train only, ask for the target 'pretrained'"
            )
        pattern = self.paths.predictions
        folds = range(self.config.split.folds)
        return [pattern.format(**{**dict(wildcards), "fold": str(fold)}) for fold in folds]

    def artefacts(self) -> Iterator[Artefact]:
        """Give what each job of the whole plan makes, in the order of the data's way."""
        paths = self.paths
        for dataset in self.config.datasets:
            made = "simulate" if self.datasets[dataset].source == "simulate" else "fetch"
            for shard in self.shards(dataset):
                wildcards = {"dataset": dataset, "shard": str(shard)}
                for rule, pattern in (
                    (made, paths.raw_manifest),
                    ("check", paths.checked),
                    ("parse", paths.part),
                    ("pack", paths.packed_signals),
                ):
                    yield Artefact(rule, pattern.format(**wildcards), wildcards)
        yield Artefact("index", paths.index, {})
        yield Artefact("split", paths.split, {})
        yield from self._encoders()
        yield from self._tables()
        yield from self._baselines()
        yield from self._models()
        yield from self._pictures()
        yield Artefact("report", paths.report, {})

    def _encoders(self) -> Iterator[Artefact]:
        embedded = {(row.encoder, row.channel) for row in rows(self.config) if not row.tuning}
        for encoder in encoders(self.config):
            rule = "fuse" if encoder.encoder == SYNTHSLEEPNET else "pretrain"
            for fold in range(self.config.split.folds):
                wildcards = {**encoder.wildcards, "fold": str(fold)}
                yield Artefact(rule, self.paths.encoder.format(**wildcards), wildcards)
                # A fusion's embeddings of the first fold are in its picture, head or none.
                pictured = encoder.encoder == SYNTHSLEEPNET and fold == 0
                if pictured or (encoder.encoder, encoder.channel) in embedded:
                    path = self.paths.embeddings.format(**wildcards)
                    yield Artefact("embed", path, wildcards)

    def _tables(self) -> Iterator[Artefact]:
        for name in self.config.features:
            for fold in range(self.config.split.folds):
                wildcards = {"table": name, "fold": str(fold)}
                yield Artefact("features", self.paths.features.format(**wildcards), wildcards)

    def _models(self) -> Iterator[Artefact]:
        models = rows(self.config)
        folds = range(self.config.split.folds)
        for task, labels in dict.fromkeys((model.task, model.labels) for model in models):
            for fold in folds:
                wildcards = {"task": task, "labels": labels, "fold": str(fold)}
                yield Artefact("subset", self.paths.labels.format(**wildcards), wildcards)
        for model in models:
            for fold in folds:
                wildcards = {**model.wildcards, "fold": str(fold)}
                for rule, pattern in self._training(model):
                    yield Artefact(rule, pattern.format(**wildcards), wildcards)
            path = self.paths.metrics.format(**model.wildcards)
            judge = "evaluate_events" if TASKS[model.task].rare else "evaluate"
            yield Artefact(judge, path, model.wildcards)

    def _training(self, model: ModelRow) -> Iterator[tuple[str, str]]:
        """Give the rules that train and score a model, with what they make."""
        predictions = self.paths.predictions
        if not model.learned:
            yield f"score_{model.encoder}", predictions
        else:
            yield _last_training(model), self.paths.head if model.frozen else self.paths.trained
            yield "score" if model.frozen else "score_tuned", predictions

    def _baselines(self) -> Iterator[Artefact]:
        for channel in self.config.baselines.yasa:
            for dataset in self.config.datasets:
                for shard in self.shards(dataset):
                    part = {"channel": channel, "dataset": dataset, "shard": str(shard)}
                    yield Artefact("yasa", self.paths.yasa.format(**part), part)
            for fold in range(self.config.split.folds):
                wildcards = {"encoder": YASA, "channel": channel, "fold": str(fold)}
                path = self.paths.embeddings.format(**wildcards)
                yield Artefact("embed_yasa", path, wildcards)

    def _pictures(self) -> Iterator[Artefact]:
        for name in self._ablated():
            wildcards = {"channel": name}
            for fold in range(self.config.split.folds):
                one = {**wildcards, "fold": str(fold)}
                yield Artefact("ablate", self.paths.ablated.format(**one), one)
            path = self.paths.ablation.format(**wildcards)
            yield Artefact("evaluate_ablation", path, wildcards)
        for path in self.projections():
            name = Path(path).parts[-3]
            wildcards = {"encoder": SYNTHSLEEPNET, "channel": name, "fold": "0"}
            yield Artefact("project", path, wildcards)
        for row in explained_rows(self.config):
            wildcards = {**row.wildcards, "fold": "0"}
            yield Artefact("explain", self.paths.explanation.format(**wildcards), wildcards)
        for row in bundled_rows(self.config):
            path = self.paths.bundle.format(**row.wildcards)
            yield Artefact("bundle", path, row.wildcards)
        yield Artefact("compare", self.paths.comparison, {})

    def _require_known_datasets(self) -> None:
        known = sorted(path.parent.name for path in self._manifests.glob("*/dataset.yaml"))
        for section in ("folders", "subsets", "scorings"):
            for name in getattr(self.config, section):
                if name not in known:
                    raise ConfigError(
                        f"{section}.{name}: no such dataset. Known here: {', '.join(known)}"
                    )

    def _require_tables(self) -> None:
        for name, table in self.config.features.items():
            path = expand(table.path)
            if not path.is_file():
                raise ConfigError(
                    f"features.{name}.path is '{table.path}', which is {path.absolute()}: no such "
                    "file. Wanted: the table of features (.parquet or .csv) on this machine"
                )

    def _scored(self, dataset: Dataset) -> Dataset:
        wanted = self.config.scorings.get(dataset.name)
        if wanted is None:
            return dataset
        if wanted not in dataset.scorings:
            raise ConfigError(
                f"scorings.{dataset.name}: found '{wanted}', wanted one of: "
                f"{', '.join(dataset.scorings) or '(it has one scoring only)'}"
            )
        return dataset.scored_by(wanted)

    def _selection(self, name: str) -> Selection:
        dataset, wanted = self.datasets[name], self.config.subsets.get(name)
        if wanted is not None and wanted not in dataset.subsets:
            raise ConfigError(
                f"subsets.{name}: found '{wanted}', wanted one of: "
                f"{', '.join(dataset.subsets) or '(it has no subsets)'}"
            )
        return Selection(
            files=dataset.subsets[wanted].files if wanted else None,
            stages=dataset.files.stages if dataset.scorings else None,
        )

    def _require_source(self, dataset: Dataset) -> None:
        if dataset.source == "folder" and dataset.name not in self.config.folders:
            raise ConfigError(
                f"the dataset {dataset.name} needs its folder on this machine. Add to the "
                f"configuration:\n  folders:\n    {dataset.name}: /folder/of/the/recordings\n"
                f"How to get it: {dataset.how_to_get}"
            )
        resolve_folder(self.config, dataset.name)

    def _deal(self, dataset: str) -> dict[int, str]:
        """Give the digest of each shard's rows; a manifest may be too large to keep them."""
        manifest = self._manifests / dataset / "manifest.tsv"
        if not manifest.is_file():
            raise ConfigError(
                f"{manifest} is missing. Write it with: somnoflow manifest FOLDER --dataset "
                f"{dataset}. How to get the recordings: {self.datasets[dataset].how_to_get}"
            )
        rows = select_rows(iterate_manifest(manifest), **self._selection(dataset).model_dump())
        dealt = shard_digests(rows, dataset=dataset, shards=self.config.shards)
        if not dealt:
            raise ConfigError(
                f"{manifest} has no row of {dataset}'s {self.config.subsets.get(dataset, 'files')}"
            )
        return dealt

    def _deal_simulated(self) -> dict[int, list[str]]:
        dealt: dict[int, list[str]] = defaultdict(list)
        for number in range(1, self.config.simulate.subjects + 1):
            subject = f"S{number:04d}"
            dealt[shard_of("simulated", subject, self.config.shards)].append(subject)
        return dealt

    def _simulate(self, wildcards: Wildcards) -> SimulateSlice:
        simulate = self.config.simulate
        return SimulateSlice(
            subjects=self._simulated[int(wildcards["shard"])],
            hours=simulate.hours,
            seed=simulate.seed,
        )

    def _fetch(self, wildcards: Wildcards) -> FetchSlice:
        name, shard = wildcards["dataset"], int(wildcards["shard"])
        return FetchSlice(
            dataset=name,
            folder=self.config.folders.get(name),
            url=self.datasets[name].url,
            token_variable=self.datasets[name].token_variable,
            selection=self._selection(name),
            shard=shard,
            shards=self.config.shards,
            rows=self._row_digests[name][shard],
        )

    def _check(self, wildcards: Wildcards) -> CheckSlice:
        name = wildcards["dataset"]
        return CheckSlice(
            dataset=name,
            folder=self.config.folders.get(name, self.paths.raw_folder.format(dataset=name)),
            shard=int(wildcards["shard"]),
            shards=self.config.shards,
            selection=self._selection(name),
            stages_wanted=self.datasets[name].files.stages is not None,
            ignore=self.datasets[name].files.ignore,
        )

    def _parse(self, wildcards: Wildcards) -> ParseSlice:
        dataset = self.datasets[wildcards["dataset"]]
        return ParseSlice(
            dataset=dataset.name,
            simulated=dataset.simulated,
            reading=dataset.reading,
            signals=self.config.signals,
        )

    def _index(self, _: Wildcards) -> IndexSlice:
        return IndexSlice(
            shards={name: self.shards(name) for name in self.config.datasets},
            strict=self.config.strict,
        )

    def _subset(self, wildcards: Wildcards) -> SubsetSlice:
        return read_subset(wildcards["labels"], task=_task(wildcards))

    def _pretrain(self, wildcards: Wildcards) -> PretrainSlice:
        name = wildcards["channel"]
        if wildcards["encoder"] == UNIMODAL:
            channels, recipe = self._unimodal(name)
        else:
            channels, recipe = [name], self.config.pretrain.recipe(wildcards["encoder"])
        return PretrainSlice.model_validate(
            {
                "channel": name,
                "channels": channels,
                "sampling_rate": self.config.signals.sampling_rate,
                "recipe": recipe.model_dump(),
            }
        )

    def _unimodal(self, modality: str) -> tuple[list[str], Recipe]:
        own = {str(name): channels for name, channels in self.config.unimodal.modalities.items()}
        return list(own[modality]), self.config.unimodal.recipe

    def _fuse(self, wildcards: Wildcards) -> FuseSlice:
        name = wildcards["channel"]
        return FuseSlice(
            name=name,
            channels=self.config.synthsleepnet.fusions[name],
            sampling_rate=self.config.signals.sampling_rate,
            recipe=self.config.synthsleepnet.recipe,
        )

    def _embed(self, wildcards: Wildcards) -> EmbedSlice:
        return EmbedSlice(channel=wildcards["channel"])

    def _features(self, wildcards: Wildcards) -> FeaturesSlice:
        name = wildcards["table"]
        return FeaturesSlice(name=name, table=self.config.features[name])

    def _head(self, wildcards: Wildcards) -> HeadSlice:
        name, heads = wildcards["head"], self.config.heads
        recipe = getattr(heads, name) if name in get_args(ProbeName) else heads.context
        hidden = None
        if name == "linear" and wildcards["encoder"] in (UNIMODAL, SYNTHSLEEPNET):
            deep = self.config.synthsleepnet.linear
            recipe = Linear(**deep.model_dump(exclude={"hidden"}))
            hidden = deep.hidden
        return HeadSlice(
            name=name,
            task=_task(wildcards),
            recipe=_seeded(recipe, wildcards["labels"]),
            hidden=hidden,
        )

    def _finetune(self, wildcards: Wildcards) -> FinetuneSlice:
        return FinetuneSlice(
            channel=wildcards["channel"],
            sampling_rate=self.config.signals.sampling_rate,
            task=_task(wildcards),
            tuning=wildcards["tuning"],
            context=wildcards["head"],
            recipe=_seeded(self.config.finetune.recipe, wildcards["labels"]),
            architecture=self._sizes() if wildcards["tuning"] == SCRATCH else None,
        )

    def _finetune_fused(self, wildcards: Wildcards) -> FusedFinetuneSlice:
        return FusedFinetuneSlice(
            name=wildcards["channel"],
            task=_task(wildcards),
            context=wildcards["head"],
            recipe=_seeded(self.config.synthsleepnet.finetune, wildcards["labels"]),
        )

    def _sizes(self) -> Recipe:
        """Give what training from scratch takes of the recipe: how large, and in which frames."""
        taken = ("preset", "frame_window", "frame_step")
        return Recipe(**{name: getattr(self.config.pretrain, name) for name in taken})

    def _score(self, wildcards: Wildcards) -> ScoreSlice:
        task = _task(wildcards)
        if wildcards["head"] in get_args(ProbeName):
            return ScoreSlice(task=task, stride=1)
        heads = self.config.heads
        return ScoreSlice(task=task, stride=heads.score_stride or heads.context.window)

    def _train(self, wildcards: Wildcards) -> TrainSlice:
        name: SupervisedName = wildcards["encoder"]  # type: ignore[assignment]
        return TrainSlice(
            name=name,
            channel=wildcards["channel"],
            sampling_rate=self.config.signals.sampling_rate,
            task=_task(wildcards),
            balance=wildcards["method"],
            recipe=_seeded(getattr(self.config.supervised, name), wildcards["labels"]),
        )

    def _explain(self, wildcards: Wildcards) -> ExplainSlice:
        explain = self.config.explain
        return ExplainSlice(epochs=explain.epochs, seed=explain.seed)

    def _compare(self, _: Wildcards) -> CompareSlice:
        config = self.config
        recipes: dict[str, Section] = {
            BASE: config.pretrain,
            **({SYNTHSLEEPNET: config.synthsleepnet} if config.synthsleepnet.fusions else {}),
            **{name: getattr(config.supervised, name) for name in config.supervised.names},
        }
        return CompareSlice(
            datasets={name: config.subsets.get(name) for name in config.datasets},
            wake_margin_minutes=config.signals.wake_margin_minutes,
            recipes={
                encoder: {name: getattr(recipe, name) for name in COMPARED if hasattr(recipe, name)}
                for encoder, recipe in recipes.items()
            },
        )

    def _report(self, _: Wildcards) -> ReportSlice:
        return ReportSlice(**dict(self.config.report), signals=self.config.signals)

    def _bundle(self, wildcards: Wildcards) -> BundleSlice:
        row = _row(wildcards)
        score = self._score if row.frozen else self._score_tuned
        trainings = self._trainings(row)
        recipes = [json.loads(self.cfg(rule)(names)) for rule, names in trainings]
        return BundleSlice(
            encoder=row.encoder,
            channel=row.channel,
            method=row.method,
            task=_task(wildcards),
            labels=row.labels,
            fold=BUNDLED_FOLD,
            folds=self.config.split.folds,
            stride=score(row.wildcards).stride,
            signals=self.config.signals,
            pack=self.config.pack,
            datasets=[
                BundleDataset(
                    **{name: getattr(dataset, name) for name in BundleDataset.model_fields}
                )
                for dataset in self.datasets.values()
            ],
            code=sha256_json({rule: self.code(rule)(wildcards) for rule, _ in trainings}),
            training=sha256_json(recipes),
        )

    def _score_tuned(self, wildcards: Wildcards) -> ScoreSlice:
        if wildcards["encoder"] in SUPERVISED:
            # Their state goes on from window to window, or each epoch has a window of its own.
            stride = 1
        elif tuning_of(wildcards["method"]) == LORA:
            stride = self.config.synthsleepnet.finetune.window
        else:
            stride = self.config.finetune.score_stride or self.config.finetune.window
        return ScoreSlice(task=_task(wildcards), stride=stride)


def growing(amount: int) -> Callable[..., int]:
    """Give what a job is granted: `amount` at first, twice as much when it is sent again, ..."""

    def granted(wildcards: Wildcards, attempt: int) -> int:
        return amount * attempt

    return granted


def _last_training(row: ModelRow) -> str:
    """Give the rule of the training that a model comes out of."""
    if row.supervised:
        return "train"
    if row.frozen:
        return "head"
    return "finetune_fused" if row.tuning == LORA else "finetune"


def _row(wildcards: Wildcards) -> ModelRow:
    """Give the model of a job."""
    return ModelRow(
        encoder=wildcards["encoder"],
        channel=wildcards["channel"],
        method=wildcards["method"],
        task=wildcards["task"],
        labels=wildcards["labels"],
    )


def _task(wildcards: Wildcards) -> TaskName:
    """Give the task of a job; Snakemake knows wildcards as text."""
    name: TaskName = wildcards["task"]  # type: ignore[assignment]
    return name


def _seeded(recipe: Any, labels: str) -> Any:
    """Give each draw of labels a training seed of its own."""
    seed = read_subset(labels).seed
    return recipe.model_copy(update={"seed": seed}) if seed and hasattr(recipe, "seed") else recipe


def _let_jobs_run_this_code() -> None:
    """Let jobs find this Python and this package, the code that the fingerprints describe.

    An environment that Snakemake activates for a job still goes before.
    """
    for variable, folder in (
        ("PATH", Path(sys.executable).parent),
        ("PYTHONPATH", Path(__file__).parents[1]),
    ):
        known = os.environ.get(variable, "").split(os.pathsep)
        if str(folder) not in known:
            os.environ[variable] = os.pathsep.join(filter(None, [str(folder), *known]))


def canonical(value: Any) -> str:
    """Give a slice as JSON with sorted keys and no spaces."""
    plain = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
