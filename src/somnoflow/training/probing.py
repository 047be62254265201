"""Training of the probes on frozen embeddings; every choice is made on validation subjects."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy

from somnoflow.config.heads import Knn, Linear
from somnoflow.models.heads import KnnProbe, LinearProbe
from somnoflow.training.embedded import Labelled
from somnoflow.training.seeds import MASKS, ORDER, WEIGHTS, numpy_generator, seed_of
from somnoflow.training.validation import require_stages, validation_scores

log = logging.getLogger(__name__)

Row = dict[str, Any]


def train_linear(
    train: Labelled, val: Labelled, *, cfg: Linear, keep: Callable[[LinearProbe, int], None]
) -> list[Row]:
    """Train the linear probe and keep the pass with the best macro-F1, the first of equals.

    Parameters
    ----------
    train, val
        Scored usable epochs of the training and of the validation subjects.
    cfg
        Section `heads.linear`. AdamW with a cosine over the passes, as published.
    keep
        Called with the probe and the number of the pass whenever it is the best so far; writes it
        to disk, so that what is deployed is what was chosen (defect N3).

    Returns
    -------
    One row of training.csv per pass.
    """
    require_stages(train.stages, role="training")
    require_stages(val.stages, role="validation")
    batch_size = min(cfg.batch_size, len(train))
    if batch_size < cfg.batch_size:
        log.warning(
            "%d scored epochs are fewer than heads.linear.batch_size = %d: batches of %d",
            len(train), cfg.batch_size, batch_size,
        )  # fmt: skip
    rows: list[Row] = []
    best = -1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(cfg.seed, WEIGHTS))
        dimension = train.embeddings.shape[1]
        probe = LinearProbe(dimension, dropout=cfg.dropout, seen=np.unique(train.stages))
        optimizer = torch.optim.AdamW(probe.parameters(), lr=cfg.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=cfg.passes)
        for number in range(1, cfg.passes + 1):
            torch.manual_seed(seed_of(cfg.seed, MASKS, number))
            order = numpy_generator(cfg.seed, ORDER, number).permutation(len(train))
            train_loss = _train_pass(
                probe, optimizer, train=train, order=order, batch_size=batch_size
            )
            schedule.step()
            row = {"pass": number, "train_loss": train_loss, **_validate(probe, val)}
            rows.append(row)
            if row["val_macro_f1"] > best:
                best = row["val_macro_f1"]
                keep(probe, number)
    chosen = max(rows, key=lambda row: row["val_macro_f1"])
    log.info(
        "%d training and %d validation epochs: best pass %d of %d, macro-F1 %.3f, accuracy %.3f",
        len(train), len(val), chosen["pass"], cfg.passes, chosen["val_macro_f1"],
        chosen["val_accuracy"],
    )  # fmt: skip
    return [{**row, "best": int(row is chosen)} for row in rows]


def _train_pass(
    probe: LinearProbe,
    optimizer: torch.optim.Optimizer,
    *,
    train: Labelled,
    order: npt.NDArray[np.int64],
    batch_size: int,
) -> float:
    probe.train()
    losses = []
    # A last batch that is not whole is left out, as published; its epochs differ in each pass.
    for start in range(0, len(order) - batch_size + 1, batch_size):
        batch = order[start : start + batch_size]
        loss = cross_entropy(
            probe(torch.from_numpy(train.embeddings[batch])),
            torch.from_numpy(train.stages[batch]),
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    mean = float(np.mean(losses))
    if not np.isfinite(mean):
        raise ValueError(f"loss of the linear probe is {mean}: lower heads.linear.learning_rate")
    return mean


@torch.inference_mode()
def _validate(probe: LinearProbe, val: Labelled) -> Row:
    probe.eval()
    logits = probe(torch.from_numpy(val.embeddings))
    loss = cross_entropy(logits, torch.from_numpy(val.stages))
    return {"val_loss": loss.item(), **_score(probe, val)}


def fit_knn(train: Labelled, val: Labelled, *, cfg: Knn) -> tuple[KnnProbe, list[Row]]:
    """Fit the nearest-neighbours probe; its one row of training.csv has no losses."""
    require_stages(train.stages, role="training")
    probe = KnnProbe.fit(
        train.embeddings, train.stages, components=cfg.components, neighbours=cfg.neighbours
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
    if len(val):
        scores = _score(probe, val)
    return probe, [{"pass": 1, "train_loss": None, "val_loss": None, **scores, "best": 1}]


def _score(probe: LinearProbe | KnnProbe, val: Labelled) -> Row:
    return validation_scores(val.stages, probe.predict_proba(val.embeddings).argmax(axis=1))
