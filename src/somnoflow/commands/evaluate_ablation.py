"""Evaluate the stages that were scored with every subset of the modalities."""

import logging

from somnoflow.config.evaluate import Evaluate
from somnoflow.entry import Inputs, Output, command
from somnoflow.evaluate.ablation import read_ablation, summarise_ablation
from somnoflow.io.atomic import write_json


def evaluate_ablation(
    *,
    counts: Inputs,
    metrics: Output,
    cfg: Evaluate,
) -> None:
    """Evaluate the stages that were scored with every subset of the modalities.

    Parameters
    ----------
    counts
        One `counts.parquet` per fold.
    metrics
        JSON, see `somnoflow.evaluate.ablation.summarise_ablation`.
    cfg
        Section `evaluate` of the configuration.
    """
    found = read_ablation(counts)
    write_json(metrics, summarise_ablation(found, cfg=cfg))
    logging.getLogger(__name__).info(
        "%d subsets of %s compared", len(found.counted), ", ".join(found.modalities)
    )


if __name__ == "__main__":
    command(evaluate_ablation)
