"""Show where in some test epochs a model finds its stage."""

import logging
from typing import Any

import numpy as np
import polars as pl

from somnoflow.config.explain import ExplainSlice
from somnoflow.data.packed import PackedEpochs
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.evaluate.predictions import RECORDING_KEY, scan_columns
from somnoflow.explain.choosing import choose_epochs
from somnoflow.explain.explaining import NightExplainer, explanation_rows
from somnoflow.explain.explanation import write_explanations
from somnoflow.explain.model import load_explained
from somnoflow.explain.physical import PackedMeasures
from somnoflow.models.heads import require_task
from somnoflow.training.device import choose_device, prepare

log = logging.getLogger(__name__)


def explain(
    *,
    packed: Inputs,
    predictions: Input,
    model: Inputs,
    explanation: Output,
    threads: int,
    cfg: ExplainSlice,
) -> None:
    """Write trace, heat, probabilities and detected events of some epochs of each stage.

    Parameters
    ----------
    packed
        `index.json` of each packed shard.
    predictions
        `predictions.parquet` of the model and fold.
    model
        Its file, or those of its frozen encoder and its head.
    explanation
        Parquet, as `somnoflow.explain.explanation` says.
    threads
        CPU threads.
    cfg
        Epochs of each stage, and the seed of their draw.
    """
    prepare(choose_device(0), threads=threads)
    explained = load_explained(model)
    task = explained.task
    require_task(task, wanted="staging", of=model[-1])
    keys = [*RECORDING_KEY, "epoch"]
    columns = [*keys, "role", "usable", "stage", "predicted", *task.probabilities]
    judged = (pl.col("role") == "test") & pl.col("usable") & (pl.col("stage") >= 0)
    test = scan_columns(predictions, columns=columns).filter(judged).sort(keys).collect()
    chosen = choose_epochs(test, each=cfg.epochs, seed=cfg.seed)
    epochs = PackedEpochs(
        packed, channels=explained.channels, subjects=set(chosen["subject"]), require="any"
    )
    measures = PackedMeasures(packed, epochs)
    numbered = epochs.table.with_row_index("row").filter("usable")
    rows: list[dict[str, Any]] = []
    for _, few in chosen.group_by(RECORDING_KEY, maintain_order=True):
        night = numbered.join(few, on=RECORDING_KEY, how="semi", maintain_order="left")
        explainer = NightExplainer(explained, epochs, night["row"].to_numpy().astype(np.int64))
        placed = few.join(night.select(*keys, "row"), on=keys, maintain_order="left")
        for one in placed.iter_rows(named=True):
            answer = explainer.explain(one["row"], asked=one["predicted"])
            scored = np.array([one[name] for name in task.probabilities], np.float32)
            rows += explanation_rows(
                explainer,
                one["row"],
                answer=answer._replace(probabilities=scored),
                predicted=one["predicted"],
                measures=measures,
            )
        log.info("%s: %d epochs explained", few["recording"][0], len(few))
    about = {"each": cfg.epochs, "seed": cfg.seed, "of": len(test)}
    write_explanations(explanation, rows, task=task, about=about)


if __name__ == "__main__":
    command(explain)
