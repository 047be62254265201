"""Supervised training on windows of neighbouring epochs: one loop for every model that needs it.

A model maps the inputs of a window to one class per epoch (many-to-many). What an input is, an
embedding or a signal, is the business of whoever reads it.

Notation: N epochs, W windows, B windows of a batch, L epochs of a window, K classes of the task;
`...` is the shape of an epoch's input, D for an embedding and T for a signal.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import polars
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset, Sampler

from somnoflow.config.context import Context
from somnoflow.data.windows import average, cut_windows, pad, run_starts
from somnoflow.tasks import UNKNOWN, Task
from somnoflow.training.balance import Rows, Targets, chances, class_weights, draw
from somnoflow.training.errors import TrainingError
from somnoflow.training.optimizing import accumulation_weight, adamw
from somnoflow.training.resume import Choice, PassCheckpoints
from somnoflow.training.seeds import MASKS, ORDER, numpy_generator, seed_of
from somnoflow.training.trainer import run_passes
from somnoflow.training.validation import (
    chosen_by,
    pass_scores,
    require_targets,
    word_for_class,
)

log = logging.getLogger(__name__)


class Epochs(Protocol):
    """Epochs whose inputs are read by row.

    Attributes
    ----------
    table
        One row per epoch, sorted by `dataset`, `subject`, `recording` and `epoch`; with the
        column of the task (-1 unknown) and `usable`.
    """

    table: polars.DataFrame

    def read(self, rows: Rows) -> npt.NDArray[np.float32]:
        """Give the inputs (N, ...) of usable epochs, rows (N,) of `table`."""
        ...


class Batch(NamedTuple):
    """Some windows: inputs (B, L, ...), and for each of their epochs (B, L) what follows.

    `valid` is False where a window is padded, `targets` is -1 where there is none to learn from,
    `rows` are rows of the usable epochs.
    """

    inputs: Tensor
    valid: Tensor
    targets: Tensor
    rows: Tensor


class Windows(Dataset[Batch]):
    """Windows over the usable epochs of whole nights; an item's key is a batch of windows.

    Only the windows of a batch are read from `epochs`, so memory does not grow with the cohort.

    Parameters
    ----------
    epochs
        Where inputs are read. Epochs that are not usable end a window as a gap does.
    task
        What is to be learned.
    labels
        Keys of the epochs whose labels may be seen (`dataset`, `subject`, `recording`, `epoch`);
        all where None. Other epochs are context without a label.
    length, stride
        Epochs of a window, and between the beginnings of two.
    whole
        As in `cut_windows`: True for training, False for validation.

    Attributes
    ----------
    targets
        Classes of the usable epochs, (N,) int64; -1 where unknown or not to be seen.
    windows
        (W, 2), as `cut_windows` gives them.
    """

    def __init__(
        self,
        epochs: Epochs,
        *,
        task: Task,
        labels: polars.DataFrame | None = None,
        length: int,
        stride: int,
        whole: bool,
    ) -> None:
        self.task = task
        self._epochs = epochs
        self._usable = np.flatnonzero(epochs.table["usable"].to_numpy())
        table = epochs.table[self._usable]
        self.targets = visible_targets(table, labels, task=task)
        self.windows = cut_windows(run_starts(table), length=length, stride=stride, whole=whole)

    @property
    def known(self) -> Targets:
        """The classes that may be seen, (N',)."""
        return self.targets[self.targets != UNKNOWN]

    def labelled(self) -> Rows:
        """Give the numbers of the windows in which an epoch has a label."""
        return np.flatnonzero(self._counts(self.targets != UNKNOWN))

    def rarest(self, numbers: Rows) -> Targets:
        """Give for each of some labelled windows the rarest class that its epochs have."""
        found = np.full(len(numbers), UNKNOWN)
        for code in np.argsort(-np.bincount(self.known), kind="stable"):  # the rarest comes last
            found[self._counts(self.targets == code)[numbers] > 0] = code
        return found

    def _counts(self, marked: npt.NDArray[np.bool_]) -> Rows:
        """Count the marked epochs of each window."""
        before = np.concatenate([[0], np.cumsum(marked)])
        return before[self.windows[:, 1]] - before[self.windows[:, 0]]

    def sizes(self, numbers: Rows) -> Rows:
        """Give how many epochs windows have."""
        return self.windows[numbers, 1] - self.windows[numbers, 0]

    def __getitem__(self, numbers: Rows) -> Batch:
        rows, valid = pad(self.windows[numbers])
        inputs = self._epochs.read(self._usable[rows.ravel()])
        targets = np.where(valid, self.targets[rows], UNKNOWN)
        return Batch(
            torch.from_numpy(inputs).unflatten(0, rows.shape),
            *(torch.from_numpy(array) for array in (valid, targets, rows)),
        )


def visible_targets(
    table: polars.DataFrame, labels: polars.DataFrame | None, *, task: Task
) -> Targets:
    """Give the classes (N,) of a table's epochs, -1 for all whose keys are not in `labels`."""
    targets = table[task.column].to_numpy().astype(np.int64)
    if labels is None:
        return targets
    marked = labels.unique().with_columns(seen=polars.lit(value=True))
    joined = table.join(marked, on=labels.columns, how="left", maintain_order="left")
    return np.where(joined["seen"].fill_null(value=False).to_numpy(), targets, UNKNOWN)


class WindowOrder(Sampler[Rows]):
    """The order of a training pass: all windows, shuffled or drawn by seed and pass.

    Batches are of nearly equal size, so that none is left out and none is a single window whose
    gradient would count as much as that of a whole batch.

    Parameters
    ----------
    windows
        Numbers of the windows to train on.
    batch_size
        Most windows of a batch.
    seed
        Of the order.
    chance
        Of each window, to be drawn with replacement; each comes once where None.
    """

    def __init__(
        self,
        windows: Rows,
        *,
        batch_size: int,
        seed: int,
        chance: npt.NDArray[np.float64] | None = None,
    ) -> None:
        self._windows = windows
        self._chance = chance
        self._batches = -(-len(windows) // batch_size)
        self._seed = seed
        self._pass = 0

    @property
    def smallest(self) -> int:
        """Windows of the smallest batch."""
        return len(self._windows) // self._batches

    def fewest_epochs(self, sizes: Rows) -> int:
        """Give how few epochs a batch can have, from those of each window (W,)."""
        if self._chance is None:
            return int(np.sort(sizes)[: self.smallest].sum())
        return int(sizes.min()) * self.smallest

    def set_epoch(self, number: int) -> None:
        """Begin pass `number`; Lightning calls this by the name it knows."""
        self._pass = number

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Rows]:
        generator = numpy_generator(self._seed, ORDER, self._pass)
        order = draw(self._windows, chance=self._chance, generator=generator)
        yield from np.array_split(order, self._batches)


class Supervised(pl.LightningModule):
    """A model with its optimiser, loss and validation.

    Parameters
    ----------
    model
        Maps inputs (B, L, ...) and valid (B, L) to logits (B, L, K).
    task
        What is learned.
    cfg
        Recipe.
    section
        Where the recipe stands in the configuration, for messages.
    weights
        From `class_weights`.
    seen
        Classes that the training epochs have, bool (K,): no other is predicted.
    epochs
        Usable epochs of the validation subjects.
    batches
        Batches of a pass.
    accumulate
        Batches whose gradients are added up for one optimiser step.
    """

    weights: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        *,
        task: Task,
        cfg: Context,
        section: str,
        weights: Tensor | None,
        seen: Tensor,
        epochs: int,
        batches: int,
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.cfg = cfg
        self.section = section
        self.batches = batches
        self.accumulate = accumulate
        self.steps = cfg.passes * math.ceil(batches / accumulate)
        self.seen = seen
        self.epochs = epochs
        # Not persistent: it follows from the labels, as the model's state does not.
        self.register_buffer("weights", weights, persistent=False)
        self._loss, self._weight = torch.zeros(()), torch.zeros(())
        self._validated: list[tuple[Tensor, Tensor, Tensor]] = []
        self._rate = math.nan

    def configure_optimizers(self) -> Any:
        """Give AdamW over what is trainable, and a learning rate that falls as a cosine."""
        return adamw(
            self.model,
            learning_rate=self.cfg.learning_rate,
            weight_decay=self.cfg.weight_decay,
            steps=self.steps,
        )

    def on_train_epoch_start(self) -> None:
        """Begin the mean loss of the pass."""
        self._loss = self._weight = torch.zeros((), dtype=torch.float64)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Give the loss of a batch: the mean over its epochs that have a label, weighted.

        Times `accumulation_weight`.
        """
        self._rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        # Dropout depends on pass and step alone. Seeding once a pass is not enough: where the data
        # loader draws from the same generator differs after a resume.
        torch.manual_seed(seed_of(self.cfg.seed, MASKS, self.current_epoch, batch_idx))
        logits = self.model(batch.inputs, batch.valid).float()
        loss = label_loss(logits, batch.targets, weights=self.weights)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"loss is {loss.item()} in pass {self.current_epoch + 1}, step {batch_idx + 1}, "
                f"at learning rate {self._rate:.3g}. The last finished pass is kept, but goes the "
                f"same way again: lower {self.section}.learning_rate (now "
                f"{self.cfg.learning_rate:g}) or {self.section}.gradient_clip (now "
                f"{self.cfg.gradient_clip:g})"
            )
        weight = weight_of(batch.targets, weights=self.weights).double()
        self._loss = self._loss.to(loss.device) + loss.detach().double() * weight
        self._weight = self._weight.to(loss.device) + weight
        self.log("loss", loss.detach(), prog_bar=True, batch_size=len(batch.targets))
        return loss * accumulation_weight(
            batch_idx, accumulate=self.accumulate, batches=self.batches
        )

    def on_validation_epoch_start(self) -> None:
        """Forget the predictions of the last pass."""
        self._validated = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Predict the epochs of a batch, in the arithmetic that they will be scored in."""
        # A pass chosen in bfloat16 would not be the best of what is deployed in float32.
        with torch.autocast(self.device.type, enabled=False):
            logits = self.model(batch.inputs, batch.valid)
        found = batch.rows[batch.valid], logits[batch.valid], batch.targets[batch.valid]
        self._validated.append(tuple(tensor.cpu() for tensor in found))  # type: ignore[arg-type]

    def pass_record(self) -> dict[str, Any]:
        """Give this pass's row of training.csv.

        `train_loss` is weighted as the training is, `val_loss` is the plain mean over the
        labelled epochs.
        """
        rows, logits, targets = (torch.cat(parts) for parts in zip(*self._validated, strict=True))
        val_loss = label_loss(logits.double(), targets, weights=None).item()
        if not math.isfinite(val_loss):
            raise TrainingError(
                f"validation loss is {val_loss} after pass {self.current_epoch + 1} over "
                f"{int((targets != UNKNOWN).sum())} epochs; lower {self.section}.learning_rate "
                f"(now {self.cfg.learning_rate:g})"
            )
        parts = [(rows.numpy(), to_probabilities(logits, seen=self.seen).numpy())]
        probabilities = average(parts, epochs=self.epochs, values=len(self.seen))
        known = np.full(self.epochs, UNKNOWN)
        known[rows.numpy()] = targets.numpy()
        labelled = known != UNKNOWN
        return {
            "pass": self.current_epoch + 1,
            "train_loss": (self._loss / self._weight).item(),
            "val_loss": val_loss,
            **pass_scores(known[labelled], probabilities[labelled], task=self.task),
            "learning_rate": self._rate,
        }


def label_loss(logits: Tensor, targets: Tensor, *, weights: Tensor | None) -> Tensor:
    """Give the cross-entropy of logits (..., K) for classes (...), where they are not -1."""
    return cross_entropy(
        logits.flatten(0, -2), targets.flatten(), weight=weights, ignore_index=UNKNOWN
    )


def weight_of(targets: Tensor, *, weights: Tensor | None) -> Tensor:
    """Give the sum of the weights of all classes (...) that are not -1."""
    known = targets[targets != UNKNOWN]
    return torch.tensor(len(known)) if weights is None else weights[known].sum()


def to_probabilities(logits: Tensor, *, seen: Tensor) -> Tensor:
    """Give the probabilities (N, K) of logits (N, K); classes that were not seen get 0."""
    return logits.float().masked_fill(~seen, float("-inf")).softmax(dim=-1)


def fit_windows(
    model: nn.Module,
    *,
    train: Windows,
    val: Windows,
    cfg: Context,
    section: str,
    tensors: Callable[[], Mapping[str, Tensor]],
    about: Mapping[str, Any],
    folder: Path,
    device: torch.device,
    precision: Any = "32-true",
    accumulate: int = 1,
) -> tuple[Path, list[dict[str, Any]]]:
    """Train, or continue a training that was killed.

    The best pass has the highest macro-F1 of the stages, or average precision of the event.

    Parameters
    ----------
    model
        As `Supervised` takes it, with its initial weights.
    train
        Windows of the training subjects. Those in which no epoch has a label are left out.
    val
        Windows of the validation subjects, which cover each epoch; every choice is made by them.
    cfg
        Recipe.
    section
        Where the recipe stands in the configuration, for messages.
    tensors, about
        What is written of the model, and its description.
    folder
        `resume/<key>`: continued where it holds a checkpoint.
    device
        Where to compute.
    precision
        Lightning's name of the arithmetic of the training; validation is in float32.
    accumulate
        Batches whose gradients are added up for one optimiser step.

    Returns
    -------
    weights : Path
        The best pass's weights, on disk inside `folder`.
    rows : list of dict
        One row of training.csv per pass.

    Raises
    ------
    TrainingError
        When a loss is not finite.
    ValueError
        When no training epoch, or no validation epoch, has a label, or all validation epochs
        have the same answer about an event.
    """
    task = train.task
    require_targets(train.known, task=task, role="training", least=1)
    require_targets(val.known, task=task, role="validation", least=1)
    if len(seen := np.unique(train.known)) == 1:
        log.warning(
            "all %d training epochs have the %s %s: nothing else can be learned from them",
            len(train.known), word_for_class(task), task.classes[seen[0]],
        )  # fmt: skip
    labelled = train.labelled()
    order = WindowOrder(
        labelled,
        batch_size=cfg.batch_size,
        seed=cfg.seed,
        chance=chances(train.rarest(labelled), sampling=cfg.sampling),
    )
    _require_two_epochs(order, train, section=section)
    log.info(
        "%d of %d usable epochs have a label to learn from; %d of %d windows have such an epoch, "
        "the others are left out; %d steps per pass; validation by %d of %d epochs",
        len(train.known), len(train.targets), len(labelled), len(train.windows), len(order),
        len(val.known), len(val.targets),
    )  # fmt: skip
    module = Supervised(
        model,
        task=task,
        cfg=cfg,
        section=section,
        weights=class_weights(train.known, kind=cfg.class_weights, classes=len(task.classes)),
        seen=torch.from_numpy(np.isin(np.arange(len(task.classes)), seen)),
        epochs=len(val.targets),
        batches=len(order),
        accumulate=accumulate,
    )
    choice = Choice(chosen_by(task), highest=True)
    passes = PassCheckpoints(folder, weights=lambda: (tensors(), about), choice=choice)
    # Dropout draws from the global generator, which is given back as it was.
    with torch.random.fork_rng(devices=[]):
        run_passes(
            module,
            train=train,
            order=order,
            val=val,
            val_order=validation_order(val, cfg.batch_size),
            passes=cfg.passes,
            checkpoints=passes,
            folder=folder,
            device=device,
            precision=precision,
            gradient_clip=cfg.gradient_clip,
            accumulate=accumulate,
        )
    return passes.best_weights, passes.rows_with_best()


def _require_two_epochs(order: WindowOrder, train: Windows, *, section: str) -> None:
    """Raise `TrainingError` where a batch could be one epoch, which batch norm cannot scale."""
    windows = order.smallest
    epochs = order.fewest_epochs(train.sizes(train.labelled()))
    if epochs < 2:
        raise TrainingError(
            f"{len(train.labelled())} windows in batches of at most {section}.batch_size leave a "
            f"batch of {windows} window with {epochs} usable epoch, wanted at least 2 epochs: "
            f"take more labels, or a larger {section}.batch_size"
        )


def validation_order(windows: Windows, batch_size: int) -> list[Rows]:
    """Give the batches of validation: all windows in their order."""
    numbers = np.arange(len(windows.windows))
    return np.array_split(numbers, -(-len(numbers) // batch_size))
