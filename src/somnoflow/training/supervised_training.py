"""Training of supervised models on labelled signals: what is done in which order, and how fast.

| model | batches | optimiser | rare classes, as published |
|---|---|---|---|
| DeepSleepNet, CNNs | shuffled epochs | Adam | oversampled |
| DeepSleepNet, whole | places of a night in order, state carried | Adam, CNNs slower | nothing |
| TinySleepNet | nights in order side by side, state carried | Adam | N1 weighs more |
| SE-ResNet-BiLSTM | epochs with their window | Adam | nothing |

Instead of the model's own way (`published`), rare classes can be left as they are (`plain`), weigh
the inverse of their share in the loss (`weights`), or be repeated until all classes are as many
(`oversampling`). Nights in order cannot be repeated in parts: there, oversampling draws windows by
their rarest class, and each begins with a fresh state.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn
from torch.utils.data import Sampler

from somnoflow.config.supervised import DeepSleepNet as DeepSleepNetRecipe
from somnoflow.config.supervised import SeResNetBiLstm as SeResNetBiLstmRecipe
from somnoflow.config.supervised import TinySleepNet as TinySleepNetRecipe
from somnoflow.config.supervised import TrainSlice
from somnoflow.models.deepsleepnet import DeepSleepNet
from somnoflow.models.recurrent import NightModel
from somnoflow.models.supervised import build_supervised, describe_supervised
from somnoflow.models.weights import fill, read_tensors
from somnoflow.tasks import TASKS, Task
from somnoflow.training.augmentation import NightRoll, augmenting
from somnoflow.training.balance import Targets, class_weights
from somnoflow.training.centres import CentreOrder, around_all
from somnoflow.training.curves import Curves
from somnoflow.training.device import choose_precision
from somnoflow.training.optimizing import adam
from somnoflow.training.seeds import WEIGHTS, seed_of
from somnoflow.training.signals import SignalEpochs, require_fitting_shards
from somnoflow.training.streams import ByCohort, ByNight, Streams, in_order
from somnoflow.training.supervised import (
    Course,
    Nights,
    WindowOrder,
    Windows,
    fit,
    require_labels,
    validation_order,
)

log = logging.getLogger(__name__)

# Folders of the two steps of DeepSleepNet, and their names in training.csv.
CNN, SEQUENCE = "cnn", "sequence"

Trained = tuple[Path, list[dict[str, Any]]]


@dataclass(frozen=True)
class Fold:
    """Signals of a fold and what is to be trained on them.

    Parameters
    ----------
    train, val
        Signals of the training and of the validation subjects.
    labels
        Keys of the training epochs whose labels may be seen.
    packed
        `index.json` of each packed shard that they are of, which the model must fit.
    samples
        Samples per epoch, T.
    cfg
        What to train.
    folder
        `resume/<key>`.
    curves
        Folder of the event files.
    device
        Where to compute.
    """

    train: SignalEpochs
    val: SignalEpochs
    labels: pl.DataFrame
    packed: Sequence[Path]
    samples: int
    cfg: TrainSlice
    folder: Path
    curves: Path
    device: torch.device

    @property
    def task(self) -> Task:
        """What is learned."""
        return TASKS[self.cfg.task]

    @property
    def section(self) -> str:
        """Where the recipe stands in the configuration."""
        return f"supervised.{self.cfg.name}"

    @property
    def oversampled(self) -> bool:
        """Whether rare classes are to be repeated, whatever the model."""
        return self.cfg.balance == "oversampling"

    def streams(self) -> tuple[Streams, Streams]:
        """Give the nights of training and validation subjects."""
        return (
            Streams(self.train, task=self.task, labels=self.labels),
            Streams(self.val, task=self.task),
        )

    def windows(self, length: int) -> tuple[Windows, Windows]:
        """Give windows of training and validation subjects, side by side."""
        cut = partial(Windows, task=self.task, length=length, stride=length)
        return cut(self.train, labels=self.labels, whole=True), cut(self.val, whole=False)

    def windows_to_oversample(self, length: int, *, batch_size: int) -> tuple[Windows, WindowOrder]:
        """Give training windows and their order, in which all classes are as many."""
        windows, _ = self.windows(length)
        return windows, self.window_order(windows, batch_size=batch_size, oversampled=True)

    def window_order(self, windows: Windows, *, batch_size: int, oversampled: bool) -> WindowOrder:
        """Give the order of the labelled windows; a window counts as its rarest class.

        Windows of one epoch are left out where others have more: a batch of one of them alone
        would be an epoch without any other, which batch norm cannot scale.
        """
        labelled = windows.labelled()
        sizes = windows.sizes(labelled)
        if len(single := labelled[sizes == 1]) and sizes.max() > 1:
            log.info("%d of %d windows have one epoch and are left out", len(single), len(labelled))
            labelled = labelled[sizes > 1]
        return WindowOrder(
            labelled,
            batch_size=batch_size,
            seed=self.cfg.recipe.seed,
            classes=windows.rarest(labelled) if oversampled else None,
        )

    def weights(self, known: Targets) -> Tensor | None:
        """Give the weights of the classes in the loss."""
        kind = "balanced" if self.cfg.balance == "weights" else "none"
        return class_weights(known, kind=kind, classes=len(self.task.classes))

    def build(self, seen: Targets) -> NightModel:
        """Build the model, with the weights of its seed."""
        torch.manual_seed(seed_of(self.cfg.recipe.seed, WEIGHTS))
        model = build_supervised(
            self.cfg.name,
            self.cfg.recipe,
            sampling_rate=self.cfg.sampling_rate,
            samples=self.samples,
            task=self.cfg.task,
            seen=seen,
        )
        require_fitting_shards(
            self.packed,
            encoder=model.encoder,
            about={"channel": self.cfg.channel},
            of="the new model",
        )
        return model

    def course(self, **changes: Any) -> Course:
        """Give how long and how fast a training goes; the recipe's own but for `changes`."""
        recipe = self.cfg.recipe
        own = {
            "passes": recipe.passes,
            "learning_rate": recipe.learning_rate,
            "gradient_clip": recipe.gradient_clip,
        }
        return Course(seed=recipe.seed, section=self.section, **{**own, **changes})

    def fit(self, model: NightModel, *, step: str | None = None, **how: Any) -> Trained:
        """Train a model; as `somnoflow.training.supervised.fit`."""
        train, val = how["train"], how["val"]
        log.info(
            "%s: %d of %d usable epochs have a label to learn from; validation by %d of %d epochs",
            step or self.cfg.name, len(train.known), len(train.targets), len(val.known),
            len(val.targets),
        )  # fmt: skip
        curves = self.curves / step if step else self.curves
        return fit(
            model,
            folder=self.folder / step if step else self.folder,
            device=self.device,
            precision=choose_precision(self.cfg.recipe.precision, device=self.device),
            logger=lambda done: Curves(curves, checkpoint=done),
            **how,
        )

    def describe(self, model: NightModel) -> dict[str, Any]:
        """Give the description that stands with the weights."""
        return describe_supervised(model, {"channel": self.cfg.channel})


def train_supervised(fold: Fold) -> Trained:
    """Train the model that `fold.cfg` names, or continue; as `fit`.

    Raises
    ------
    TrainingError
        When a loss is not finite, or a batch would be too small for batch norm.
    ValueError
        When there is no label to learn from or to choose by, or the model cannot see such epochs.
    """
    # Initial weights and dropout draw from the global generator, which is given back as it was.
    with torch.random.fork_rng(devices=[]):
        return TRAININGS[fold.cfg.name](fold)


def train_deepsleepnet(fold: Fold) -> Trained:
    """Train DeepSleepNet in its two steps (arXiv 1703.04046, section II-D).

    The first step trains the CNNs with a linear layer on single epochs, oversampled so that all
    classes are as many; the second one the whole network on nights in order, with a lower
    learning rate for the CNNs. The best pass of the first is where the second begins.

    A step that was finished is not done again after a kill. `pass` counts on, `step` tells the
    two apart, and `best` marks the pass of the second step that is kept.
    """
    recipe = fold.cfg.recipe
    assert isinstance(recipe, DeepSleepNetRecipe)  # noqa: S101 - tells mypy
    nights, val = fold.streams()
    seen = require_labels(nights, val)
    model = fold.build(seen)
    assert isinstance(model, DeepSleepNet)  # noqa: S101 - tells mypy
    common = {"weights": fold.weights(nights.known), "seen": seen}
    best, first = _train_cnns(model, fold=fold, recipe=recipe, **common)
    fill(model.encoder, read_tensors(best), path=best)
    train: Nights = nights
    order: Sampler[Any]
    if fold.oversampled:
        train, order = fold.windows_to_oversample(recipe.window, batch_size=recipe.batch_size)
    else:
        order = ByNight(
            nights,
            length=recipe.window,
            lanes=recipe.batch_size,
            seed=recipe.seed,
        )
    weights, second = fold.fit(
        model,
        step=SEQUENCE,
        train=train,
        order=order,
        val=val,
        val_order=in_order(val, length=recipe.window, lanes=recipe.batch_size),
        course=fold.course(),
        optimizer=lambda: adam(
            model,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            decayed=model.first_convolutions(),
            slower=list(model.encoder.parameters()),
            slower_rate=recipe.tuned_learning_rate,
        ),
        before=len(first),
        tensors=model.state_dict,
        about=fold.describe(model),
        **common,
    )
    rows = [{"step": CNN, **row, "best": 0} for row in first]
    return weights, rows + [{"step": SEQUENCE, **row} for row in second]


def _train_cnns(
    model: DeepSleepNet, *, fold: Fold, recipe: DeepSleepNetRecipe, **common: Any
) -> Trained:
    """Train the CNNs of a model with a linear layer on single epochs: the first step."""
    train, val = fold.windows(1)
    cnns = model.cnn_stage()
    return fold.fit(
        cnns,
        step=CNN,
        train=train,
        order=fold.window_order(
            train,
            batch_size=recipe.cnn_batch_size,
            oversampled=fold.oversampled or fold.cfg.balance == "published",
        ),
        val=val,
        val_order=validation_order(val, recipe.cnn_batch_size),
        course=fold.course(
            passes=recipe.cnn_passes,
            learning_rate=recipe.cnn_learning_rate,
            gradient_clip=0.0,
            rate="cnn_learning_rate",
        ),
        optimizer=lambda: adam(
            cnns,
            learning_rate=recipe.cnn_learning_rate,
            weight_decay=recipe.weight_decay,
            decayed=model.first_convolutions(),
        ),
        tensors=model.encoder.state_dict,
        about={"kind": "deepsleepnet-cnn", "channel": fold.cfg.channel},
        **common,
    )


def train_tinysleepnet(fold: Fold) -> Trained:
    """Train TinySleepNet on nights in order, side by side (EMBC 2020).

    As published a night is shifted against its epochs and begins a few epochs later, both at
    random in each pass, and N1 weighs more in the loss of staging; other tasks have no weight.
    """
    recipe = fold.cfg.recipe
    assert isinstance(recipe, TinySleepNetRecipe)  # noqa: S101 - tells mypy
    nights, val = fold.streams()
    seen = require_labels(nights, val)
    model = fold.build(seen)
    weights = fold.weights(nights.known)
    if fold.cfg.balance == "published" and "N1" in fold.task.classes:
        weights = torch.ones(len(fold.task.classes))
        weights[fold.task.classes.index("N1")] = recipe.n1_weight
    train: Nights = nights
    order: Sampler[Any]
    if fold.oversampled:
        train, order = fold.windows_to_oversample(recipe.window, batch_size=recipe.batch_size)
    else:
        order = ByCohort(
            nights,
            length=recipe.window,
            lanes=recipe.batch_size,
            seed=recipe.seed,
            random_start=recipe.random_start,
        )
    return fold.fit(
        model,
        train=train,
        order=order,
        val=val,
        val_order=in_order(val, length=recipe.window, lanes=recipe.batch_size),
        course=fold.course(),
        optimizer=lambda: adam(
            model,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            decayed=_weights_of(model.encoder, nn.Conv1d),
        ),
        weights=weights,
        seen=seen,
        vary=NightRoll(recipe.roll) if recipe.roll else None,
        tensors=model.state_dict,
        about=fold.describe(model),
    )


def train_seresnet_bilstm(fold: Fold) -> Trained:
    """Train SE-ResNet-BiLSTM on epochs with the window around them (arXiv 2309.07156)."""
    recipe = fold.cfg.recipe
    assert isinstance(recipe, SeResNetBiLstmRecipe)  # noqa: S101 - tells mypy
    vary = augmenting(recipe.augment, sampling_rate=fold.cfg.sampling_rate)
    train, val = fold.streams()
    seen = require_labels(train, val)
    model = fold.build(seen)
    return fold.fit(
        model,
        train=train,
        order=CentreOrder(
            train,
            window=recipe.window,
            stride=recipe.stride,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            oversampled=fold.oversampled,
        ),
        val=val,
        val_order=around_all(val, window=recipe.window, batch_size=recipe.batch_size),
        course=fold.course(),
        optimizer=lambda: adam(
            model,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            decayed=_weights_of(model, nn.Conv1d, nn.Linear),
        ),
        weights=fold.weights(train.known),
        seen=seen,
        vary=vary,
        tensors=model.state_dict,
        about=fold.describe(model),
    )


TRAININGS: dict[str, Callable[[Fold], Trained]] = {
    "deepsleepnet": train_deepsleepnet,
    "tinysleepnet": train_tinysleepnet,
    "seresnet_bilstm": train_seresnet_bilstm,
}


def _weights_of(model: nn.Module, *kinds: type[nn.Module]) -> Sequence[Tensor]:
    """Give the weights of a model's layers of some kinds."""
    return [layer.weight for layer in model.modules() if isinstance(layer, kinds)]  # type: ignore[misc]
