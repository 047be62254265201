"""Supervised training on windows of neighbouring epochs: one loop for every model that needs it.

A model maps the inputs of a window to one class per epoch (many-to-many). What an input is, an
embedding or a signal, is the business of whoever reads it; which windows come when, and which of
their epochs are asked for, that of an order; how fast what is learned, that of an optimiser.

Notation: N epochs, W windows, B windows of a batch, L epochs of a window, K classes of the task;
`...` is the shape of an epoch's input, D for an embedding and T for a signal.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import polars
import torch
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset, Sampler

from somnoflow.config.context import Context
from somnoflow.data.windows import Flags, average, cut_windows, pad, run_starts
from somnoflow.models.recurrent import keep_state
from somnoflow.tasks import UNKNOWN, Task
from somnoflow.training.balance import (
    Rows,
    Targets,
    chances,
    class_weights,
    draw,
    oversample,
    oversampled_size,
)
from somnoflow.training.errors import TrainingError
from somnoflow.training.optimizing import accumulation_weight, adamw
from somnoflow.training.resume import Choice, PassCheckpoints
from somnoflow.training.seeds import AUGMENTATION, MASKS, ORDER, numpy_generator, seed_of
from somnoflow.training.targets import require_targets, word_for_class
from somnoflow.training.trainer import run_passes
from somnoflow.training.validation import chosen_by, pass_scores

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


class Draw(NamedTuple):
    """Windows that are read together: the key of a batch.

    `windows` (B, 2) are the first row and the one after the last; `continues` (B,) tells which of
    them go on where the same window of the draw before ended, none where None; `asked` (B, L) tells
    which of their epochs are learned or predicted, all where None: the others are context.
    """

    windows: Rows
    continues: Flags | None = None
    asked: Flags | None = None


class Batch(NamedTuple):
    """Some windows: inputs (B, L, ...), and for each of their epochs (B, L) what follows.

    `valid` is False where a window is padded, `targets` is -1 where there is none to learn from,
    `rows` are rows of the usable epochs, `asked` is False where the answer is not looked at.
    `continues` (B,) is as in `Draw`.
    """

    inputs: Tensor
    valid: Tensor
    targets: Tensor
    rows: Tensor
    asked: Tensor
    continues: Tensor


Vary = Callable[[Batch, torch.Generator], Batch]


class Nights:
    """The usable epochs of whole nights, and which of their labels may be learned.

    Only the windows of a batch are read from `epochs`, so memory does not grow with the cohort.

    Parameters
    ----------
    epochs
        Where inputs are read. Epochs that are not usable end a run as a gap does.
    task
        What is to be learned.
    labels
        Keys of the epochs whose labels may be seen (`dataset`, `subject`, `recording`, `epoch`);
        all where None. Other epochs are context without a label.

    Attributes
    ----------
    targets
        Classes of the usable epochs, (N,) int64; -1 where unknown or not to be seen.
    starts
        (N,): where a run begins.
    recordings
        (N,): the number of the recording, in ascending order.
    """

    def __init__(
        self, epochs: Epochs, *, task: Task, labels: polars.DataFrame | None = None
    ) -> None:
        self.task = task
        self._epochs = epochs
        self._usable = np.flatnonzero(epochs.table["usable"].to_numpy())
        table = epochs.table[self._usable]
        self.targets = visible_targets(table, labels, task=task)
        self.starts = run_starts(table)
        night = polars.struct("dataset", "subject", "recording")
        self.recordings = table.select(night.rle_id()).to_series().to_numpy()

    @property
    def known(self) -> Targets:
        """The classes that may be seen, (N',)."""
        return self.targets[self.targets != UNKNOWN]

    def batch(self, draw: Draw) -> Batch:
        """Read the inputs of some windows."""
        rows, valid = pad(draw.windows)
        asked = valid if draw.asked is None else draw.asked & valid
        continues = np.zeros(len(rows), bool) if draw.continues is None else draw.continues
        inputs = self._epochs.read(self._usable[rows.ravel()])
        targets = np.where(asked, self.targets[rows], UNKNOWN)
        return Batch(
            torch.from_numpy(inputs).unflatten(0, rows.shape),
            *(torch.from_numpy(array) for array in (valid, targets, rows, asked, continues)),
        )


class Windows(Nights, Dataset[Batch]):
    """Windows over the usable epochs of whole nights; an item's key is a batch of windows.

    Parameters
    ----------
    epochs, task, labels
        As in `Nights`.
    length, stride
        Epochs of a window, and between the beginnings of two.
    whole
        As in `cut_windows`: True for training, False for validation.

    Attributes
    ----------
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
        super().__init__(epochs, task=task, labels=labels)
        self.windows = cut_windows(self.starts, length=length, stride=stride, whole=whole)

    def labelled(self) -> Rows:
        """Give the numbers of the windows in which an epoch has a label."""
        return np.flatnonzero(self._counts(self.targets != UNKNOWN))

    def rarest(self, numbers: Rows) -> Targets:
        """Give for each of some labelled windows the rarest class that its epochs have."""
        found = np.full(len(numbers), UNKNOWN)
        for code in np.argsort(-np.bincount(self.known), kind="stable"):  # the rarest comes last
            found[self._counts(self.targets == code)[numbers] > 0] = code
        return found

    def _counts(self, marked: Flags) -> Rows:
        """Count the marked epochs of each window."""
        before = np.concatenate([[0], np.cumsum(marked)])
        return before[self.windows[:, 1]] - before[self.windows[:, 0]]

    def sizes(self, numbers: Rows) -> Rows:
        """Give how many epochs windows have."""
        return self.windows[numbers, 1] - self.windows[numbers, 0]

    def __getitem__(self, numbers: Rows) -> Batch:
        return self.batch(Draw(self.windows[numbers]))


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
    classes
        Of each window, to be repeated until all classes are as many (`oversample`); each comes
        once where None.
    """

    def __init__(
        self,
        windows: Rows,
        *,
        batch_size: int,
        seed: int,
        chance: npt.NDArray[np.float64] | None = None,
        classes: Targets | None = None,
    ) -> None:
        self._windows = windows
        self._chance = chance
        self._classes = classes
        self._size = len(windows) if classes is None else oversampled_size(classes)
        self._batches = -(-self._size // batch_size)
        self._seed = seed
        self._pass = 0

    @property
    def smallest(self) -> int:
        """Windows of the smallest batch."""
        return self._size // self._batches

    def fewest_epochs(self, sizes: Rows) -> int:
        """Give how few epochs a batch can have, from those of each window (W,)."""
        if self._chance is None and self._classes is None:
            return int(np.sort(sizes)[: self.smallest].sum())
        return int(sizes.min()) * self.smallest

    def set_epoch(self, number: int) -> None:
        """Begin pass `number`; Lightning calls this by the name it knows."""
        self._pass = number

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Rows]:
        generator = numpy_generator(self._seed, ORDER, self._pass)
        if self._classes is None:
            order = draw(self._windows, chance=self._chance, generator=generator)
        else:
            order = oversample(self._windows, self._classes, generator=generator)
        yield from np.array_split(order, self._batches)


@dataclass(frozen=True)
class Course:
    """How long and how fast a training goes.

    Parameters
    ----------
    passes
        Passes of the training.
    learning_rate
        At its highest.
    gradient_clip
        Largest gradient norm; 0: no clipping.
    seed
        Of dropout and augmentation.
    section
        Where these stand in the configuration, for messages.
    rate
        What the learning rate is called there.
    """

    passes: int
    learning_rate: float
    gradient_clip: float
    seed: int
    section: str
    rate: str = "learning_rate"

    @property
    def slower(self) -> str:
        """What to do where a loss is not finite."""
        return f"lower {self.section}.{self.rate} (now {self.learning_rate:g})"


class Supervised(pl.LightningModule):
    """A model with its optimiser, loss and validation.

    Parameters
    ----------
    model
        Maps inputs (B, L, ...) and valid (B, L) to logits (B, L, K). One that carries a state
        gives logits and state, and takes the state as its third argument: a tuple of tensors
        (layers, B, H).
    task
        What is learned.
    course
        How long and how fast.
    optimizer
        Gives the optimiser, and its schedule where it has one, as Lightning takes them.
    weights
        Of the classes in the loss, (K,); all weigh the same where None.
    seen
        Classes that the training epochs have, bool (K,): no other is predicted.
    epochs
        Usable epochs of the validation subjects.
    batches
        Batches of a pass; they count only where gradients are accumulated.
    accumulate
        Batches whose gradients are added up for one optimiser step.
    vary
        Gives a batch as this step of the training sees it, from the batch and a generator on its
        device; validation sees it as it is.
    before
        Passes of an earlier step of the same training, for the record.
    order
        Order of the training passes, which is told where a continued training begins.
    """

    weights: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        *,
        task: Task,
        course: Course,
        optimizer: Callable[[], Any],
        weights: Tensor | None,
        seen: Tensor,
        epochs: int,
        batches: float = math.inf,
        accumulate: int = 1,
        vary: Vary | None = None,
        before: int = 0,
        order: Sampler[Any] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.course = course
        self.batches = batches
        self.accumulate = accumulate
        self.seen = seen
        self.epochs = epochs
        self.vary = vary
        self.before = before
        self._order = order
        self._optimizer = optimizer
        # Not persistent: it follows from the labels, as the model's state does not.
        self.register_buffer("weights", weights, persistent=False)
        self._loss, self._weight = torch.zeros(()), torch.zeros(())
        self._validated: list[tuple[Tensor, Tensor, Tensor]] = []
        self._state: tuple[Tensor, ...] | None = None
        self._rate = math.nan

    @property
    def number(self) -> int:
        """The number of the pass in training.csv."""
        return self.before + self.current_epoch + 1

    def configure_optimizers(self) -> Any:
        """Give what the caller chose."""
        return self._optimizer()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the order begin after the passes that are done.

        Lightning tells it too, but of an order without a length it takes a batch before.
        """
        if self._order is not None:
            self._order.set_epoch(checkpoint["epoch"] + 1)  # type: ignore[attr-defined]

    def on_train_epoch_start(self) -> None:
        """Begin the mean loss of the pass, without a state."""
        self._loss = self._weight = torch.zeros((), dtype=torch.float64)
        self._state = None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Give the loss of a batch: the mean over its epochs that have a label, weighted.

        Times `accumulation_weight`. None where no epoch has a label: only the state goes on.
        """
        self._rate = self.trainer.optimizers[0].param_groups[-1]["lr"]
        # Dropout depends on pass and step alone. Seeding once a pass is not enough: where the data
        # loader draws from the same generator differs after a resume.
        place = (MASKS, self.current_epoch, batch_idx)
        torch.manual_seed(seed_of(self.course.seed, *place))
        if self.vary is not None:
            generator = torch.Generator(device=batch.inputs.device)
            batch = self.vary(
                batch, generator.manual_seed(seed_of(self.course.seed, *place, AUGMENTATION))
            )
        logits = self._answer(batch).float()
        if not (batch.targets != UNKNOWN).any():
            return None
        loss = label_loss(logits, batch.targets, weights=self.weights)
        if not torch.isfinite(loss):
            clip = f"{self.course.section}.gradient_clip (now {self.course.gradient_clip:g})"
            raise TrainingError(
                f"loss is {loss.item()} in pass {self.number}, step {batch_idx + 1}, "
                f"at learning rate {self._rate:.3g}. The last finished pass is kept, but goes the "
                f"same way again: {self.course.slower}"
                + (f" or {clip}" if self.course.gradient_clip else "")
            )
        weight = weight_of(batch.targets, weights=self.weights).double()
        self._loss = self._loss.to(loss.device) + loss.detach().double() * weight
        self._weight = self._weight.to(loss.device) + weight
        self.log("loss", loss.detach(), prog_bar=True, batch_size=len(batch.targets))
        return loss * accumulation_weight(
            batch_idx, accumulate=self.accumulate, batches=self.batches
        )

    def _answer(self, batch: Batch) -> Tensor:
        """Give the logits (B, L, K); the state of windows that continue goes on."""
        if self._state is None or not batch.continues.any():
            answer = self.model(batch.inputs, batch.valid)
        else:
            # Windows that ended in the batch before were its last.
            state = tuple(part[:, : len(batch.continues)] for part in self._state)
            answer = self.model(batch.inputs, batch.valid, keep_state(state, batch.continues))
        if isinstance(answer, Tensor):
            return answer
        logits: Tensor
        logits, self._state = answer
        return logits

    def on_validation_epoch_start(self) -> None:
        """Forget the predictions of the last pass, and the state."""
        self._validated = []
        self._state = None

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Predict the epochs of a batch, in the arithmetic that they will be scored in."""
        # A pass chosen in bfloat16 would not be the best of what is deployed in float32.
        with torch.autocast(self.device.type, enabled=False):
            logits = self._answer(batch)
        found = batch.rows[batch.asked], logits[batch.asked], batch.targets[batch.asked]
        self._validated.append(tuple(tensor.cpu() for tensor in found))  # type: ignore[arg-type]

    def pass_record(self) -> dict[str, Any]:
        """Give this pass's row of training.csv.

        `train_loss` is weighted as the training is, and None where augmentation left this pass
        no label; `val_loss` is the plain mean over the labelled epochs.
        """
        rows, logits, targets = (torch.cat(parts) for parts in zip(*self._validated, strict=True))
        val_loss = label_loss(logits.double(), targets, weights=None).item()
        if not math.isfinite(val_loss):
            raise TrainingError(
                f"validation loss is {val_loss} after pass {self.number} over "
                f"{int((targets != UNKNOWN).sum())} epochs; {self.course.slower}"
            )
        parts = [(rows.numpy(), to_probabilities(logits, seen=self.seen).numpy())]
        probabilities = average(parts, epochs=self.epochs, values=len(self.seen))
        known = np.full(self.epochs, UNKNOWN)
        known[rows.numpy()] = targets.numpy()
        labelled = known != UNKNOWN
        return {
            "pass": self.number,
            "train_loss": (self._loss / self._weight).item() if self._weight else None,
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


def require_labels(train: Nights, val: Nights) -> Targets:
    """Give the classes that training epochs have; warn of those that they do not have.

    Raises
    ------
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
    return seen


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
    """Train on windows, each by itself, with AdamW and a cosine; or continue. As `fit`.

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
    tensors, about, folder, device, precision, accumulate
        As in `fit`.

    Raises
    ------
    TrainingError
        When a loss is not finite, or a batch could be a single epoch.
    ValueError
        As `require_labels`.
    """
    task = train.task
    seen = require_labels(train, val)
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
    steps = cfg.passes * math.ceil(len(order) / accumulate)
    return fit(
        model,
        train=train,
        order=order,
        val=val,
        val_order=validation_order(val, cfg.batch_size),
        course=Course(
            passes=cfg.passes,
            learning_rate=cfg.learning_rate,
            gradient_clip=cfg.gradient_clip,
            seed=cfg.seed,
            section=section,
        ),
        optimizer=lambda: adamw(
            model, learning_rate=cfg.learning_rate, weight_decay=cfg.weight_decay, steps=steps
        ),
        weights=class_weights(train.known, kind=cfg.class_weights, classes=len(task.classes)),
        seen=seen,
        tensors=tensors,
        about=about,
        folder=folder,
        device=device,
        precision=precision,
        batches=len(order),
        accumulate=accumulate,
    )


def fit(
    model: nn.Module,
    *,
    train: Any,
    order: Sampler[Any],
    val: Any,
    val_order: Any,
    course: Course,
    optimizer: Callable[[], Any],
    weights: Tensor | None,
    seen: Targets,
    tensors: Callable[[], Mapping[str, Tensor]],
    about: Mapping[str, Any],
    folder: Path,
    device: torch.device,
    precision: Any = "32-true",
    batches: float = math.inf,
    accumulate: int = 1,
    vary: Vary | None = None,
    before: int = 0,
    logger: Callable[[Path | None], Logger] | None = None,
) -> tuple[Path, list[dict[str, Any]]]:
    """Train, or continue a training that was killed.

    The best pass has the highest macro-F1 of the stages, or average precision of the event.

    Parameters
    ----------
    model, course, optimizer, weights, batches, accumulate, vary, before
        As in `Supervised`.
    train, val
        `Nights` of the training and of the validation subjects that give a batch for a key.
    order, val_order
        The keys of a training pass, and those of the validation, which ask each epoch once at
        least; all choices are made by it.
    seen
        Classes that the training epochs have.
    tensors, about
        What is written of the model, and its description.
    folder
        `resume/<key>`: continued where it holds a checkpoint.
    device
        Where to compute.
    precision
        Lightning's name of the arithmetic of the training; validation is in float32.
    logger
        As in `run_passes`.

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
    """
    task = train.task
    module = Supervised(
        model,
        task=task,
        course=course,
        optimizer=optimizer,
        weights=weights,
        seen=torch.from_numpy(np.isin(np.arange(len(task.classes)), seen)),
        epochs=len(val.targets),
        batches=batches,
        accumulate=accumulate,
        vary=vary,
        before=before,
        order=order,
    )
    choice = Choice(chosen_by(task), highest=True)
    passes = PassCheckpoints(folder, weights=lambda: (tensors(), about), choice=choice)
    # Dropout draws from the global generator, which is given back as it was.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # A batch without labels moves the state on and takes no step.
        warnings.filterwarnings("ignore", message=".*training_step.*returned.*None.*")
        run_passes(
            module,
            train=train,
            order=order,
            val=val,
            val_order=val_order,
            passes=course.passes,
            checkpoints=passes,
            folder=folder,
            device=device,
            precision=precision,
            gradient_clip=course.gradient_clip,
            accumulate=accumulate,
            logger=logger,
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
