"""Training of the probes on frozen embeddings; every choice is made on validation subjects."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from somnoflow.config.heads import Boosting, Knn, Linear
from somnoflow.models.boosting import BoostingProbe
from somnoflow.models.heads import LinearProbe
from somnoflow.models.knn import KnnProbe
from somnoflow.training.balance import chances, class_weights, draw
from somnoflow.training.embedded import Labelled
from somnoflow.training.seeds import MASKS, ORDER, WEIGHTS, numpy_generator, seed_of
from somnoflow.training.targets import require_both, require_targets
from somnoflow.training.validation import chosen_by, pass_scores

log = logging.getLogger(__name__)

Row = dict[str, Any]


def train_linear(
    train: Labelled,
    val: Labelled,
    *,
    cfg: Linear,
    hidden: Sequence[float] | None = None,
    keep: Callable[[LinearProbe, int], None],
) -> list[Row]:
    """Train the linear probe and keep the best pass, the first of equals.

    The best one has the highest macro-F1 of the stages, or average precision of the event.

    Parameters
    ----------
    train, val
        Labelled usable epochs of the training and of the validation subjects.
    cfg
        Section `heads.linear` or `synthsleepnet.linear`. AdamW with a cosine over the passes, as
        published.
    hidden
        Sizes of the hidden layers as parts of D, of `synthsleepnet.linear`; NeuroNet's probe where
        None.
    keep
        Called with the probe and the number of the pass whenever it is the best so far; writes it
        to disk, so that what is deployed is what was chosen (defect N3).

    Returns
    -------
    One row of training.csv per pass.
    """
    task, chosen_column = train.task, chosen_by(train.task)
    section = "heads.linear" if hidden is None else "synthsleepnet.linear"
    require_targets(train.targets, task=task, role="training", of=train.of)
    require_targets(val.targets, task=task, role="validation")
    batch_size = min(cfg.batch_size, len(train))
    if batch_size < cfg.batch_size:
        log.warning(
            "%d labelled epochs are fewer than %s.batch_size = %d: batches of %d",
            len(train), section, cfg.batch_size, batch_size,
        )  # fmt: skip
    chance = chances(train.targets, sampling=cfg.sampling)
    weights = class_weights(train.targets, kind=cfg.class_weights, classes=len(task.classes))
    rows: list[Row] = []
    best = -1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(cfg.seed, WEIGHTS))
        dimension = train.embeddings.shape[1]
        probe = LinearProbe(
            dimension,
            dropout=cfg.dropout,
            hidden=None if hidden is None else [max(1, round(part * dimension)) for part in hidden],
            seen=np.unique(train.targets),
            task=task.name,
        )
        optimizer = torch.optim.AdamW(probe.parameters(), lr=cfg.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=cfg.passes)
        for number in range(1, cfg.passes + 1):
            torch.manual_seed(seed_of(cfg.seed, MASKS, number))
            generator = numpy_generator(cfg.seed, ORDER, number)
            order = draw(np.arange(len(train)), chance=chance, generator=generator)
            train_loss = _train_pass(
                probe, optimizer, train=train, order=order, batch_size=batch_size, weights=weights
            )
            if not np.isfinite(train_loss):
                raise ValueError(
                    f"loss of the linear probe is {train_loss} in pass {number}: lower "
                    f"{section}.learning_rate (now {cfg.learning_rate:g})"
                )
            schedule.step()
            row = {"pass": number, "train_loss": train_loss, **_validate(probe, val)}
            rows.append(row)
            if row[chosen_column] > best:
                best = row[chosen_column]
                keep(probe, number)
    chosen = max(rows, key=lambda row: row[chosen_column])
    log.info(
        "%s, %d training and %d validation epochs: best pass %d of %d, %s %.3f",
        task.name, len(train), len(val), chosen["pass"], cfg.passes,
        chosen_column.removeprefix("val_").replace("_", " "), chosen[chosen_column],
    )  # fmt: skip
    return [{**row, "best": int(row is chosen)} for row in rows]


def _train_pass(
    probe: LinearProbe,
    optimizer: torch.optim.Optimizer,
    *,
    train: Labelled,
    order: npt.NDArray[np.int64],
    batch_size: int,
    weights: Tensor | None,
) -> float:
    """Train for one pass over the rows of `order`; give the mean loss of its batches."""
    probe.train()
    losses = []
    # A last batch that is not whole is left out, as published; its epochs differ in each pass.
    for start in range(0, len(order) - batch_size + 1, batch_size):
        batch = order[start : start + batch_size]
        loss = cross_entropy(
            probe(torch.from_numpy(train.embeddings[batch])),
            torch.from_numpy(train.targets[batch]),
            weight=weights,
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses))


@torch.inference_mode()
def _validate(probe: LinearProbe, val: Labelled) -> Row:
    probe.eval()
    logits = probe(torch.from_numpy(val.embeddings))
    loss = cross_entropy(logits, torch.from_numpy(val.targets))
    return {"val_loss": loss.item(), **_score(probe, val)}


def fit_knn(train: Labelled, val: Labelled, *, cfg: Knn) -> tuple[KnnProbe, list[Row]]:
    """Fit the nearest-neighbours probe; its one row of training.csv has no losses."""
    require_targets(train.targets, task=train.task, role="training", of=train.of)
    probe = KnnProbe.fit(
        train.embeddings,
        train.targets,
        components=cfg.components,
        neighbours=cfg.neighbours,
        task=train.task.name,
    )
    if (found := len(probe.components)) < cfg.components:
        log.warning(
            "%d training epochs of %d values allow %d of heads.knn.components = %d",
            *train.embeddings.shape, found, cfg.components,
        )  # fmt: skip
    if probe.neighbours < cfg.neighbours:
        log.warning(
            "%d training epochs allow %d of heads.knn.neighbours = %d",
            len(train), probe.neighbours, cfg.neighbours,
        )  # fmt: skip
    scores: Row = {"val_accuracy": None, "val_macro_f1": None}
    if val.task.rare:
        require_both(val.targets, task=val.task, role="validation")
    if len(val):
        scores = _score(probe, val)
    return probe, [{"pass": 1, "train_loss": None, "val_loss": None, **scores, "best": 1}]


def fit_boosting(
    train: Labelled, val: Labelled, *, cfg: Boosting
) -> tuple[BoostingProbe, list[Row]]:
    """Grow trees and keep the best number of them, the first of equals.

    The best number has the highest macro-F1 of the stages, or average precision of the event.

    Parameters
    ----------
    train, val
        Labelled usable epochs of the training and of the validation subjects.
    cfg
        Section `heads.boosting`. One thread, so that the trees are the same to the byte.

    Returns
    -------
    The probe, and one row of training.csv per pass, which adds one tree for each class.
    """
    import lightgbm  # noqa: PLC0415 - takes seconds

    task, chosen_column = train.task, chosen_by(train.task)
    require_targets(train.targets, task=task, role="training", of=train.of)
    require_targets(val.targets, task=task, role="validation")
    weights = class_weights(train.targets, kind=cfg.class_weights, classes=len(task.classes))
    grown_on = lightgbm.Dataset(
        train.embeddings,
        train.targets,
        weight=None if weights is None else weights.numpy()[train.targets],
    )

    def score(probabilities: npt.NDArray[np.float64], of: Any) -> list[tuple[str, float, bool]]:
        if of is grown_on:
            return []
        scores = pass_scores(val.targets, probabilities.astype(np.float32), task=task)
        return [(name, value, True) for name, value in scores.items()]

    history: dict[str, dict[str, list[float]]] = {}
    trees = lightgbm.train(
        {
            "objective": "multiclass",
            "num_class": len(task.classes),
            "num_leaves": cfg.leaves,
            "learning_rate": cfg.learning_rate,
            "seed": seed_of(cfg.seed, ORDER) % 2**31,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        },
        grown_on,
        num_boost_round=cfg.trees,
        valid_sets=[grown_on, grown_on.create_valid(val.embeddings, val.targets)],
        valid_names=["train", "val"],
        feval=score,
        callbacks=[lightgbm.record_evaluation(history)],
    )
    columns = {
        "train_loss": history["train"]["multi_logloss"],
        "val_loss": history["val"].pop("multi_logloss"),
        **history["val"],
    }
    best = 1 + int(np.argmax(columns[chosen_column]))
    log.info(
        "%s, %d training and %d validation epochs: %d of %d trees of each class, %s %.3f",
        task.name, len(train), len(val), best, cfg.trees,
        chosen_column.removeprefix("val_").replace("_", " "), columns[chosen_column][best - 1],
    )  # fmt: skip
    rows = [
        {"pass": number, **dict(zip(columns, values, strict=True)), "best": int(number == best)}
        for number, values in enumerate(zip(*columns.values(), strict=True), start=1)
    ]
    text = trees.model_to_string(num_iteration=best)
    return BoostingProbe(text, seen=np.unique(train.targets), task=task.name), rows


def _score(probe: LinearProbe | KnnProbe, val: Labelled) -> Row:
    return pass_scores(val.targets, probe.predict_proba(val.embeddings), task=val.task)
